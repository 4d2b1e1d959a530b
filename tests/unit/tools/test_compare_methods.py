"""The page that compares methods, of a leaderboard written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import compare_methods


def row(method: str, *, rank: int | None, overall: float | None, num_steps: int) -> dict[str, Any]:
    evidence = [
        {"attack": attack, "task": "toy_gen", "unlearned": own, "retain": retain, "target": 1.0}
        for attack, own, retain in ((None, 1.0, 0.0), ("cloze(budget=2)", 0.5, 0.25), ("logit_lens", 0.75, 0.625))
        if num_steps
    ]
    estimate = {"value": overall, "low": 0.25, "high": None if overall is None else 1.0}
    return {
        "board": "toy_clean", "benchmark": {"name": "toy", "title": "Toys"}, "role": "unlearned", "label": method,
        "rank": rank, "verdict": {"status": "undecided", "evidence": evidence}, "config": {"method": method},
        "seeds": [{"seed": 0}, {"seed": 1}],
        "headline": {"overall": estimate, "forget_score": {"value": 1.0, "low": None, "high": None}},
        "training": {"num_steps": num_steps, "wall_s": 3.25},
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [
        {"role": "target"},
        row("npo", rank=1, overall=0.5, num_steps=8),
        row("chip", rank=None, overall=None, num_steps=0),
    ]
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "leaderboard.json").write_text(json.dumps({"rows": rows}))
    (folder / "forget_vs_utility.png").write_bytes(b"picture")
    return folder


def test_a_line_a_method(run: Path, tmp_path: Path) -> None:
    costs = {"methods": {"methods": {"npo": {"best_ratio": 2.125, "tokens_needed_ratio": 2.0}}}}
    (tmp_path / "costs.json").write_text(json.dumps(costs))
    words = [
        "--costs",
        str(tmp_path / "costs.json"),
        "--json",
        str(tmp_path / "zoo.json"),
        "--output",
        str(tmp_path / "page.md"),
    ]
    assert compare_methods.main([str(run), *words]) == 0
    page = (tmp_path / "page.md").read_text()
    found = "undecided | `cloze` 0.50 (0.25) | 3.2 s | 2.12 of 2.00 |"
    assert f"| 1 | `npo` | loss | exact | 0.500 [0.25, 1.00] | 1.000 | - | {found}" in page
    assert "| - | `chip` | edit | exact | - | 1.000 | - | undecided | - | - | - |" in page
    assert "2 methods, 2 seeds" in page
    assert (tmp_path / "comparison_toy.png").read_bytes() == b"picture"
    numbers = json.loads((tmp_path / "zoo.json").read_text())["toy_clean"]
    assert numbers["npo"]["overall"] == {"value": 0.5, "low": 0.25, "high": 1.0}
    assert numbers["chip"]["num_seeds"] == 2
    assert (numbers["npo"]["most_found"]["attack"], numbers["chip"]["most_found"]) == ("cloze(budget=2)", None)


def test_remarks_below_a_table_are_kept(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert compare_methods.main([str(run), "--output", str(page)]) == 0
    written = page.read_text().replace("<!-- remarks toy_clean -->\n", "<!-- remarks toy_clean -->\nLook.\n\nAgain.\n")
    page.write_text(written)
    assert "| training |\n" in written
    assert compare_methods.main([str(run), "--output", str(page)]) == 0
    assert page.read_text() == written


def test_a_folder_without_a_leaderboard_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare_methods.main([str(tmp_path)])
    assert "no finished run" in capsys.readouterr().err


def test_a_run_without_its_picture_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "forget_vs_utility.png").unlink()
    with pytest.raises(SystemExit, match="2"):
        compare_methods.main([str(run), "--output", str(tmp_path / "page.md")])
    assert "or no forget_vs_utility.png; finish the run" in capsys.readouterr().err


def test_of_two_methods_the_weaker_evidence_counts() -> None:
    assert compare_methods._weakest(["exact", "reconstruction"]) == "reconstruction"
    assert compare_methods._weakest(["exact", ""]) == "-"
