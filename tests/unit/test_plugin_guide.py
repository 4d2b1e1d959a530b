"""The plugin guide's examples are what they say: its code is taken from the page and tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmforget.benchmark import DataSource
from mmforget.cli import validate
from tests.plugin_packages import installed, write_package

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", GUIDE, flags=re.S))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("method", "gentle"),
        ("method", "hushed"),
        ("metric", "short"),
        ("attack", "twice"),
        ("attack", "runner_up"),
        ("judge", "mood"),
    ],
)
def test_the_plugin_of_the_guide_is_sound(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path, name, code=FILES[f"{name}.py"], points={f"mmforget.{kind}s": f"{name} = {name}"})
    with installed(tmp_path, monkeypatch=monkeypatch):
        report = validate.check(name, data=DataSource("synthetic"), include_paths=[])
    assert (report.name, report.faults) == (f"{kind} {name}", [])


def test_the_benchmark_of_the_guide_is_sound(tmp_path: Path) -> None:
    for name in ("_gen", "towns.yaml", "towns_forget_gen.yaml", "towns_keep_gen.yaml", "rows.py"):
        (tmp_path / name).write_text(FILES[name])
    report = validate.check("towns", data=DataSource("synthetic"), include_paths=[str(tmp_path)])
    assert report.faults == []
    assert report.counts == {"full": 4, "keep": 2, "forget": 2}
    assert not any("ranked" in note for note in report.notes)
