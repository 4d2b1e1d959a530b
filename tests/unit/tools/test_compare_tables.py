"""Two tables say the same where every value of each lies in the other's interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import compare_tables


def table(folder: Path, **values: tuple[float | None, float | None, float | None]) -> Path:
    """A leaderboard.json with one row a name, whose overall has this value and interval."""
    rows: list[dict[str, Any]] = []
    for label, (value, low, high) in values.items():
        rows.append({"board": "b", "label": label, "headline": {"overall": {"value": value, "low": low, "high": high}}})
    folder.mkdir()
    path = folder / "leaderboard.json"
    path.write_text(json.dumps({"rows": rows}))
    return path


@pytest.mark.parametrize(
    ("first", "second", "status", "said"),
    [
        ((0.8, 0.7, 0.9), (0.85, 0.75, 0.95), 0, "1 numbers, each inside"),
        ((0.8, 0.7, 0.9), (0.85, 0.81, 0.95), 1, "b npo overall: 0.8 lies outside [0.81, 0.95] of the second"),
        ((0.8, 0.7, 0.82), (0.85, 0.75, 0.95), 1, "b npo overall: 0.85 lies outside [0.7, 0.82] of the first"),
        ((0.0, None, None), (0.0, None, None), 0, "inside"),
        ((0.0, None, None), (0.1, 0.0, 0.2), 1, "0.1 lies outside [None, None] of the first"),
        ((None, None, None), (None, None, None), 0, "inside"),
        ((None, None, None), (0.5, 0.4, 0.6), 1, "None lies outside"),
    ],
)
def test_values_inside_and_outside(
    first: Any, second: Any, status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(table(tmp_path / name, npo=one)) for name, one in (("a", first), ("b", second))]
    assert compare_tables.main(paths) == status
    assert said in capsys.readouterr().out


def test_a_row_that_one_table_lacks_is_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = table(tmp_path / "a", npo=(0.8, 0.7, 0.9)), table(tmp_path / "b", kl=(0.8, 0.7, 0.9))
    assert compare_tables.main([str(first), str(second)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "b npo overall: only in the first",
        "b kl overall: only in the second",
    ]


def test_what_is_no_table_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("[]")
    assert compare_tables.main([str(tmp_path / "x.json"), str(tmp_path / "y.json")]) == 2
    assert "not two leaderboard.json" in capsys.readouterr().err
