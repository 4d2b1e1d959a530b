"""Scripts of findings/, none run here: shell that parses, one shape, libraries pinned as the constraints pin them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_parses_and_can_be_run(path: Path) -> None:
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert path.stat().st_mode & 0o111


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_says_what_surprises_and_what_we_do(path: Path) -> None:
    head, _, body = path.read_text(encoding="utf-8").partition("\nset -euo pipefail\n")
    assert head.startswith("#!/usr/bin/env bash\n# ")
    assert "\n# Seen with " in head
    assert "\n# mmforget" in head
    assert all((ROOT / name).exists() for name in re.findall(r"mmforget/[\w/]+(?:\.py)?", head))
    assert "mmforget" not in body


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_libraries_are_pinned_as_in_the_constraints(path: Path) -> None:
    installed = re.search(r"pip\" install --quiet (.+)", path.read_text(encoding="utf-8"))
    assert installed is not None
    named = dict(one.split("==") for one in installed[1].split())
    assert named == {name: PINS.get(name, pin) for name, pin in named.items()}
