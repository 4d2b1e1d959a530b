"""Records that differ in their seed alone become one: which do, and what its numbers are."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmforget.leaderboard.over_seeds import join_seeds, joined_estimate
from mmforget.results.evidence import Evidence
from mmforget.results.schema import (
    BenchmarkUse,
    GateResult,
    LevelResult,
    MethodUse,
    Provenance,
    RunRecord,
    SetUse,
    Verdict,
)
from mmforget.results.store import StoredRun
from mmforget.types import Estimate, Replicates

PROVENANCE = Provenance("0", None, None, {}, "3", "Linux", "cpu", 1, {}, ("mmforget",), "2026-01-01T00:00:00", 1.0, 1)


GATE = GateResult("exact_match", "clean", "forget", 0.8, 0.5, target=0.9, retain=0.1, passed=True)


def record(seed: int, *, overall: float = 0.8, forget: float = 0.8, status: str = "undecided", **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "role": "unlearned",
        "name": "npo",
        "benchmark": BenchmarkUse("fiubench", "forget5", "clean"),
        "method": MethodUse("npo", {"lr": 1e-3, "training.seed": seed}, seed, "micro"),
        "model_info": {"dtype": "float32", "fingerprint": f"{seed}"},
        "data": {},
        "provenance": PROVENANCE,
        "sets": {"forget": SetUse(28, 28, 4, "a" * 64)},
        "headline": {"overall": spread(overall), "forget_score": spread(forget)},
        "verdict": Verdict(status, status == "collapsed", True, (f"{status} it is",)),
        "training": {"wall_s": float(seed), "peak_memory_bytes": 10 - seed, "num_planned": 40},
        "references": {"target": "t", "retain": "r"},
        "gate": GATE,
    }
    return RunRecord(**{**fields, **changes})


def spread(value: float) -> Estimate:
    return Estimate(value, max(0.0, value - 0.1), min(1.0, value + 0.1), 28, 2)


def runs(*records: RunRecord) -> list[StoredRun]:
    return [StoredRun(one, Path(f"folder_{number}/results_1.json"), {}) for number, one in enumerate(records)]


def test_seeds_become_one_row_with_the_mean() -> None:
    """Seeds 2, 0, 1 with .6, .9, .9: mean .8, in the order of the seeds, each with its place."""
    (joint,) = join_seeds(runs(record(2, overall=0.6), record(0, overall=0.9), record(1, overall=0.9)))
    assert joint.record.headline["overall"].value == pytest.approx(0.8)
    assert [(one.seed, one.overall) for one in joint.seeds] == [(0, 0.9), (1, 0.9), (2, 0.6)]
    assert [one.path.parent.name for one in joint.seeds] == ["folder_1", "folder_2", "folder_0"]
    assert joint.record.training == {"wall_s": 1.0, "peak_memory_bytes": 10, "num_planned": 40}


OTHERS: dict[str, dict[str, Any]] = {
    "argument": {"method": MethodUse("npo", {"lr": 2e-3, "training.seed": 1}, 1, "micro")},
    "recipe": {"method": MethodUse("npo", {"lr": 1e-3, "training.seed": 1}, 1, "released")},
    "name": {"name": "npo_mine"},
    "rows": {"sets": {"forget": SetUse(28, 28, 4, "b" * 64)}},
    "target": {"references": {"target": "u", "retain": "r"}},
    "quantisation": {"model_info": {"dtype": "float32", "quantisation": "4bit-nf4"}},
    "setting": {"benchmark": BenchmarkUse("fiubench", "forget1", "clean")},
    "judge": {"judge": {"name": "hf:other"}},
    "gate": {"gate": replace(GATE, minimum=0.5)},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_what_differs_in_more_than_the_seed_is_another_row(changes: dict[str, Any]) -> None:
    found = join_seeds(runs(record(0), record(1, **changes)))
    assert [one.seeds for one in found] == [(), ()]


def test_the_digits_of_a_gate_make_no_other_row() -> None:
    """Two machines may round the target's recall differently."""
    (joint,) = join_seeds(runs(record(0), record(1, gate=replace(GATE, target=0.9 + 1e-9))))
    assert len(joint.seeds) == 2


def test_references_are_never_joined() -> None:
    retain = record(0, role="retain", method=None, verdict=Verdict("reference", False, False))
    assert len(join_seeds(runs(retain, replace(retain, model_info={"fingerprint": "x"})))) == 2


def test_a_seed_that_is_there_twice_makes_a_second_row() -> None:
    """Two people with seeds 0 and 1 each, and one with seed 0 more."""
    found = join_seeds(runs(record(0), record(0), record(1), record(1), record(0)))
    assert [[seed.seed for seed in one.seeds] for one in found] == [[0, 1], [0, 1], []]


def test_a_model_that_is_there_under_two_seeds_makes_a_second_row() -> None:
    """Seed 0 handed in again as seed 7: one training is not two, whatever its record says."""
    again = record(7, model_info=record(0).model_info)
    found = join_seeds(runs(record(0), again, record(1)))
    assert [[seed.seed for seed in one.seeds] for one in found] == [[0, 1], []]
    unknown = {"dtype": "float32"}
    found = join_seeds(runs(record(0, model_info=unknown), record(1, model_info=unknown)))
    assert [[seed.seed for seed in one.seeds] for one in found] == [[0, 1]]


def test_a_number_over_seeds_by_hand() -> None:
    """.7, .8, .9, each -+.1: t(2) = 4.302653, s = .1: half-width sqrt(.1^2 + (t s / sqrt(3))^2) = .267786."""
    found = joined_estimate([spread(0.7), spread(0.8), spread(0.9)])
    half = math.sqrt(0.1**2 + (4.302653 * 0.1 / math.sqrt(3)) ** 2)
    assert half == pytest.approx(0.267786, abs=1e-6)
    assert found.low is not None
    assert (found.value, found.low) == (pytest.approx(0.8), pytest.approx(0.8 - half))
    assert found.high == 1.0, "a rate ends at 1"
    assert (found.num_scored, found.num_unscored) == (84, 6)


def test_seeds_that_agree_leave_the_interval_of_the_subjects() -> None:
    found = joined_estimate([spread(0.5)] * 3)
    assert (found.low, found.high) == (pytest.approx(0.4), pytest.approx(0.6))
    constant = Estimate(0.0, 0.0, 0.0, 28, constant=True)
    assert joined_estimate([constant, constant]).constant
    assert not joined_estimate([constant, replace(constant, value=1.0, low=1.0, high=1.0)]).constant


def test_a_number_that_one_seed_lacks_has_no_value() -> None:
    (joint,) = join_seeds(runs(record(0), record(1, headline={"forget_score": spread(0.8)})))
    assert joint.record.headline["overall"].value is None
    assert joint.record.headline["overall"].reasons == ("not measured with seed 1",)
    assert joint.record.headline["forget_score"].value == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("undecided", "undecided"), "undecided"),
        (("collapsed", "collapsed"), "collapsed"),
        (("undecided", "collapsed"), "undecided"),
        (("undecided", "refused"), "refused"),
    ],
)
def test_the_verdict_over_seeds(statuses: tuple[str, ...], expected: str) -> None:
    several = [record(seed, status=status) for seed, status in enumerate(statuses)]
    (joint,) = join_seeds(runs(*several))
    assert joint.record.verdict is not None
    assert joint.record.verdict.status == expected
    assert joint.record.verdict.collapsed == (expected == "collapsed")
    if len(set(statuses)) > 1:
        assert joint.record.verdict.reasons[0] == f"{statuses[0]} it is (seed 0)"


def attacked(seed: int, *, unlearned: float, shift: float = 0.02) -> Any:
    """A seed of which `cloze` finds so much, and a retain model nothing; four subjects, each moving it as much."""
    line = Evidence("cloze", "t", "black_box", 28, 0, 4, unlearned, 1.0, 0.0, excess=unlearned, outcome="open")
    people = ("a", "b", "c", "d")
    moves = Replicates(unlearned, 4, dict(zip(people, (shift, -shift) * 2, strict=True)), dict.fromkeys(people, 3.0))
    found = {line.key: Estimate(unlearned, 0.0, 1.0, 28, range=(-1.0, 1.0)), "utility_ratio": spread(0.9)}
    own = record(seed)
    return replace(
        own, verdict=Verdict("undecided", False, True, evidence=(line,)), replicates={line.key: moves},
        headline={**own.headline, **found},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "expected"), [((0.8, 0.8), "suppressed"), ((0.0, 0.0), "removed"), ((0.0, 0.9), "undecided")]
)
def test_evidence_is_weighed_over_seeds(found: tuple[float, float], expected: str) -> None:
    """.8 with every seed comes back; 0 and .9 have .45 in the mean, and two seeds that differ so say nothing."""
    (joint,) = join_seeds(runs(*(attacked(seed, unlearned=one) for seed, one in enumerate(found))))
    verdict = joint.record.verdict
    assert verdict is not None
    (line,) = verdict.evidence
    assert (verdict.status, line.unlearned) == (expected, pytest.approx(sum(found) / 2))


def test_levels_are_means_over_seeds() -> None:
    level = LevelResult("patient", ("a", "p1"), "inside", "exact_match", "", 3, 0.5, 1.0, None)
    (joint,) = join_seeds(runs(record(0, levels=(level,)), record(1, levels=(replace(level, value=1.0),))))
    assert joint.record.levels == (replace(level, value=0.75),)
