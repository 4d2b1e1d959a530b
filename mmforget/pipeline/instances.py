"""Subjects forgotten one at a time: edit, ask, restore and go on; one record of all of them in the end.

What each instance answered lies in a folder of its own as soon as it was asked, so a killed run goes on at the next.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.instances import Instances, instances_of
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.evaluation.run import Evaluation
from mmforget.evaluation.together import Part, together
from mmforget.methods.material import Material
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.measuring import Place, evaluate_tasks
from mmforget.pipeline.recipes import MethodPlan
from mmforget.plugins import code_of
from mmforget.results.codec import from_json, to_jsonable
from mmforget.results.files import read_json, write_json
from mmforget.results.fingerprint import hash_json
from mmforget.results.samples import read_samples, write_samples
from mmforget.results.schema import Cost
from mmforget.results.store import safe_name
from mmforget.training.edited import edited
from mmforget.types import Example, Progress

FOLDER, DONE = "instances", "done.json"


def is_one_at_a_time(config: RunConfig, *, bound: Bound) -> bool:
    """Whether each subject is forgotten alone, by the benchmark's document or by the flag."""
    return config.one_at_a_time or bound.benchmark.document.one_at_a_time


def reference_rows(config: RunConfig, *, bound: Bound) -> dict[str, list[int]] | None:
    """By task the rows that target and retain model are asked: those of all instances; None where there are none."""
    if not is_one_at_a_time(config, bound=bound):
        return None
    found = instances_of(bound)
    return _filled({t.name: found.union(t.set, limit=config.limit) for t in bound.benchmark.tasks})


def check_alone(plan: MethodPlan) -> None:
    """Raises UserError for a method that has to see all that is to be forgotten at once."""
    parts = getattr(plan.method, "parts", (plan.method,))
    if any(getattr(part, "needs_all_subjects", False) for part in parts):
        raise UserError(
            f"method '{plan.name}' needs all subjects at once; leave --one_at_a_time out, or choose another method"
        )


@dataclass(frozen=True)
class Alone:
    """A method on every instance of a benchmark, and where their answers go.

    Attributes:
        loaded: the model before, which every edit starts from.
        material: of all instances.
        place: of the record; the instances have a folder there.
    """

    plan: MethodPlan
    loaded: LoadedModel
    material: Material
    place: Place

    @property
    def key(self) -> str:
        """What tells these edits from others: the model before, the method and how it is trained."""
        plan = self.plan.as_dict()
        return hash_json({"model": self.loaded.fingerprint, "plan": plan, "code": code_of(self.plan.method)})

    @property
    def named(self) -> LoadedModel:
        """The model before, by the name of what it is edited into: for the record, in which no single one stands."""
        base = self.loaded.base_fingerprint or self.loaded.fingerprint
        return replace(self.loaded, fingerprint=f"edits-{self.key}", base_fingerprint=base)

    def evaluate(self, *, asked: str, progress: Progress) -> Evaluation:
        """Every instance edited and asked, or read where that was done before.

        Args:
            asked: identifies what is asked and how; answers of another key are asked again.
        """
        instances = instances_of(self.place.bound)
        parts = []
        for number, name in enumerate(instances.names):
            progress(number, len(instances.names), f"{self.plan.label}: {name}")
            home = self.place.folder / FOLDER / f"{number:04d}_{safe_name(name)}"
            parts.append(self._part(name, instances=instances, home=home, key=f"{self.key}-{asked}"))
        progress(len(instances.names), len(instances.names), f"{self.plan.label}: all instances")
        tasks = self.place.bound.benchmark.tasks
        return together(parts, expected={t.name: (t.set, instances.num_questions(t.set)) for t in tasks})

    def _part(self, name: str, *, instances: Instances, home: Path, key: str) -> Part:
        found = parallel.on_main(lambda: _read(home, key=key))
        if found is not None:
            return found
        limit = self.place.config.limit
        rows = {t.name: instances.asked(t.set, name, limit=limit) for t in self.place.bound.benchmark.tasks}
        begun = time.monotonic()
        with edited(
            self.loaded, self._of(name), method=self.plan.method, settings=self.plan.settings, label=self.plan.name,
            features=run_features(self.place.config),
        ) as forgetful:  # fmt: skip
            edit_s = time.monotonic() - begun
            done = evaluate_tasks(forgetful, place=self.place, progress=_silent, rows=_filled(rows))
        samples = [replace(one, subject=name) if one.set in instances.shared else one for one in done.samples]
        part = Part(name, samples, results=to_jsonable(done.results, strict=False).value, cost=done.cost, edit_s=edit_s)
        parallel.on_main(lambda: _write(home, part, key=key))
        return part

    def _of(self, name: str) -> Material:
        """What there is for one instance: its own rows, and those to keep that are its own or nobody's."""
        forget = [row for row in self.material.forget if row.subject == name]
        pairs = {row.extra.get("pair") for row in forget} - {None}
        benign = [row for row in self.material.benign if row.extra.get("pair") in pairs]
        concepts = [one for one in self.material.concepts if one.name == name]
        return replace(
            self.material, forget=forget, retain=_own(self.material.retain, name=name), concepts=concepts,
            benign=benign or self.material.benign,
        )  # fmt: skip


def _own(rows: Sequence[Example], *, name: str) -> Sequence[Example]:
    """The rows of an instance, or all where none has its own."""
    return [row for row in rows if row.subject == name] or rows


def _filled(rows: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    return {task: list(places) for task, places in rows.items() if places}


def _silent(done: int, total: int, label: str) -> None:
    """An instance takes seconds; that they pass is shown."""


def _write(home: Path, part: Part, *, key: str) -> None:
    """Samples first: without the file that names them they do not count."""
    files = write_samples(home, part.samples, model=part.name) if part.samples else {}
    told: dict[str, Any] = {"key": key, "instance": part.name, "files": files, "edit_s": part.edit_s}
    write_json(home / DONE, {**told, "cost": to_jsonable(part.cost).value, "results": part.results})


def _read(home: Path, *, key: str) -> Part | None:
    """What an instance answered before; None where that was not finished, is damaged, or was of something else."""
    if not (home / DONE).is_file():
        return None
    try:
        told = read_json(home / DONE)
        if not isinstance(told, dict) or told.get("key") != key:
            return None
        cost = from_json(Cost, told["cost"], source=str(home / DONE))
        samples = read_samples(home, files=told["files"])
        return Part(told["instance"], samples, results=told["results"], cost=cost, edit_s=told["edit_s"])
    except (UserError, KeyError):
        return None
