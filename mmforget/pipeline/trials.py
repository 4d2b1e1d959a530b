"""The settings of a method that a run tries before it takes one: the recipe's, and others drawn from its grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmforget.benchmark.spec import Benchmark
from mmforget.errors import PluginError, UserError, shortened
from mmforget.methods.base import hyper_parameters
from mmforget.methods.grids import UPDATES, USUAL, Grid, Times, drawn, points
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.recipes import MethodPlan, method_plan
from mmforget.training.settings import FLAG_NAMES

LENGTHS = ("max_steps", "epochs")


@dataclass(frozen=True)
class Trial:
    """One setting of a method.

    Attributes:
        number: from 1, which is the recipe as it stands.
        settings: the values of what the grid varies.
    """

    number: int
    settings: Mapping[str, Any]
    plan: MethodPlan


@dataclass(frozen=True)
class Trials:
    """What is tried of a method.

    Attributes:
        budget: how many may be; the grid may have fewer.
        grid: every value by name, the recipe's first; what the user has set is not varied.
        is_own: whether the method says so itself.
        seed: of the trials' order and of every training.
    """

    name: str
    budget: int
    grid: Mapping[str, tuple[Any, ...]]
    is_own: bool
    seed: int
    trials: tuple[Trial, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values: budget, grid and every setting."""
        listed = [{"number": one.number, "settings": dict(one.settings)} for one in self.trials]
        return {**self.about, "trials": listed}

    @property
    def about(self) -> dict[str, Any]:
        """All of this but for the trials themselves."""
        grid = {name: list(values) for name, values in self.grid.items()}
        return {"budget": self.budget, "seed": self.seed, "grid": grid, "is_own_grid": self.is_own}

    def text(self) -> list[str]:
        """Lines for people: how many, of which grid, then each."""
        whose = "its own grid" if self.is_own else "the usual grid"
        num = "1 trial" if len(self.trials) == 1 else f"{len(self.trials)} trials"
        fewer = f", all that its grid has of {self.budget}" if len(self.trials) < self.budget else ""
        lines = [f"tune {self.name}: {num} of {whose} with seed {self.seed}{fewer}"]
        return lines + [f"  trial {one.number}: {_shown(one)}" for one in self.trials]


def trials_of(name: str, *, config: RunConfig, benchmark: Benchmark) -> Trials:
    """What `--tune` tries of a method, with the first of `--seeds`.

    Raises PluginError for a grid of another form, or one that names what neither the method nor its training has, or
    values that are not allowed.
    """
    plan = method_plan(name, config=config, benchmark=benchmark)
    seed = config.seeds[0] if config.seeds and plan.is_trained else plan.settings.seed
    own = getattr(plan.method, "grid", None)
    axes = _axes(plan, grid=_usual(plan) if own is None else _checked(own, name=name), config=config)
    budget = int(config.tune or 1)
    chosen = drawn(points(axes), num=budget, seed=seed, name=name)
    made = (_trial(n, one, name=name, config=config, benchmark=benchmark, seed=seed) for n, one in enumerate(chosen, 1))
    return Trials(name, budget, axes, own is not None, seed, tuple(made))


def _usual(plan: MethodPlan) -> Grid:
    return USUAL if plan.is_trained else {}


def _trial(
    number: int, settings: Mapping[str, Any], *, name: str, config: RunConfig, benchmark: Benchmark, seed: int
) -> Trial:
    changes = {} if number == 1 else settings
    try:
        plan = method_plan(name, config=config, benchmark=benchmark, changes=changes)
    except UserError as error:
        raise PluginError(f"method '{name}': its grid has {shortened(dict(settings))}: {error}") from error
    return Trial(number, settings, replace(plan, settings=replace(plan.settings, seed=seed)))


def _checked(grid: Any, *, name: str) -> Grid:
    is_grid = isinstance(grid, Mapping) and all(isinstance(values, tuple | Times) for values in grid.values())
    if not is_grid:
        raise PluginError(
            f"method '{name}': grid has to be a mapping of names to tuples of values or Times, and is {shortened(grid)}"
        )
    return grid  # type: ignore[no-any-return]


def _axes(plan: MethodPlan, *, grid: Grid, config: RunConfig) -> dict[str, tuple[Any, ...]]:
    """Every name that has several values, the recipe's first."""
    arguments = hyper_parameters(plan.method)
    now = _training(plan) | arguments
    axes = {}
    for key, values in grid.items():
        name = _length(plan) if key == UPDATES else key
        if name not in now:
            raise PluginError(f"method '{plan.name}': its grid names '{key}', which is no argument or setting of it")
        if (name not in arguments and not plan.is_trained) or _is_fixed(name, config=config):
            continue
        several = values.of(now[name]) if isinstance(values, Times) else values
        options = tuple(dict.fromkeys((now[name], *several)))
        if len(options) > 1:
            axes[name] = options
    return axes


def _training(plan: MethodPlan) -> dict[str, Any]:
    """Settings of the training by the names that recipes give them."""
    found = plan.settings.as_dict()
    lora = found.pop("lora") or {}
    return {**found, **{f"lora_{key}": value for key, value in lora.items()}}


def _length(plan: MethodPlan) -> str:
    """What says how long a training is."""
    return "epochs" if plan.settings.max_steps is None else "max_steps"


def _is_fixed(name: str, *, config: RunConfig) -> bool:
    """Whether the user has set it: that is what is asked for, and no trial takes another."""
    given = {FLAG_NAMES.get(flag, flag) for flag in config.training}
    given |= set(LENGTHS) if given & set(LENGTHS) else set()
    return name in given | set(config.method_args) or name.rpartition(".")[2] in config.method_args


def _shown(trial: Trial) -> str:
    listed = ", ".join(f"{name}={value}" for name, value in trial.settings.items())
    recipe = "the recipe as it stands" if trial.number == 1 else ""
    return ": ".join(filter(None, (recipe, listed)))
