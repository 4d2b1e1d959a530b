"""`Benchmark`: one protocol in one setting and modality, with its tasks; `Bound`: the same with its data."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmforget.benchmark.document import Document, Gate, MetricUse
from mmforget.benchmark.hierarchy import parse_path
from mmforget.benchmark.images import ImageValue, open_image
from mmforget.benchmark.prompts import Prompt, prompt_for, rendered
from mmforget.benchmark.rows import EmptySet, differing_columns, make_dataset, undecoded
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.task_files import FunctionRef, load_function, load_module
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
        prompts: how its tasks ask, also those that were not named: training shows a row as evaluation would ask it.
        loader: the `custom_dataset` function that all its tasks share.
    """

    name: str
    group: str
    setting: str
    modality: str
    tasks: tuple[TaskSpec, ...]
    prompts: tuple[Prompt, ...]
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
    def trained_sets(self) -> Mapping[str, str]:
        """What methods train on, `forget` and `retain`: the sets of these roles, unless the setting has others."""
        return {"forget": self.forget_set, "retain": self.retain_set, **self.document.trained.get(self.setting, {})}

    @property
    def relearn_set(self) -> str | None:
        """What unlearned models are fine-tuned on at the end, to be asked once more; None where they are not."""
        return self.document.relearn.get(self.setting)

    @property
    def folds(self) -> tuple[str, ...]:
        """The sets that requests forget one after another; empty where these are parts of the forget set by subject."""
        return self.document.folds.get(self.setting, ())

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
    def set_names(self) -> tuple[str, ...]:
        """Every set that a run of this benchmark touches, each once."""
        trained = (
            *self.stage_one.values(),
            *self.trained_sets.values(),
            *filter(None, (self.relearn_set,)),
            *self.document.known,
            *self.folds,
        )
        named = (*trained, *self.document.sets.values(), *(task.set for task in self.tasks))
        return tuple(dict.fromkeys(named))

    @property
    def refusals(self) -> tuple[str, ...]:
        """The document's own refusals; those of a `Bound` may come with the data."""
        return self.document.refusals

    def rows(self, set_name: str, *, data: DataSource) -> datasets.Dataset:
        """The rows of a set, for a single look: whoever looks twice binds the data once."""
        return self.bind(data).rows(set_name)

    def examples(self, set_name: str, *, data: DataSource) -> list[Example]:
        """The rows of a set as contexts and answers, for a single look."""
        return self.bind(data).examples(set_name)

    def bind(self, data: DataSource) -> Bound:
        """The benchmark with its data, whose metadata get this setting, so that lm_eval's task loaders see it too.

        Raises UserError where the metadata name another setting than the tasks do.
        """
        other = data.metadata.get("setting")
        if other is not None and not any(task.setting for task in self.tasks):
            return Bound(self, data)
        if other not in (None, self.setting):
            raise UserError(
                f"--metadata setting is '{other}', but {self.group} is '{self.setting}'; leave one of them out"
            )
        return Bound(self, replace(data, metadata={**data.metadata, "setting": self.setting}))

    def describe(self) -> dict[str, Any]:
        """What a run record says about the benchmark. Plain JSON values."""
        return {
            "benchmark": self.name,
            "group": self.group,
            "setting": self.setting,
            "modality": self.modality,
            "title": self.title,
            "version": self.version,
            "paper": self.document.paper,
            "licence": self.document.licence,
        }


@dataclass(frozen=True)
class Bound:
    """A benchmark with its data: made by `Benchmark.bind`, and all that anybody needs who asks for rows."""

    benchmark: Benchmark
    data: DataSource

    def rows(self, set_name: str) -> datasets.Dataset:
        """The rows of a set, columns as `row_features`, images decoded on access; no rows where the data has none.

        Raises UserError for an unknown set, BadData naming every broken row, PluginError where the loader crashes.
        """
        loader = self.benchmark.loader
        try:
            found = self._call(load_function(loader), set_name)
        except EmptySet:
            return make_dataset([])
        where = f"{loader.folder}: {loader.name} of set '{set_name}'"
        if not isinstance(found, Mapping) or "test" not in found:
            raise PluginError(f"{where} gives {_shown(found)}, not {{'test': make_dataset(docs)}}")
        if differing := differing_columns(found["test"]):
            raise PluginError(f"{where}: its rows are not those of make_dataset(docs): {', '.join(differing)} differ")
        return found["test"]

    def column(self, set_name: str, name: str) -> list[Any]:
        """One column of a set's rows, read at once: a hundred times faster than row by row."""
        found: list[Any] = self.rows(set_name)[name][:]
        return found

    def num_rows(self, set_name: str) -> int:
        """How many rows a set has; 0 says that the data cannot fill it, and its tasks have to be left out."""
        return len(self.rows(set_name))

    def examples(self, set_name: str, *, subjects: Collection[str] | None = None) -> list[Example]:
        """Every row, or those of these subjects, as the context a task shows and the answer it expects.

        Rows of one picture share one object.
        """
        pictures: dict[str | bytes | None, Image] = {}
        # So that each distinct picture is decoded once, here.
        docs = [doc for doc in undecoded(self.rows(set_name)) if subjects is None or doc["subject"] in subjects]
        return [self._example(doc, set_name=set_name, pictures=pictures) for doc in docs]

    def _example(self, doc: Mapping[str, Any], *, set_name: str, pictures: dict[str | bytes | None, Image]) -> Example:
        is_document = bool(doc.get("text"))
        prompt = prompt_for(doc, self.benchmark.prompts, set_name=set_name)
        delimiter = "" if is_document else prompt.delimiter
        return Example(
            id=doc["id"],
            subject=doc["subject"],
            context="" if is_document else prompt.context(doc),
            answer=delimiter + doc["answer"],
            images=tuple(_picture(value, known=pictures) for value in doc["images"]),
            path=tuple(doc["path"]),
            extra=json.loads(doc["extra"] or "{}"),
            delimiter=delimiter,
            turns=tuple((doc.get("turns") or ())[:-1]),
            description="" if is_document else rendered(prompt.description, doc),
            gen_prefix="" if is_document else rendered(prompt.gen_prefix, doc),
            is_document=is_document,
        )

    @property
    def refusals(self) -> tuple[str, ...]:
        """Refusals that come with the data (FIUBench's `prompt.json`), else the document's own."""
        return tuple(self._listed("refusals", of=str)) or self.benchmark.refusals

    @property
    def level(self) -> int | None:
        """Which part of a row's path is forgotten as a whole, 0 the outermost; None where rows have no levels."""
        path = self.data.metadata.get("forget_path")
        if path:
            return len(parse_path(str(path))) - 1
        levels, setting = self.benchmark.document.levels, self.benchmark.setting
        return levels.index(setting) if setting in levels else None

    @property
    def concepts(self) -> list[dict[str, Any]]:
        """What the loader says about each concept to forget: names, facts, neighbours; see `methods.material`."""
        return self._listed("concepts", of=Mapping)

    @property
    def notes(self) -> list[str]:
        """What the loader knows to be odd about the data: known defects, stand-ins, reconstructions."""
        return self._listed("notes", of=str)

    def describe(self) -> dict[str, Any]:
        """What a run record says about the benchmark and about its data. Plain JSON values."""
        told = self._hook("describe")
        if not isinstance(told, Mapping | None):
            raise PluginError(f"{self.benchmark.loader.folder}: describe gives {_shown(told)}, not a mapping")
        return {**self.benchmark.describe(), "data": {**self.data.describe(), **(told or {})}}

    def _listed(self, name: str, *, of: type) -> list[Any]:
        """The list that an optional function of the loader's module returns; empty where the module has none."""
        found = self._hook(name)
        if found is None:
            return []
        if not isinstance(found, list | tuple) or not all(isinstance(item, of) for item in found):
            what = "texts" if of is str else "mappings"
            raise PluginError(f"{self.benchmark.loader.folder}: {name} gives {_shown(found)}, not a list of {what}")
        return list(found)

    def _hook(self, name: str) -> Any:
        """What an optional function of the loader's module returns, or None where the module has no such function."""
        function = getattr(load_module(self.benchmark.loader), name, None)
        return self._call(function, self.benchmark.forget_set) if callable(function) else None

    def _call(self, function: Callable[..., Any], set_name: str) -> Any:
        label = {"benchmark": self.benchmark.name, "set": set_name, "modality": self.benchmark.modality}
        try:
            return function(**self.data.as_metadata(), unlearning=label)
        except UserError:
            raise
        except Exception as error:
            where = f"{self.benchmark.loader.folder}: {function.__name__} of set '{set_name}'"
            raise PluginError(f"{where}: {type(error).__name__}: {error}") from error


def _shown(value: object) -> str:
    """A value that should not be there, in a few characters."""
    return shortened(value) if value is None or isinstance(value, str) else f"a {type(value).__name__}"


def _picture(value: ImageValue, *, known: dict[str | bytes | None, Image]) -> Image:
    key = value["bytes"] or value["path"]
    if key not in known:
        known[key] = open_image(value)
    return known[key]
