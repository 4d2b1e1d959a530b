"""`pytest --quick` leaves out what builds models or starts processes, however it comes by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import quick


@pytest.mark.parametrize(
    "line",
    [
        "import subprocess",
        "from multiprocessing import Process",
        "from tests.processes import launch",
        "from tests.helpers import tiny_llava",
        "from transformers.models.llama import LlamaConfig",
        "import peft.tuners",
        "from mmforget.training.unlearn import unlearn",
        "from mmforget.training import stage_one",
        "def test() -> None:\n    from mmforget.pipeline.run import run",
        "import pytest\n\npytestmark = pytest.mark.slow",
    ],
)
def test_what_takes_long_is_left_out(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "TESTS", tmp_path)
    (tmp_path / "unit").mkdir()
    file = tmp_path / "unit" / "test_one.py"
    file.write_text("import json\n")
    assert quick.is_quick(file)
    file.write_text(f"import json\n{line}\n")
    assert not quick.is_quick(file)


def test_most_unit_tests_are_quick_and_no_flow_is() -> None:
    unit = list((quick.TESTS / "unit").rglob("test_*.py"))
    assert sum(map(quick.is_quick, unit)) > len(unit) / 2
    assert quick.is_quick(quick.TESTS / "test_architecture.py")
    assert not any(quick.is_quick(file) for file in (quick.TESTS / "flows").glob("test_*.py"))
