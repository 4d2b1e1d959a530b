"""Tools find their own `benchmarks`, though opacus installs a package of that name."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in TOOLS.glob("*/__init__.py")))
def test_a_folder_of_tools_is_a_package_of_its_own(name: str) -> None:
    """Without `__init__.py` any regular package of the name would come before it, wherever on the path."""
    spec = util.find_spec(name)
    assert spec is not None
    assert spec.origin == str(TOOLS / name / "__init__.py")


def test_every_folder_of_tools_is_one() -> None:
    folders = {path.name for path in TOOLS.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert folders == {path.parent.name for path in TOOLS.glob("*/__init__.py")}
