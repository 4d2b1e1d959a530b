"""Packages that `mmforget new` writes: sound as they are, and what is in their way is said in one line."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
import yaml

from mmforget.benchmark import DataSource
from mmforget.cli import validate
from mmforget.skeletons import FOLDER, SUMMARIES, Skeleton
from tests.commands import command
from tests.plugin_packages import installed

KINDS = tuple(SUMMARIES)


def write_installed(folder: Path, *, kind: str, name: str) -> Path:
    """The package as written, and what pip would put beside its module."""
    Skeleton(kind, name).write(folder)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in one.items()) for group, one in
              project["entry-points"].items()]  # fmt: skip
    (info / "entry_points.txt").write_text("\n".join(points))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_found_and_nothing_is_wrong_with_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_installed(tmp_path / "written", kind=kind, name="of_mine")
    monkeypatch.chdir(folder)
    with installed(folder, monkeypatch=monkeypatch):
        report = validate.check("of_mine", data=DataSource("synthetic"), include_paths=[])
    assert report.faults == []
    assert report.notes == []
    assert report.name == ("of_mine" if kind == "benchmark" else f"{kind} of_mine")


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_whole(kind: str, tmp_path: Path) -> None:
    written = Skeleton(kind, "of_mine").write(tmp_path / "written")
    assert {path.name for path in written} >= {"pyproject.toml", "README.md", "__init__.py", "test_of_mine.py"}
    for path in written:
        text = path.read_text()
        assert "$" not in text, path
        if path.suffix == ".py":
            ast.parse(text)
        if path.suffix == ".yaml":
            assert path.name.startswith("of_mine")
            yaml.safe_load(text)
    assert "OfMine" in "".join(path.read_text() for path in written)


def test_no_template_is_left_out() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"} == {
        "package", *KINDS,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("method", "Mine"), "'Mine' is no name for a package: a letter, then letters, digits and '_'"),
        (("method", "../mine"), "'../mine' is no name for a package"),
        (("metric", "npo"), "there is a method 'npo' already; choose another name for the metric"),
        (("benchmark", "fiubench"), "there is a task 'fiubench' already; choose another name for the benchmark"),
        (("attack", "json"), "a Python module is named 'json' already; choose another name"),
        (("guard", "mine"), "argument kind: invalid choice: 'guard'"),
    ],
)
def test_what_cannot_be_a_name_is_refused(words: tuple[str, str], said: str, tmp_path: Path) -> None:
    told = command("new", *words, "--output_path", tmp_path / "written")
    assert told.status == 2
    assert said in told.err
    assert not (tmp_path / "written").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    told = command("new", "metric", "of_mine", "--output_path", tmp_path)
    assert told.status == 2
    assert "is there already; choose another name or --output_path, nothing was written" in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
