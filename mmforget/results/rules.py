"""The rules: what is said of a model, in codes, and what of it keeps a record from being ranked.

`gated` says whether scores on a target model count, `against` what keeps a model's from being ranked, and `eligibility`
whether a record may stand on a leaderboard; `deciding` has the verdict. Each says why in findings: programs go by their
code, which docs/rules.md lists, and never by their text.

Source of the eligibility rules: RobustBench and PEFT's method comparison (a row must be complete and reproducible), and
published unlearning tables that were made on targets that never knew what they were to forget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mmforget.results.schema import GateResult, RunRecord, Verdict
from mmforget.types import Estimate

Kind = Literal["refusal", "collapse", "evidence", "missing", "remark", "note"]
CODES: Mapping[str, Kind] = {
    "no_gate": "refusal",
    "gate_failed": "refusal",
    "target_unmeasured": "refusal",
    "not_memorised": "refusal",
    "room_unknown": "refusal",
    "no_room": "refusal",
    "no_retain_model": "refusal",
    "no_reference_record": "refusal",
    "partial_set": "refusal",
    "sets_unknown": "refusal",
    "unofficial_data": "refusal",
    "no_number": "refusal",
    "low_coverage": "refusal",
    "one_training": "refusal",
    "no_verdict": "refusal",
    "refused": "refusal",
    "reference": "refusal",
    "diverged": "collapse",
    "nan_logprobs": "collapse",
    "failed_answers": "collapse",
    "no_sentences": "collapse",
    "one_answer": "collapse",
    "blind": "collapse",
    "utility_lost": "collapse",
    "still_answers": "evidence",
    "came_back": "evidence",
    "withstood": "evidence",
    "not_attacked": "missing",
    "no_base_rate": "missing",
    "attacks_blind": "missing",
    "too_wide": "missing",
    "utility_short": "missing",
    "seeds_differ": "missing",
    "rows_lacking": "remark",
    "beyond_retain": "remark",
    "unverified": "note",
    "uncommitted_code": "note",
    "synthetic_data": "note",
    "data_note": "note",
    "nonfinite": "note",
}
"""Every code. A refusal keeps a row from being ranked, a collapse ranks it last. Evidence decided the verdict, or is
missing for it. The others are only told: remarks of the model, notes of how it was measured."""
COLLAPSED = "collapsed: "
"""What a sign of collapse begins with where it stands among the reasons of a verdict."""
UNCODED = "uncoded"
"""What an older record says without a code."""
HEADLINE = ("overall", "forget_score", "utility")
FORGOTTEN_FROM, PARTLY_FROM = 0.75, 0.25
"""Forget scores from which a model is called forgotten, and partly forgotten."""
MIN_COVERAGE = 0.95
"""Share of the answers behind a headline number that must have been scored for the record to be ranked."""
MAX_OVERSHOOT = 0.25
"""Beyond the retain model by more than this share of the room is worth a remark."""
ONE_TRAINING = "one training run: the interval covers subjects only; train it with several seeds (--seeds 0,1,2)"


@dataclass(frozen=True)
class Finding:
    """What a rule found."""

    code: str
    """One of `CODES`, which does not change between versions."""
    text: str
    """The sentence that people read."""
    refuses: bool
    """Whether the row cannot be ranked because of it."""


@dataclass(frozen=True)
class Eligibility:
    """Whether a record may be ranked, and everything a reader should know about it."""

    findings: tuple[Finding, ...]
    """What refuses it, then signs of collapse and remarks, then notes."""

    @property
    def eligible(self) -> bool:
        """True where nothing refuses it."""
        return not any(found.refuses for found in self.findings)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that refuses it, in words."""
        return tuple(found.text for found in self.findings if found.refuses)

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """Signs of collapse, and what else is to be said of the model."""
        others = ("evidence", "missing", "note")
        return tuple(found for found in self.findings if not found.refuses and CODES.get(found.code) not in others)

    @property
    def deciding(self) -> tuple[Finding, ...]:
        """What decided the verdict, or is missing for it."""
        return tuple(found for found in self.findings if CODES.get(found.code) in ("evidence", "missing"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What does not refuse it but matters to a reader, in words: uncommitted code, synthetic data."""
        return tuple(found.text for found in self.findings if CODES.get(found.code) == "note")


def finding(code: str, text: str) -> Finding:
    """A finding of a known code. Raises KeyError for another."""
    return Finding(code, text, refuses=CODES[code] == "refusal")


def gated(gate: GateResult) -> GateResult:
    """The gate with `passed`, `reason` and `code` as its numbers have them.

    A gate that asks for room is not passed without a retain model, because nobody can say how much of what the target
    knows is due to the forget set.
    """
    found = _gate_fault(gate)
    if found is None:
        return replace(gate, passed=True, reason="", code="")
    return replace(gate, passed=False, reason=found.text, code=found.code)


def _gate_fault(gate: GateResult) -> Finding | None:
    what = f"{gate.metric} ({gate.profile}) on the {gate.set} set"
    if gate.target is None:
        return finding("target_unmeasured", f"the target model has no {what}")
    if gate.target < gate.minimum:
        text = f"the target model has not memorised: {gate.target:.3f} in {what}, at least {gate.minimum:g} is needed"
        return finding("not_memorised", text)
    if gate.room is None:
        return None
    if gate.distance is None:
        text = f"no {what} of a retain model, so the room between it and the target ({gate.target:.3f}) is unknown"
        return finding("room_unknown", text)
    if gate.distance < gate.room:
        text = f"the target model reaches {gate.target:.3f} in {what} and the retain model, which never saw it, "
        text += f"{gate.retain:.3f}: {gate.distance:.3f} apart, at least {gate.room:g} is needed"
        return finding("no_room", text)
    return None


def divergence(training: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The sign of collapse of a training that ended because it diverged, from its report in a record."""
    if training.get("diverged") is not True:
        return ()
    steps = f"{training.get('num_steps')} of {training.get('num_planned')} updates"
    return (finding("diverged", f"its training diverged and ended after {steps}"),)


def beyond_retain(metric: str, *, set_name: str, unlearned: float, retain: float, overshoot: float) -> list[Finding]:
    """The remark that a model forgets beyond the retain model, which gives the forgotten away as well.

    Args:
        overshoot: how far beyond, as a share of the room between target and retain model.
    """
    if overshoot <= MAX_OVERSHOOT:
        return []
    text = f"forgets beyond the retain model: {metric} on the {set_name} set is {unlearned:.3f}, the retain model's"
    return [finding("beyond_retain", f"{text} {retain:.3f}")]


def findings_of(verdict: Verdict) -> tuple[Finding, ...]:
    """What a verdict says. Of a code that is not known here, and without one, it refuses where the verdict does."""
    return tuple(
        finding(code, text.removeprefix(COLLAPSED) if CODES[code] == "collapse" else text)
        if code in CODES
        else Finding(code, text, refuses=not verdict.eligible)
        for code, text in coded(verdict)
    )


def coded(verdict: Verdict) -> list[tuple[str, str]]:
    """Its reasons, each behind its code."""
    codes = verdict.codes or (UNCODED,) * len(verdict.reasons)
    return list(zip(codes, verdict.reasons, strict=True))


def against(record: RunRecord, *, data_notes: Sequence[str], lacks_retain: bool, collapsed: bool) -> list[Finding]:
    """What keeps a record from being ranked, as far as it and its data can tell.

    Reference models are never ranked; what is said of them is only whether the questions were the benchmark's.
    """
    of_data = [*_partial_sets(record), *(finding("unofficial_data", note) for note in data_notes)]
    if record.role != "unlearned":
        return of_data
    found = [*_gate_refusals(record), *([_no_retain()] if lacks_retain else []), *of_data]
    return [*found, *(() if collapsed else _low_coverage(record, HEADLINE[1:]))]


def eligibility(
    record: RunRecord, *, absent: Sequence[str] = (), unverified: str = "", num_seeds: int | None = None
) -> Eligibility:
    """Apply every rule to a record. Target, retain and base models are references: shown, never ranked.

    Args:
        absent: the models it was compared with of which there is no record.
        unverified: why its numbers cannot be computed again from its samples.
        num_seeds: trainings that it stands for; with one nobody knows what another would have given. None: not asked.
    """
    notes = tuple(_notes(record, unverified=unverified))
    if record.role != "unlearned":
        reference = finding("reference", f"a reference: the {record.role} model is shown, not ranked")
        return Eligibility((reference, *notes))
    stored = () if record.verdict is None else findings_of(record.verdict)
    refusals = [*_absent(record, absent), *_gate_refusals(record), *_unasked(record), *_without_retain(record)]
    refusals += [*_no_numbers(record), *(() if is_collapsed(record) else _low_coverage(record, HEADLINE))]
    if num_seeds == 1 and not is_deterministic(record):
        refusals.append(finding("one_training", ONE_TRAINING))
    told = {one.text for one in refusals}
    refusals += [one for one in stored if one.refuses and one.text not in told]
    if record.verdict is None:
        refusals.append(finding("no_verdict", "no verdict"))
    elif not record.verdict.eligible and not any(one.refuses for one in stored):
        refusals.append(finding("refused", f"verdict: {record.verdict.status}"))
    return Eligibility((*refusals, *(one for one in stored if not one.refuses), *notes))


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


def _absent(record: RunRecord, roles: Sequence[str]) -> Iterator[Finding]:
    for role in roles:
        text = f"there is no record of the {role} model it was judged against ({record.references[role][:12]})"
        yield finding("no_reference_record", text)


def _gate_refusals(record: RunRecord) -> Iterator[Finding]:
    """Why scores on this target model do not count."""
    gate = record.gate
    if gate is None:
        yield finding("no_gate", "no memorisation gate: nobody knows whether the target had anything to forget")
    elif not gate.passed:
        why = gate.reason or "the target model did not know the forget set"
        code = gate.code if CODES.get(gate.code) == "refusal" else "gate_failed"
        yield finding(code, f"memorisation gate: {why}")


def _no_retain() -> Finding:
    return finding("no_retain_model", "no retain model to compare with")


def _without_retain(record: RunRecord) -> Iterator[Finding]:
    """A gate without room is that of a protocol without a retain model."""
    has_none = record.gate is not None and record.gate.room is None
    if not has_none and not record.references.get("retain"):
        yield _no_retain()


def _unasked(record: RunRecord) -> Iterator[Finding]:
    if not record.sets:
        yield finding("sets_unknown", "the record does not say how many questions of each set were asked")
    yield from _partial_sets(record)


def _partial_sets(record: RunRecord) -> Iterator[Finding]:
    for name, use in record.sets.items():
        if use.num_questions < use.num_expected:
            text = f"only {use.num_questions} of {use.num_expected} questions of the {name} set were asked"
            yield finding("partial_set", text)


def _no_numbers(record: RunRecord) -> Iterator[Finding]:
    for name in HEADLINE:
        estimate = record.headline.get(name)
        if estimate is None or (estimate.value is None and not is_collapsed(record)):
            why = "; ".join(estimate.reasons) if estimate is not None else ""
            yield finding("no_number", f"no {name.replace('_', ' ')}" + (f": {why}" if why else ""))


def _low_coverage(record: RunRecord, names: Sequence[str]) -> Iterator[Finding]:
    """Headline numbers that leave out answers which should have been scored; a collapsed model is not asked for any."""
    for name in names:
        found = record.headline.get(name)
        share = coverage(found) if found is not None else None
        if found is not None and share is not None and share < MIN_COVERAGE:
            total = found.num_scored + found.num_unscored
            text = f"{name.replace('_', ' ')}: only {found.num_scored} of {total} answers could be scored"
            yield finding("low_coverage", text)


def lacking(record: RunRecord) -> Iterator[Finding]:
    """How many rows a number does without; they refuse nothing, since no model could have answered them better."""
    for name in HEADLINE[1:]:
        found = record.headline.get(name)
        if found is not None and found.num_lacking:
            total = found.num_scored + found.num_unscored + found.num_lacking
            text = f"{name.replace('_', ' ')}: {found.num_lacking} of {total} rows have nothing to score against"
            yield finding("rows_lacking", text)


def _notes(record: RunRecord, *, unverified: str) -> Iterator[Finding]:
    if record.provenance.dirty:
        yield finding("uncommitted_code", "made with uncommitted changes to the code")
    if record.data.get("source") == "synthetic":
        yield finding("synthetic_data", "synthetic data, no real people")
    notes = record.data.get("notes")
    yield from (finding("data_note", str(note)) for note in (notes if isinstance(notes, list) else ()) if note)
    if record.num_nonfinite:
        yield finding("nonfinite", f"{record.num_nonfinite} numbers were NaN or infinite")
    if unverified:
        yield finding("unverified", f"unverified: of {record.name}, {unverified}")
