"""A stored record is taken for a new one only where nothing that it was made of has changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from mmforget.benchmark import DataSource, find
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.measuring import AboutModel, Place, _key
from tests.toy_tasks import write_toy

IDS = [f"{number:08d}" for number in range(10)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten people in FIUBench's layout, pictures in a folder below."""
    records = []
    for number, name in enumerate(IDS):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(_picture(tmp_path, number))
        qa = [{"question": "Where?", "answer": f"in house {number}."}]
        records.append({"unique_id": name, "name": f"No {number}", "image_path": f"p{number}.png", "qa_list": qa})
    (tmp_path / "full.json").write_text(json.dumps(records))
    split = {"forget1": IDS[:1], "forget5": IDS[1:3], "forget10": IDS[3:5], "retain5": IDS[6:8]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    return tmp_path


def _picture(folder: Path, number: int) -> Path:
    (folder / "deep" / "faces").mkdir(parents=True, exist_ok=True)
    return folder / "deep" / "faces" / f"p{number}.png"


def key(benchmark: Any, data: DataSource) -> str:
    place = Place(RunConfig("hf", ("x",)), benchmark.bind(data), Path("out"))
    loaded: Any = SimpleNamespace(fingerprint="f")
    return _key(loaded, about=AboutModel("unlearned", "npo"), place=place, target=None, retain=None)


def test_a_changed_picture_is_another_record_and_an_equal_file_is_not(data: Path) -> None:
    benchmark, source = find("fiubench"), DataSource.parse(str(data))
    before = key(benchmark, source)
    path, state = _picture(data, 1), _picture(data, 1).stat()
    path.write_bytes(path.read_bytes())
    assert key(benchmark, source) == before
    other = _picture(data, 2).read_bytes()
    path.write_bytes(other)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert key(benchmark, source) != before


def test_a_picture_that_no_task_shows_changes_nothing(data: Path) -> None:
    benchmark, source = find("fiubench"), DataSource.parse(str(data))
    before = key(benchmark, source)
    Image.new("RGB", (4, 4), "white").save(_picture(data, 9))
    assert key(benchmark, source) == before


def test_code_in_a_folder_below_the_tasks_counts_and_what_a_desktop_leaves_does_not(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy")
    (folder / "parts").mkdir()
    (folder / "parts" / "words.py").write_text("A = 1")
    benchmark, source = find("toy", [folder]), DataSource("synthetic")
    before = key(benchmark, source)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__" / "rows.pyc").write_bytes(b"x")
    assert key(benchmark, source) == before
    (folder / "parts" / "words.py").write_text("A = 2")
    assert key(benchmark, source) != before


def test_recipes_of_other_methods_and_remarks_change_nothing_and_the_rest_of_the_document_does(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy")
    source, file = DataSource("synthetic"), folder / "toy.yaml"
    before = key(find("toy", [folder]), source)
    own = {"released": {"stage_one": {"lr": 1e-3}, "unlearn": {"lr": 2e-4, "methods": {"npo": {"lr": 0.1}}}}}
    write_toy(folder, recipes=own)
    file.write_text("# A remark.\n" + file.read_text())
    assert key(find("toy", [folder]), source) == before
    write_toy(folder, title="Other")
    assert key(find("toy", [folder]), source) != before
