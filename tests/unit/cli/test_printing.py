"""JSON on stdout holds no NaN, and a number that is none ends nothing when it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from mmforget.cli.printing import print_json, say, tell
from mmforget.results.files import write_json


def strict(text: str) -> object:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_not_a_number_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {"value": math.nan, "parts": [math.inf, 1.0, {"low": -math.inf}], "path": tmp_path}
    plain = {"value": None, "parts": [None, 1.0, {"low": None}], "path": str(tmp_path)}
    print_json(document)
    assert strict(capsys.readouterr().out) == plain
    assert strict(write_json(tmp_path / "x.json", document).read_text()) == plain


@pytest.mark.parametrize("show", [say, tell])
def test_no_line_steers_the_terminal(show: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """A folder may have any name: the mark stands where an escape sequence began."""
    show("wrote \x1b[1mruns/leaderboard.json\tBärbel\nnext")
    out, err = capsys.readouterr()
    assert out + err == "wrote \ufffd[1mruns/leaderboard.json\tBärbel\nnext\n"
    assert bool(out) == (show is say)
