"""How far models lie from one another, as distributions and as weights: what `mmforget distance` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.arguments import split_top_level
from mmforget.benchmark.spec import Bound
from mmforget.errors import UnknownName, UserError
from mmforget.evaluation.connectivity import ModeConnectivity
from mmforget.evaluation.fade import Fade
from mmforget.evaluation.forms import FormDependence
from mmforget.evaluation.membership import Membership
from mmforget.methods.arguments import from_arguments
from mmforget.model.load import check_place
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.asked import response_cache
from mmforget.pipeline.comparing import NO_RETAIN, WAYS, Compared, Space
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.plan import check_models, resolve
from mmforget.pipeline.workers import threads_of
from mmforget.results.codec import to_jsonable
from mmforget.results.files import prepare_folder, write_json
from mmforget.results.store import safe_name, timestamp
from mmforget.types import Progress

MEASURES: Mapping[str, type[Any]] = {
    "fade": Fade,
    "mode_connectivity": ModeConnectivity,
    "form_dependence": FormDependence,
    "membership": Membership,
}
Measure = Fade | ModeConnectivity | FormDependence | Membership
NO_NULL = "no second retain model, so nobody knows how far two of them lie apart; give --null_model"


@dataclass(frozen=True)
class Distances:
    """All pairs on one benchmark.

    Attributes:
        evidence: by measure, how near it is to what was published.
        null: by measure, why nothing says what models come to that never saw the rows; empty where there is such.
    """

    compared: tuple[Compared, ...]
    evidence: Mapping[str, str]
    null: Mapping[str, str]


@dataclass(frozen=True)
class DistancePlan:
    """What is compared.

    Attributes:
        null_models: retain models of other seeds.
    """

    config: RunConfig
    benchmarks: tuple[Bound, ...]
    measures: Mapping[str, Measure]
    null_models: tuple[ModelSpec, ...]


def measures_of(text: str) -> dict[str, Measure]:
    """The measures that are named, `"fade(samples=8),mode_connectivity"`, each once.

    Raises UnknownName and UserError for what cannot be.
    """
    found = {}
    for part in split_top_level(text):
        name, opening, rest = part.partition("(")
        if name not in MEASURES:
            raise UnknownName("measure", name=name, known=MEASURES)
        if opening and not rest.endswith(")"):
            raise UserError(f"measure '{part}' has no closing bracket; write NAME(ARGUMENT=VALUE,...)")
        found[part] = from_arguments(MEASURES[name], rest[:-1], owner=f"measure '{name}'")
    if not found:
        raise UserError(f"no measure is named; there are {', '.join(MEASURES)}")
    return found


def make_distance_plan(config: RunConfig, *, measures: str, null_models: Sequence[ModelSpec]) -> DistancePlan:
    """Raises UserError, UnknownName and PluginError for whatever would stop it, but what loading shows."""
    check_models(config)
    for spec in null_models:
        check_place(spec)
    if config.stage_one_seeds and config.model != "micro":
        raise UserError("--stage_one_seeds trains micro models alone; name retain models with --null_model")
    if null_models and config.stage_one_seeds:
        raise UserError("--null_model names retain models, and --stage_one_seeds would train others; give one of them")
    return DistancePlan(config, tuple(resolve(config)), measures_of(measures), tuple(null_models))


def measure_distances(plan: DistancePlan, *, progress: Progress) -> dict[str, Distances]:
    """By benchmark, what all pairs come to; also written to the output folder, if there is one.

    There, or in `--use_cache`, lies what models said, too: the same command goes on where it was interrupted.
    """
    found = {}
    with threads_of(plan.config):
        if plan.config.output_path:
            parallel.on_main(lambda: prepare_folder(plan.config.output))
        cache = response_cache(plan.config)
        for bound in plan.benchmarks:
            group = bound.benchmark.group
            found[group] = _distances(plan, Space(plan.config, bound, progress, cache=cache))
            if plan.config.output_path:
                folder = plan.config.output / safe_name(group)
                parallel.on_main(partial(_store, folder, found[group]))
    return found


def _store(folder: Path, distances: Distances) -> None:
    prepare_folder(folder)
    write_json(folder / f"distance_{timestamp()}.json", to_jsonable(distances, strict=False).value)


def _distances(plan: DistancePlan, space: Space) -> Distances:
    specs = space.specs(plan.null_models)
    compared: list[Compared] = []
    null = {}
    for name, measure in plan.measures.items():
        compared += WAYS[type(measure)](space, specs, name=name, how=measure)
        lacks = NO_RETAIN if isinstance(measure, FormDependence | Membership) else NO_NULL
        null[name] = "" if any(one.is_null for one in compared if one.measure == name) else lacks
    return Distances(tuple(compared), {name: one.evidence for name, one in plan.measures.items()}, null)
