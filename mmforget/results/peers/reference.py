"""Whether a retain model's log can stand beside another log: the same program, rows, questions and tokenizer."""

from __future__ import annotations

from mmforget.errors import UserError, shortened
from mmforget.results.peers.log import NUM_TOKENS, PeerLog
from mmforget.types import Sample

FORGET = "forget"
KEPT_RATIOS = "forget_truth_ratio"
"""Truth ratios that a file keeps as they are."""
ADVICE = "give the log of a retain model that was evaluated on the same rows"


def check_reference(log: PeerLog, *, reference: PeerLog) -> None:
    """Raises UserError in one line where the two were not asked the same, as far as the files say.

    Only what was to be forgotten is compared with a reference, so only that has to be the same.
    """
    sets = [name for name in log.sets if name.startswith(FORGET)]
    for name in sets:
        theirs = _rows(reference, name)
        if theirs:
            _check_set(_rows(log, name), theirs, name=name, log=log, reference=reference)
    if not any(_rows(reference, name) for name in sets) and KEPT_RATIOS not in reference.stored:
        raise UserError(f"{reference.path}: has no forget set to compare with; {ADVICE}")
    for name in sorted(set(log.stored) & set(reference.stored)):
        _check_sizes(len(log.stored[name]), len(reference.stored[name]), name=name, log=log, reference=reference)


def _check_set(
    mine: dict[str, Sample], theirs: dict[str, Sample], *, name: str, log: PeerLog, reference: PeerLog
) -> None:
    _check_sizes(len(mine), len(theirs), name=f"{name} set", log=log, reference=reference)
    for index, sample in mine.items():
        other = theirs.get(index)
        found = f"no item '{index}'" if other is None else _difference(sample, other, index=index)
        if found:
            raise UserError(f"{reference.path}: is no reference for {log.path}: {found}; {ADVICE}")


def _check_sizes(mine: int, theirs: int, *, name: str, log: PeerLog, reference: PeerLog) -> None:
    if name.startswith(FORGET) and mine != theirs:
        raise UserError(
            f"{reference.path}: its {name} has {theirs} rows and that of {log.path} {mine}; they are of different "
            f"splits, or one is cut; {ADVICE}"
        )


def _rows(log: PeerLog, name: str) -> dict[str, Sample]:
    found = {sample.id: sample for sample in log.of_set(name, "gen")}
    return found | {sample.id: sample for sample in log.of_set(name, "prob")}


def _difference(one: Sample, other: Sample, *, index: str) -> str:
    for what in ("question", "answer"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if mine and theirs and mine != theirs:
            return f"item '{index}' has another {what} ({shortened(theirs)}), so it is of another split or prompt"
    mine, theirs = one.extra.get(NUM_TOKENS), other.extra.get(NUM_TOKENS)
    if mine and theirs and mine != theirs:
        return f"the answers to item '{index}' have other numbers of tokens, so it is of another tokenizer"
    return ""
