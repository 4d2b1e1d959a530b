"""Subjects forgotten one at a time: edit, ask, restore and go on; one record of all of them in the end.

What each instance answered lies in a folder of its own as soon as it was asked, so a killed run goes on at the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.instances import Instances, instances_of
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.evaluation.run import Evaluation
from mmforget.evaluation.together import Part, together
from mmforget.methods.bases import base_of
from mmforget.methods.material import Material, few, lacking
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.measuring import Place, evaluate_tasks, is_one_at_a_time
from mmforget.pipeline.recipes import MethodPlan
from mmforget.plugins import code_of, running
from mmforget.results.codec import from_json, to_jsonable
from mmforget.results.files import read_json, write_json
from mmforget.results.fingerprint import hash_json
from mmforget.results.samples import read_samples, write_samples
from mmforget.results.schema import Cost
from mmforget.results.store import safe_name
from mmforget.training.edited import edited
from mmforget.training.many import Edits, Sharing, obstacle, refuse_packed, unlearn_many
from mmforget.types import Example, Progress

logger = logging.getLogger(__name__)

FOLDER, DONE = "instances", "done.json"
INSTANCES_AT_ONCE = 16
"""Edits that are made and asked together; a run that is killed goes on at the next as many."""


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
    if base_of(plan.method) is not None:
        raise UserError(
            f"method '{plan.name}' starts from a base of its own, and the target model forgets subjects one at a time; "
            "leave --one_at_a_time out, or choose another method"
        )


@dataclass(frozen=True)
class _Edited:
    """A model that has forgotten some instances, each alone; several where `edits` are.

    Attributes:
        wall_s: seconds that forgetting took.
    """

    loaded: LoadedModel
    wall_s: float
    edits: Edits | None = None

    @property
    def num(self) -> int:
        return 1 if self.edits is None else len(self.edits.names)

    def model(self, name: str | None) -> LoadedModel:
        """What answers for one instance; None: each row for its own subject."""
        return self.loaded if self.edits is None or name is None else self.edits.only(name)

    def save(self, home: Path) -> None:
        """Leaves every edit as an adapter that anybody can load, by the name of its instance."""
        if self.edits is not None:
            for name in self.edits.names:
                self.edits.save(name, home / "adapters" / safe_name(name))


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
        if hasattr(self.plan.method, "loss"):
            refuse_packed(self.loaded, settings=self.plan.settings)
        instances, key = instances_of(self.place.bound), f"{self.key}-{asked}"
        with running(self.plan.method, what=f"method '{self.plan.name}': lacks"):
            left_out = lacking(self.plan.method, self.material, name=self.plan.label)
        if left_out:
            num_all = len(instances.names)
            logger.warning(
                "%s leaves out %d of %d subjects: %s", self.plan.label, len(left_out), num_all, few(left_out)
            )
        ready = [name for name in instances.names if name not in left_out]
        size = INSTANCES_AT_ONCE
        if self.obstacle:
            size = 1
            logger.info("%s: one edit after another: %s", self.plan.label, self.obstacle)
        parts: list[Part] = []
        for start in range(0, len(ready), size):
            names = ready[start : start + size]
            progress(start, len(ready), f"{self.plan.label}: {', '.join(names)}")
            home = self.place.folder / FOLDER / f"{start:04d}_{safe_name(names[0])}"
            parts += self._parts(names, instances=instances, home=home, key=key)
        progress(len(ready), len(ready), f"{self.plan.label}: all instances")
        tasks = self.place.bound.benchmark.tasks
        found = together(parts, expected={t.name: (t.set, instances.num_questions(t.set)) for t in tasks})
        return replace(found, training={**found.training, "left_out": left_out}) if left_out else found

    @cached_property
    def obstacle(self) -> str | None:
        """Why the edits are made one by one and not many at a time; None where they are."""
        return obstacle(self.loaded, method=self.plan.method, settings=self.plan.settings)

    def _parts(self, names: Sequence[str], *, instances: Instances, home: Path, key: str) -> list[Part]:
        """What these instances answered: now, or before."""
        found = parallel.on_main(lambda: _read(home, key=key))
        if found is not None:
            return found
        with self._edited(names) as edits:
            # Rows that belong to nobody are asked once for each instance; without such all are asked in one go.
            several = [(name,) for name in names] if instances.shared else [tuple(names)]
            parts = [self._asked(some, edits=edits, instances=instances) for some in several]
            edits.save(home)
        parallel.on_main(lambda: _write(home, parts, key=key))
        return parts

    @contextmanager
    def _edited(self, names: Sequence[str]) -> Iterator[_Edited]:
        """The model that has forgotten these instances, each alone."""
        plan, begun, features = self.plan, time.monotonic(), run_features(self.place.config)
        if self.obstacle:
            (name,) = names
            material = self._of(name)
            with edited(
                self.loaded, material, method=plan.method, settings=plan.settings, label=plan.name, features=features
            ) as forgetful:
                yield _Edited(forgetful, time.monotonic() - begun)
            return
        materials = {name: self._of(name) for name in names}
        with unlearn_many(
            self.loaded, materials, method=plan.method, settings=plan.settings, label=plan.name,
            sharing=Sharing(features),
        ) as edits:  # fmt: skip
            yield _Edited(edits.loaded, time.monotonic() - begun, edits)

    def _asked(self, names: tuple[str, ...], *, edits: _Edited, instances: Instances) -> Part:
        """One evaluation of the rows of these instances, each under its own edit."""
        tasks, limit = self.place.bound.benchmark.tasks, self.place.config.limit
        rows = {t.name: sorted(p for n in names for p in instances.asked(t.set, n, limit=limit)) for t in tasks}
        of = names[0] if instances.shared else None
        done = evaluate_tasks(edits.model(of), place=self.place, progress=_silent, rows=_filled(rows))
        samples = [replace(one, subject=of) if of and one.set in instances.shared else one for one in done.samples]
        results = to_jsonable(done.results, strict=False).value
        return Part(names, samples, results=results, cost=done.cost, edit_s=edits.wall_s * len(names) / edits.num)

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


def _write(home: Path, parts: Sequence[Part], *, key: str) -> None:
    """Samples first: without the file that names them they do not count."""
    told = []
    for number, part in enumerate(parts):
        files = write_samples(home / str(number), part.samples, model=part.names[0]) if part.samples else {}
        about = {"instances": list(part.names), "files": files, "edit_s": part.edit_s, "results": part.results}
        told.append(about | {"cost": to_jsonable(part.cost).value})
    write_json(home / DONE, {"key": key, "parts": told})


def _read(home: Path, *, key: str) -> list[Part] | None:
    """What instances answered before; None where that was not finished, is damaged, or was of something else."""
    if not (home / DONE).is_file():
        return None
    try:
        told = read_json(home / DONE)
        if not isinstance(told, dict) or told.get("key") != key:
            return None
        return [_part(about, home=home / str(number)) for number, about in enumerate(told["parts"])]
    except (UserError, KeyError, TypeError):
        return None


def _part(about: Mapping[str, Any], *, home: Path) -> Part:
    cost = from_json(Cost, about["cost"], source=str(home))
    samples = read_samples(home, files=about["files"])
    return Part(tuple(about["instances"]), samples, results=about["results"], cost=cost, edit_s=about["edit_s"])
