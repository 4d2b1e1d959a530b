"""Which rows of a run decide on steps and settings, and which are told: no number is of the validation part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmforget.benchmark.division import Division, divided
from mmforget.benchmark.spec import Bound, TaskSpec
from mmforget.errors import UserError
from mmforget.evaluation.validation import validation_tasks
from mmforget.pipeline.config import RunConfig


def is_watched(config: RunConfig) -> bool:
    """Whether methods are looked at while they train."""
    return config.training.get("eval_steps") is not None


def is_divided(config: RunConfig) -> bool:
    """Whether rows are set aside: to look at methods while they train, or to choose their settings."""
    return is_watched(config) or config.tune is not None


def division_of(config: RunConfig, *, bound: Bound) -> Division | None:
    """The division of a benchmark's rows; None where no row is set aside.

    Raises UserError where a set that the numbers need cannot be divided, or the benchmark has no such numbers.
    """
    if not is_divided(config):
        return None
    flag = "--eval_steps" if config.tune is None else f"--tune {config.tune}"
    tasks = validation_tasks(bound.benchmark, flag=flag)
    return divided(bound, needed=[task.set for task in tasks if bound.num_rows(task.set)], flag=flag)


def validation_rows(config: RunConfig, *, division: Division) -> dict[str, list[int]]:
    """By task the places of the rows that a model is asked while it trains."""
    return _rows(config, validation_tasks(division.bound.benchmark), division=division, validation=True)


def tuning_rows(config: RunConfig, *, division: Division) -> dict[str, list[int]]:
    """By task the places of the rows that settings are chosen by: those above, and all that the forget score reads."""
    benchmark = division.bound.benchmark
    forgotten = {benchmark.forget_set, benchmark.rephrase_set}
    names = {task.name for task in validation_tasks(benchmark)}
    tasks = [task for task in benchmark.tasks if task.name in names or task.set in forgotten]
    return _rows(config, tasks, division=division, validation=True)


def told_rows(config: RunConfig, *, division: Division) -> dict[str, list[int]]:
    """By task the places of the rows that every model of the run is measured on."""
    return _rows(config, division.bound.benchmark.tasks, division=division, validation=False)


def _rows(
    config: RunConfig, tasks: Sequence[TaskSpec], *, division: Division, validation: bool
) -> dict[str, list[int]]:
    """By task the places of its rows in one part; tasks without any are left out."""
    rows = {task.name: division.places(task.set, validation=validation, limit=config.limit) for task in tasks}
    return {name: places for name, places in rows.items() if places}


def described(config: RunConfig, *, bound: Bound) -> dict[str, Any]:
    """What the record says of it; nothing where rows are not divided."""
    division = division_of(config, bound=bound)
    return {} if division is None else {"validation": division.describe()}


def check_watched(config: RunConfig, *, bound: Bound, alone: bool) -> None:
    """Raises UserError for what cannot be looked at while it trains, or whose settings cannot be chosen."""
    if not is_divided(config):
        return
    if config.tune is not None:
        _check_tuned(config, alone=alone)
    if alone:
        raise UserError(
            "--eval_steps looks at one training, and subjects that are forgotten one at a time are trained many at "
            "once; leave it out"
        )
    if config.requests is not None:
        raise UserError(
            f"--eval_steps reads rows of all subjects, of which each of --requests {config.requests} forgets a part; "
            "leave one of them out"
        )
    division_of(config, bound=bound)


def _check_tuned(config: RunConfig, *, alone: bool) -> None:
    if alone:
        raise UserError(
            f"--tune {config.tune} chooses the settings of one training for all subjects, and these are forgotten one "
            "at a time; leave it out"
        )
    if config.requests is not None:
        raise UserError(
            f"--tune {config.tune} chooses the settings of one training, and --requests {config.requests} makes "
            "several; leave one of them out"
        )
