"""Every number of a record from stored answers: what `run` does after asking a model, and `rescore` without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmforget.benchmark.spec import Bound
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.answer_states import answer_states
from mmforget.evaluation.answers import Answers
from mmforget.evaluation.collapse import signs_of_collapse
from mmforget.evaluation.evidence import evidence_of
from mmforget.evaluation.gate import memorisation_gate
from mmforget.evaluation.headline import headline
from mmforget.evaluation.instances import instance_results
from mmforget.evaluation.levels import gaps, level_results
from mmforget.evaluation.verdict import ruling
from mmforget.results.rules import divergence
from mmforget.results.schema import RunRecord
from mmforget.types import Sample


def score_record(
    record: RunRecord,
    *,
    bound: Bound,
    samples: Sequence[Sample],
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
) -> RunRecord:
    """The record with every number computed from samples: metrics, gate, headline, levels, verdict. Needs no model.

    Each score is computed once; where models are handed on as `Answers`, also once for all records they take part in.
    """
    answers = {id(one): Answers.of(one) for one in (samples, target, retain) if one is not None}
    samples, target, retain = answers[id(samples)], answers.get(id(target)), answers.get(id(retain))
    benchmark = bound.benchmark
    gate = memorisation_gate(benchmark, target=target, retain=retain) if target is not None else None
    against = (target, retain) if record.role == "unlearned" else (None, None)
    collapse = (
        *divergence(record.training),
        *signs_of_collapse(benchmark, samples, target=against[0], retain=against[1]),
    )
    found = headline(benchmark, samples, target=target, retain=retain, collapsed=bool(collapse))
    is_unlearned = record.role == "unlearned"
    evidence = evidence_of(benchmark, samples, target=target, retain=retain) if is_unlearned else []
    excesses = {one.evidence.key: one.excess for one in evidence if one.evidence.excess is not None}
    numbers = {**found.numbers, **excesses}
    is_alone = record.benchmark.one_at_a_time and is_unlearned
    record = replace(
        record,
        metrics=tuple(aggregate(benchmark, samples, retain=retain, target=target)),
        gate=gate,
        headline={name: one.estimate for name, one in numbers.items()},
        replicates={name: one.replicates for name, one in numbers.items() if one.replicates is not None},
        answer_states=tuple(answer_states(benchmark, samples, target=target, retain=retain, refusals=bound.refusals)),
        levels=tuple(level_results(benchmark, samples, target=target, retain=retain)),
        instances=tuple(instance_results(benchmark, samples)) if is_alone else (),
    )
    verdict = ruling(
        record, bound=bound, collapse=collapse, parts=found.parts, evidence=evidence, has_retain=retain is not None
    )
    return replace(record, headline={**record.headline, **gaps(benchmark, samples)}, verdict=verdict)
