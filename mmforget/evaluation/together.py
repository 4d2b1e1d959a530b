"""Several evaluations of one benchmark, each of other instances, as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmforget.evaluation.run import COUNTED, Evaluation, least_asked
from mmforget.results.fingerprint import hash_json
from mmforget.results.schema import Cost, SetUse
from mmforget.types import Sample


@dataclass(frozen=True)
class Part:
    """What some instances were asked after each was forgotten.

    Attributes:
        names: of the instances.
        results: lm_eval's own of these questions.
        edit_s: seconds that forgetting took.
    """

    names: tuple[str, ...]
    samples: Sequence[Sample]
    results: Mapping[str, Any]
    cost: Cost
    edit_s: float


def together(parts: Sequence[Part], *, expected: Mapping[str, tuple[str, int]]) -> Evaluation:
    """One evaluation of all parts: lm_eval's numbers are means over all questions, without its standard errors.

    Args:
        expected: by task, the set that it asks and the questions that it has for all instances together.
    """
    samples = [sample for part in parts for sample in part.samples]
    results = {**parts[-1].results, **_means([part.results for part in parts])}
    used = _sets(samples, expected=expected, hashes=results["task_hashes"])
    training = {
        "num_instances": sum(len(part.names) for part in parts),
        "wall_s": round(math.fsum(part.edit_s for part in parts), 3),
    }
    return Evaluation(results, samples, used, (), _costs([part.cost for part in parts]), training=training)


def _means(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`results`, `n-samples` and `task_hashes` of all questions together; groups, which sum tasks up, have none."""
    tasks = dict.fromkeys(task for one in results for task in one["n-samples"])
    counts = {task: [one["n-samples"].get(task, {}).get("effective", 0) for one in results] for task in tasks}
    numbers = {task: [one["results"].get(task, {}) for one in results] for task in tasks}
    original = {task: max(one["n-samples"].get(task, {}).get("original", 0) for one in results) for task in tasks}
    return {
        "groups": {},
        "results": {task: _mean(numbers[task], counts=counts[task]) for task in tasks},
        "n-samples": {task: {"original": original[task], "effective": sum(counts[task])} for task in tasks},
        "task_hashes": {task: hash_json([one["task_hashes"].get(task) for one in results]) for task in tasks},
    }


def _mean(numbers: Sequence[Mapping[str, Any]], *, counts: Sequence[int]) -> dict[str, Any]:
    """The mean of each number, weighted by questions; None where one of them is."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for one in numbers for key in one):
        values = [(one[key], count) for one, count in zip(numbers, counts, strict=True) if key in one]
        if "_stderr" in key:
            found[key] = "N/A"
        elif all(isinstance(value, int | float) and not isinstance(value, bool) for value, _ in values):
            total = sum(count for _, count in values)
            found[key] = math.fsum(value * count for value, count in values) / total if total else None
        else:
            found[key] = values[0][0]
    return found


def _sets(
    samples: Sequence[Sample], *, expected: Mapping[str, tuple[str, int]], hashes: Mapping[str, str]
) -> dict[str, SetUse]:
    """How much of every set was asked; where several tasks ask one set, the one that asked least of it."""
    found: list[tuple[str, SetUse]] = []
    for task, (name, num_expected) in expected.items():
        own = [sample for sample in samples if sample.task == task and sample.attack is None]
        if own:
            subjects = {sample.subject for sample in own}
            found.append((name, SetUse(len(own), num_expected, len(subjects), hashes[task])))
    return least_asked(found)


def _costs(costs: Sequence[Cost]) -> Cost:
    sums = {name: sum(getattr(one, name) for one in costs) for name in ("wall_s", *COUNTED)}
    return replace(costs[-1], **sums, peak_memory_bytes=max(one.peak_memory_bytes for one in costs))
