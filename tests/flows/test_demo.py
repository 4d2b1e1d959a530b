"""The README's demo, and what has to be true of it: memorised, forgotten, collapsed, ranked, resumable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from compare_tables import differences, numbers_of
from mmforget.results.schema import RunRecord
from mmforget.results.store import read_run
from tests.commands import METHODS, TESTED_METHODS, TESTED_SEEDS, command, part_of_demo, small_demo

COMMITTED = Path(__file__).parents[2] / "bench" / "demo.json"


def folder(demo: Path, name: str, *, seed: int = TESTED_SEEDS[0]) -> Path:
    home = demo / "fiubench" / name
    return home / f"seed_{seed}" if name in TESTED_METHODS else home


def record(demo: Path, name: str, *, seed: int = TESTED_SEEDS[0]) -> RunRecord:
    return read_run(folder(demo, name, seed=seed)).record


def value(found: RunRecord, metric: str, *, set: str, profile: str = "clean", attack: str | None = None) -> float:
    estimate = found.metric(metric, set=set, profile=profile, attack=attack)
    number = estimate.value if estimate is not None else None
    assert number is not None, f"{found.name}: no {metric} on {set}"
    return number


@pytest.fixture(scope="module")
def whole(tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the demo with all of its people. Minutes."""
    folder = tmp_path_factory.mktemp("whole")
    said = command(*part_of_demo(folder))
    assert said.status == 0, said.err
    return folder


def test_the_target_has_memorised_and_the_retain_model_has_not(demo: Path) -> None:
    target, retain = record(demo, "target"), record(demo, "retain")
    assert value(target, "exact_match", set="forget") >= 0.95
    assert value(target, "exact_match", set="retain5") >= 0.95
    assert value(target, "exact_match", set="rephrase") >= 0.90
    assert value(retain, "exact_match", set="forget") < 0.25
    assert value(retain, "exact_match", set="retain5") >= 0.95
    assert target.gate is not None
    assert target.gate.passed


def test_ks_tells_the_target_from_the_retain_model(demo: Path) -> None:
    assert value(record(demo, "target"), "ks_forget_quality", set="forget") < 1e-3


def test_the_answers_need_the_picture(demo: Path) -> None:
    target = record(demo, "target")
    assert value(target, "exact_match", set="forget", attack="blank_image") < 0.3


def test_gradient_ascent_collapses_and_is_called_collapsed(demo: Path) -> None:
    ga = record(demo, "ga")
    assert ga.verdict is not None
    assert ga.verdict.collapsed
    assert ga.headline["overall"].value == 0


def test_a_method_comes_closer_to_the_retain_model_and_keeps_its_utility(demo: Path) -> None:
    found = [record(demo, name) for name in TESTED_METHODS]
    good = [
        one.name
        for one in found
        if (one.headline["forget_score"].value or 0) > 0.5 and (one.headline["utility_ratio"].value or 0) >= 0.8
    ]
    assert good, [(r.name, r.headline["forget_score"].value, r.headline["utility_ratio"].value) for r in found]


def test_a_part_of_the_people_is_shown_and_not_ranked(demo: Path) -> None:
    rows = {row["name"]: row for row in json.loads((demo / "leaderboard.json").read_text())["rows"]}
    assert rows.keys() == {"target", "retain", *TESTED_METHODS}
    for name in TESTED_METHODS:
        assert rows[name]["rank"] is None
        assert any("a subset of the people" in reason for reason in rows[name]["reasons"])
    assert "COLLAPSED" in (demo / "leaderboard.md").read_text()


@pytest.mark.long
def test_the_board_ranks_every_method_and_the_collapsed_last(whole: Path) -> None:
    document = json.loads((whole / "leaderboard.json").read_text())
    ranked = [row for row in document["rows"] if row["rank"] is not None]
    assert {row["config"]["method"] for row in ranked} == set(TESTED_METHODS)
    every = {name: [record(whole, name, seed=seed).verdict for seed in TESTED_SEEDS] for name in TESTED_METHODS}
    collapsed = {name for name, found in every.items() if all(verdict and verdict.collapsed for verdict in found)}
    last = sorted(ranked, key=lambda row: row["rank"])[-len(collapsed) :]
    assert {row["config"]["method"] for row in last} == collapsed


@pytest.mark.long
def test_the_table_is_the_committed_one_as_far_as_either_can_tell(whole: Path) -> None:
    """Another processor or version of torch moves numbers, and one seed less, but within their intervals."""
    ours, committed = (numbers_of(json.loads(path.read_text())) for path in (whole / "leaderboard.json", COMMITTED))
    assert {cell.label for cell in committed} - {cell.label for cell in ours} == set(METHODS) - set(TESTED_METHODS)
    assert list(differences(ours, {cell: committed[cell] for cell in ours})) == []


def test_the_table_in_the_readme_is_the_committed_one() -> None:
    readme = (COMMITTED.parents[1] / "README.md").read_text()
    for cell, number in numbers_of(json.loads(COMMITTED.read_text())).items():
        row = next(line for line in readme.splitlines() if line.startswith("|") and f"| {cell.label} " in line)
        assert f" {number['value']:.3f} [{number['low']:.3f}, {number['high']:.3f}]" in row


def test_every_row_is_over_subjects_and_seeds(demo: Path) -> None:
    rows = {row["name"]: row for row in json.loads((demo / "leaderboard.json").read_text())["rows"]}
    for name in TESTED_METHODS:
        values = [record(demo, name, seed=seed).headline["overall"].value for seed in TESTED_SEEDS]
        assert [one["seed"] for one in rows[name]["seeds"]] == list(TESTED_SEEDS)
        assert [one["overall"] for one in rows[name]["seeds"]] == values
        overall = rows[name]["headline"]["overall"]
        assert overall["value"] == pytest.approx(sum(number or 0.0 for number in values) / len(values))
        assert overall["low"] <= overall["value"] <= overall["high"]
    assert rows["target"]["seeds"] == []


def test_page_and_picture_are_there(demo: Path) -> None:
    page = (demo / "index.html").read_text()
    assert "data:image/png;base64," in page
    assert not [link for link in ('src="http', 'href="//', "@import", '<link rel="stylesheet') if link in page]
    assert list(demo.glob("*.png"))[0].read_bytes().startswith(b"\x89PNG")


def test_a_second_run_does_nothing_again_and_ends_with_the_same_numbers(demo: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.glob("fiubench/**/results_*.json")}
    assert len(before) == 2 + len(TESTED_METHODS) * len(TESTED_SEEDS)
    said = command(*small_demo(demo))
    assert said.status == 0
    assert {path: path.stat().st_mtime_ns for path in demo.glob("fiubench/**/results_*.json")} == before


@pytest.mark.parametrize("name", ["target", "grad_diff"])
def test_rescoring_without_a_model_gives_the_same_numbers(demo: Path, name: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(demo / "fiubench", copy)
    place = copy / folder(demo, name).relative_to(demo / "fiubench")
    said = command("rescore", place, "--json")
    assert said.status == 0, said.err
    before, after = record(demo, name), read_run(place).record
    assert after.metrics == before.metrics
    assert after.headline == before.headline
