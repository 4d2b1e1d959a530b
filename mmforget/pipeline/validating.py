"""A model asked about the validation part: while it trains, or to choose the settings that it trains with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from mmforget.benchmark.spec import Bound
from mmforget.evaluation.answers import Answers
from mmforget.evaluation.run import evaluate
from mmforget.evaluation.validation import validation_values
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.cache import ResponseCache
from mmforget.methods.material import Validate
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.asked import settings_of
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.dividing import division_of, is_watched, validation_rows
from mmforget.pipeline.features import run_features
from mmforget.pipeline.judging import find_judge, judged


class Looked(NamedTuple):
    """What a model answers on the validation part, and lm_eval's results by task."""

    samples: Answers
    results: Mapping[str, Mapping[str, Any]]


def validator(config: RunConfig, *, bound: Bound) -> Validate | None:
    """What looks at a model while it trains; None where nothing does."""
    division = division_of(config, bound=bound) if is_watched(config) else None
    if division is None:
        return None
    return partial(_values, config=config, bound=bound, rows=validation_rows(config, division=division))


def look(
    loaded: LoadedModel,
    *,
    config: RunConfig,
    bound: Bound,
    rows: Mapping[str, Sequence[int]],
    cache: ResponseCache | None = None,
) -> Looked:
    """A model's answers to the rows of each task at these places, with the judge's labels."""
    lm = MMForgetLM(
        loaded, batch_size=config.batch_size, cache=cache, features=run_features(config), progress=False
    )  # fmt: skip
    done = evaluate(
        lm,
        list(rows),
        include_paths=config.include_path,
        data=bound.data,
        blank_image=False,
        settings=replace(settings_of(config), samples=rows),
        progress=False,
    )
    judge = find_judge(config.judge, bound=bound, device=config.device)
    return Looked(judged(done.samples, benchmark=bound.benchmark, judge=judge).samples, done.results["results"])


def _values(
    loaded: LoadedModel, *, config: RunConfig, bound: Bound, rows: Mapping[str, Sequence[int]]
) -> tuple[float | None, float | None]:
    """`forget` and `utility` of the model as it is now. Its answers are not kept: the next update makes it another."""
    found = look(loaded, config=config, bound=bound, rows=rows)
    return validation_values(bound.benchmark, found.samples)
