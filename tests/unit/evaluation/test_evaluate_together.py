"""Evaluations of several instances as one: sums and means worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_benchmark import generated, toy

from mmforget.evaluation.instances import instance_results
from mmforget.evaluation.together import Part, together
from mmforget.results.schema import Cost, InstanceResult
from mmforget.types import Sample

FULL, HALF, NONE = "a b c d", "a b x y", "x y z w"
EXPECTED = {"toy_forget_gen": ("forget", 4), "toy_keep_gen": ("keep", 9)}


def samples(set_name: str, responses: list[str], *, subject: str) -> list[Sample]:
    return [replace(sample, subject=subject) for sample in generated(set_name, responses)]


def part(name: str, *, forget: list[str], keep: list[str], mean: float) -> Part:
    answered = [*samples("forget", forget, subject=name), *samples("keep", keep, subject=name)]
    counts = {"toy_forget_gen": len(forget), "toy_keep_gen": len(keep)}
    results = {
        "results": {t: {"alias": t, "bleu,none": mean, "bleu_stderr,none": 0.1} for t in counts},
        "groups": {"toy": {"bleu,none": mean}},
        "n-samples": {task: {"original": 20, "effective": count} for task, count in counts.items()},
        "task_hashes": dict.fromkeys(counts, name),
    }
    cost = Cost(wall_s=2.0, peak_memory_bytes=len(keep), num_tokens=10, num_requests=len(answered))
    return Part((name,), answered, results=results, cost=cost, edit_s=0.5)


PARTS = [part("Ann", forget=[FULL, NONE], keep=[FULL], mean=0.5), part("Bob", forget=[HALF], keep=[NONE] * 3, mean=0.1)]


def test_counts_are_added_and_means_weighted_by_questions() -> None:
    found = together(PARTS, expected=EXPECTED)
    assert [sample.subject for sample in found.samples] == ["Ann"] * 3 + ["Bob"] * 4
    assert found.cost == Cost(wall_s=4.0, peak_memory_bytes=3, num_tokens=20, num_requests=7)
    assert found.training == {"num_instances": 2, "wall_s": 1.0}
    numbers = found.results["results"]
    assert numbers["toy_forget_gen"]["bleu,none"] == pytest.approx((2 * 0.5 + 0.1) / 3)
    assert numbers["toy_keep_gen"]["bleu,none"] == pytest.approx((0.5 + 3 * 0.1) / 4)
    assert numbers["toy_keep_gen"]["bleu_stderr,none"] == "N/A"
    assert found.results["n-samples"]["toy_keep_gen"] == {"original": 20, "effective": 4}
    assert found.results["groups"] == {}


def test_a_set_says_how_much_of_it_was_asked() -> None:
    found = together(PARTS, expected=EXPECTED).sets
    assert (found["forget"].num_questions, found["forget"].num_expected, found["forget"].num_subjects) == (3, 4, 2)
    assert (found["keep"].num_questions, found["keep"].num_expected, found["keep"].num_subjects) == (4, 9, 2)


def test_an_instance_has_the_mean_of_its_own_scores(tmp_path: Path) -> None:
    """ROUGE-L recall of `a b c d`: 1 in FULL, 1/2 in HALF, 0 in NONE."""
    benchmark = toy(tmp_path / "tasks")
    found = list(instance_results(benchmark, together(PARTS, expected=EXPECTED).samples))
    assert [(one.name, one.num_questions) for one in found] == [("Ann", 3), ("Bob", 4)]
    ann, bob = found
    assert ann.values["forget/rouge_l"] == pytest.approx(0.5)
    assert bob.values["forget/rouge_l"] == pytest.approx(0.5)
    assert (ann.values["keep/rouge_l"], bob.values["keep/rouge_l"]) == (1.0, 0.0)


def test_what_could_not_be_scored_has_no_value(tmp_path: Path) -> None:
    silent = [replace(sample, response=None, unanswered="a guard") for sample in PARTS[0].samples]
    (found,) = instance_results(toy(tmp_path / "tasks"), silent)
    assert isinstance(found, InstanceResult)
    assert set(found.values.values()) == {None}
