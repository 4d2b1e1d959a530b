"""Which records may be ranked. Every refusal says why; nothing is dropped.

Source: style of RobustBench and PEFT's method comparison (a row must be complete and reproducible), and the finding
that several published unlearning tables were made on targets that never knew what they were to forget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmforget.results.schema import MIN_COVERAGE, RunRecord
from mmforget.types import Estimate

HEADLINE = ("overall", "forget_score", "utility")
ONE_TRAINING = "one training run: the interval covers subjects only; train it with several seeds (--seeds 0,1,2)"


@dataclass(frozen=True)
class Eligibility:
    """Whether a record may be ranked, and what a reader should know about it."""

    eligible: bool
    """True where no rule refuses it."""
    reasons: tuple[str, ...]
    """Every rule that refuses it, in words."""
    notes: tuple[str, ...]
    """What does not refuse it but matters to a reader: uncommitted code, synthetic data."""


def judge(
    record: RunRecord, *, absent: Sequence[str] = (), unverified: str = "", num_seeds: int | None = None
) -> Eligibility:
    """Apply every rule to a record. Target, retain and base models are references: shown, never ranked.

    Args:
        absent: the models it was judged against of which there is no record.
        unverified: why its numbers cannot be computed again from its samples.
        num_seeds: trainings that it stands for; with one nobody knows what another would have given. None: not asked.
    """
    notes = (*_notes(record), *((f"unverified: of {record.name}, {unverified}",) if unverified else ()))
    if record.role != "unlearned":
        return Eligibility(False, (f"a reference: the {record.role} model is shown, not ranked",), notes)
    reasons = [
        f"there is no record of the {role} model it was judged against ({record.references[role][:12]})"
        for role in absent
    ]
    for rule in (_incomplete, _refused_by_gate, _not_the_full_set, _no_retain_model, _no_verdict, _low_coverage):
        reasons += rule(record)
    if num_seeds == 1 and not is_deterministic(record):
        reasons.append(ONE_TRAINING)
    return Eligibility(not reasons, tuple(dict.fromkeys(reasons)), notes)


def coverage(estimate: Estimate) -> float | None:
    """Share of the answers that should have been scored and were, in [0, 1]; None where there are none."""
    asked = estimate.num_scored + estimate.num_unscored
    return estimate.num_scored / asked if asked else None


def forget_set(record: RunRecord) -> str:
    """Name of the set that was to be forgotten."""
    return record.gate.set if record.gate else "forget"


def is_collapsed(record: RunRecord) -> bool:
    return record.verdict is not None and record.verdict.collapsed


def is_deterministic(record: RunRecord) -> bool:
    """Whether the model was edited in closed form: no update was planned, so no seed could change it."""
    return record.training.get("num_planned") == 0


def data_labels(record: RunRecord) -> list[str]:
    """What keeps the data from being the official ones: synthetic, stand-ins, reconstructions, a subset."""
    labels = ["synthetic data, no real people"] if record.data.get("source") == "synthetic" else []
    notes = record.data.get("notes")
    return labels + [str(note) for note in notes if note] if isinstance(notes, list) else labels


def _incomplete(record: RunRecord) -> Iterator[str]:
    if record.status != "complete":
        yield f"the run is {record.status}; the same command continues it"


def _refused_by_gate(record: RunRecord) -> Iterator[str]:
    if record.gate is None:
        yield "no memorisation gate: nobody knows whether the target had anything to forget"
    elif not record.gate.passed:
        yield "memorisation gate: " + (record.gate.reason or "the target model did not know the forget set")


def _not_the_full_set(record: RunRecord) -> Iterator[str]:
    if not record.sets:
        yield "the record does not say how many questions of each set were asked"
    for name, use in record.sets.items():
        if use.num_questions < use.num_expected:
            yield f"only {use.num_questions} of {use.num_expected} questions of the {name} set were asked"


def _no_retain_model(record: RunRecord) -> Iterator[str]:
    """A gate without room is that of a protocol without a retain model."""
    has_none = record.gate is not None and record.gate.room is None
    if not has_none and not record.references.get("retain"):
        yield "no retain model to compare with"


def _no_verdict(record: RunRecord) -> Iterator[str]:
    verdict = record.verdict
    if verdict is None:
        yield "no verdict"
    elif not verdict.eligible:
        reasons = [reason for reason in verdict.reasons if not reason.startswith("collapsed")]
        yield from reasons or (f"verdict: {verdict.status}",)


def _low_coverage(record: RunRecord) -> Iterator[str]:
    for name in HEADLINE:
        estimate = record.headline.get(name)
        if estimate is None or (estimate.value is None and not is_collapsed(record)):
            why = "; ".join(estimate.reasons) if estimate is not None else ""
            yield f"no {name.replace('_', ' ')}" + (f": {why}" if why else "")
            continue
        share = coverage(estimate)
        if share is not None and share < MIN_COVERAGE:
            total = estimate.num_scored + estimate.num_unscored
            yield f"{name.replace('_', ' ')}: only {estimate.num_scored} of {total} answers could be scored"


def _notes(record: RunRecord) -> Iterator[str]:
    if record.provenance.dirty:
        yield "made with uncommitted changes to the code"
    yield from data_labels(record)
    if record.num_nonfinite:
        yield f"{record.num_nonfinite} numbers were NaN or infinite"
