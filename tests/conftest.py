"""Shared by all tests: no hub, a cache of micro models for the session, and the small demo run that flows look at."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# bitsandbytes has torch load its compiler, seconds in every process, for functions that nothing here calls.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import pytest
from filelock import FileLock, Timeout

from mmforget.libraries import leave_libraries_to_stay
from tests.commands import FEWER_PEOPLE, command, small_demo
from tests.killing import train_tower
from tests.quick import is_quick

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
SLOWEST = (
    "test_killed_runs.py",
    "test_two_processes.py",
    "test_training_shares.py",
    "test_training_resume.py",
    "test_every_method_works.py",
    "test_every_cheat.py",
    "test_references.py",
    "test_lm_eval_stock.py",
    "test_stock_folders.py",
    "test_pairs.py",
    "test_bench_parts.py",
    "test_evaluate_run.py",
    "test_real_rows.py",
    "test_benchmarks_of_ones_own.py",
    "test_text_only.py",
    "test_training_runs.py",
)
"""Files that take half a minute and more, the demo aside: begun early, so that none is left alone at the end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="only unit tests that neither build models nor start processes nor take seconds",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: tests that start processes wait for them, and for one another's fixtures.

    Quick ones do neither, and what every process imports is half of their time.
    """
    return (os.cpu_count() or 1) + (not config.getoption("--quick"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("--quick") and collection_path.match("test_*.py") and not is_quick(collection_path):
        return True
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Where tests are not compiled yet, the first of several processes does so: it is half of what reading them takes.

    The others begin when it has read them all.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or sys.dont_write_bytecode or are_compiled():
        return (yield)
    lock = FileLock(session.config.cache.mkdir("compiled") / os.environ["PYTEST_XDIST_TESTRUNUID"])
    try:
        lock.acquire(blocking=False)
    except Timeout:
        with lock:
            pass
    try:
        return (yield)
    finally:
        lock.release()


def are_compiled() -> bool:
    """Whether pytest has written down nearly all test files as it runs them."""
    files, compiled = (len(list((ROOT / "tests").rglob(name))) for name in ("test_*.py", "test_*-pytest-*.pyc"))
    return compiled > 0.9 * files


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The demo first, then what takes longest; what needs its models comes when they are there, or soon are."""
    if config.getoption("--quick"):
        items[:] = [item for item in items if item.get_closest_marker("slow") is None]

    def place(item: pytest.Item) -> int:
        name = item.path.name
        if name == "test_demo.py":
            return 0
        if name in SLOWEST:
            return 1 + SLOWEST.index(name)
        return len(SLOWEST) + 1 + (item.path in waiting)

    waiting = {item.path for item in items if set(SHARED) & set(getattr(item, "fixturenames", ()))}
    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Every test module is imported, and no model is loaded."""
    leave_libraries_to_stay()
    leave_garbage_to_python()


def leave_garbage_to_python() -> None:
    """accelerate searches all objects for garbage whenever a training begins, a good part of what a tiny one takes.

    Python does so by itself now and then, which is enough where nothing lies on a GPU.
    """
    memory = sys.modules.get("accelerate.utils.memory")
    if memory is not None and not sys.modules["torch"].cuda.is_available():
        memory.gc = SimpleNamespace(collect=lambda: 0)


@pytest.fixture(scope="session", autouse=True)
def files_may_stay_in_memory() -> Iterator[None]:
    """No test pulls the plug, so nobody waits until what is written lies on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


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


@pytest.fixture(scope="session")
def tower(model_cache: Path, common: Path) -> Path:
    """A folder with the vision tower that all micro models share."""
    with FileLock(common / "tower.lock"):
        return train_tower(model_cache / "micro")


class MicroModels(NamedTuple):
    """Folders of the demo's target and retain model."""

    target: Path
    retain: Path


@pytest.fixture(scope="session")
def micro(tower: Path, common: Path) -> MicroModels:
    """The models that the small demo starts from."""
    with FileLock(common / "demo.lock"):
        said = command("target", "--model", "micro", "--tasks", "fiubench", *FEWER_PEOPLE, "--json", "--quiet")
    assert said.status == 0, said.err
    (found,) = json.loads(said.out)
    return MicroModels(Path(found["target"]), Path(found["retain"]))


@pytest.fixture(scope="session")
def demo(tower: Path, common: Path) -> Path:
    """The README's demo made small: target, retain model, two methods with two seeds. Minutes, once a test run."""
    folder = common / "demo"
    with FileLock(common / "demo.lock"):
        # The leaderboard comes last. Where it is, a test of another process may be at work in the folder.
        if not (folder / "leaderboard.json").is_file():
            said = command(*small_demo(folder))
            assert said.status == 0, said.err
    return folder
