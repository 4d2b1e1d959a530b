"""What the numbers say about a model, in one word, and whether it may be ranked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.evaluate.collapse import collapse_reasons
from mmforget.evaluate.headline import closenesses
from mmforget.evaluate.measurements import Measurements
from mmforget.results.schema import (
    FORGOTTEN_FROM,
    MIN_COVERAGE,
    PARTLY_FROM,
    GateResult,
    Role,
    SetUse,
    Verdict,
    VerdictStatus,
)
from mmforget.types import Estimate, Sample

MAX_OVERSHOOT = 0.25
"""Beyond the retain model by more than this share of the room is worth a remark."""


def judge(
    bound: Bound,
    samples: Sequence[Sample],
    *,
    role: Role,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
    headline: Mapping[str, Estimate],
    gate: GateResult | None,
    sets: Mapping[str, SetUse],
) -> Verdict:
    """The verdict on one model.

    `reference` for target, retain and base models; else `refused` where the gate was not passed, `collapsed`,
    `forgotten`, `partly` or `remembered` by the forget score. A collapsed model stays eligible: it is ranked last.
    Reference models are never ranked; what is said of them is only whether the questions were the benchmark's.
    """
    benchmark = bound.benchmark
    before, gold = (target, retain) if role == "unlearned" else (None, None)
    collapse = collapse_reasons(benchmark, samples, target=before, retain=gold)
    refusals = (*_data_refusals(bound.data, sets=sets),)
    if role == "unlearned":
        reference = _reference_refusals(gate, lacks_retain=benchmark.has_retain_model and retain is None)
        refusals = (*reference, *refusals, *(() if collapse else _uncovered(headline)))
    status = _status(role, headline=headline, gate=gate, collapsed=bool(collapse))
    remarks = tuple(_lacking(headline)) if role == "unlearned" else ()
    if role == "unlearned" and not collapse:
        remarks += tuple(_remarks(benchmark, samples, target=target, retain=retain))
    return Verdict(status, bool(collapse), not refusals, (*collapse, *refusals, *remarks))


def _status(role: Role, *, headline: Mapping[str, Estimate], gate: GateResult | None, collapsed: bool) -> VerdictStatus:
    score = headline["forget_score"].value if "forget_score" in headline else None
    if role != "unlearned":
        return "reference"
    if gate is None or not gate.passed:
        return "refused"
    if collapsed:
        return "collapsed"
    if score is None:
        return "refused"
    return "forgotten" if score >= FORGOTTEN_FROM else "partly" if score >= PARTLY_FROM else "remembered"


def _reference_refusals(gate: GateResult | None, *, lacks_retain: bool) -> Iterator[str]:
    """Why scores against these target and retain models do not count."""
    if gate is None:
        yield "no memorisation gate: nobody knows whether the target had anything to forget"
    elif not gate.passed:
        yield f"memorisation gate: {gate.reason}"
    if lacks_retain:
        yield "no retain model to compare with"


def _data_refusals(data: DataSource, *, sets: Mapping[str, SetUse]) -> Iterator[str]:
    """Why the questions were not those of the benchmark."""
    for name, use in sets.items():
        if use.num_questions < use.num_expected:
            yield f"only {use.num_questions} of {use.num_expected} questions of the {name} set were asked"
    yield from data.describe()["notes"]


def _uncovered(headline: Mapping[str, Estimate]) -> Iterator[str]:
    for name in ("forget_score", "utility"):
        found = headline.get(name)
        total = found.num_scored + found.num_unscored if found is not None else 0
        if found is not None and total and found.num_scored < MIN_COVERAGE * total:
            yield f"{name.replace('_', ' ')}: only {found.num_scored} of {total} answers could be scored"


def _lacking(headline: Mapping[str, Estimate]) -> Iterator[str]:
    """How many rows a number does without; they refuse nothing, since no model could have answered them better."""
    for name in ("forget_score", "utility"):
        found = headline.get(name)
        if found is not None and found.num_lacking:
            total = found.num_scored + found.num_unscored + found.num_lacking
            yield f"{name.replace('_', ' ')}: {found.num_lacking} of {total} rows have nothing to score against"


def _remarks(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
) -> Iterator[str]:
    """Where the model forgets more than the retain model ever knew, which gives the forgotten away as well."""
    before = None if target is None else Measurements(benchmark, target)
    gold = None if retain is None else Measurements(benchmark, retain)
    for part in closenesses(Measurements(benchmark, samples), target=before, retain=gold):
        if part.overshoot > MAX_OVERSHOOT:
            yield (
                f"forgets beyond the retain model: {part.metric} on the {part.set} set is {part.unlearned:.3f}, "
                f"the retain model's {part.retain:.3f}"
            )
