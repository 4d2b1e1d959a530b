"""Equal budgets: every method gets as many trials, and goes on with the setting that is best on the validation part.

A trial is a training like any other, from the target model or the method's base. What it came to lies in a folder of
its own as soon as it was asked, and its weights are deleted then, so a killed run goes on at the trials that are not
done.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.spec import Bound
from mmforget.errors import RunFailed, UserError
from mmforget.evaluation.choosing import MIN_UTILITY, RULE, Outcome, chosen, outcome_of
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.asked import response_cache
from mmforget.pipeline.bases import make_starts
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.dividing import division_of, tuning_rows
from mmforget.pipeline.measuring import Place, asking_key
from mmforget.pipeline.models import Models
from mmforget.pipeline.recipes import MethodPlan, with_seeds
from mmforget.pipeline.records import References
from mmforget.pipeline.stage_one import StageOne, labelled
from mmforget.pipeline.trials import Trial, Trials
from mmforget.pipeline.unlearning import forget_with
from mmforget.pipeline.validating import Looked, look
from mmforget.pipeline.workers import Workers
from mmforget.plugins import code_of
from mmforget.results.codec import from_json, to_jsonable
from mmforget.results.files import read_json, write_json
from mmforget.results.fingerprint import hash_json
from mmforget.results.store import safe_name
from mmforget.types import Progress

logger = logging.getLogger(__name__)

FOLDER, DONE, TRAINING = "tuning", "done.json", "training"
TOLD = ("wall_s", "num_steps", "stopped", "diverged")
"""What is told of a trial's training."""


@dataclass(frozen=True)
class Tried:
    """What a trial came to, and what its training took."""

    outcome: Outcome
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Validation:
    """Where trials are asked, and beside whom.

    Attributes:
        rows: by task the places of the rows of the validation part.
        asked: identifies what is asked, of whom and how.
        home: of the benchmark's records.
        target, retain: what these models answer there; there may be no retain model.
    """

    config: RunConfig
    bound: Bound
    rows: Mapping[str, Sequence[int]]
    asked: str
    home: Path
    specs: tuple[ModelSpec, ...]
    target: Looked
    retain: Looked | None

    def outcome(self, found: Looked) -> Outcome:
        """What a model's answers come to."""
        return outcome_of(
            self.bound.benchmark,
            found.samples,
            target=self.target.samples,
            retain=None if self.retain is None else self.retain.samples,
            results=found.results,
        )


def tuned_plans(
    config: RunConfig,
    *,
    bound: Bound,
    trials: Sequence[Trials],
    made: Sequence[StageOne],
    references: References,
    home: Path,
    pool: Workers,
) -> list[MethodPlan]:
    """The plans of all methods with each of `--seeds`, with the settings that their trials were best with.

    Args:
        made: the target, then the retain models.
    """
    place = _validation(config, bound=bound, made=made[:2], references=references, home=home, pool=pool)
    every = [(one, trial) for one in trials for trial in one.trials]
    # The longest first, so that at the end no worker is alone with a long one.
    order = sorted(range(len(every)), key=lambda number: -(every[number][1].plan.settings.max_steps or 0))
    starts = make_starts([trial.plan for _, trial in every], config=config, bound=bound, target=made[0], pool=pool)
    jobs = [
        partial(try_out, every[number][1], start=starts[number].spec, place=place, of=len(every[number][0].trials))
        for number in order
    ]
    found = dict(zip(order, pool.run(jobs), strict=True))
    target, plans, start = place.outcome(place.target), list[MethodPlan](), 0
    for one in trials:
        tried = [found[number] for number in range(start, start + len(one.trials))]
        plans += with_seeds(_best(one, tried, target=target), config=config)
        start += len(one.trials)
    return plans


def _validation(
    config: RunConfig,
    *,
    bound: Bound,
    made: Sequence[StageOne],
    references: References,
    home: Path,
    pool: Workers,
) -> Validation:
    """The validation part, and what the target and the retain model answer there."""
    division = division_of(config, bound=bound)
    rows = {} if division is None else tuning_rows(config, division=division)
    specs = tuple(one.spec for one in made)
    target, *others = pool.run([partial(_ask, spec, config=config, bound=bound, rows=rows) for spec in specs])
    measured = [one for one in (references.target, references.retain) if one is not None]
    names = [one.record.model_info["fingerprint"] for one in measured]
    asked = hash_json([asking_key(Place(config, bound, home)), rows, names])
    return Validation(config, bound, rows, asked, home, specs, target, others[0] if others else None)


def _ask(
    spec: ModelSpec,
    *,
    config: RunConfig,
    bound: Bound,
    rows: Mapping[str, Sequence[int]],
    models: Models,
    progress: Progress,
) -> Looked:
    cache = response_cache(config)
    return look(models.get(spec), config=config, bound=bound, rows=rows, cache=cache)


def try_out(trial: Trial, *, start: ModelSpec, place: Validation, of: int, models: Models, progress: Progress) -> Tried:
    """What one setting comes to: now, or as it was found before.

    A setting that cannot be carried out counts as one that has collapsed, unless it is the recipe's.
    """
    plan = trial.plan
    key = hash_json([plan.as_dict(), code_of(plan.method), place.asked])
    home = place.home / safe_name(plan.name) / FOLDER / key[:16]
    known = parallel.on_main(lambda: _read(home, key=key))
    if known is not None:
        return known
    told = labelled(progress, suffix=f", trial {trial.number} of {of}")
    try:
        found = _tried(plan, start=start, place=place, folder=home / TRAINING, models=models, progress=told)
    except (UserError, RunFailed) as error:
        if isinstance(error, UserError) and trial.number == 1:
            raise
        models.forget()
        logger.warning("%s, trial %d: %s", plan.name, trial.number, error)
        found = Tried(Outcome(collapses=True, reasons=(f"could not be made: {_said(error, home=home)}",)), {})
    return parallel.on_main(lambda: _kept(found, home=home, key=key))


def _said(error: Exception, *, home: Path) -> str:
    """What an error says, the record's place on this machine left out."""
    return " ".join(str(error).replace(str(home), home.name).split())


def _tried(
    plan: MethodPlan, *, start: ModelSpec, place: Validation, folder: Path, models: Models, progress: Progress
) -> Tried:
    _, *others = place.specs
    done = forget_with(
        plan,
        target=start,
        retain=others[0] if others else None,
        config=place.config,
        bound=place.bound,
        folder=folder,
        models=models,
        progress=progress,
    )
    found = look(models.get(done.spec), config=place.config, bound=place.bound, rows=place.rows)
    training = {key: done.training[key] for key in TOLD if key in done.training}
    return Tried(parallel.on_main(lambda: place.outcome(found)), training)


def _kept(found: Tried, *, home: Path, key: str) -> Tried:
    """Writes down what came of a trial, then deletes what it made."""
    write_json(home / DONE, {"key": key, **to_jsonable(found).value})
    shutil.rmtree(home / TRAINING, ignore_errors=True)
    return found


def _read(home: Path, *, key: str) -> Tried | None:
    """What came of a trial before; None where it was not finished, or was another one."""
    if not (home / DONE).is_file():
        return None
    try:
        told = read_json(home / DONE)
        if not isinstance(told, dict) or told.pop("key", None) != key:
            return None
        return from_json(Tried, told, source=str(home / DONE))
    except UserError:
        return None


def _best(trials: Trials, tried: Sequence[Tried], *, target: Outcome) -> MethodPlan:
    """The plan of the trial that the rule picks, with all that was tried for its record."""
    place = chosen([one.outcome for one in tried], target=target)
    listed = [
        {"number": trial.number, "settings": dict(trial.settings), **_plain(one)}
        for trial, one in zip(trials.trials, tried, strict=True)
    ]
    told = {
        **trials.about,
        "rule": RULE,
        "min_utility": MIN_UTILITY,
        "score": "forget_score" if target.forget_score is not None else "share of forget that is gone",
        "target": {"forget": target.forget, "utility": target.utility},
        "num_trials": len(listed),
        "chosen": trials.trials[place].number,
        "trials": listed,
    }
    return replace(trials.trials[place].plan, tuning=told)


def _plain(one: Tried) -> dict[str, Any]:
    values: dict[str, Any] = to_jsonable({**vars(one.outcome), **one.training}).value
    return values
