"""Unlearning one method from the target model into an adapter, or finding that this was done already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.errors import UserError
from mmforget.methods.base import Need
from mmforget.methods.material import concept_from
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import load_adapter
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.prompts import render
from mmforget.pipeline.recipes import MethodPlan
from mmforget.training.unlearn import unlearn
from mmforget.types import Example

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Unlearned:
    """An unlearned model in memory, and what its training took."""

    loaded: LoadedModel
    training: Mapping[str, Any]


def forget_with(
    plan: MethodPlan,
    *,
    target: ModelSpec,
    config: RunConfig,
    benchmark: Benchmark,
    data: DataSource,
    folder: Path,
    progress: Progress,
) -> Unlearned:
    """Train `plan` on the target in `folder`, then load target and saved result anew, as any later user will.

    Raises UserError where a set is empty, the target carries an unmerged adapter, or the folder cannot be written.
    """
    loaded = load_model(target)
    benign = benchmark.benign_set if Need.BENIGN in plan.method.needs else None
    report = unlearn(
        loaded,
        method=plan.method,
        forget=_examples(benchmark.forget_set, benchmark=benchmark, data=data),
        retain=_examples(benchmark.retain_set, benchmark=benchmark, data=data),
        benign=benchmark.examples(benign, data=data) if benign else [],
        concepts=[concept_from(one, source=benchmark.group) for one in benchmark.concepts(data)],
        level=benchmark.level(data),
        as_asked=lambda rows: render(rows, loaded=loaded, benchmark=benchmark, config=config),
        refusals=benchmark.refusals_for(data),
        settings=plan.settings,
        folder=folder,
        label=plan.name,
        progress=progress,
        features=run_features(config),
    )
    if report.adapter is not None:
        fresh = load_adapter(load_model(target), report.adapter)
    else:
        fresh = load_model(replace(target, pretrained=str(report.output), revision=None, peft=None, merge_peft=False))
    return Unlearned(fresh, report.as_dict())


def _examples(name: str, *, benchmark: Benchmark, data: DataSource) -> list[Example]:
    examples = benchmark.examples(name, data=data)
    if not examples:
        raise UserError(f"{benchmark.group}: the set '{name}' has no rows in this data; choose other data or settings")
    return examples
