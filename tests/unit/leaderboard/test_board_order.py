"""Who is ranked, in which order, and why the others are not."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import BENCHMARK, GATE, PROVENANCE, family, metrics, rate, record, stored

from mmforget.leaderboard.board import BoardRow, boards
from mmforget.results.rules import coverage, eligibility
from mmforget.results.schema import MethodUse, RunRecord, SetUse, Verdict
from mmforget.results.store import StoredRun
from mmforget.types import Estimate


def overall(value: float, low: float, high: float) -> dict[str, Estimate]:
    return {"overall": Estimate(value, low, high, 28), "forget_score": rate(0.9), "utility": rate(0.9)}


def test_the_order_of_a_board() -> None:
    """By overall, the collapsed model last though its forget score is the highest, the cut run not ranked at all."""
    (board,) = boards(stored(family()))
    assert [row.record.name for row in board.references] == ["target", "retain"]
    assert [(row.rank, row.record.name) for row in board.ranked] == [
        (1, "grad_diff"), (2, "npo"), (3, "po"), (4, "kl"), (5, "ga"),
    ]  # fmt: skip
    assert board.ranked[-1].collapsed
    assert [row.record.name for row in board.refused] == ["npo_quick"]
    assert board.refused[0].rank is None
    assert board.gates == (GATE,)


def test_a_collapsed_model_ranks_last_even_with_the_best_overall() -> None:
    runs = [record("ga", degenerate=0.9, overall=0.99), record("kl", overall=0.1, status="remembered")]
    (board,) = boards(stored(runs))
    assert [row.record.name for row in board.ranked] == ["kl", "ga"]
    assert board.ranked[1].rank_range == (2, 2)


def test_equal_values_share_a_place_and_the_next_place_is_skipped() -> None:
    """0.8, 0.6, 0.6, 0.4 take the places 1, 2, 2 and 4."""
    values = {"a": 0.6, "b": 0.8, "c": 0.6, "d": 0.4}
    (board,) = boards(stored([record(name, overall=value) for name, value in values.items()]))
    assert [(row.record.name, row.rank, row.tied) for row in board.ranked] == [
        ("b", 1, False), ("a", 2, True), ("c", 2, True), ("d", 4, False),
    ]  # fmt: skip


def test_the_places_that_intervals_allow() -> None:
    """a [.7,.9] and b [.6,.8] overlap; b and c [.5,.65] overlap; a lies wholly above c: a 1-2, b 1-3, c 2-3."""
    spans = {"a": (0.8, 0.7, 0.9), "b": (0.7, 0.6, 0.8), "c": (0.58, 0.5, 0.65)}
    runs = [record(name, headline=overall(*span)) for name, span in spans.items()]
    (board,) = boards(stored(runs))
    assert [row.rank_range for row in board.ranked] == [(1, 2), (1, 3), (2, 3)]


def test_a_row_without_an_interval_has_no_range_and_gives_no_other_one() -> None:
    """Alone it is first, and that says nothing; beside it, a row with an interval may be first or second."""
    (board,) = boards(stored([record("npo", headline=bare(0.9))]))
    assert [(row.rank, row.rank_range) for row in board.ranked] == [(1, None)]
    (board,) = boards(stored([record("npo", headline=bare(0.9)), record("kl", headline=overall(0.2, 0.1, 0.3))]))
    assert [(row.record.name, row.rank_range) for row in board.ranked] == [("npo", None), ("kl", (1, 2))]
    (board,) = boards(stored([record("kl", headline=overall(0.2, 0.1, 0.3))]))
    assert board.ranked[0].rank_range == (1, 1)


def test_rows_of_one_name_are_told_apart() -> None:
    """By seed where that does it, else by a folder of their paths; a name that is alone stays as it is."""
    seeds = [record("npo", method=MethodUse("npo", seed=seed)) for seed in (1, 2)]
    (board,) = boards(stored([*seeds, record("kl")]))
    assert sorted(row.label for row in board.rows) == ["kl", "npo (seed 1)", "npo (seed 2)"]
    places = [Path(f"/runs/{who}/fiubench/npo/results_1.json") for who in ("ann", "bob")]
    (board,) = boards([StoredRun(record("npo"), path, {}) for path in places])
    assert sorted(row.label for row in board.rows) == ["npo (ann)", "npo (bob)"]
    (board,) = boards([StoredRun(record("npo"), places[0], {})] * 2)
    assert sorted(row.label for row in board.rows) == ["npo (#1)", "npo (#2)"]


def test_other_settings_profiles_and_forget_sets_are_other_boards() -> None:
    runs = [
        record("a"),
        record("b", benchmark=replace(BENCHMARK, setting="forget1")),
        record("c", benchmark=replace(BENCHMARK, profile="paper")),
        record("d", sets={"forget": SetUse(28, 28, 4, "other")}),
        record("e", sets={}),
        record("f", benchmark=replace(BENCHMARK, asked="max_gen_toks=5")),
        record("g", metrics=metrics(recall=0.1, utility=0.9, degenerate=0.0)[:1]),
    ]
    found = [[row.record.name for row in board.rows] for board in boards(stored(runs))]
    assert found == [["a", "e"], ["b"], ["c"], ["d"], ["f"], ["g"]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verdict": None}, "no verdict"),
        ({"verdict": Verdict("refused", False, False, ("target knew nothing",))}, "target knew nothing"),
        ({"gate": None}, "no memorisation gate"),
        ({"gate": replace(GATE, passed=False, reason="target recalls 0.13")}, "memorisation gate: target recalls 0.13"),
        ({"sets": {}}, "does not say how many questions"),
        ({"sets": {"retain": SetUse(9, 10)}}, "only 9 of 10 questions of the retain set"),
        ({"references": {"target": "x"}}, "no retain model"),
        ({"headline": {}}, "no overall"),
        (
            {"headline": overall(0.9, 0.8, 1.0) | {"utility": Estimate(None, reasons=("no answers",))}},
            "no utility: no ans",
        ),
        (
            {"headline": overall(0.9, 0.8, 1.0) | {"utility": Estimate(0.9, None, None, 94, 6)}},
            "only 94 of 100 answers",
        ),
    ],
)
def test_every_refusal_has_its_reason(changes: dict[str, Any], reason: str) -> None:
    found = eligibility(record("npo", **changes))
    assert not found.eligible
    assert any(reason in text for text in found.reasons), found.reasons


def test_a_record_may_break_several_rules_and_all_are_named() -> None:
    assert len(eligibility(record("npo", gate=None, references={}, sets={})).reasons) == 3


def test_a_good_record_is_eligible_and_its_weak_sides_are_notes() -> None:
    good = record("npo", provenance=replace(PROVENANCE, dirty=True), num_nonfinite=2)
    found = eligibility(good)
    assert found.eligible
    assert found.reasons == ()
    assert "uncommitted" in found.notes[0]
    assert "synthetic" in found.notes[1]
    assert "2 numbers" in found.notes[-1]


def test_references_are_never_ranked() -> None:
    assert not eligibility(record("target", role="target")).eligible


def test_a_collapsed_record_without_an_overall_is_still_ranked_last() -> None:
    ruined: RunRecord = record(
        "ga", degenerate=1.0, headline={name: rate(None) for name in ("overall", "forget_score", "utility")}
    )
    (board,) = boards(stored([ruined, record("npo")]))
    assert [row.record.name for row in board.ranked] == ["npo"] + ["ga"]


@pytest.mark.parametrize(("scored", "unscored", "share"), [(3, 1, 0.75), (0, 4, 0.0), (0, 0, None)])
def test_coverage(scored: int, unscored: int, share: float | None) -> None:
    assert coverage(Estimate(None, num_scored=scored, num_unscored=unscored)) == share


def test_places_of_many_rows_are_those_of_comparing_each_with_each() -> None:
    """200 random rows, a few collapsed and some without an interval: places by counting, one pair at a time."""
    drawn = random.Random(0)
    spans = [sorted(round(drawn.random(), 2) for _ in range(3)) for _ in range(200)]
    rows = [
        record(
            f"m{n}", degenerate=0.9 * (n % 9 == 0), headline=overall(value, low, high) if n % 7 else bare(value)
        )
        for n, (low, value, high) in enumerate(spans)
    ]  # fmt: skip
    (board,) = boards(stored(rows))

    def beats(one: BoardRow, other: BoardRow) -> bool:
        ours, theirs = one.headline("overall"), other.headline("overall")
        assert ours.value is not None
        assert theirs.value is not None
        if one.collapsed != other.collapsed:
            return other.collapsed
        return ours.low is not None and theirs.high is not None and ours.low > theirs.high

    assert len(board.ranked) == 200
    for row in board.ranked:
        above = sum(beats(other, row) for other in board.ranked)
        below = sum(beats(row, other) for other in board.ranked)
        assert row.rank_range == ((1 + above, 200 - below) if row.headline("overall").low is not None else None)
        level = [other for other in board.ranked if other.headline("overall").value == row.headline("overall").value]
        assert row.tied == (sum(other.collapsed == row.collapsed for other in level) > 1)


def bare(value: float) -> dict[str, Estimate]:
    return {**overall(value, value, value), "overall": Estimate(value, num_scored=28)}


def test_no_two_boards_share_a_name() -> None:
    """The same benchmark and setting, other rows to forget: two boards that a reader can tell apart."""
    other = {"forget": SetUse(28, 28, 4, "c" * 64)}
    found = boards(stored([record("npo"), record("ga", sets=other), record("kl", forget=0.35)]))
    assert [board.name for board in found] == ["fiubench_forget5_clean", "fiubench_forget5_clean_2"]
    assert [[row.record.name for row in board.rows] for board in found] == [["npo", "kl"], ["ga"]]
