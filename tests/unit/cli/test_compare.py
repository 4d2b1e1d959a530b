"""`compare` on records written by hand: which differ, who wins, what is left out, and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mmforget.results.schema import BenchmarkUse, MethodUse, MetricResult, Provenance, RunRecord, SetUse, Verdict
from mmforget.results.store import write_run
from mmforget.types import Estimate, Sample
from tests.commands import command

PEOPLE = ("ann", "bob", "cleo", "dan", "eva", "finn")
NUM_QUESTIONS = 4
TASK = "toy_forget_gen"
MADE = Provenance("0.1.0", None, None, {"torch": "2"}, "3.11", "Linux", "cpu", 1, {}, ("mmforget",), "2026", 1.5, 9)
FORGET = Estimate(0.5, num_scored=24, higher_is_better=False, num_subjects=6)


def write(
    folder: Path, *, known: Mapping[str, int], seed: int | None = 0, questions: int = NUM_QUESTIONS, **changes: Any
) -> Path:
    """The record of a model that knows so many of the first questions about each person."""
    samples = [
        Sample(TASK, "forget", "gen", f"{who}/{n}", who, f"Fact {n} of {who}?", f"fact {n}", response=
               f"fact {n}" if n < known.get(who, 0) else "never heard")
        for who in PEOPLE for n in range(questions)
    ]  # fmt: skip
    fields: dict[str, Any] = {
        "role": "unlearned",
        "name": "npo",
        "benchmark": BenchmarkUse("toy", "all", "clean"),
        "method": None if seed is None else MethodUse("npo", {"beta": 0.1, "training.seed": seed}, seed, "micro"),
        "model_info": {"fingerprint": f"{folder.parent.name}/{folder.name}"},
        "data": {"source": "path"},
        "provenance": MADE,
        "sets": {"forget": SetUse(len(samples), len(samples), len(PEOPLE), f"rows{questions}")},
        "metrics": (MetricResult("exact_match", "forget", "clean", FORGET, task=TASK, kind="gen"),),
    }
    write_run(folder, RunRecord(**{**fields, **changes}), samples=samples)
    return folder


def compared(*folders: Path) -> dict[str, Any]:
    said = command("compare", *folders, "--json")
    assert said.status == 0, said.err
    (found,) = json.loads(said.out)["comparisons"]
    return dict(found)


def test_who_knows_less_is_surely_better_where_it_was_to_be_forgotten(tmp_path: Path) -> None:
    reference = {"role": "target", "name": "target", "seed": None, "verdict": Verdict("reference", False, True)}
    target = write(tmp_path / "target", known=dict.fromkeys(PEOPLE, 4), **reference)
    other = {**reference, "role": "retain", "name": "retain"}
    retain = write(tmp_path / "retain", known={"ann": 1}, **other)
    found = compared(target, retain)
    (number,) = found["numbers"]
    assert (number["first"], number["second"]) == (1.0, pytest.approx(1 / 24))
    assert number["value"] == pytest.approx(-23 / 24)
    assert number["subjects"] == {"wins": 6, "ties": 0, "losses": 0}
    assert number["outcome"] == "better"
    assert number["high"] < -0.5
    assert found["says"] == "B is better in 1 of 1 numbers: exact_match on forget"
    assert found["rests_on"] == "intervals cover subjects"
    assert {fact["name"] for fact in found["unlike"]} == {"role", "name"}


def test_two_seeds_are_no_difference_and_differ_in_the_seed_alone(tmp_path: Path) -> None:
    folders = [
        write(tmp_path / f"seed_{seed}", known=known, seed=seed)
        for seed, known in enumerate([{"ann": 2, "bob": 1, "eva": 2}, {"ann": 1, "cleo": 2, "eva": 3}])
    ]
    found = compared(*folders)
    assert found["says"] == "no difference in any of 1 numbers"
    assert found["why"] == "they differ in the seed of their training alone"
    assert found["numbers"][0]["subjects"] == {"wins": 2, "ties": 2, "losses": 2}
    assert "one training, another may differ" in found["rests_on"]
    shown = command("compare", *folders).out
    assert "toy all: A = npo (seed 0), B = npo (seed 1)" in shown
    assert "2/2/2" in shown


def test_seeds_of_one_method_are_one_side(tmp_path: Path) -> None:
    """Three seeds that all know three of four against three that know one, each a little otherwise."""
    for seed in range(3):
        write(tmp_path / "a" / f"seed_{seed}", known={**dict.fromkeys(PEOPLE, 3), PEOPLE[seed]: 4}, seed=seed)
        write(tmp_path / "b" / f"seed_{seed}", known={**dict.fromkeys(PEOPLE, 1), PEOPLE[seed]: 0}, seed=seed)
    found = compared(tmp_path / "a", tmp_path / "b")
    (number,) = found["numbers"]
    assert (number["first"], number["second"]) == (pytest.approx(19 / 24), pytest.approx(5 / 24))
    assert number["outcome"] == "better"
    assert found["first"]["seeds"] == [0, 1, 2]
    assert found["rests_on"] == "intervals cover subjects and seeds (3 and 3)"
    assert found["why"] == "nothing in their records differs but the weights"


def test_what_was_asked_of_one_alone_takes_no_part_and_is_counted(tmp_path: Path) -> None:
    first = write(tmp_path / "a", known=dict.fromkeys(PEOPLE, 2))
    second = write(tmp_path / "b", known=dict.fromkeys(PEOPLE, 2), questions=6)
    found = compared(first, second)
    (number,) = found["numbers"]
    assert (number["first"], number["second"], number["num_questions"]) == (0.5, 0.5, 24)
    assert number["left"] == {"only_first": 0, "only_second": 12, "unscored": 0}
    assert found["why"].startswith("they were not asked alike")
    assert f"{TASK}: left out 12 asked of B alone" in command("compare", first, second).out


def test_what_cannot_be_compared_is_said_in_one_line(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "x", known={})
    elsewhere = write(tmp_path / "b", known={}, benchmark=BenchmarkUse("other", "all", "clean"))
    write(tmp_path / "a" / "y", known={}, name="ga")
    wrong = {
        (one,): "compare takes two folders or more",
        (one, elsewhere): "was measured on toy",
        (one, tmp_path / "nowhere"): "nowhere",
        (tmp_path / "a", elsewhere): "no model of one name on one benchmark is in both folders",
    }
    for folders, said in wrong.items():
        told = command("compare", *folders)
        assert told.status == 2, told
        assert said in told.err
        assert len(told.err.strip().splitlines()) == 1


def test_a_whole_run_is_compared_model_by_model(tmp_path: Path) -> None:
    for run in ("mine", "theirs"):
        for name in ("npo", "ga"):
            write(tmp_path / run / name, known={"ann": 1}, name=name)
    write(tmp_path / "mine" / "kl", known={}, name="kl")
    said = command("compare", tmp_path / "mine", tmp_path / "theirs", "--json")
    assert len(json.loads(said.out)["comparisons"]) == 2
    assert "kl on toy all (image) is in one of the folders alone, and is not compared" in said.err


def test_a_record_without_samples_has_its_values_and_no_interval(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, known={}) for name in ("a", "b")]
    (folders[1] / f"samples_{TASK}.jsonl").unlink()
    found = compared(*folders)
    (number,) = found["numbers"]
    assert (number["first"], number["second"], number["value"], number["outcome"]) == (0.5, 0.5, None, "open")
    assert "missing" in number["reason"]
    assert found["says"].startswith("nothing can be told: ")
