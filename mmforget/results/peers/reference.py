"""Whether a retain model's log can stand beside another log: the same program, rows, questions and tokenizer."""

from __future__ import annotations

from mmforget.errors import UserError, shortened
from mmforget.results.peers.log import NUM_TOKENS, PeerLog
from mmforget.types import Sample

FORGET = "forget"


def check_reference(log: PeerLog, *, reference: PeerLog) -> None:
    """Raises UserError in one line where the two were not asked the same, as far as the files say.

    Only the forget set is compared with a reference, so only it has to be the same.
    """
    mine, theirs = (_forget_rows(one) for one in (log, reference))
    advice = "give the log of a retain model that was evaluated on the same rows"
    if not theirs:
        raise UserError(f"{reference.path}: has no forget set to compare with; {advice}")
    if mine and len(mine) != len(theirs):
        raise UserError(
            f"{reference.path}: its forget set has {len(theirs)} rows and that of {log.path} {len(mine)}; they are of "
            f"different splits, or one is cut; {advice}"
        )
    for index, sample in mine.items():
        other = theirs.get(index)
        found = f"no item '{index}'" if other is None else _difference(sample, other, index=index)
        if found:
            raise UserError(f"{reference.path}: is no reference for {log.path}: {found}; {advice}")


def _forget_rows(log: PeerLog) -> dict[str, Sample]:
    found = {sample.id: sample for sample in log.of_set(FORGET, "gen")}
    return found | {sample.id: sample for sample in log.of_set(FORGET, "prob")}


def _difference(one: Sample, other: Sample, *, index: str) -> str:
    for what in ("question", "answer"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if mine and theirs and mine != theirs:
            return f"item '{index}' has another {what} ({shortened(theirs)}), so it is of another split or prompt"
    mine, theirs = one.extra.get(NUM_TOKENS), other.extra.get(NUM_TOKENS)
    if mine and theirs and mine != theirs:
        return f"the answers to item '{index}' have other numbers of tokens, so it is of another tokenizer"
    return ""
