"""Task names to loaded lm_eval tasks: benchmarks of ours each with their setting, and any other lm_eval task."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.document import TaskLabel, parse_task_label
from mmforget.benchmark.find import Index, TaskFile, find_all, read_index, task_file_at, task_folders
from mmforget.benchmark.rows import EmptySet
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Bound
from mmforget.benchmark.task_files import TaskFileError
from mmforget.errors import NothingToRun, UnknownName, UserError, one_line
from mmforget.lm.inside import group_of, metadata_of, quiet, task_file, task_manager


class LeftOut(NamedTuple):
    """A task that was named and not run, and why."""

    task: str
    reason: str


class Named(NamedTuple):
    """What `--tasks` names: tasks and groups of benchmarks of ours, others, the folders searched, what they hold."""

    ours: list[str]
    others: list[str]
    include_paths: tuple[str | Path, ...]
    known: Index


@dataclass(frozen=True)
class LoadedTasks:
    """lm_eval's own task and group objects by name, and of each task that belongs to a benchmark of ours the label and
    the benchmark with its data.
    """

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    labels: Mapping[str, TaskLabel]
    left_out: tuple[LeftOut, ...] = ()
    owners: Mapping[str, Bound] = field(default_factory=dict)

    def is_forget(self, task: str) -> bool:
        """Whether a task asks what is to be forgotten."""
        owner = self.owners.get(task)
        return owner is not None and self.labels[task].set == owner.benchmark.forget_set


def load_tasks(
    names: Sequence[str], *, include_paths: Sequence[str | Path] = (), data: DataSource | None = None
) -> LoadedTasks:
    """Loads every task that the names (tasks, groups, globs, YAML files, comma lists) mean, each once.

    lm_eval's own tasks are searched only for a name that no folder of ours has: indexing them takes seconds. A task
    whose set the data cannot fill is left out and named.

    Raises UnknownName, NothingToRun, and UserError for task files that are broken and data that cannot be loaded.
    """
    named = divide(names, include_paths=include_paths)
    source = data or DataSource.parse(None)
    tasks: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    left_out: list[LeftOut] = []
    owners: dict[str, Bound] = {}
    with quiet():
        for benchmark in find_all(named.ours, named.include_paths) if named.ours else []:
            bound = benchmark.bind(source)
            found = _load_benchmark(bound, left_out=left_out)
            tasks.update(found)
            owners |= dict.fromkeys(found, bound)
            # A task named by itself stands for its own benchmark; a group of its name would hide its scores.
            if benchmark.group not in found:
                groups[benchmark.group] = group_of(benchmark.group, tasks=found, version=benchmark.version)
        if named.others:
            loaded = _load_others(named, data=source)
            tasks.update(loaded["tasks"])
            groups.update(loaded["groups"])
    if not tasks:
        why = "; ".join(f"{item.task}: {item.reason}" for item in left_out)
        raise NothingToRun(f"no task is left to run: {why}")
    return LoadedTasks(tasks, groups, _labels(tasks), tuple(left_out), owners)


def divide(names: Sequence[str], *, include_paths: Sequence[str | Path] = ()) -> Named:
    """What was named, as tasks of benchmarks of ours and other tasks. A glob may mean both; loads nothing.

    Raises UserError for task files that are broken and for a path without any.
    """
    parts = _split(names)
    files = {part: _files_at(part) for part in parts if _is_path(part, include_paths=include_paths)}
    labelled = {file: task_file_at(file) for found in files.values() for file in found}
    folders = dict.fromkeys(file.parent for file, task in labelled.items() if task.label is not None)
    searched = (*include_paths, *folders)
    named = Named([], [], searched, _sound_index(searched))
    known = _files(named)
    for part in parts:
        for file in files.get(part, ()):
            task = labelled[file]
            (named.others if task.label is None else named.ours).append(str(file) if task.label is None else task.name)
        if part not in files:
            matching = [file for file in known if fnmatch.fnmatchcase(file.name, part)]
            if any(file.label is not None for file in matching):
                named.ours.append(part)
            plain = [file.name for file in matching if file.label is None]
            named.others.extend(plain if matching else [part])
    return named


def other_names(named: Named, *, data: DataSource) -> list[str]:
    """The tasks that are no benchmark's by name or file, globs spelled out, without loading any.

    Raises UnknownName for one that neither the folders nor lm_eval itself has.
    """
    return _matched(named, manager=_manager_of(named, data=data)) if named.others else []


def _is_path(part: str, *, include_paths: Sequence[str | Path]) -> bool:
    """Whether a name is that of a file or folder: a folder that is called as a task is not meant."""
    if part.endswith(".yaml"):
        return True
    if not Path(part).expanduser().is_dir():
        return False
    index = _sound_index(include_paths)
    return part not in index.tasks and part not in index.groups


def _files_at(part: str) -> list[Path]:
    path = Path(part).expanduser()
    pattern = path / "*.yaml" if path.is_dir() else path
    found = [Path(file).resolve() for file in sorted(glob.glob(str(pattern)))]
    if not found:
        raise UserError(f"--tasks {part}: no such task file; give the name of a task, or a file or folder that exists")
    return found


def _sound_index(include_paths: Sequence[str | Path]) -> Index:
    index = read_index(include_paths)
    if index.faults:
        raise TaskFileError("\n".join(index.faults))
    return index


def _split(names: Sequence[str]) -> list[str]:
    parts = [part.strip() for name in names for part in name.split(",")]
    found = list(dict.fromkeys(part for part in parts if part))
    if not found:
        raise UserError("no task named; give --tasks with a group or task name, see `mmforget ls tasks`")
    return found


def _load_benchmark(bound: Bound, *, left_out: list[LeftOut]) -> dict[str, Any]:
    """The tasks of a benchmark, one by one, so that an empty set costs its own tasks only."""
    folders = dict.fromkeys(task.path.parent for task in bound.benchmark.tasks)
    manager = task_manager(folders, defaults=False, metadata=bound.data.as_metadata())
    tasks: dict[str, Any] = {}
    for task in bound.benchmark.tasks:
        try:
            tasks.update(_load(manager, names=[task.name])["tasks"])
        except EmptySet as error:
            left_out.append(LeftOut(task.name, str(error)))
    return tasks


def _load_others(named: Named, *, data: DataSource) -> Mapping[str, Any]:
    manager = _manager_of(named, data=data)
    names = _matched(named, manager=manager)
    return _load(manager, names=[task_file(Path(name)) if _is_file(name) else name for name in names])


def _manager_of(named: Named, *, data: DataSource) -> Any:
    """A manager that knows what is named. Where all are single tasks, their own folders are read and no others."""
    index = named.known
    known = {*index.tasks, *index.groups}
    foreign = any(not fnmatch.filter(known, name) and not _is_file(name) for name in named.others)
    folders = task_folders(named.include_paths)
    if all(name in index.tasks for name in named.others):
        folders = list(dict.fromkeys(index.tasks[name].path.parent for name in named.others))
    return task_manager(folders, defaults=foreign, metadata=data.as_metadata())


def _matched(named: Named, *, manager: Any) -> list[str]:
    expanded: list[str] = []
    for name in named.others:
        matching = [name] if _is_file(name) else manager.match_tasks([name])
        if not matching:
            known = [*manager.all_tasks, *(file.name for file in _files(named))]
            raise UnknownName("task", name=name, known=known)
        expanded += matching
    return list(dict.fromkeys(expanded))


def _files(named: Named) -> list[TaskFile]:
    return [*named.known.groups.values(), *named.known.tasks.values()]


def _is_file(name: str) -> bool:
    return name.endswith(".yaml") and Path(name).is_file()


def _load(manager: Any, *, names: list[Any]) -> Mapping[str, Any]:
    try:
        loaded: Mapping[str, Any] = manager.load(names)
    except UserError:
        raise
    except Exception as error:
        called = [name if isinstance(name, str) else str(name.get("task", name.get("group"))) for name in names]
        raise UserError(
            f"{', '.join(called)}: cannot be loaded: {type(error).__name__}: {one_line(error)}; "
            f"`mmforget validate {called[0]}` says more, and tasks from the hub need a network the first time"
        ) from error
    return loaded


def _labels(tasks: Mapping[str, Any]) -> dict[str, TaskLabel]:
    labels = {}
    for name, task in tasks.items():
        label = metadata_of(task).get("unlearning")
        if label is not None:
            labels[name] = parse_task_label(label, source=f"task {name}")
    return labels
