"""Unlearning one method from the target model into an adapter, or finding that this was done already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.methods.base import part_with
from mmforget.methods.contract import check_method, guard_state
from mmforget.methods.material import Material, RetainLogprobs, concept_from, few, lacking
from mmforget.methods.requests import ALTERNATE, BENIGN, RETAIN, asked_sources, asks_retain_model, sources_of
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.models import Models
from mmforget.pipeline.prompts import render
from mmforget.pipeline.recipes import MethodPlan
from mmforget.pipeline.validating import validator
from mmforget.plugins import running
from mmforget.training.sources import refuse_documents, refuse_words_nowhere, require_sources, written_examples
from mmforget.training.unlearn import logprobs_under, require_loss, unlearn
from mmforget.types import Example, Progress


@dataclass(frozen=True)
class Unlearned:
    """What loads an unlearned model, and what its training took."""

    spec: ModelSpec
    training: Mapping[str, Any]


def forget_with(
    plan: MethodPlan,
    *,
    target: ModelSpec,
    retain: ModelSpec | None = None,
    config: RunConfig,
    bound: Bound,
    folder: Path,
    models: Models,
    progress: Progress,
) -> Unlearned:
    """Train `plan` on the target in `folder`; `retain` is asked first where the method compares with a retain model.

    Raises UserError where a set is empty, the target carries an unmerged adapter, or the folder cannot be written.
    """
    forget = _examples(bound.benchmark.trained_sets["forget"], bound=bound)
    known = retain_logprobs(plan, forget, retain=retain, config=config, models=models)
    loaded = models.get(target)
    material = replace(
        material_for(plan, loaded=loaded, config=config, bound=bound), retain_logprobs=known,
        validate=validator(config, bound=bound),
    )  # fmt: skip
    report = unlearn(
        loaded,
        material,
        method=plan.method,
        settings=plan.settings,
        folder=folder,
        label=plan.name,
        progress=progress,
        features=run_features(config),
    )
    if report.artifact.kind == "weights":
        # They were trained in place, or there is a whole model to load in their stead.
        models.forget()
    return Unlearned(parallel.on_main(lambda: report.artifact.on(target)), report.as_dict())


def retain_logprobs(
    plan: MethodPlan, rows: Sequence[Example], *, retain: ModelSpec | None, config: RunConfig, models: Models
) -> RetainLogprobs | None:
    """What the retain model says of rows to forget; None where there is none, or the method does not ask."""
    if retain is None or not hasattr(plan.method, "loss") or not asks_retain_model(plan.method):
        return None
    loaded = models.get(retain)
    shown = render(rows, loaded=loaded, config=config)
    return logprobs_under(loaded, shown, settings=plan.settings, features=run_features(config))


def material_for(plan: MethodPlan, *, loaded: LoadedModel, config: RunConfig, bound: Bound) -> Material:
    """All that the benchmark has for the method, put as the model is asked. Raises UserError where a set is empty."""
    return replace(
        _material(bound, method=plan.method),
        retain=_retain(bound),
        as_asked=lambda rows: render(rows, loaded=loaded, config=config),
    )


def check_material(plan: MethodPlan, *, bound: Bound, alone: bool = False) -> None:
    """Proves that the method works and the benchmark has what it works on, before any model is made.

    Args:
        alone: each subject is forgotten by itself, so that some may lack what it needs.

    Raises UserError where something is missing, BadData where rows that the method takes from a file are broken,
    PluginError where the code of another package fails.
    """
    method = plan.method
    check_method(method, name=plan.name)
    with running(method, what=f"method '{plan.name}': before training"):
        _check_rows(plan, bound=bound, alone=alone)


def _check_rows(plan: MethodPlan, *, bound: Bound, alone: bool) -> None:
    method, benchmark = plan.method, bound.benchmark
    if hasattr(method, "edit"):
        forget, retain = (_paths(name, bound=bound) for name in benchmark.trained_sets.values())
        method.check(forget=forget, retain=retain, level=bound.level)
        if hasattr(method, "lacks"):
            _refuse_lacking(plan, bound=bound, alone=alone)
        return
    if hasattr(method, "guard"):
        guard_state(method, replace(_material(bound, method=method), retain=_retain(bound)), name=plan.name)
    if hasattr(method, "guard") and not hasattr(method, "loss"):
        return
    require_loss(method, name=plan.name)
    given = {RETAIN: True, BENIGN: benchmark.benign_set is not None, ALTERNATE: bool(bound.refusals)}
    require_sources(method, name=plan.name, given=given)
    rows = bound.rows(benchmark.trained_sets["forget"])
    if ALTERNATE in asked_sources(method) and "text" in rows.column_names:
        texts = zip(rows["id"][:], rows["text"][:], strict=True)
        refuse_documents(plan.name, (name for name, text in texts if text))
    if hasattr(part_with(method, "reveal"), "lacks"):
        _refuse_lacking(plan, bound=bound, alone=alone)
    _check_sources(plan, bound=bound, alone=alone)


def _check_sources(plan: MethodPlan, *, bound: Bound, alone: bool) -> None:
    """Has the rows written that a method writes, and looks for the words that it silences."""
    method, sources = plan.method, sources_of(plan.method).values()
    if not any(source.rows is not None or source.silent_words is not None for source in sources):
        return
    material = _material(bound, method=method)
    refuse_words_nowhere(method, material=material)
    left_out = lacking(method, material, name=plan.name) if alone else {}
    ready = replace(material, forget=[row for row in material.forget if row.subject not in left_out])
    written_examples(method, material=ready, name=plan.name)


def _refuse_lacking(plan: MethodPlan, *, bound: Bound, alone: bool) -> None:
    """Raises UserError where subjects lack what the method needs, all or some that are forgotten with others."""
    lost = lacking(plan.method, _material(bound, method=plan.method), name=plan.name)
    if lost and not alone:
        raise UserError(f"method '{plan.name}' cannot unlearn {len(lost)} of the subjects: {few(lost)}")


def _paths(name: str, *, bound: Bound) -> list[tuple[str, ...]]:
    return [tuple(path) for path in bound.column(name, "path")]


def _material(bound: Bound, *, method: Any) -> Material:
    """What the benchmark has for the method, but for the rows to keep."""
    benchmark = bound.benchmark
    benign = benchmark.benign_set if hasattr(method, "loss") and BENIGN in asked_sources(method) else None
    return Material(
        forget=_examples(benchmark.trained_sets["forget"], bound=bound),
        benign=bound.examples(benign) if benign else [],
        refusals=bound.refusals,
        concepts=[concept_from(one, source=benchmark.group) for one in bound.concepts],
        level=bound.level,
    )


def _retain(bound: Bound) -> list[Example]:
    return _examples(bound.benchmark.trained_sets["retain"], bound=bound)


def _examples(name: str, *, bound: Bound) -> list[Example]:
    examples = bound.examples(name)
    if not examples:
        raise UserError(
            f"{bound.benchmark.group}: the set '{name}' has no rows in this data; choose other data or settings"
        )
    return examples
