"""How a method is trained on a benchmark: the recipe's common part, its part for the method, then the user's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmforget.benchmark.spec import Benchmark
from mmforget.errors import UnknownName
from mmforget.methods.arguments import as_mapping
from mmforget.methods.base import arguments, build, hyper_parameters
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.stage_one import recipe_of
from mmforget.training.settings import TrainSettings, settings_from


@dataclass(frozen=True)
class MethodPlan:
    """A method with its arguments and the settings it trains with, all resolved."""

    name: str
    method: Any
    settings: TrainSettings

    def as_dict(self) -> dict[str, Any]:
        """Plain values for run.yaml, the record and the fingerprint of the training."""
        return {"name": self.name, "args": hyper_parameters(self.method), "settings": self.settings.as_dict()}


def method_plan(name: str, *, config: RunConfig, benchmark: Benchmark) -> MethodPlan:
    """The plan of one method. `--method_args` reach the methods that have such an argument.

    Raises UnknownName for a method, an argument that none of the run's methods has, or an unknown setting.
    """
    common = dict(recipe_of(config, benchmark=benchmark)["unlearn"])
    own: Mapping[str, Any] = (common.pop("methods", None) or {}).get(name, {})
    known = arguments(name)
    given = shared_arguments(config)
    method_args = {k: v for k, v in {**own, **given}.items() if k in known}
    settings = {k: v for k, v in own.items() if k not in known}
    overrides = {"seed": config.seed, **config.training}  # None counts as not given: the recipe's seed stands
    return MethodPlan(name, build(name, method_args), settings_from({**common, **settings}, overrides))


def shared_arguments(config: RunConfig) -> dict[str, Any]:
    """`--method_args`, each of which at least one of the run's methods must know. Raises UnknownName otherwise."""
    given = as_mapping(config.method_args, owner="--method_args")
    known = sorted({argument for name in config.methods for argument in arguments(name)})
    for argument in given:
        if argument not in known:
            raise UnknownName("--method_args argument", name=argument, known=known)
    return given
