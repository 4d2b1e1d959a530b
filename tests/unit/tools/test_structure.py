"""The figures of a checkout, on one that was made up: whose arrows, circles and wide functions are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import structure

SECOND = """
import mmforget.low.first

def wide(self, a, b, c, d, e, f, *, g, h, i):
    pass
"""
FIRST = """
from mmforget.errors import Wrong

def late():
    from mmforget.low import second
    return second
"""
TOP = """
from typing import TYPE_CHECKING
from mmforget.errors import Wrong

if TYPE_CHECKING:
    from mmforget.low.third import late

class Top:
    def eight(self, a, b, c, d, e, f, g, h):
        pass

METHOD = Top
METRIC = Top()
"""
FILES = {
    "mmforget/__init__.py": "",
    "mmforget/errors.py": "class Wrong(Exception):\n    pass\n",
    "mmforget/low/__init__.py": "",
    "mmforget/low/first.py": FIRST,
    "mmforget/low/second.py": SECOND,
    "mmforget/low/third.py": "def late():\n    from mmforget.high.top import METHOD\n    return METHOD\n",
    "mmforget/high/__init__.py": "",
    "mmforget/high/top.py": TOP,
    "tasks/towns/rows.py": "load = None\n",
    "mmforget/protocols/towns/loader.py": "x = 1\ny = 2\n",
    "tests/test_architecture.py": 'LAYERS = (("errors",), ("low",), ("high",), ("protocols",))\n',
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_figures_of_a_checkout(checkout: Path) -> None:
    found = structure.figures(checkout)
    assert (found["files"], found["lines"]) == (9, 31)
    assert found["rooms"] == {"errors": 1, "high": 2, "low": 4, "protocols": 1}
    assert found["arrows back up"] == ["low -> high"]
    assert found["circles of modules"] == [["mmforget.low.first", "mmforget.low.second"]]
    assert found["circles of rooms"] == []
    assert found["functions of over 8 parameters"] == ["wide (9)"]
    assert (found["functions"], found["median lines of a function"]) == (4, 2.5)
    assert found["lines of the smallest"] == {"benchmark": "3 (towns)", "method": "13 (top)", "metric": "13 (top)"}


def test_circles_of_any_length() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert structure.circles(graph) == [["a", "b", "c"], ["d", "e"]]


def test_it_prints_the_same_as_json(checkout: Path) -> None:
    command = [sys.executable, structure.__file__, str(checkout)]
    text, document = (
        subprocess.run([*command, *more], check=True, capture_output=True, text=True).stdout
        for more in ([], ["--json"])
    )
    assert "circles of modules: 1: mmforget.low.first <-> mmforget.low.second" in text
    assert json.loads(document)["arrows back up"] == ["low -> high"]
