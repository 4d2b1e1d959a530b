"""`Benchmark`: one protocol in one setting and modality, with its tasks, its rows and what a run needs to know."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmforget.benchmark.document import Document, Gate, MetricUse
from mmforget.benchmark.hierarchy import parse_path
from mmforget.benchmark.images import ImageValue, open_image
from mmforget.benchmark.rows import EmptySet, differing_columns, make_dataset, undecoded
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.task_files import FunctionRef, load_function
from mmforget.errors import PluginError, UserError, shortened
from mmforget.types import Example

if TYPE_CHECKING:
    import datasets
    from PIL.Image import Image


@dataclass(frozen=True)
class TaskSpec:
    """One lm_eval task of a benchmark. `setting` None: its rows are the same whichever setting is run."""

    name: str
    set: str
    kind: str
    modality: str
    path: Path
    setting: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A benchmark in one setting and one modality.

    Attributes:
        name: the protocol, e.g. `fiubench`; `group` is the lm_eval group it was asked for by.
        tasks: those to evaluate, in file order of the group.
        context_template: jinja of `doc_to_text`; one `<image>` per image.
        target_delimiter: stands between context and answer.
        loader: the `custom_dataset` function that all its tasks share.
    """

    name: str
    group: str
    setting: str
    modality: str
    tasks: tuple[TaskSpec, ...]
    context_template: str
    target_delimiter: str
    loader: FunctionRef
    document: Document = field(repr=False)
    version: str = ""

    @property
    def title(self) -> str:
        return self.document.title

    @property
    def stage_one(self) -> Mapping[str, str]:
        """The sets that the `target` and the `retain` model are trained on."""
        return self.document.stage_one

    @property
    def forget_set(self) -> str:
        return self.document.sets["forget"]

    @property
    def retain_set(self) -> str:
        """The set that methods train on so as to keep it; `utility_set` is what is kept, as measured."""
        return self.document.sets["retain"]

    @property
    def utility_set(self) -> str:
        return self.document.sets["utility"]

    @property
    def rephrase_set(self) -> str | None:
        return self.document.sets.get("rephrase")

    @property
    def holdout_set(self) -> str | None:
        return self.document.sets.get("holdout")

    @property
    def gate(self) -> Gate:
        return self.document.gate

    @property
    def metrics(self) -> tuple[MetricUse, ...]:
        return self.document.metrics

    @property
    def recipes(self) -> Mapping[str, Mapping[str, Any]]:
        return self.document.recipes

    @property
    def benign_set(self) -> str | None:
        """The questions to forget, asked of harmless images, with normal answers."""
        return self.document.sets.get("benign")

    @property
    def has_retain_model(self) -> bool:
        """Whether the protocol has a model that never saw what is to be forgotten."""
        return "retain" in self.stage_one

    @property
    def refusals(self) -> tuple[str, ...]:
        """The document's own refusals; `refusals_for` gives those that come with the data."""
        return self.document.refusals

    @property
    def set_names(self) -> tuple[str, ...]:
        """Every set that a run of this benchmark touches, each once."""
        named = (*self.stage_one.values(), *self.document.sets.values(), *(task.set for task in self.tasks))
        return tuple(dict.fromkeys(named))

    def bind(self, data: DataSource) -> DataSource:
        """`data` with this benchmark's setting in its metadata, so that lm_eval's task loaders see it too.

        Raises UserError where the metadata names another setting than the tasks do.
        """
        other = data.metadata.get("setting")
        if other is not None and not any(task.setting for task in self.tasks):
            return data
        if other not in (None, self.setting):
            raise UserError(
                f"--metadata setting is '{other}', but {self.group} is '{self.setting}'; leave one of them out"
            )
        return replace(data, metadata={**data.metadata, "setting": self.setting})

    def rows(self, set_name: str, *, data: DataSource) -> datasets.Dataset:
        """The rows of a set, columns as `row_features`, images decoded on access; no rows where the data has none.

        Raises UserError for an unknown set, BadData naming every broken row, PluginError where the loader crashes.
        """
        try:
            found = self._call(load_function(self.loader), set_name, data=data)
        except EmptySet:
            return make_dataset([])
        where = f"{self.loader.folder}: {self.loader.name} of set '{set_name}'"
        if not isinstance(found, Mapping) or "test" not in found:
            raise PluginError(f"{where} gives {_shown(found)}, not {{'test': make_dataset(docs)}}")
        if differing := differing_columns(found["test"]):
            raise PluginError(f"{where}: its rows are not those of make_dataset(docs): {', '.join(differing)} differ")
        return found["test"]

    def num_rows(self, set_name: str, *, data: DataSource) -> int:
        """How many rows a set has; 0 says that the data cannot fill it, and its tasks have to be left out."""
        return len(self.rows(set_name, data=data))

    def examples(self, set_name: str, *, data: DataSource) -> list[Example]:
        """Every row as the context a task shows and the answer it expects. Rows of one picture share one object."""
        from mmforget.benchmark.templates import template

        rows = self.rows(set_name, data=data)
        shown = template(self.context_template)
        pictures: dict[str | bytes | None, Image] = {}
        # So that each distinct picture is decoded once, here.
        docs = undecoded(rows)
        return [
            Example(
                id=doc["id"],
                subject=doc["subject"],
                context=shown.render(**doc),
                answer=self.target_delimiter + doc["answer"],
                images=tuple(_picture(value, known=pictures) for value in doc["images"]),
                path=tuple(doc["path"]),
                extra=json.loads(doc["extra"] or "{}"),
            )
            for doc in docs
        ]

    def refusals_for(self, data: DataSource) -> tuple[str, ...]:
        """Refusals that come with the data (FIUBench's `prompt.json`), else the document's own."""
        return tuple(self._listed("refusals", data=data, of=str)) or self.refusals

    def level(self, data: DataSource) -> int | None:
        """Which part of a row's path is forgotten as a whole, 0 the outermost; None where rows have no levels."""
        path = data.metadata.get("forget_path")
        if path:
            return len(parse_path(str(path))) - 1
        levels = self.document.levels
        return levels.index(self.setting) if self.setting in levels else None

    def concepts(self, data: DataSource) -> list[dict[str, Any]]:
        """What the loader says about each concept to forget: names, facts, neighbours; see `methods.material`."""
        return self._listed("concepts", data=data, of=Mapping)

    def notes(self, data: DataSource) -> list[str]:
        """What the loader knows to be odd about the data: known defects, stand-ins, reconstructions."""
        return self._listed("notes", data=data, of=str)

    def describe(self, data: DataSource | None = None) -> dict[str, Any]:
        """What a run record says about the benchmark and, with `data`, about its rows. Plain JSON values."""
        facts: dict[str, Any] = {
            "benchmark": self.name,
            "group": self.group,
            "setting": self.setting,
            "modality": self.modality,
            "title": self.title,
            "version": self.version,
            "paper": self.document.paper,
            "licence": self.document.licence,
        }
        if data is not None:
            told = self._hook("describe", data=data)
            if not isinstance(told, Mapping | None):
                raise PluginError(f"{self.loader.folder}: describe gives {_shown(told)}, not a mapping")
            facts["data"] = {**data.describe(), **(told or {})}
        return facts

    def _keywords(self, set_name: str, *, data: DataSource) -> dict[str, Any]:
        label = {"benchmark": self.name, "set": set_name, "modality": self.modality}
        return {**self.bind(data).as_metadata(), "unlearning": label}

    def _listed(self, name: str, *, data: DataSource, of: type) -> list[Any]:
        """The list that an optional function of the loader's module returns; empty where the module has none."""
        found = self._hook(name, data=data)
        if found is None:
            return []
        if not isinstance(found, list | tuple) or not all(isinstance(item, of) for item in found):
            what = "texts" if of is str else "mappings"
            raise PluginError(f"{self.loader.folder}: {name} gives {_shown(found)}, not a list of {what}")
        return list(found)

    def _hook(self, name: str, *, data: DataSource) -> Any:
        """What an optional function of the loader's module returns, or None where the module has no such function."""
        module = self.loader.name.rpartition(".")[0]
        try:
            function = load_function(self.loader._replace(name=f"{module}.{name}"))
        except PluginError as error:
            if error.__cause__ is not None:
                raise
            return None
        return self._call(function, self.forget_set, data=data)

    def _call(self, function: Callable[..., Any], set_name: str, *, data: DataSource) -> Any:
        try:
            return function(**self._keywords(set_name, data=data))
        except UserError:
            raise
        except Exception as error:
            where = f"{self.loader.folder}: {function.__name__} of set '{set_name}'"
            raise PluginError(f"{where}: {type(error).__name__}: {error}") from error


def _shown(value: object) -> str:
    """A value that should not be there, in a few characters."""
    return shortened(value) if value is None or isinstance(value, str) else f"a {type(value).__name__}"


def _picture(value: ImageValue, *, known: dict[str | bytes | None, Image]) -> Image:
    key = value["bytes"] or value["path"]
    if key not in known:
        known[key] = open_image(value)
    return known[key]
