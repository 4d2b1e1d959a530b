"""Requests to forget one after another: each forgets its part, from the model that the one before has left.

After every request the model is asked everything. What it answered lies in the request's folder with a note that it is
done, so a killed run goes on at the request that was under way, in the middle of its training where it has checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.requests import Request, requests_of
from mmforget.errors import UserError
from mmforget.evaluation.sequence import CarriedOut, Sequenced
from mmforget.methods.bases import base_of
from mmforget.methods.material import Material
from mmforget.model.layered import joined, upon
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.features import run_features
from mmforget.pipeline.judging import judged
from mmforget.pipeline.measuring import Place, asking_key, evaluate_tasks, judge_of
from mmforget.pipeline.models import Models, merged_in
from mmforget.pipeline.recipes import MethodPlan
from mmforget.pipeline.stage_one import labelled
from mmforget.pipeline.unlearning import material_for, retain_logprobs
from mmforget.plugins import code_of
from mmforget.results.files import read_json, write_json
from mmforget.results.fingerprint import hash_json
from mmforget.results.samples import read_samples, write_samples
from mmforget.results.sequence import FOLDER, Between, request_folder
from mmforget.training.report import TrainReport
from mmforget.training.unlearn import unlearn
from mmforget.types import Progress

DONE = "done.json"
SUMMED, LARGEST = ("num_steps", "num_planned", "wall_s"), ("peak_memory_bytes",)


@dataclass(frozen=True)
class AfterAll:
    """What is there after the last request.

    Attributes:
        spec: loads the model.
        training: what all trainings took together; all else is that of the last.
    """

    spec: ModelSpec
    training: Mapping[str, Any]
    sequence: Sequenced


def between_of(plan: MethodPlan, *, asked: str | None) -> Between:
    """What becomes of a request's result before the next one.

    Raises UserError for a method that stands before the model, one that needs all subjects at once, and `stacked` where
    there is no adapter to stack.
    """
    parts = getattr(plan.method, "parts", (plan.method,))
    if any(getattr(part, "needs_all_subjects", False) for part in parts):
        raise UserError(
            f"method '{plan.name}' needs all subjects at once; leave --requests out, or choose another method"
        )
    if base_of(plan.method) is not None:
        raise UserError(
            f"method '{plan.name}' starts every request from a base of its own, not from what the one before has left; "
            "leave --requests out, or choose another method"
        )
    if hasattr(plan.method, "guard"):
        raise UserError(
            f"method '{plan.name}' puts a guard before the model, upon which no further request can be forgotten; "
            "leave --requests out, or choose another method"
        )
    if hasattr(plan.method, "edit") or plan.settings.lora is None:
        if asked == "stacked":
            raise UserError(
                f"--between stacked keeps the adapters of earlier requests, and '{plan.name}' changes the weights "
                "themselves here; leave it out, or train with LoRA (--lora_r 8)"
            )
        return "weights"
    return "stacked" if asked == "stacked" else "merged"


@dataclass(frozen=True)
class Requests:
    """A method on every request.

    Attributes:
        target: the model before the first request.
        retain: the retain model, for methods that ask one.
        place: of the record; the requests have a folder there.
        models: of this process.
    """

    plan: MethodPlan
    target: ModelSpec
    retain: ModelSpec | None
    place: Place
    models: Models

    def carry_out(self, *, start: str, progress: Progress) -> AfterAll:
        """Every request forgotten and, but for the last, asked about; or read where that was done before.

        Args:
            start: fingerprint of the target model.
        """
        *earlier, last = requests_of(self.place.bound, int(self.place.config.requests or 0))
        num, done, spec = len(earlier) + 1, list[CarriedOut](), self._beginning()
        key, asked = hash_json([start, self._how]), asking_key(self._asked_between)
        for request in earlier:
            key = hash_json([key, asked, request.subjects, request.folds])
            told = labelled(progress, suffix=f", request {request.number} of {num}")
            found, spec = self._earlier(request, start=spec, key=key, progress=told)
            done.append(found)
        told = labelled(progress, suffix=f", request {num} of {num}")
        training = self._forget(last, start=spec, progress=told)
        done.append(CarriedOut(num, last.subjects, last.num_rows(self.place.bound), training))
        trainings = [one.training for one in done]
        return AfterAll(self._after(last, start=spec), _together(trainings), Sequenced(self.between, tuple(done)))

    def _earlier(
        self, request: Request, *, start: ModelSpec, key: str, progress: Progress
    ) -> tuple[CarriedOut, ModelSpec]:
        """A request that others follow: what became of it, and the model that the next one starts from."""
        home, spec = self._home(request), self._after(request, start=start)
        known = parallel.on_main(lambda: _read(home, key=key) if _is_there(spec) else None)
        if known is not None:
            return known, spec
        training = self._forget(request, start=start, progress=progress)
        return self._ask(request, spec=spec, training=training, key=key, progress=progress), spec

    @property
    def between(self) -> Between:
        return between_of(self.plan, asked=self.place.config.between)

    @property
    def _how(self) -> list[Any]:
        """What tells these trainings from others that begin with the same model."""
        return [self.plan.as_dict(), code_of(self.plan.method), self.between]

    def _home(self, request: Request) -> Path:
        return self.place.folder / request_folder(request.number)

    @property
    def _asked_between(self) -> Place:
        """As the last model is asked, without grey images and attacks."""
        return replace(self.place, blank_image=False, attacked=False)

    def _beginning(self) -> ModelSpec:
        """The target, an adapter that is to be merged into it saved with it as one whole model."""
        if not self.target.merge_peft:
            return self.target
        return merged_in(self.place.folder / FOLDER / "start", self.target)

    def _forget(self, request: Request, *, start: ModelSpec, progress: Progress) -> Mapping[str, Any]:
        """Trains one request, and leaves in its folder what the next one starts from; returns the training's report."""
        plan, home = self.plan, self._home(request)
        below = start.peft if self.between == "stacked" and request.number > 1 else None
        known = retain_logprobs(
            plan, request.examples(self.place.bound), retain=self.retain, config=self.place.config, models=self.models
        )
        loaded = self.models.get(replace(start, peft=None) if below is not None else start)
        self._require_precise(loaded)
        material = replace(self._material(request, loaded=loaded), retain_logprobs=known)
        if below is None:
            report = self._unlearn(loaded, material, folder=home / "training", progress=progress)
        else:
            with upon(loaded, Path(below)) as upper:
                report = self._unlearn(upper, material, folder=home / "training", progress=progress)
        self._leave(report, start=start, home=home)
        return report.as_dict()

    def _unlearn(self, loaded: LoadedModel, material: Material, *, folder: Path, progress: Progress) -> TrainReport:
        plan = self.plan
        return unlearn(
            loaded, material, method=plan.method, settings=plan.settings, folder=folder, label=plan.name,
            progress=progress, features=run_features(self.place.config),
        )  # fmt: skip

    def _leave(self, report: TrainReport, *, start: ModelSpec, home: Path) -> None:
        """What `_after` names: the weights with the adapter merged, or all adapters as one."""
        if self.between == "stacked":
            own = home / "training" / "adapter"
            if start.peft is not None:
                parallel.on_main(lambda: joined(Path(str(start.peft)), own, folder=home / "adapter"))
            return
        # They were trained in place, or another whole model takes their place: one at a time is in memory.
        self.models.forget()
        if self.between == "merged":
            merged_in(home / "model", replace(start, peft=str(report.output)))

    def _after(self, request: Request, *, start: ModelSpec) -> ModelSpec:
        """What loads the model after a request."""
        home = self._home(request)
        if self.between == "stacked":
            return replace(start, peft=str(home / ("training/adapter" if start.peft is None else "adapter")))
        place = home / ("model" if self.between == "merged" else "training/model")
        return replace(start, pretrained=str(place), revision=None)

    def _require_precise(self, loaded: LoadedModel) -> None:
        if self.between == "merged" and loaded.quantisation is not None:
            raise UserError(
                f"{loaded.spec.pretrained} is quantised ({loaded.quantisation}), and what a request changes would "
                "round to nothing when merged into it; give --between stacked"
            )

    def _material(self, request: Request, *, loaded: LoadedModel) -> Material:
        """What there is for a request: its own rows to forget, and all rows to keep."""
        place = self.place
        material = material_for(self.plan, loaded=loaded, config=place.config, bound=place.bound)
        forget = request.examples(place.bound)
        pairs = {row.extra.get("pair") for row in forget} - {None}
        benign = [row for row in material.benign if row.extra.get("pair") in pairs]
        concepts = [one for one in material.concepts if one.name in request.subjects]
        return replace(material, forget=forget, benign=benign or material.benign, concepts=concepts)

    def _ask(
        self,
        request: Request,
        *,
        spec: ModelSpec,
        training: Mapping[str, Any],
        key: str,
        progress: Progress,
    ) -> CarriedOut:
        """Asks the model after a request, and stores what it answers."""
        place, loaded = self._asked_between, self.models.get(spec)
        label = f"{place.bound.benchmark.group}: ask {self.plan.name}"
        progress(0, 1, label)
        done = evaluate_tasks(loaded, place=place, progress=lambda at, of, what: progress(at, of, f"{label}: {what}"))
        judge, about = judge_of(place.config, bound=place.bound), (request.number, request.subjects)

        def store() -> CarriedOut:
            samples = judged(done.samples, benchmark=place.bound.benchmark, judge=judge).samples
            home = self._home(request)
            files = write_samples(home, samples, model=f"{self.plan.name} {request.number}")
            found = CarriedOut(*about, request.num_rows(place.bound), training, files, samples)
            _write(home, found, key=key)
            return found

        stored = parallel.on_main(store)
        progress(1, 1, label)
        return stored


def _is_there(spec: ModelSpec) -> bool:
    """Whether what a request has left is still where it was."""
    return Path(spec.peft or spec.pretrained).is_dir()


def _together(trainings: list[Mapping[str, Any]]) -> dict[str, Any]:
    """One report of all trainings: what they took is summed up, all else is that of the last."""
    found = {**trainings[-1], "num_requests": len(trainings)}
    found |= {name: math.fsum(one[name] for one in trainings) for name in SUMMED if name in found}
    found |= {name: int(found[name]) for name in ("num_steps", "num_planned") if name in found}
    return found | {name: max(one[name] for one in trainings) for name in LARGEST if name in found}


def _write(home: Path, found: CarriedOut, *, key: str) -> None:
    """Samples first: without the file that names them they do not count."""
    told = {"number": found.number, "subjects": found.subjects, "num_rows": found.num_rows}
    write_json(home / DONE, {"key": key, **told, "training": found.training, "files": found.files})


def _read(home: Path, *, key: str) -> CarriedOut | None:
    """What was answered after a request; None where that was not finished, is damaged, or was another one."""
    if not (home / DONE).is_file():
        return None
    try:
        told = read_json(home / DONE)
        if not isinstance(told, dict) or told.get("key") != key:
            return None
        samples = read_samples(home, files=told["files"])
        subjects = tuple(told["subjects"])
        return CarriedOut(told["number"], subjects, told["num_rows"], told["training"], told["files"], samples)
    except (UserError, KeyError, TypeError):
        return None
