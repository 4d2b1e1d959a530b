"""Task names to loaded lm_eval tasks: benchmarks of ours each with their setting, and any other lm_eval task."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.document import TaskLabel, parse_task_label
from mmforget.benchmark.find import Index, find_all, read_index, task_folders
from mmforget.benchmark.rows import EmptySet
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.benchmark.task_files import TaskFileError
from mmforget.errors import UnknownName, UserError

CHATTER = ("Custom kwargs can be passed", "fewshot_split is None", "are not consistent. Defaulting to None")
"""What lm_eval warns about every task with rows of its own, and every group that holds forgotten and kept rows."""


class LeftOut(NamedTuple):
    """A task that was named and not run, and why."""

    task: str
    reason: str


@dataclass(frozen=True)
class LoadedTasks:
    """lm_eval's own task and group objects by name, and the label of each task that belongs to a benchmark of ours."""

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    labels: Mapping[str, TaskLabel]
    left_out: tuple[LeftOut, ...] = ()


def load_tasks(
    names: Sequence[str], *, include_paths: Sequence[str | Path] = (), data: DataSource | None = None
) -> LoadedTasks:
    """Loads every task that the names (tasks, groups, globs, YAML files, comma lists) mean, each once.

    lm_eval's own tasks are searched only for a name that no folder of ours has: indexing them takes seconds. A task
    whose set the data cannot fill is left out and named.

    Raises UnknownName, and UserError for task files that are broken and for data that cannot be loaded.
    """
    index = read_index(include_paths)
    if index.faults:
        raise TaskFileError("\n".join(index.faults))
    ours, others = _divide(_split(names), index=index)
    source = data or DataSource.parse(None)
    tasks: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    left_out: list[LeftOut] = []
    with quiet():
        for benchmark in find_all(ours, include_paths) if ours else []:
            found = _load_benchmark(benchmark, include_paths=include_paths, data=source, left_out=left_out)
            tasks.update(found)
            # A task named by itself stands for its own benchmark; a group of its name would hide its scores.
            if benchmark.group not in found:
                groups[benchmark.group] = _group(benchmark.group, tasks=found, version=benchmark.version)
        if others:
            loaded = _load_others(others, index=index, include_paths=include_paths, data=source)
            tasks.update(loaded["tasks"])
            groups.update(loaded["groups"])
    if not tasks:
        raise UserError("no task is left to run: " + "; ".join(f"{item.task}: {item.reason}" for item in left_out))
    return LoadedTasks(tasks, groups, _labels(tasks), tuple(left_out))


def _split(names: Sequence[str]) -> list[str]:
    parts = [part.strip() for name in names for part in name.split(",")]
    found = list(dict.fromkeys(part for part in parts if part))
    if not found:
        raise UserError("no task named; give --tasks with a group or task name, see `mmforget ls tasks`")
    return found


def _divide(names: Sequence[str], *, index: Index) -> tuple[list[str], list[str]]:
    """The names that mean tasks of a benchmark of ours, and the rest."""
    labelled = [file.name for file in (*index.groups.values(), *index.tasks.values()) if file.label is not None]
    ours = [name for name in names if fnmatch.filter(labelled, name)]
    return ours, [name for name in names if name not in ours]


def _load_benchmark(
    benchmark: Benchmark, *, include_paths: Sequence[str | Path], data: DataSource, left_out: list[LeftOut]
) -> dict[str, Any]:
    """The tasks of a benchmark, one by one, so that an empty set costs its own tasks only."""
    manager = _manager(include_paths, defaults=False, metadata=benchmark.bind(data).as_metadata())
    tasks: dict[str, Any] = {}
    for task in benchmark.tasks:
        try:
            tasks.update(_load(manager, names=[task.name])["tasks"])
        except EmptySet as error:
            left_out.append(LeftOut(task.name, str(error)))
    return tasks


def _load_others(
    names: Sequence[str], *, index: Index, include_paths: Sequence[str | Path], data: DataSource
) -> Mapping[str, Any]:
    known = {*index.tasks, *index.groups}
    foreign = any(not fnmatch.filter(known, name) and not Path(name).is_file() for name in names)
    manager = _manager(include_paths, defaults=foreign, metadata=data.as_metadata())
    expanded: list[str] = []
    for name in names:
        matching = [name] if Path(name).is_file() else manager.match_tasks([name])
        if not matching:
            raise UnknownName("task", name=name, known=manager.all_tasks)
        expanded += matching
    return _load(manager, names=list(dict.fromkeys(expanded)))


def _manager(include_paths: Sequence[str | Path], *, defaults: bool, metadata: dict[str, Any]) -> Any:
    from lm_eval.tasks import TaskManager

    class Manager(TaskManager):  # type: ignore[misc]
        """lm_eval's task manager, for which a task that two groups share is no error."""

        @staticmethod
        def _check_duplicates(built: list[Any]) -> None:
            """Both groups hold the same task, which runs once."""

    return Manager(include_path=list(task_folders(include_paths)), include_defaults=defaults, metadata=metadata)


def _load(manager: Any, *, names: list[str]) -> Mapping[str, Any]:
    try:
        loaded: Mapping[str, Any] = manager.load(names)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{', '.join(names)}: cannot be loaded: {type(error).__name__}: {error}; `mmforget validate {names[0]}` "
            "says more, and tasks from the hub need a network the first time"
        ) from error
    return loaded


def _group(name: str, *, tasks: Mapping[str, Any], version: str) -> Any:
    from lm_eval.api.group import Group

    group = Group(name, alias=name, metadata={"version": version})
    for task in tasks.values():
        group.add(task)
    return group


def _labels(tasks: Mapping[str, Any]) -> dict[str, TaskLabel]:
    labels = {}
    for name, task in tasks.items():
        metadata = task.get_config("metadata")
        label = metadata.get("unlearning") if isinstance(metadata, Mapping) else None
        if label is not None:
            labels[name] = parse_task_label(label, source=f"task {name}")
    return labels


@contextmanager
def quiet() -> Iterator[None]:
    """Without lm_eval's remarks on tasks that are as they should be; every other warning passes."""

    def passes(record: logging.LogRecord) -> bool:
        return not any(text in record.getMessage() for text in CHATTER)

    loggers = [logging.getLogger(name) for name in ("lm_eval.api.task", "lm_eval.evaluator_utils")]
    for each in loggers:
        each.addFilter(passes)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(passes)


@contextmanager
def bars_off() -> Iterator[None]:
    """Without the bar that lm_eval shows for building every task's prompts, which takes no time worth showing."""
    from lm_eval.api import task as task_module

    original = task_module.tqdm
    task_module.tqdm = partial(original, disable=True)
    try:
        yield
    finally:
        task_module.tqdm = original
