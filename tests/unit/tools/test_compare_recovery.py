"""The page of recovery curves, of results written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import compare_recovery


def result(attack: str | None, curve: list[float], **more: Any) -> dict[str, Any]:
    between = {"low": None, "high": None} if attack is None else {"low": 0.25, "high": 1.0}
    success = {"value": curve[-1], **between, "num_scored": 4}
    area = {**success, "value": sum(curve) / len(curve)}
    return {"attack": attack, "task": "toy_gen", "success": success, "area": area, "curve": curve, **more}


def test_a_line_a_model_with_the_update_that_brings_half_back(tmp_path: Path) -> None:
    learnt = "relearning(steps=3)"
    packed = result("quantisation", [0.5], counts={"codes": 200, "codes_changed": 50})
    found = {
        "model": [result(None, [0.0]), result(learnt, [0.25, 0.5, 0.75]), packed],
        "target": [result(None, [1.0]), result(learnt, [1.0] * 3), result("quantisation", [1.0], counts={})],
        "retain": [result(None, [0.0]), result(learnt, [0.0] * 3)],
    }
    folder = tmp_path / "toys" / "po" / "toy"
    folder.mkdir(parents=True)
    (folder / "attacks_1.json").write_text(json.dumps({"attacks": found}))
    page, numbers = tmp_path / "page.md", tmp_path / "recovery.json"
    words = [str(tmp_path / "toys"), "--json", str(numbers), "--output", str(page)]
    assert compare_recovery.main(words) == 0
    lines = page.read_text().splitlines()
    assert "| `po` | 0.00 | 0.75 [0.25, 1.00] | 0.50 [0.25, 1.00] | 2 | 0.50 [0.25, 1.00] | 25% |" in lines
    assert "| retain | 0.00 | 0.00 [0.25, 1.00] | 0.00 [0.25, 1.00] | - | - | - |" in lines
    assert (tmp_path / "recovery.png").stat().st_size > 0
    assert json.loads(numbers.read_text())["toys"]["po"]["updates"] == [1, 2, 3]
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")][1:] == ["| target", "| retain", "| `po`"]
    with pytest.raises(SystemExit, match="2"):
        compare_recovery.main([str(tmp_path / "nothing")])
