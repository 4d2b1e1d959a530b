"""The page of what metrics are worth, and what is shipped of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import meta_page

NONE = {"value": None, "low": None, "high": None, "num": 0}


def row(metric: str, auc: float, *, tells: bool | None, **changes: Any) -> dict[str, Any]:
    number = {"value": auc, "low": round(auc - 0.1, 2), "high": min(1.0, round(auc + 0.1, 2)), "num": 60}
    return {
        "metric": metric, "set": "forget", "profile": "clean", "attack": None, "about": "forgotten", "auc": number,
        "num_missing": 0, "correlation": NONE, "after": {"packed": {"auc": number, "lasting": NONE}},
        "robustness": None, "overall": None, "constant": False, "tells": tells, "seconds": 1.25, **changes,
    }  # fmt: skip


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    pools = [{"pool": "with"}] * 30 + [{"pool": "without"}] * 30
    one = {"title": "Toy", "models": pools, "unlearned": [], "training_s": 12.0, "rows": list(rows)}
    return {"changes": ["packed"], "benchmarks": {"toy": one}}


def write(folder: Path, found: dict[str, Any]) -> int:
    for name in ("docs", "bench", "mmforget/results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").write_text(json.dumps(found))
    return meta_page.main([str(folder / "meta.json"), "--root", str(folder)])


def test_the_page_has_those_that_tell_best_first_and_marks_what_cannot(tmp_path: Path) -> None:
    found = document(
        row("weak", 0.55, tells=False),
        row("good", 0.95, tells=True),
        row("success", 0.8, tells=True, attack="asked(k=2)"),
        row("utility", 0.5, tells=None, about="kept", set="retain"),
    )
    assert write(tmp_path, found) == 0
    page = (tmp_path / "docs" / "meta.md").read_text()
    assert page.index("| `good` | forget | 0.95 [0.85, 1.00] |") < page.index("| `weak` | forget | 0.55 [0.45, 0.65]")
    assert page.count("**cannot tell** |") == 1
    assert "| `asked(k=2)`, success |" in page.split("### Attacks")[1]
    assert "30 with, 30 without the knowledge" in page
    assert json.loads((tmp_path / "bench" / "meta.json").read_text()) == found
    shipped = json.loads((tmp_path / "mmforget" / "results" / "cannot_tell.json").read_text())
    assert shipped["benchmarks"] == ["toy"]
    assert [(one["metric"], one["auc"], one["low"]) for one in shipped["rows"]] == [("weak", 0.55, 0.45)]


def test_what_was_written_below_a_table_stays(tmp_path: Path) -> None:
    write(tmp_path, document(row("good", 0.9, tells=True)))
    page = tmp_path / "docs" / "meta.md"
    page.write_text(page.read_text().replace("<!-- remarks toy -->\n", "<!-- remarks toy -->\nWhy so.\n"))
    write(tmp_path, document(row("good", 0.8, tells=True)))
    assert "<!-- remarks toy -->\nWhy so.\n<!-- end -->" in page.read_text()
    assert "0.80 [0.70, 0.90]" in page.read_text()


def test_another_file_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        write(tmp_path, {"rows": []})
    assert ended.value.code == 2
    assert "is nothing that mmforget meta wrote" in capsys.readouterr().err


def test_what_is_shipped_is_what_the_committed_numbers_say() -> None:
    numbers = json.loads((meta_page.ROOT / "bench" / "meta.json").read_text())
    shipped = json.loads((meta_page.ROOT / "mmforget" / "results" / "cannot_tell.json").read_text())
    assert shipped == {"benchmarks": sorted(numbers["benchmarks"]), "rows": meta_page.untold(numbers)}
