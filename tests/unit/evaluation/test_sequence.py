"""The matrix of request by set, its rebound and its damage, from answers whose scores are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from toy_benchmark import generated, toy

from mmforget.evaluation.headline import utility_of
from mmforget.evaluation.measurements import Measurements
from mmforget.evaluation.sequence import CarriedOut, Sequenced, scored_again
from mmforget.results.codec import from_json, to_jsonable
from mmforget.results.schema import BenchmarkUse, Provenance, RunRecord
from mmforget.results.sequence import RequestResult, SequenceResult
from mmforget.types import Sample

FULL, HALF, NONE = "a b c d", "a b x y", "x y z w"
"""ROUGE-L recall of `a b c d`: 1, 1/2 and 0."""


def answered(ann: str, bob: str, *, kept: str) -> list[Sample]:
    """Two questions about each of two people to forget, and one about somebody to keep."""
    people = {"Ann": [ann, ann], "Bob": [bob, bob]}
    found = [sample for name, said in people.items() for sample in named("forget", said, subject=name)]
    return found + named("keep", [kept], subject="Cleo")


def named(set_name: str, responses: list[str], *, subject: str) -> list[Sample]:
    return [replace(one, subject=subject, id=f"{subject}-{one.id}") for one in generated(set_name, responses)]


TARGET = answered(FULL, FULL, kept=FULL)
FIRST = answered(NONE, FULL, kept=HALF)
LAST = answered(HALF, NONE, kept=NONE)
DONE = (
    CarriedOut(1, ("Ann",), 2, {"num_steps": 3}, {"samples_toy.jsonl": "0" * 64}, FIRST),
    CarriedOut(2, ("Bob",), 2, {"num_steps": 3}),
)


@pytest.fixture
def found(tmp_path: Path) -> SequenceResult:
    return Sequenced("merged", DONE).result(toy(tmp_path / "tasks"), target=TARGET, last=LAST, retain=None)


def cell(found: SequenceResult, *, after: int, set: str, request: int | None) -> Mapping[str, float | None]:
    (one,) = [c for c in found.cells if (c.after, c.set, c.request) == (after, set, request)]
    return one.values


def test_recall_is_that_of_the_rows_of_each_request(found: SequenceResult) -> None:
    assert (found.metric, found.set, found.between) == ("rouge_l", "forget", "merged")
    assert found.recall == ((1.0, 1.0), (0.0, 1.0), (0.5, 0.0))
    assert [one.rebound for one in found.requests] == [0.5, None]
    assert found.rebound == 0.5


def test_every_set_is_there_after_every_request(found: SequenceResult) -> None:
    assert {(one.set, one.request) for one in found.cells} == {("forget", 1), ("forget", 2), ("keep", None)}
    assert len(found.cells) == 9
    assert [cell(found, after=j, set="keep", request=None)["rouge_l"] for j in range(3)] == [1.0, 0.5, 0.0]
    assert cell(found, after=2, set="forget", request=1)["rouge_l"] == 0.5
    assert {one.num for one in found.cells if one.set == "forget"} == {2}


def test_damage_is_of_the_utility(found: SequenceResult, tmp_path: Path) -> None:
    utility = [utility_of(Measurements(toy(tmp_path / "again"), one)).value for one in (TARGET, FIRST, LAST)]
    assert list(found.utility) == utility
    if None not in utility:
        assert found.damage == utility[0] - utility[-1]  # type: ignore[operator]


def test_it_is_read_as_it_was_written(found: SequenceResult) -> None:
    assert from_json(SequenceResult, to_jsonable(found).value, source="x") == found


def test_scored_again_it_is_the_same(found: SequenceResult, tmp_path: Path) -> None:
    benchmark = toy(tmp_path / "again")
    record = RunRecord(
        "unlearned", "toy, 2 requests", BenchmarkUse("toy", "two", "clean"), None, {}, {},
        Provenance("0", None, None, {}, "3", "Linux", "cpu", 1, {}, (), "2026", 0.0, 0),
        sequence=replace(found, cells=()),
    )  # fmt: skip
    read: list[int] = []

    def stored(request: RequestResult) -> list[Sample]:
        read.append(request.number)
        return FIRST

    again = scored_again(record, benchmark=benchmark, samples=LAST, read=stored, target=TARGET, retain=None)
    assert again.sequence == found
    assert read == [1]
    assert scored_again(record, benchmark=benchmark, samples=LAST, read=stored, target=None, retain=None) == record
