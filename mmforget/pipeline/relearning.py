"""Relearning after unlearning: a model is fine-tuned on a further set of the benchmark, and asked everything again.

Whether what was forgotten comes back, and whether what is taught instead is learnt, is read off the second record; the
target model, relearnt in the same way, is what it compares with.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.errors import UserError
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.measuring import AboutModel, Measured, Place, measure
from mmforget.pipeline.models import Models, merged_in
from mmforget.pipeline.prompts import render
from mmforget.pipeline.stage_one import recipe_of
from mmforget.training.settings import TrainSettings, settings_from
from mmforget.training.stage_one import finetune
from mmforget.types import Progress

logger = logging.getLogger(__name__)
SUFFIX: Literal["relearned"] = "relearned"


@dataclass(frozen=True)
class Start:
    """A model that relearns.

    Attributes:
        name: of its record, e.g. the method's.
        label: the same with its seed, for progress.
        folder: of its record, below that of the benchmark.
    """

    name: str
    label: str
    spec: ModelSpec
    folder: Path


def relearned_name(name: str) -> str:
    """What the model is called once it has relearnt."""
    return f"{name} {SUFFIX}"


def relearn_settings(config: RunConfig, *, benchmark: Benchmark, seed: int | None = None) -> TrainSettings:
    """Training settings of this stage: the recipe's, with the run's seed.

    Raises UserError where the recipe has none, for a setting of the benchmark that relearns.
    """
    recipe = recipe_of(config, benchmark=benchmark)
    if "relearn" not in recipe:
        raise UserError(
            f"recipe '{config.recipe}' of {benchmark.name} has no part 'relearn', and {benchmark.group} fine-tunes "
            f"unlearned models on the set '{benchmark.relearn_set}'; add it, or choose another --recipe"
        )
    return settings_from(recipe["relearn"], {"seed": config.seed if seed is None else seed})


def measure_relearned(
    start: Start,
    *,
    config: RunConfig,
    bound: Bound,
    home: Path,
    target: Measured,
    retain: Measured | None,
    models: Models,
    progress: Progress,
) -> list[Path]:
    """The folder of the record of a model that has relearnt; none, and it is said, for one behind a guard.

    An adapter is merged first, as in stage one, and the benchmark's set is learnt by the recipe's part `relearn`.
    """
    if start.spec.guard is not None:
        logger.warning("%s: a guard trains nothing, so there is nothing to relearn; left out", start.label)
        return []
    folder = home / SUFFIX / start.folder
    spec, training = _relearned(start, config=config, bound=bound, folder=folder, models=models, progress=progress)
    measured = measure(
        models.get(spec),
        about=AboutModel(SUFFIX, relearned_name(start.name), training=training),
        place=Place(config, bound, folder),
        target=target,
        retain=retain,
        progress=progress,
    )
    return [measured.folder]


def _relearned(
    start: Start, *, config: RunConfig, bound: Bound, folder: Path, models: Models, progress: Progress
) -> tuple[ModelSpec, dict[str, Any]]:
    """What loads the model once it has relearnt, and what its training took."""
    benchmark = bound.benchmark
    settings = relearn_settings(config, benchmark=benchmark)
    spec = merged_in(folder / "start", start.spec)
    loaded = models.get(spec)
    examples = render(bound.examples(str(benchmark.relearn_set)), loaded=loaded, config=config)
    report = finetune(
        loaded, examples, settings=settings, folder=folder / "training", label=f"{start.label}: relearning",
        progress=progress, features=run_features(config),
    )  # fmt: skip
    # Its weights may have been trained in place.
    models.forget()
    found = replace(spec, pretrained=str(report.output), revision=None, peft=None, merge_peft=False)
    return found, {**report.as_dict(), "settings": settings.as_dict(), "relearned": benchmark.relearn_set}
