"""How a method is trained on a benchmark: the recipe's common part, its part for the method, then the user's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmforget.benchmark.spec import Benchmark
from mmforget.errors import UnknownName
from mmforget.methods.base import hyper_parameters
from mmforget.methods.build import arguments, build
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.stage_one import recipe_of
from mmforget.results.store import safe_name, seed_folder
from mmforget.training.settings import TrainSettings, settings_from


@dataclass(frozen=True)
class MethodPlan:
    """A method with its arguments and the settings it trains with, all resolved."""

    name: str
    method: Any
    settings: TrainSettings
    is_one_of_several: bool = False
    """Whether `--seeds` asks for this seed: its folder and its label then say which it is."""
    tuning: Mapping[str, Any] = field(default_factory=dict)
    """How these settings were chosen, for the record; empty where they are the recipe's and the flags'."""

    @property
    def is_trained(self) -> bool:
        """Whether anything is trained; where weights are edited in closed form, and in a guard, nothing is random."""
        return hasattr(self.method, "loss")

    @property
    def label(self) -> str:
        """For progress and plans, e.g. `npo, seed 1`."""
        return f"{self.name}, seed {self.settings.seed}" if self.is_one_of_several else self.name

    @property
    def folder(self) -> Path:
        """Where its record goes, below that of the benchmark."""
        folder = Path(safe_name(self.name))
        return folder / seed_folder(self.settings.seed) if self.is_one_of_several else folder

    def as_dict(self) -> dict[str, Any]:
        """Plain values for run.yaml, the record and the fingerprint of the training."""
        return {"name": self.name, "args": hyper_parameters(self.method), "settings": self.settings.as_dict()}


def method_plans(config: RunConfig, *, benchmark: Benchmark) -> list[MethodPlan]:
    """The plans of all methods with each of `--seeds`."""
    plans = (method_plan(name, config=config, benchmark=benchmark) for name in config.methods)
    return [one for plan in plans for one in with_seeds(plan, config=config)]


def with_seeds(plan: MethodPlan, *, config: RunConfig) -> list[MethodPlan]:
    """The plan with each of `--seeds`; a method that trains nothing has one, whatever the seeds."""
    seeds = config.seeds if plan.is_trained else ()
    of_each = [replace(plan, settings=replace(plan.settings, seed=n), is_one_of_several=True) for n in seeds]
    return of_each or [plan]


def method_plan(
    name: str, *, config: RunConfig, benchmark: Benchmark, changes: Mapping[str, Any] | None = None
) -> MethodPlan:
    """The plan of one method. `--method_args` reach the methods that have such an argument.

    Args:
        changes: arguments and training settings in place of the recipe's and the flags'.

    Raises UnknownName for a method, an argument that none of the run's methods has, or an unknown setting.
    """
    common = dict(recipe_of(config, benchmark=benchmark)["unlearn"])
    own: Mapping[str, Any] = (common.pop("methods", None) or {}).get(name, {})
    known = arguments(name)
    given = shared_arguments(config)
    other = changes or {}
    method_args = {k: v for k, v in {**own, **given, **other}.items() if k in known}
    settings = {k: v for k, v in own.items() if k not in known}
    overrides = {"seed": config.seed, **config.training}  # None counts as not given: the recipe's seed stands
    overrides |= {k: v for k, v in other.items() if k not in known}
    return MethodPlan(name, build(name, method_args), settings_from({**common, **settings}, overrides))


def shared_arguments(config: RunConfig) -> dict[str, Any]:
    """`--method_args`, each of which at least one of the run's methods must know. Raises UnknownName otherwise."""
    known = sorted({argument for name in config.methods for argument in arguments(name)})
    for argument in config.method_args:
        if argument not in known:
            raise UnknownName("--method_args argument", name=argument, known=known)
    return dict(config.method_args)
