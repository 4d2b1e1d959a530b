"""JSON on stdout holds no NaN, and a number that is none ends nothing when it is written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mmforget.cli.printing import print_json
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
