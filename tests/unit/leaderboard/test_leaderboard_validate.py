"""`leaderboard.json` against its JSON Schema and its rules: ours passes, what is broken is told in its own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import family, store

from mmforget.errors import UserError
from mmforget.leaderboard import export
from mmforget.leaderboard.board import boards
from mmforget.leaderboard.over_seeds import join_seeds
from mmforget.leaderboard.rows import row_of
from mmforget.leaderboard.validating import schema_faults, schema_text, validate
from mmforget.results.codec import to_jsonable
from mmforget.results.store import find_records

pytest.importorskip("jsonschema", reason="the package jsonschema is not installed")

Edit = Callable[[dict[str, Any]], object]
NPO = "row 4 (npo)"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of a board of every kind of row."""
    folder = tmp_path_factory.mktemp("honest")
    store(folder / "runs", family())
    return "".join(export.pieces(boards(join_seeds(find_records([folder / "runs"]))), folder=folder))


def written(text: str, folder: Path, change: Edit = lambda document: None) -> Path:
    document = json.loads(text)
    change(document)
    path = folder / "leaderboard.json"
    path.write_text(json.dumps(document))
    return path


def faults(text: str, folder: Path, change: Edit = lambda document: None) -> list[str]:
    return validate(written(text, folder, change)).faults


def test_ours_keeps_its_schema_and_its_rules(honest: str, tmp_path: Path) -> None:
    found = validate(written(honest, tmp_path))
    assert found.faults == []
    assert found.num_rows == len(found.rows) == 8


def test_a_row_read_back_and_written_again_is_the_same_row(honest: str, tmp_path: Path) -> None:
    found = validate(written(honest, tmp_path))
    again = {id(row.record): (board, row) for board in boards([one.run for one in found.rows]) for row in board.rows}
    for one in found.rows:
        board, row = again[id(one.run.record)]
        made = to_jsonable(row_of(board, row, folder=tmp_path)).value
        assert {key: made[key] for key in made if key != "label"} == {k: one.row[k] for k in one.row if k != "label"}


def npo(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in document["rows"] if row["name"] == "npo")
    return found


BROKEN: dict[str, tuple[Edit, str]] = {
    "an unknown key": (lambda d: npo(d).update(colour="red"), f"{NPO}: unknown keys colour"),
    "a missing key": (lambda d: npo(d)["headline"]["overall"].pop("low"), f"{NPO}: headline.overall: missing low"),
    "a number as text": (
        lambda d: npo(d)["cost"].update(wall_s="fast"), f"{NPO}: cost.wall_s: is 'fast', expected number",
    ),
    "a rate above one": (
        lambda d: npo(d)["headline"]["overall"].update(value=7.0),
        f"{NPO}: headline.overall.value: is 7, at most 1 is allowed",
    ),
    "a word that is no verdict": (
        lambda d: npo(d)["verdict"].update(status="forgotten"),
        f"{NPO}: verdict.status: is 'forgotten', expected one of \"reference\", \"removed\"",
    ),
    "a hash that is none": (
        lambda d: npo(d)["provenance"].update(sha256="sure"), "provenance.sha256: is 'sure', which does not fit",
    ),
    "a name without end": (
        lambda d: npo(d).update(label="x" * 5000), "has 5,000 characters, at most 200 are allowed",
    ),
    "a negative count": (
        lambda d: npo(d)["metrics"][0].update(num_scored=-1), f"{NPO}: metrics.0.num_scored: is -1, at least 0",
    ),
    "a count too long for a float": (
        lambda d: npo(d)["metrics"][0].update(num_scored=-(10**400)), f"{NPO}: metrics.0.num_scored: is -1000",
    ),
    "rows that are none": (lambda d: d["rows"].append("npo"), "row 9: is 'npo', expected object"),
    "a letter without sound": (
        lambda d: npo(d).update(name="a\x1b[2J"), f"{NPO}: name: is 'a\\x1b[2J', which does not fit",
    ),
    "a value outside its interval": (
        lambda d: npo(d)["headline"]["overall"].update(low=0.1, high=0.2), "lies outside its interval [0.1, 0.2]",
    ),
    "a place that nobody has": (lambda d: npo(d).update(rank=7), f"{NPO}: rank is 7, its numbers give"),
    "a place without eligibility": (
        lambda d: npo(d)["sets"]["forget"].update(num_questions=5),
        f"{NPO}: eligible is True, its numbers give False",
    ),
    "another number in the template": (
        lambda d: npo(d)["results"]["fiubench"].update(overall=0.999), f"{NPO}: results is ",
    ),
    "a model that nobody has": (
        lambda d: d["rows"].pop(1), "there is no row of the retain model that it was judged against; add its record",
    ),
    "a second target's name": (
        lambda d: npo(d).update(name="target"), "an unlearned model is named 'target', as the target model is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_told_in_its_own_words(case: str, honest: str, tmp_path: Path) -> None:
    change, message = BROKEN[case]
    found = faults(honest, tmp_path, change)
    assert any(message in fault for fault in found), found
    assert all(len(fault) < 600 for fault in found), "values of strangers are cut"


def test_all_faults_are_told_at_once(honest: str, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        for row in document["rows"]:
            row["colour"] = "red"
        npo(document)["cost"]["wall_s"] = -1
        document["extra"] = 1

    found = faults(honest, tmp_path, change)
    assert [fault for fault in found if fault == "unknown keys extra"]
    assert sum("unknown keys colour" in fault for fault in found) == 8
    assert f"{NPO}: cost.wall_s: is -1, at least 0 is allowed" in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no leaderboard.json"),
        ('{"rows": 3}', "is no leaderboard.json"),
        ('{"schema_version": 1, "rows": []}', "schema_version is 1, this mmforget reads 2; write it again"),
        ('{"schema_version": 2, "rows": [NaN]}', "NaN is no number in JSON"),
        ("[" * 100 + "]" * 100, "nested deeper than 64 levels"),
        ('{"rows": [', "not valid JSON at line 1"),
    ],
)
def test_what_is_no_leaderboard_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.json"
    path.write_text(text)
    with pytest.raises(UserError, match="leaderboard.json") as caught:
        validate(path)
    assert message in str(caught.value)


def test_the_schema_is_a_schema_and_says_its_version() -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads(schema_text())
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema_version"] == {"const": export.SCHEMA_VERSION}
    assert schema_faults({"schema_version": 2, "generated": "2026", "mmforget_version": "1", "rows": []}) == []
