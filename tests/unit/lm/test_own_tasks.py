"""The names of lm_eval's own tasks: kept on disk, read anew after any change, and those of its own task manager."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import TaskIndex

from mmforget.lm import inside
from mmforget.lm.own_tasks import KnownTask, known_tasks

TASK = "task: {name}\ntag: [{tag}]\ndataset_path: none\noutput_type: generate_until\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tasks of one tag, a task that is a class, and a group, some in a folder of their own."""
    monkeypatch.setenv("MMFORGET_CACHE", str(tmp_path / "cache"))
    found = tmp_path / "tasks"
    (found / "deep").mkdir(parents=True)
    (found / "one.yaml").write_text(TASK.format(name="one", tag="easy"))
    (found / "deep" / "two.yaml").write_text(TASK.format(name="two", tag="easy"))
    (found / "deep" / "py.yaml").write_text("task: py\nclass: !function code.Own\n")
    (found / "all.yaml").write_text("group: all\ntask: [one, two]\n")
    return found


class Reader:
    """Counts how often a folder is read."""

    def __init__(self, read: Callable[[Path], dict[str, KnownTask]]) -> None:
        self.read, self.num_calls = read, 0

    def __call__(self, folder: Path) -> dict[str, KnownTask]:
        self.num_calls += 1
        return self.read(folder)


@pytest.fixture
def reader() -> Reader:
    return Reader(inside._read_index)


def kept_file(folder: Path) -> Path:
    (found,) = (folder.parent / "cache" / "lm_eval_tasks").iterdir()
    return found


def test_a_folder_is_read_once(folder: Path, reader: Reader) -> None:
    first, again = (known_tasks(folder, read=reader) for _ in range(2))
    assert first == again
    assert reader.num_calls == 1
    assert first["two"] == KnownTask("TASK", "deep/two.yaml", ("easy",))
    assert first["py"].kind == "PY_TASK"
    assert first["easy"] == KnownTask("TAG", None, ("one", "two"))


def test_it_is_read_anew_when_a_file_has_changed_or_come(folder: Path, reader: Reader) -> None:
    known_tasks(folder, read=reader)
    (folder / "deep" / "two.yaml").write_text(TASK.format(name="three", tag="hard"))
    assert "three" in known_tasks(folder, read=reader)
    (folder / "four.yaml").write_text(TASK.format(name="four", tag="hard"))
    assert "four" in known_tasks(folder, read=reader)
    assert reader.num_calls == 3


@pytest.mark.parametrize("text", ["", "[1]", '{"one": 3}', '{"one": ["TASK"]}', '{"one": ["TASK", "../x.yaml", []]}'])
def test_a_damaged_file_is_made_anew(folder: Path, reader: Reader, text: str) -> None:
    wanted = known_tasks(folder, read=reader)
    kept_file(folder).write_text(text)
    assert known_tasks(folder, read=reader) == wanted
    assert known_tasks(folder, read=reader) == wanted
    assert reader.num_calls == 2
    assert json.loads(kept_file(folder).read_text())["one"] == ["TASK", "one.yaml", ["easy"]]


def test_of_two_at_once_one_reads_and_the_other_waits(
    folder: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second asks for the lock while the first is reading."""
    begun, waiting, lock = threading.Event(), threading.Event(), fcntl.flock

    def asked(handle: int, operation: int) -> None:
        if begun.is_set():
            waiting.set()
        lock(handle, operation)

    def read(folder: Path) -> dict[str, KnownTask]:
        begun.set()
        assert waiting.wait(60)
        return inside._read_index(folder)

    monkeypatch.setattr(fcntl, "flock", asked)
    reader.read = read
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(known_tasks, folder, read=reader)
        assert begun.wait(60)
        second = pool.submit(known_tasks, folder, read=reader)
        assert first.result() == second.result()
    assert reader.num_calls == 1


def test_a_cache_that_cannot_be_written_is_no_fault(folder: Path, reader: Reader) -> None:
    (folder.parent / "cache").write_text("a file")
    assert known_tasks(folder, read=reader) == known_tasks(folder, read=reader)
    assert reader.num_calls == 2


def test_a_manager_has_the_names_of_a_stock_one(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a small folder in place of lm_eval's own, and another that has a task of the same name."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "one.yaml").write_text(TASK.format(name="one", tag="mine"))
    monkeypatch.setattr("lm_eval.tasks.__file__", str(folder / "__init__.py"))
    found = inside.task_manager([mine], defaults=True, metadata={})
    stock = TaskManager(include_path=[folder, mine], include_defaults=False)
    for names in ("all_tasks", "all_subtasks", "all_groups", "all_tags"):
        assert getattr(found, names) == getattr(stock, names)
    assert found.task_index["one"].yaml_path == mine / "one.yaml"
    for pattern in ("*", "t*", "easy"):
        assert found.match_tasks([pattern]) == stock.match_tasks([pattern])


@pytest.mark.long
def test_the_index_of_lm_eval_is_kept_to_the_last_name() -> None:
    import lm_eval.tasks

    found = inside.own_index()
    wanted = TaskIndex.build([Path(lm_eval.tasks.__file__).parent])
    assert list(found) == list(wanted)
    for name, entry in wanted.items():
        other = found[name]
        assert (other.kind, other.yaml_path, other.tags) == (entry.kind, entry.yaml_path, entry.tags)
