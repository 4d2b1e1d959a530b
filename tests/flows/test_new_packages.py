"""A package that `mmforget new` wrote, installed by pip: its own tests, then listed, validated, run and exported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmforget.skeletons import SUMMARIES

MMFORGET = (sys.executable, "-m", "mmforget")
"""Not the script beside the interpreter: that names the folder it was installed from."""


def called(*words: object, site: Path, cwd: Path) -> str:
    """What a command printed; it must succeed. The packages in `site` are installed for it."""
    paths = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    found = subprocess.run(
        [str(word) for word in words], cwd=cwd, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.long
@pytest.mark.parametrize("kind", SUMMARIES)
def test_it_passes_its_own_tests_at_once(kind: str, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "of_mine"
    called(*MMFORGET, "new", kind, "of_mine", site=site, cwd=tmp_path)
    _install(folder, site=site)
    said = called(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", site=site, cwd=folder)
    assert " passed" in said
    if kind == "benchmark":
        _used(site=site, cwd=tmp_path)


def _install(folder: Path, *, site: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    called(*pip, "--target", site, folder, site=site, cwd=folder.parent)


def _used(*, site: Path, cwd: Path) -> None:
    listed = json.loads(called(*MMFORGET, "ls", "tasks", "--json", site=site, cwd=cwd))
    assert any(one["name"] == "of_mine" and one["origin"] == "of_mine" for one in _all(listed))
    assert "nothing is wrong" in called(*MMFORGET, "validate", "of_mine", site=site, cwd=cwd)
    run = (
        "run", "--model", "micro", "--tasks", "of_mine", "--methods", "npo", "--seeds", "0", "--workers", "1",
        "--output_path", "runs",
    )  # fmt: skip
    called(*MMFORGET, *run, site=site, cwd=cwd)
    called(*MMFORGET, "leaderboard", "runs", "--output_path", "board", site=site, cwd=cwd)
    rows = json.loads((cwd / "board" / "leaderboard.json").read_text())["rows"]
    assert any("npo" in row["name"] for row in rows)


def _all(value: object) -> list[dict[str, str]]:
    """Every mapping with a name in a document."""
    if isinstance(value, dict):
        own = [value] if "name" in value and "origin" in value else []
        return own + [one for part in value.values() for one in _all(part)]
    return [one for part in value for one in _all(part)] if isinstance(value, list) else []
