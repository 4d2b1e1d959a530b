"""Exports of several people as one board: what is there twice counts once, and what is only a row says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_runs import family, store

from mmforget.leaderboard import export
from mmforget.leaderboard.board import boards
from mmforget.leaderboard.merging import merged
from mmforget.leaderboard.over_seeds import join_seeds
from mmforget.results.store import Collected
from mmforget.results.verify import collect_trusted

pytestmark = pytest.mark.slow

NAMES = ("target", "retain")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    store(tmp_path / "runs", family())
    return tmp_path / "runs"


def exported(folder: Path, *paths: Path) -> Path:
    """The `leaderboard.json` of some records, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    found = boards(join_seeds(collect_trusted(paths).runs))
    (folder / "leaderboard.json").write_text("".join(export.pieces(found, folder=folder)))
    return folder / "leaderboard.json"


def rows(found: Collected) -> list[dict[str, Any]]:
    document = export.document(boards(found.runs))
    return [row for row in document["rows"] if row["name"] not in NAMES]


def test_two_exports_of_one_board_make_that_board(runs: Path, tmp_path: Path) -> None:
    """References and `kl` are in both. The records are gone, so all that is there is what rows say."""
    shared = [runs / name for name in (*NAMES, "kl")]
    one = exported(tmp_path / "a", *shared, runs / "npo", runs / "ga", runs / "npo_quick")
    two = exported(tmp_path / "b", *shared, runs / "grad_diff", runs / "po")
    whole = {row["name"]: row for row in json.loads(exported(tmp_path / "c", runs).read_text())["rows"]}
    shutil.rmtree(runs)
    found = merged([], exports=[one, two])
    assert found.faults == []
    assert len(found.notes) == 3
    assert all("and counts once" in note for note in found.notes)
    for row in export.document(boards(found.runs))["rows"]:
        same = whole.pop(row["name"])
        for key in ("rank", "tied", "rank_range", "eligible", "reasons", "headline", "metrics", "verdict", "results"):
            assert row[key] == same[key], (row["name"], key)
        assert [one["sha256"] for one in row["seeds"]] == [one["sha256"] for one in same["seeds"]]
        assert row["unverified"].startswith(f"only its row is there ({tmp_path}")
    assert whole == {}


def test_records_that_lie_where_their_rows_say_are_read_in_place_of_the_rows(runs: Path, tmp_path: Path) -> None:
    path = exported(tmp_path / "a", runs)
    found = merged([], exports=[path])
    assert all(row["unverified"] is None for row in rows(found))
    (runs / "npo" / "seed_1").rename(tmp_path / "elsewhere")
    found = merged([runs], exports=[path])
    (npo,) = [row for row in rows(found) if row["name"] == "npo"]
    assert [one["seed"] for one in npo["seeds"]] == [0, 1, 2], "the row has a training more than the records left"
    assert npo["unverified"].startswith("only its row is there")
    assert sum("counts once" in note for note in found.notes) == 1


def test_a_record_and_its_row_are_one(runs: Path, tmp_path: Path) -> None:
    path = exported(tmp_path / "a", runs)
    moved = Path(shutil.move(runs, tmp_path / "moved"))
    found = merged([moved], exports=[path])
    assert sorted(run.record.name for run in found.runs) == sorted(item.name for item in family())
    assert all(row["unverified"] is None for row in rows(found))


def test_single_seeds_of_several_people_are_one_row(runs: Path, tmp_path: Path) -> None:
    """Each alone has one training and no rank; together they have three."""
    ours = [runs / name for name in NAMES]
    paths = [exported(tmp_path / f"s{seed}", *ours, runs / "npo" / f"seed_{seed}") for seed in (0, 1, 2)]
    shutil.rmtree(runs)
    (alone,) = rows(merged([], exports=paths[:1]))
    assert (alone["rank"], [one["code"] for one in alone["findings"] if one["refuses"]]) == (None, ["one_training"])
    (npo,) = rows(merged([], exports=paths))
    assert ([one["seed"] for one in npo["seeds"]], npo["rank"]) == ([0, 1, 2], 1)
    assert all(len(one["sha256"]) == 64 for one in npo["seeds"])


def test_a_row_without_the_models_it_was_judged_against_says_so(runs: Path, tmp_path: Path) -> None:
    path = exported(tmp_path / "a", runs / "npo")
    shutil.rmtree(runs)
    (npo,) = rows(merged([], exports=[path]))
    assert (npo["eligible"], npo["rank"]) == (False, None)
    assert [one["code"] for one in npo["findings"] if one["refuses"]] == ["no_reference_record"] * 2


def test_a_row_that_contradicts_itself_is_named_and_the_others_stay(runs: Path, tmp_path: Path) -> None:
    path = exported(tmp_path / "a", runs)
    shutil.rmtree(runs)
    document = json.loads(path.read_text())
    document["rows"][2]["headline"]["overall"].update(low=0.0, high=0.1)
    document["rows"][3] = {"name": "evil\x1b"}
    document["rows"][4]["provenance"]["record"] = ["etc"]
    document["rows"][5]["seed_shares"] = {"overall": 10**400}
    document["rows"][6]["seeds"] = [{"seed": "one", "record": "x", "sha256": None, "overall": None}]
    document["rows"][7]["metrics"][0].update(value=1.5e300, low=None, high=None, range=[None, None])
    path.write_text(json.dumps(document).replace("1.5e+300", "1e999"))
    found = merged([], exports=[path])
    assert len(found.faults) == 5
    assert "contradicts itself: overall: " in found.faults[0]
    assert "missing config" in found.faults[1]
    assert all("a part of it is of another type" in fault for fault in found.faults[2:])
    assert len(found.runs) == 3, "an infinite number is one, too"
