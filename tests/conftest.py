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
from filelock import FileLock

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


SHARED = ("demo", "micro")
"""Fixtures that take minutes. Of several processes one makes them, and the others find them made."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The demo first, what else needs its models last: by then they are there, whichever process makes them."""

    def place(item: pytest.Item) -> int:
        if item.path.name == "test_demo.py":
            return 0
        return 2 if item.path in waiting else 1

    waiting = {item.path for item in items if set(SHARED) & set(getattr(item, "fixturenames", ()))}
    items.sort(key=place)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, which all of its processes share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@pytest.fixture(scope="session", autouse=True)
def model_cache(common: Path) -> Iterator[Path]:
    """Micro models are built once a test run, or once for good where MMFORGET_TEST_CACHE names a folder."""
    folder = Path(os.environ.get("MMFORGET_TEST_CACHE") or common / "mmforget-cache")
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
def micro(model_cache: Path, common: Path) -> MicroModels:
    """The models that the demo starts from, trained by the full micro recipe."""
    with FileLock(common / "demo.lock"):
        said = command("target", "--model", "micro", "--tasks", "fiubench", "--json", "--quiet")
    assert said.status == 0, said.err
    (found,) = json.loads(said.out)
    return MicroModels(Path(found["target"]), Path(found["retain"]))


@pytest.fixture(scope="session")
def demo(common: Path) -> Path:
    """The README's demo: target, retain model and five methods on the synthetic FIUBench. Minutes, once a test run."""
    folder = common / "demo"
    with FileLock(common / "demo.lock"):
        said = command(*demo_command(folder))
    assert said.status == 0, said.err
    return folder
