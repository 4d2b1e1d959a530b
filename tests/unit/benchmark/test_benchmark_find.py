"""Names, globs and lists of them; folders, plugins, and task files that are broken in every way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmforget.benchmark import DataSource, catalogue, find, find_all, task_files
from mmforget.benchmark.find import ENTRY_POINTS, read_index, task_folders
from mmforget.benchmark.task_files import FunctionRef, TaskFileError, load_function, read_task_file
from mmforget.errors import PluginError, UnknownName, UserError
from tests.toy_tasks import write_toy, write_yaml

LARGE = {"version": 1, "unlearning": {"benchmark": "toy", "setting": "large"}}


def names(text: str | list[str], folder: Path) -> list[tuple[str, str, list[str]]]:
    found = find_all(text, [folder])
    return [(b.group, b.setting, [task.name for task in b.tasks]) for b in found]


def test_a_group_a_task_a_glob_a_list(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    small, large = ["toy_forget_gen", "toy_keep_gen", "toy_holdout_gen"], ["toy_forget_large_gen", "toy_keep_gen"]
    assert names("toy", folder) == [("toy", "small", small)]
    assert names("toy_large", folder) == [("toy_large", "large", large)]
    assert names("toy_forget_gen", folder) == [("toy", "small", ["toy_forget_gen"])]
    assert names("toy_keep_gen", folder) == [("toy", "small", ["toy_keep_gen"])]
    assert names("toy, toy_large", folder) == [("toy", "small", small), ("toy_large", "large", large)]
    assert names(["toy", "fiubench_forget1"], folder)[1][:2] == ("fiubench_forget1", "forget1")
    assert names("toy_*_large_*,toy_keep_gen", folder) == [("toy_large", "large", large)]
    assert names("toy,toy_forget_gen", folder) == [("toy", "small", small)]


def test_the_modality_is_that_of_the_benchmark_whichever_task_is_named(tmp_path: Path) -> None:
    """A task of text alone in a group with images; one that no group lists; a group that says its own."""
    assert find("mmubench_facts_gen_text").modality == find("mmubench").modality == "image"
    assert find("fiubench_forget_gen_text").modality == find("fiubench_text").modality == "text"
    folder = write_toy(tmp_path, modality="both")
    write_yaml(folder / "toy_large.yaml", {"group": "toy_large", "task": ["toy_forget_large_gen"], "metadata": LARGE})
    assert [find(name, [folder]).modality for name in ("toy", "toy_large", "toy_keep_gen")] == ["both"] * 3
    alone = {"benchmark": "toy", "set": "keep", "kind": "gen", "modality": "text"}
    write_yaml(folder / "alone.yaml", {"include": "_gen", "task": "alone", "metadata": {"unlearning": alone}})
    assert (find("alone", [folder]).modality, find("alone", [folder]).tasks[0].modality) == ("both", "text")


def test_one_benchmark_is_wanted(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    assert find("toy", [folder]).title == "Toy"
    with pytest.raises(UserError, match=r"'toy\*' means 2 benchmarks or settings \(toy, toy_large\); name one"):
        find("toy*", [folder])
    with pytest.raises(UnknownName, match="unknown task 'fiubnech'; did you mean 'fiubench'"):
        find("fiubnech")
    with pytest.raises(UserError, match="no task named; give --tasks"):
        find(" , ")


def test_a_plain_lm_eval_task_is_not_a_benchmark(tmp_path: Path) -> None:
    write_yaml(tmp_path / "plain.yaml", {"task": "plain", "dataset_path": "json"})
    with pytest.raises(UserError, match="'plain' is a plain lm_eval task"):
        find("plain", [tmp_path])
    (entry,) = [entry for entry in catalogue([tmp_path]).entries if entry.name == "plain"]
    assert (entry.origin, entry.summary) == (str(tmp_path), "a plain lm_eval task")


def test_folders_are_searched_once(tmp_path: Path) -> None:
    own = task_folders()[0]
    assert (own / "fiubench" / "fiubench.yaml").is_file()
    assert task_folders([own, own / "fiubench", tmp_path]) == [own, tmp_path]
    write_toy(tmp_path / "below")
    write_yaml(tmp_path / "compose.yaml", {"services": {}})
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "broken.yaml").write_text("task: [\n")
    assert read_index([tmp_path / "below", tmp_path]).faults == ()
    with pytest.raises(UserError, match="--include_path nowhere: no such folder"):
        find_all("fiubench", ["nowhere"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [unclosed\nb: 1", r"broken.yaml:2:2: not valid YAML: while parsing a flow sequence"),
        ("task: a\n\tmetadata: 1", r"broken.yaml:2:1: not valid YAML"),
        ("- a list", r"broken.yaml: a task file holds a mapping of keys, not list"),
        ("doc_to_text: x", r"broken.yaml: has neither a 'task' nor a 'group' name"),
        ("include: _absent\ntask: a", r"broken.yaml: includes '_absent', which does not exist beside it"),
        ("include: broken.yaml\ntask: a", r"broken.yaml: includes itself"),
        ("task: !!python/object:os.system x", r"broken.yaml:1:7: not valid YAML: .*could not determine a constructor"),
        ("task: toy_keep_gen", r"two task files are named 'toy_keep_gen'"),
    ],
)
def test_a_broken_file_is_named_and_stops_everything(tmp_path: Path, text: str, message: str) -> None:
    folder = write_toy(tmp_path / "a")
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(TaskFileError, match=message):
        find_all("fiubench", [folder, tmp_path])
    found = catalogue([folder, tmp_path])
    assert len(found.faults) == 1
    assert {"toy", "fiubench"} <= {entry.name for entry in found.entries}


def test_labels_that_cannot_be(tmp_path: Path) -> None:
    label = {"benchmark": "toy", "set": "forget", "kind": "generate", "modality": "txt", "role": "x"}
    write_yaml(tmp_path / "odd.yaml", {"task": "odd", "metadata": {"unlearning": label}})
    with pytest.raises(TaskFileError) as caught:
        find_all("odd", [tmp_path])
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{tmp_path}/odd.yaml: metadata.unlearning") for line in lines)
    assert "unknown key 'role'" in lines[0]


def test_a_group_that_names_an_unknown_task(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    (folder / "toy_keep_gen.yaml").unlink()
    with pytest.raises(TaskFileError, match=r"toy.yaml: unknown task 'toy_keep_gen'"):
        find_all("toy", [folder])


@pytest.mark.parametrize("named", [None, 0, 3, [], {}])
def test_a_group_without_a_list_of_tasks(named: Any, tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    config = yaml.safe_load((folder / "toy.yaml").read_text())
    (folder / "toy.yaml").write_text(yaml.safe_dump({**config, "task": named}))
    with pytest.raises(TaskFileError, match=r"toy.yaml: 'task' is .*; a group lists the names of its tasks"):
        find_all("toy", [folder])


def test_a_setting_that_the_document_does_not_list(tmp_path: Path) -> None:
    folder = write_toy(tmp_path, settings=["small"])
    with pytest.raises(TaskFileError, match="unknown setting 'large'; known: small"):
        find_all("toy_large", [folder])


def test_functions_of_task_files(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    loader = read_task_file(folder / "toy_keep_gen.yaml")["custom_dataset"]
    assert loader == FunctionRef(folder, "rows.load")
    assert load_function(loader) is load_function(loader)
    assert load_function(FunctionRef(folder, "json.dumps"))([1]) == "[1]"
    with pytest.raises(PluginError, match="rows has no function 'laod'"):
        load_function(FunctionRef(folder, "rows.laod"))
    with pytest.raises(PluginError, match="ModuleNotFoundError"):
        load_function(FunctionRef(folder, "absent_module.load"))
    (folder / "broken.py").write_text("import absent_module")
    with pytest.raises(
        PluginError, match="!function broken.load .*ModuleNotFoundError: No module named 'absent_module'"
    ):
        load_function(FunctionRef(folder, "broken.load"))


def plugins(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = [metadata.EntryPoint(f"p{i}", value, ENTRY_POINTS) for i, value in enumerate(values)]

    def entry_points(*, group: str) -> list[metadata.EntryPoint]:
        return points if group == ENTRY_POINTS else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)


def test_benchmarks_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path / "toy_package" / "tasks")
    (tmp_path / "toy_package" / "__init__.py").write_text(
        "from pathlib import Path\nTASKS = Path(__file__).parent / 'tasks'\n"
    )
    (tmp_path / "toy_package" / "tasks" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for value in ("toy_package.tasks", "toy_package:TASKS"):
        plugins(monkeypatch, value)
        assert find("toy").group == "toy"
        (entry,) = [entry for entry in catalogue().entries if entry.name == "toy"]
        assert entry.origin.startswith("toy_package")


def test_an_installed_wheel_holds_its_own_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a wheel the folder lies inside the package, and one that happens to lie beside it is somebody else's."""
    package = tmp_path / "mmforget"
    shutil.copytree(task_folders()[0], package / "_tasks", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tasks").mkdir()
    monkeypatch.setattr(sys.modules["mmforget.benchmark.find"], "_PACKAGE", package)
    assert task_folders() == [package / "_tasks"]
    assert find("fiubench").bind(DataSource("synthetic")).num_rows("forget") == 28


def test_a_broken_package_is_named_and_breaks_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "bad_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "bad.yaml").write_text("task: [\n")
    (package / "same.yaml").write_text("task: fiubench")
    monkeypatch.syspath_prepend(tmp_path)
    plugins(monkeypatch, "bad_package", "absent_package.tasks", "bad_package:TASKS")
    assert find("fiubench").group == "fiubench"
    faults = catalogue().faults
    assert len(faults) == 4
    assert any("bad.yaml:2:1: not valid YAML" in fault for fault in faults)
    assert any("two task files are named 'fiubench'" in fault for fault in faults)
    assert any("benchmark 'p1' from absent_package" in fault for fault in faults)


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mmforget.benchmark import catalogue, find; catalogue(); find('fiubench');"
        "print(sorted({'torch', 'datasets', 'lm_eval', 'numpy', 'jinja2', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: " + "[" * 3000, "not valid YAML"),
        ("task: x\nlimit: " + "9" * 5000, "not valid YAML"),
        ("task: x\nwhen: 2024-13-45", "not valid YAML"),
        ("task: x\ninclude: " + "x" * 5000, "which does not exist beside it"),
        ('task: x\ninclude: "a\\0b"', "which does not exist beside it"),
    ],
)
def test_a_task_file_that_would_end_in_a_traceback_is_a_fault_in_few_words(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    (fault,) = catalogue([tmp_path]).faults
    assert fault.startswith(f"{tmp_path / 'bad.yaml'}:")
    assert words in fault
    assert len(fault) < 1000


def test_pipes_and_circles_among_task_files_are_faults(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "round.yaml").symlink_to(tmp_path / "round.yaml")
    faults = catalogue([tmp_path]).faults
    assert len(faults) == 2
    assert "pipe.yaml: not a regular file" in faults[0]
    assert "round.yaml" in faults[1]


@pytest.mark.parametrize(("settled_ns", "num_parsed"), [(0, 2), (10**15, 4)], ids=["settled", "just written"])
def test_a_task_file_is_read_again_where_it_or_its_base_has_changed(
    settled_ns: int, num_parsed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of a moment ago each time, since they might change again within one tick of the clock."""
    parsed, parse = [], task_files._parse

    def counted(path: Path) -> dict[str, Any]:
        parsed.append(path)
        return parse(path)

    monkeypatch.setattr(task_files, "_parse", counted)
    monkeypatch.setattr(task_files, "SETTLED_NS", settled_ns)
    base, task = tmp_path / "_base", tmp_path / "t.yaml"
    base.write_text("task: one\n")
    task.write_text("include: _base\n")
    read_task_file(task)["task"] = "not kept"
    assert read_task_file(task) == {"task": "one"}
    assert len(parsed) == num_parsed
    base.write_text("task: another\n")
    assert read_task_file(task) == {"task": "another"}
    task.write_text("include: _base\ntag: new\n")
    assert read_task_file(task) == {"task": "another", "tag": "new"}
    base.unlink()
    with pytest.raises(TaskFileError, match="includes '?_base'?, which does not exist beside it"):
        read_task_file(task)
