"""Which test files `pytest --quick` runs: those that neither build a model nor start a process, by what they import.

Whoever writes a test that does has to import one of these, so the selection needs little care; a file that takes long
without is marked `slow`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SLOW = frozenset(
    {
        "subprocess",
        "multiprocessing",
        "bitsandbytes",
        "lm_eval",
        "peft",
        "transformers",
        "tests.helpers",
        "tests.killing",
        "tests.processes",
        "tests.tiny_models",
        "mmforget.pipeline.run",
        "mmforget.training.editing",
        "mmforget.training.stage_one",
        "mmforget.training.hf_trainer",
        "mmforget.training.trainer",
        "mmforget.training.unlearn",
    }
)
MARKED = "\npytestmark = pytest.mark.slow\n"
"""The line by which a file says that it takes long."""
FOLDERS = ("unit",)
"""Folders of tests that are looked at, beside the files that lie above them."""


def is_quick(path: Path) -> bool:
    """Whether a file of tests belongs to the quick ones."""
    place = path.relative_to(TESTS)
    if len(place.parts) > 1 and place.parts[0] not in FOLDERS:
        return False
    source = path.read_text(encoding="utf-8")
    return MARKED not in source and SLOW.isdisjoint(imported(source))


def imported(source: str) -> Iterator[str]:
    """Names of all modules that a module imports, at its top or further down, and of their packages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in (alias.name, alias.name.split(".")[0]))
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, node.module.split(".")[0])
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
