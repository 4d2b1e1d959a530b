"""Where task files are, and which benchmark a name, a glob or a comma list of them means."""

from __future__ import annotations

import fnmatch
import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.document import (
    Document,
    GroupLabel,
    TaskLabel,
    is_document,
    parse_document,
    parse_group_label,
    parse_task_label,
)
from mmforget.benchmark.files import is_hidden
from mmforget.benchmark.prompts import Prompt
from mmforget.benchmark.spec import Benchmark, TaskSpec
from mmforget.benchmark.task_files import FunctionRef, TaskFileError, read_task_file
from mmforget.errors import PluginError, UnknownName, UserError, shortened
from mmforget.reading import files_below

ENTRY_POINTS = "mmforget.benchmarks"
_PACKAGE = Path(__file__).resolve().parents[1]

# Keys that only lm_eval's files have: a folder may hold other YAML, which is none of our business.
_SIGNS_OF_A_TASK = {"task", "group", "dataset_path", "custom_dataset", "output_type", "doc_to_text", "doc_to_target"}

logger = logging.getLogger(__name__)


class TaskFolder(NamedTuple):
    """A folder of task files and who brought it: `mmforget`, a package, or the path given as --include_path."""

    path: Path
    origin: str
    is_plugin: bool = False


@dataclass(frozen=True)
class TaskFile:
    """One task or group as its file says: name, `task` or `group`, the merged keys, and where it is from."""

    name: str
    kind: str
    path: Path
    origin: str
    config: Mapping[str, Any] = field(repr=False)

    @property
    def label(self) -> Any:
        """`metadata.unlearning` as written, or None for a plain lm_eval task."""
        found = self.config.get("metadata")
        return found.get("unlearning") if isinstance(found, Mapping) else None


class BenchmarkKey(NamedTuple):
    """What makes two tasks part of one Benchmark."""

    benchmark: str
    setting: str
    modality: str


class Index(NamedTuple):
    """All tasks and groups by name, and what could not be read.

    `faults` are in mmforget's own files or in those the user includes, and stop every command; `plugin_faults` are in
    installed packages, and leave the others working.
    """

    tasks: Mapping[str, TaskFile]
    groups: Mapping[str, TaskFile]
    faults: tuple[str, ...]
    plugin_faults: tuple[str, ...]


class CatalogueEntry(NamedTuple):
    """What `mmforget ls tasks` says about a name."""

    name: str
    kind: str
    benchmark: str
    origin: str
    summary: str


class Catalogue(NamedTuple):
    """Every known task and group, and the files that are broken (named, never left out silently)."""

    entries: tuple[CatalogueEntry, ...]
    faults: tuple[str, ...]


def task_folders(include_paths: Iterable[str | Path] = ()) -> list[Path]:
    """Folders that are searched: mmforget's own, those of installed packages, then `include_paths`, each once.

    Raises UserError for an include path that is not a folder; an entry point that is none is left out here and named
    by `catalogue`.
    """
    return [folder.path for folder in _folders(include_paths, faults=[])]


def find(name: str, include_paths: Iterable[str | Path] = ()) -> Benchmark:
    """The one benchmark that `name` (a group, a task, a glob or a comma list) means.

    Raises UnknownName, and UserError where the name means more than one benchmark or setting.
    """
    found = find_all(name, include_paths)
    if len(found) > 1:
        means = ", ".join(benchmark.group for benchmark in found)
        raise UserError(f"'{name}' means {len(found)} benchmarks or settings ({means}); name one of them")
    return found[0]


def find_all(names: str | Sequence[str], include_paths: Iterable[str | Path] = ()) -> list[Benchmark]:
    """Every benchmark that the names mean, one for each setting and modality, with just the tasks that were named.

    Raises UnknownName for a name that nothing matches, and UserError naming every task file that is broken.
    """
    index = read_index(include_paths)
    if index.faults:
        raise TaskFileError("\n".join(index.faults))
    for fault in index.plugin_faults:
        logger.warning("a benchmark package is broken: %s", fault)
    wanted: dict[BenchmarkKey, list[TaskFile]] = {}
    groups: dict[BenchmarkKey, TaskFile] = {}
    for name in _split(names):
        for file in _matches(name, index=index):
            key = _key_of(file, index=index, chosen=wanted)
            if file.kind == "group":
                groups.setdefault(key, file)
            members = _members(file, index=index) if file.kind == "group" else [file]
            known = wanted.setdefault(key, [])
            known += [member for member in members if member not in known]
    return [_benchmark(key, tasks=tasks, group=groups.get(key), index=index) for key, tasks in wanted.items()]


def catalogue(include_paths: Iterable[str | Path] = ()) -> Catalogue:
    """All names with one line each, and all faults. Reads files only: imports no loader and no lm_eval."""
    index = read_index(include_paths)
    files = [*index.groups.values(), *index.tasks.values()]
    return Catalogue(tuple(_entry(file) for file in files), (*index.faults, *index.plugin_faults))


def read_index(include_paths: Iterable[str | Path] = ()) -> Index:
    """Every `*.yaml` below the task folders, read; two files that claim one name are a fault."""
    tasks: dict[str, TaskFile] = {}
    groups: dict[str, TaskFile] = {}
    faults: list[str] = []
    plugin_faults: list[str] = []
    seen: set[Path] = set()
    for folder in _folders(include_paths, faults=plugin_faults):
        for path in sorted(set(_yaml_files(folder.path)) - seen):
            seen.add(path)
            try:
                file = _task_file(path, origin=folder.origin)
                if file is None:
                    continue
                other = tasks.get(file.name) or groups.get(file.name)
                if other is not None:
                    raise TaskFileError(f"two task files are named '{file.name}': {other.path} and {path}; rename one")
            except UserError as error:
                (plugin_faults if folder.is_plugin else faults).append(str(error))
                continue
            (groups if file.kind == "group" else tasks)[file.name] = file
    return Index(tasks, groups, tuple(faults), tuple(plugin_faults))


def task_file_at(path: Path) -> TaskFile:
    """The task or group in one file. Raises TaskFileError where it holds none or cannot be read."""
    found = _task_file(path, origin=str(path))
    if found is None:
        raise TaskFileError(f"{path}: holds neither a task nor a group")
    return found


def _folders(include_paths: Iterable[str | Path], *, faults: list[str]) -> list[TaskFolder]:
    # In a wheel the files lie inside the package; the folder beside it is a clone's.
    inside = _PACKAGE / "_tasks"
    found = [TaskFolder(inside if inside.is_dir() else _PACKAGE.parent / "tasks", "mmforget")]
    for point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            found.append(_plugin_folder(point))
        except PluginError as error:
            faults.append(str(error))
    for text in include_paths:
        path = Path(text).expanduser()
        if not path.is_dir():
            raise UserError(f"--include_path {text}: no such folder; give a folder that holds task files (*.yaml)")
        found.append(TaskFolder(path.resolve(), str(text)))
    unique: dict[Path, TaskFolder] = {}
    for folder in found:
        if not any(parent in unique for parent in (folder.path, *folder.path.parents)):
            unique[folder.path] = folder
    return list(unique.values())


def _plugin_folder(point: metadata.EntryPoint) -> TaskFolder:
    """The folder an entry point gives: that of the package it names, or a path held by the attribute it names."""
    origin = point.dist.name if point.dist else point.module
    try:
        if point.attr:
            return TaskFolder(Path(point.load()).resolve(strict=True), origin, is_plugin=True)
        spec = importlib.util.find_spec(point.module)
    except Exception as error:
        raise PluginError(f"benchmark '{point.name}' from {origin}: {type(error).__name__}: {error}") from error
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise PluginError(f"benchmark '{point.name}' from {origin}: {point.value} is not a package with task files")
    return TaskFolder(Path(places[0]).resolve(), origin, is_plugin=True)


def _yaml_files(folder: Path) -> list[Path]:
    """Every `*.yaml` below a folder that is not hidden and does not lie in a hidden one."""
    return [path for path in files_below(folder, "*.yaml") if not is_hidden(path, below=folder)]


def _task_file(path: Path, *, origin: str) -> TaskFile | None:
    """A task or group, or None for YAML about something else. A task without a name is a fault."""
    config = read_task_file(path)
    kind = "group" if "group" in config else "task"
    name = config.get(kind)
    if isinstance(name, str):
        return TaskFile(name=name, kind=kind, path=path, origin=origin, config=config)
    if _SIGNS_OF_A_TASK & set(config):
        raise TaskFileError(f"{path}: has neither a 'task' nor a 'group' name")
    return None


def _split(names: str | Sequence[str]) -> list[str]:
    parts = [part.strip() for text in ([names] if isinstance(names, str) else names) for part in text.split(",")]
    found = [part for part in parts if part]
    if not found:
        raise UserError("no task named; give --tasks with a group or task name, e.g. --tasks fiubench")
    return found


def _matches(name: str, *, index: Index) -> list[TaskFile]:
    files = {**index.groups, **index.tasks}
    ours = {file.name: file for file in files.values() if file.label is not None}
    if name in files and name not in ours:
        raise UserError(f"'{name}' is a plain lm_eval task, not part of an unlearning benchmark; use 'mmforget eval'")
    matching = [ours[key] for key in ours if fnmatch.fnmatchcase(key, name)]
    # A benchmark whose groups all name a setting is meant with its main one.
    matching = matching or [one for one in ours.values() if is_document(one.label) and _benchmark_of(one) == name]
    if not matching:
        raise UnknownName("task", name=name, known=ours)
    return matching


def _document_file(benchmark: str, *, index: Index) -> TaskFile:
    for file in index.groups.values():
        if is_document(file.label) and _benchmark_of(file) == benchmark:
            return file
    raise UserError(f"benchmark '{benchmark}' has no group whose metadata.unlearning holds its document")


def _document(benchmark: str, *, index: Index) -> Document:
    file = _document_file(benchmark, index=index)
    return parse_document(file.label, source=str(file.path))


def _key_of(file: TaskFile, *, index: Index, chosen: Iterable[BenchmarkKey] = ()) -> BenchmarkKey:
    """The benchmark, setting and modality a file belongs to; a task of any setting joins one already chosen."""
    label = _label(file)
    modality = _modality_in(label.benchmark, index=index)(file)
    setting = label.setting or next(
        (key.setting for key in chosen if (key.benchmark, key.modality) == (label.benchmark, modality)), None
    )
    return BenchmarkKey(label.benchmark, setting or _document(label.benchmark, index=index).setting, modality)


def _modality_in(benchmark: str, *, index: Index) -> Callable[[TaskFile], str]:
    """Tells what modality the benchmark has that a file of it belongs to: its group's, else the document's.

    A task belongs to the groups that list it; one that none lists, to those of its own modality where there are any.
    """
    own = _document(benchmark, index=index).modality
    groups = [group for group in index.groups.values() if _benchmark_of(group) == benchmark]
    known = [(_names(group), _label(group).modality or own) for group in groups]

    def modality_of(file: TaskFile) -> str:
        modality = _label(file).modality
        if file.kind == "group":
            return modality or own
        listed = [found for names, found in known if file.name in names]
        return next(iter(listed), str(modality) if modality in [found for _, found in known] else own)

    return modality_of


def _benchmark_of(file: TaskFile) -> str | None:
    return file.label.get("benchmark") if isinstance(file.label, Mapping) else None


def _label(file: TaskFile) -> TaskLabel | GroupLabel | Document:
    if file.kind == "task":
        return parse_task_label(file.label, source=str(file.path))
    if is_document(file.label):
        return parse_document(file.label, source=str(file.path))
    return parse_group_label(file.label, source=str(file.path))


def _members(group: TaskFile, *, index: Index) -> list[TaskFile]:
    names = _names(group)
    if not names:
        named = group.config.get("task")
        raise TaskFileError(f"{group.path}: 'task' is {shortened(named)}; a group lists the names of its tasks")
    for name in names:
        if name not in index.tasks:
            raise TaskFileError(f"{group.path}: {UnknownName('task', name=name, known=index.tasks)}")
    return [index.tasks[name] for name in names]


def _names(group: TaskFile) -> list[str]:
    """What a group lists; nothing where that is no list."""
    named = group.config.get("task")
    items = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    return [str(item.get("task") if isinstance(item, Mapping) else item) for item in items]


def _benchmark(key: BenchmarkKey, *, tasks: Sequence[TaskFile], group: TaskFile | None, index: Index) -> Benchmark:
    name, setting, modality = key
    document_file = _document_file(name, index=index)
    document = parse_document(document_file.label, source=str(document_file.path))
    if setting not in document.settings:
        raise TaskFileError(f"{tasks[0].path}: {UnknownName('setting', name=setting, known=document.settings)}")
    first = tasks[0]
    loader = first.config.get("custom_dataset")
    if not isinstance(loader, FunctionRef):
        raise TaskFileError(f"{first.path}: a benchmark's task needs 'custom_dataset: !function rows.load'")
    return Benchmark(
        name=name,
        group=group.name if group else _group_of(key, index=index) or first.name,
        setting=setting,
        modality=modality,
        tasks=tuple(_spec(task) for task in tasks),
        prompts=_prompts(key, named=tasks, index=index),
        loader=loader,
        document=document,
        version=str(document_file.config["metadata"].get("version", "")),
    )


def _prompts(key: BenchmarkKey, *, named: Sequence[TaskFile], index: Index) -> tuple[Prompt, ...]:
    """How all tasks of a benchmark in this setting ask, those of its own modality first, then those that were named."""
    found, modality_of = [], _modality_in(key.benchmark, index=index)
    for file in (*named, *(task for task in index.tasks.values() if _benchmark_of(task) == key.benchmark)):
        label = parse_task_label(file.label, source=str(file.path))
        if label.setting in (None, key.setting) and modality_of(file) == key.modality:
            text, delimiter = file.config.get("doc_to_text", ""), str(file.config.get("target_delimiter", " "))
            text = text if isinstance(text, FunctionRef) else str(text)
            around = {name: str(file.config.get(name) or "") for name in ("description", "gen_prefix")}
            found.append(Prompt(file.name, label.set, label.kind, label.modality, text, delimiter, **around))
    return tuple(sorted(dict.fromkeys(found), key=lambda prompt: prompt.modality != key.modality))


def _group_of(key: BenchmarkKey, *, index: Index) -> str | None:
    siblings = (file for file in index.groups.values() if _benchmark_of(file) == key[0])
    return next((file.name for file in siblings if _key_of(file, index=index) == key), None)


def _spec(file: TaskFile) -> TaskSpec:
    label = parse_task_label(file.label, source=str(file.path))
    return TaskSpec(file.name, label.set, label.kind, label.modality, file.path, label.setting)


def _entry(file: TaskFile) -> CatalogueEntry:
    benchmark = str(file.label.get("benchmark", "")) if isinstance(file.label, Mapping) else ""
    return CatalogueEntry(file.name, file.kind, benchmark, file.origin, _summary(file))


_KINDS = {
    "gen": "generate the answer",
    "mc": "choose an answer",
    "prob": "log-likelihood of answers",
    "roll": "log-likelihood of whole documents",
}


def _summary(file: TaskFile) -> str:
    label = file.label if isinstance(file.label, Mapping) else {}
    if file.kind == "group":
        told = [str(label[name]) for name in ("setting", "modality") if label.get(name)]
        setting = f" ({', '.join(told)})" if "setting" in label else ""
        return str(label.get("title") or file.config.get("group_alias") or "a group of tasks") + setting
    if not label:
        return "a plain lm_eval task"
    asks = _KINDS.get(str(label.get("kind")), str(label.get("kind")))
    setting = f" of {label['setting']}" if label.get("setting") else ""
    without = " without the image" if label.get("modality") == "text" else ""
    return f"{label.get('set')} set{setting}: {asks}{without}"
