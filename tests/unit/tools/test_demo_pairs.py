"""The demo of a checkout is what its Makefile says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.demo_pairs import HERE, demo_command
from tests import commands


def test_the_command_is_that_of_the_makefile_and_of_the_tests() -> None:
    assert demo_command(HERE) == commands.demo_command(Path("demo"))


def test_a_makefile_without_a_demo_is_named(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("test:\n\tpytest\n")
    with pytest.raises(ValueError, match="no mmforget command below 'demo:'"):
        demo_command(tmp_path)
