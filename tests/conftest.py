"""Shared by all tests: no hub, a cache of micro models for the session, and the small demo run that flows look at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

from tests.commands import command, demo_command

ROOT = Path(__file__).resolve().parents[1]


def real_data() -> Path | None:
    """Folder of real rows: $MMFORGET_REAL_DATA, else ../shared/real; None where there is none."""
    folder = Path(os.environ.get("MMFORGET_REAL_DATA", ROOT.parent / "shared" / "real"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real() -> Path:
    folder = real_data()
    if folder is None:
        pytest.skip("no real rows: set MMFORGET_REAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Micro models are built once a session, or once for good where MMFORGET_TEST_CACHE names a folder."""
    folder = Path(os.environ.get("MMFORGET_TEST_CACHE") or tmp_path_factory.mktemp("mmforget-cache"))
    before = os.environ.get("MMFORGET_CACHE")
    os.environ["MMFORGET_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["MMFORGET_CACHE"]
    else:
        os.environ["MMFORGET_CACHE"] = before


class MicroModels(NamedTuple):
    """Folders of the demo's target and retain model."""

    target: Path
    retain: Path


@pytest.fixture(scope="session")
def micro(model_cache: Path) -> MicroModels:
    """The models that the demo starts from, trained by the full micro recipe."""
    said = command("target", "--model", "micro", "--tasks", "fiubench", "--json", "--quiet")
    assert said.status == 0, said.err
    (found,) = json.loads(said.out)
    return MicroModels(Path(found["target"]), Path(found["retain"]))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's demo: target, retain model and five methods on the synthetic FIUBench. Minutes, once a session."""
    folder = tmp_path_factory.mktemp("demo")
    said = command(*demo_command(folder))
    assert said.status == 0, said.err
    return folder
