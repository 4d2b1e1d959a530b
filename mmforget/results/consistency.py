"""What a record says against itself: numbers outside their range, a verdict that its numbers deny, impossible counts.

Nothing here needs samples, a benchmark or a model. Whatever is found makes the record a fault and never a rank.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from typing import Any

from mmforget.errors import shortened
from mmforget.results.deciding import decide
from mmforget.results.rules import CODES, findings_of, gated
from mmforget.results.schema import GateResult, LevelResult, RunRecord, Verdict
from mmforget.results.sequence import SequenceResult
from mmforget.statistics.sequences import cumulative_damage, damage, known_mean, rebound
from mmforget.types import Estimate

MAX_NAME = 200
"""Longest name of a model, benchmark, set, task, metric or method, in characters."""
ROUNDING = 1e-6
"""How far numbers that should agree may lie apart."""
MAX_SHIFT = 1e6
"""Furthest that a number of the headline may move without one subject; real ones stay below 10."""
RATES = ("overall", "forget_score", "utility", "utility_ratio", "closeness/")
"""Headline numbers that lie in [0, 1] whatever range the record claims for them, or their beginning."""
REFERENCE_NAMES = ("target", "retain")
"""Names that only the model of that role may have."""


def contradictions(record: RunRecord, *, is_joint: bool = False) -> list[str]:
    """Everything in a record that cannot be, in words; empty for every record that mmforget wrote.

    Args:
        is_joint: it stands for several trainings: a sign of collapse may be of one of them, a verdict of how they
            differ, and a mean of what is no mean of means.
    """
    return [
        *_names(record),
        *_counts(record),
        *_trained(record),
        *_metrics(record),
        *_headline(record),
        *_replicates(record),
        *(_gate(record.gate) if record.gate is not None else ()),
        *(_verdict(record.verdict, record, is_joint=is_joint) if record.verdict is not None else ()),
        *_answer_states(record),
        *_levels(record),
        *(_sequence(record.sequence) if record.sequence is not None and not is_joint else ()),
    ]


def _names(record: RunRecord) -> Iterator[str]:
    use = record.benchmark
    named = {
        "name": record.name,
        **{f"benchmark.{key}": getattr(use, key) for key in ("name", "setting", "profile", "group", "title", "asked")},
        **({"method.name": record.method.name} if record.method else {}),
    }
    for key, text in named.items():
        yield from _name(text, at=key, may_be_empty=key not in ("name", "benchmark.name", "method.name"))
    others = [*record.sets, *record.headline, *record.references, *record.files]
    others += [text for result in record.metrics for text in (result.name, result.set, result.profile, result.task)]
    for text in dict.fromkeys(others):
        yield from _name(text, at="a key", may_be_empty=True)
    if record.role == "unlearned" and record.name in REFERENCE_NAMES:
        yield f"an unlearned model is named '{record.name}', as the {record.name} model is"
    if (record.role == "unlearned") != (record.method is not None):
        yield f"role '{record.role}' {'without' if record.method is None else 'with'} a method"


def _name(text: str, *, at: str, may_be_empty: bool) -> Iterator[str]:
    if not text.strip() and not may_be_empty:
        yield f"{at} is empty"
    if len(text) > MAX_NAME:
        yield f"{at} has {len(text):,} characters, at most {MAX_NAME} are allowed ({text[:40]!r}...)"
    elif not text.isprintable():
        yield f"{at} holds characters that cannot be shown ({text!r})"


def _counts(record: RunRecord) -> Iterator[str]:
    for name, use in record.sets.items():
        counts = (use.num_questions, use.num_expected, use.num_subjects)
        if min(counts) < 0:
            yield f"sets.{name}: negative counts"
        elif use.num_questions > use.num_expected:
            yield f"sets.{name}: {use.num_questions} questions of {use.num_expected} were asked"
        elif use.num_subjects > use.num_questions:
            yield f"sets.{name}: {use.num_subjects} subjects in {use.num_questions} questions"
    sources = {"provenance": record.provenance, "rescored": record.rescored, "cost": record.cost}
    for place, source in sources.items():
        yield from _negative(vars(source) if source is not None else {}, at=place)
    yield from _negative(record.training, at="training")
    if record.num_nonfinite < 0:
        yield f"num_nonfinite is {record.num_nonfinite}"


def _trained(record: RunRecord) -> Iterator[str]:
    """A seed that is not the one of the training's settings, and more weight updates than were planned."""
    method = record.method
    if method is not None:
        said = {
            "method.args.training.seed": method.args.get("training.seed", method.seed),
            "provenance.seeds.training": record.provenance.seeds.get("training", method.seed),
        }
        yield from (
            f"method.seed is {method.seed}, and {place} {shortened(seed)}"
            for place, seed in said.items()
            if seed != method.seed
        )
    num_steps, num_planned = (record.training.get(key) for key in ("num_steps", "num_planned"))
    if isinstance(num_steps, (int, float)) and isinstance(num_planned, (int, float)) and num_steps > num_planned:
        yield f"training: {num_steps} weight updates of {num_planned} that were planned"


def _negative(values: Mapping[str, Any], *, at: str) -> Iterator[str]:
    """Counts, bytes and seconds below zero."""
    for key, value in values.items():
        is_count = key.startswith("num_") or key.endswith(("_s", "_bytes"))
        if is_count and isinstance(value, (int, float)) and value < 0:
            yield f"{at}.{key} is {value}"


def _metrics(record: RunRecord) -> Iterator[str]:
    keys = Counter((one.name, one.set, one.profile, one.task, one.attack) for one in record.metrics)
    for (name, used, profile, *_), count in keys.items():
        if count > 1:
            yield f"{name} ({profile}) on the {used} set is there {count} times"
    for result in record.metrics:
        if not _is_plain(result.estimate):
            yield from _estimate(result.estimate, at=f"{result.name} ({result.profile}) on the {result.set} set")


def _headline(record: RunRecord) -> Iterator[str]:
    for name, estimate in record.headline.items():
        if name.startswith(RATES) and not all(0.0 <= limit <= 1.0 for limit in estimate.range):
            yield f"{name} lies in [0, 1], and the record says in [{estimate.range[0]:g}, {estimate.range[1]:g}]"
        if name.startswith(RATES) and estimate.higher_is_better is False:
            yield f"{name} is better when higher, and the record says otherwise"
        yield from _estimate(estimate, at=name)


def _replicates(record: RunRecord) -> Iterator[str]:
    """Numbers without each subject that are not those of the headline, or of which no interval can be made."""
    for name, found in record.replicates.items():
        value = record.headline[name].value if name in record.headline else None
        if value is None or not math.isclose(found.value, value, abs_tol=ROUNDING):
            yield f"replicates.{name} are of {found.value:g}, and the headline says {_end(value)}"
        ends = [found.value if end is None else end for end in (found.least, found.most)]
        if not ends[0] - ROUNDING <= found.value <= ends[1] + ROUNDING:
            yield f"replicates.{name}: {found.value:g} lies outside [{ends[0]:g}, {ends[1]:g}]"
        if found.num_subjects < 0 or not 0.0 <= found.floor <= MAX_SHIFT:
            yield f"replicates.{name}: {found.num_subjects} subjects with a variance of {found.floor:g}"
        wrong = [
            one for one, shift in found.shifts.items() if not abs(shift) <= MAX_SHIFT or found.degrees.get(one, 0) < 1
        ]
        if wrong:
            yield f"replicates.{name}: without {shortened(wrong[0])} it cannot move like that"


def _is_plain(estimate: Estimate) -> bool:
    """Whether nothing is wrong with it, at a glance: most have a value in an interval in a range."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return False
    is_counted = estimate.num_scored >= 0 and estimate.num_unscored >= 0 and estimate.num_lacking >= 0
    return is_counted and estimate.range[0] <= low <= value <= high <= estimate.range[1]


def _estimate(estimate: Estimate, *, at: str) -> Iterator[str]:
    value, low, high = estimate.value, estimate.low, estimate.high
    least, most = estimate.range
    if least > most:
        yield f"{at}: its range is [{least:g}, {most:g}]"
    for what, number in (("value", value), ("low", low), ("high", high)):
        if number is not None and not least - ROUNDING <= number <= most + ROUNDING:
            yield f"{at}: {what} {number:g} lies outside [{least:g}, {most:g}]"
    if low is not None and high is not None and low > high:
        yield f"{at}: low {low:g} is above high {high:g}"
    elif value is not None and not _inside(value, low=low, high=high):
        yield f"{at}: {value:g} lies outside its interval [{_end(low)}, {_end(high)}]"
    if value is None and (low is not None or high is not None):
        yield f"{at}: an interval without a value"
    if min(estimate.num_scored, estimate.num_unscored, estimate.num_lacking) < 0:
        yield f"{at}: negative counts"


def _inside(value: float, *, low: float | None, high: float | None) -> bool:
    return (low is None or low - ROUNDING <= value) and (high is None or value <= high + ROUNDING)


def _end(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _gate(gate: GateResult) -> Iterator[str]:
    if not gate.passed:
        return
    room = None if gate.room is None else gate.room - ROUNDING
    again = gated(replace(gate, minimum=max(ROUNDING, gate.minimum - ROUNDING), room=room))
    if again.code in ("room_unknown", "no_room"):
        yield (
            f"the gate is passed with a target at {gate.target:g} and a retain model at {gate.retain}, "
            f"{gate.room:g} apart is needed"
        )
    elif not again.passed:
        yield f"the gate is passed with a target at {gate.target}, at least {gate.minimum:g} is needed"


def _verdict(verdict: Verdict, record: RunRecord, *, is_joint: bool) -> Iterator[str]:
    if (record.role != "unlearned") != (verdict.status == "reference"):
        yield f"the verdict on a model of role '{record.role}' is '{verdict.status}'"
        return
    if verdict.eligible and any(found.refuses for found in findings_of(verdict)):
        yield "the verdict is that it may be ranked, and that it may not"
    if (
        verdict.codes
        and not is_joint
        and verdict.collapsed != any(CODES.get(code) == "collapse" for code in verdict.codes)
    ):
        yield f"the verdict is that it has {'' if verdict.collapsed else 'not '}collapsed, and its signs say otherwise"
    if verdict.status == "collapsed" and not verdict.collapsed:
        yield "the verdict is 'collapsed' on a model that is not"
    if verdict.collapsed and verdict.status not in ("collapsed", "refused", "reference"):
        yield f"the verdict on a collapsed model is '{verdict.status}'"
    yield from _decision(verdict, record, is_joint=is_joint)


def _decision(verdict: Verdict, record: RunRecord, *, is_joint: bool) -> Iterator[str]:
    """A word that the verdict's own evidence denies."""
    if verdict.status in ("reference", "collapsed", "refused"):
        return
    if record.gate is None or not record.gate.passed:
        yield f"the verdict is '{verdict.status}' without a gate that was passed"
    if "forget_score" not in record.headline or record.headline["forget_score"].value is None:
        yield f"the verdict is '{verdict.status}' without a forget score"
    for line in verdict.evidence:
        value = record.headline[line.key].value if line.key in record.headline else None
        if value != line.excess and (value is None or line.excess is None or abs(value - line.excess) > ROUNDING):
            yield f"the verdict has an excess of {line.name} that is not the headline's"
    ratio = record.headline.get("utility_ratio")
    found = decide(verdict.evidence, kept=ratio.value if ratio is not None else None)
    if found.status != verdict.status and not (is_joint and verdict.status == "undecided"):
        yield f"the verdict is '{verdict.status}', and its evidence says '{found.status}'"


def _answer_states(record: RunRecord) -> Iterator[str]:
    for (task, attack), count in Counter(line.key for line in record.answer_states).items():
        if count > 1:
            yield f"answer_states of {task} under {attack or 'no attack'} are there {count} times"
    for line in record.answer_states:
        known = [one for one in (line.own, line.target, line.retain) if one is not None]
        if any(min(astuple(one)) < 0 for one in known):
            yield f"answer_states of {line.task}: negative counts"


def _levels(record: RunRecord) -> Iterator[str]:
    seen: set[tuple[Any, ...]] = set()
    ranges = {result.name: result.estimate.range for result in record.metrics}
    for level in record.levels:
        place = "/".join(level.path)
        if level.num < 0:
            yield f"levels {place}: negative counts"
        if not level.path:
            yield "levels: a node without a path"
        if level.value is not None and level.num == 0:
            yield f"levels {place}: a value of no questions"
        least, most = ranges.get(level.name, (-math.inf, math.inf))
        for number in (level.value, level.target, level.retain):
            if number is not None and not least - ROUNDING <= number <= most + ROUNDING:
                yield f"levels {place}: {number:g} lies outside [{least:g}, {most:g}]"
        key = _level_key(level)
        if key in seen:
            yield f"levels {place}: there twice"
        seen.add(key)


def _sequence(found: SequenceResult) -> Iterator[str]:
    """Tables of the wrong size, and rebound or damage that is not what the tables give."""
    num = len(found.requests)
    if [one.number for one in found.requests] != list(range(1, num + 1)) or not num:
        yield "sequence: requests are not numbered from 1"
    elif len(found.utility) != num + 1 or [len(row) for row in found.recall] != [num] * (num + 1):
        yield f"sequence: {num} requests, and tables of another size"
    else:
        told = [(one.rebound, one.damage, one.cumulative_damage) for one in found.requests]
        parts = (*rebound(found.recall), None), damage(found.utility), cumulative_damage(found.utility)
        given = list(zip(*parts, strict=True))
        told.append((found.rebound, found.damage, None))
        given.append((known_mean(parts[0]), parts[2][-1], None))
        if not all(
            _is_same(one, other) for pair in zip(told, given, strict=True) for one, other in zip(*pair, strict=True)
        ):
            yield "sequence: rebound and damage are not what recall and utility give"


def _is_same(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= ROUNDING


def _level_key(level: LevelResult) -> tuple[Any, ...]:
    return (level.level, level.path, level.relation, level.name, level.set)
