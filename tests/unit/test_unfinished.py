"""Files and folders that are written before they have their names, and what killed processes leave of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmforget.results.files import write_text
from mmforget.unfinished import unfinished


def gone() -> int:
    """The id of a process that has ended."""
    process = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(process, 0)
    return process


def left(path: Path, *, process: int) -> Path:
    """A place such as another process of this machine would have for `path`."""
    own = unfinished(path)
    return own.with_name(own.name.replace(f"-{os.getpid()}-", f"-{process}-"))


def test_a_place_is_hidden_beside_its_path_and_new_each_time(tmp_path: Path) -> None:
    first, second = unfinished(tmp_path / "a.json"), unfinished(tmp_path / "a.json")
    assert first != second
    assert first.parent == tmp_path
    assert first.name.startswith(".a.json-")


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_a_killed_process_left_goes_when_something_else_is_written_there(is_folder: bool, tmp_path: Path) -> None:
    place = left(tmp_path / "results_at_noon.json", process=gone())
    if is_folder:
        (place / "inside").mkdir(parents=True)
    else:
        place.write_text("half of")
    write_text(tmp_path / "run.yaml", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_what_others_are_writing_stays(tmp_path: Path) -> None:
    """Of a process that runs, of another machine, and files that only look alike."""
    running = left(tmp_path / "a", process=os.getppid())
    elsewhere = left(tmp_path / "a", process=gone())
    machine = elsewhere.name.split("-")[1]
    elsewhere = elsewhere.with_name(elsewhere.name.replace(machine, "0" * 8))
    others = [running, elsewhere, tmp_path / ".a-1.tmp", tmp_path / f".{gone()}.tmp"]
    for place in others:
        place.write_text("mine")
    write_text(tmp_path / "a", "whole")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "a"])
