"""Models of one benchmark compared two by two, by each measure of how far they lie apart.

One model is in memory at a time. What the others wrote is kept as tokens, and their weights lie in files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.instances import limited
from mmforget.benchmark.rows import undecoded
from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.errors import UserError
from mmforget.evaluation.connectivity import ModeConnectivity, PathResult, Rows, walked
from mmforget.evaluation.fade import Drawn, Fade, FadeResult, fade
from mmforget.evaluation.forms import FormDependence, FormResult, asked_in_forms, form_dependence
from mmforget.evaluation.membership import Answered, Membership, MembershipResult, membership, scored_answers
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.cache import ResponseCache
from mmforget.lm.drawing import Tokens
from mmforget.lm.engine import ModelEngine
from mmforget.metrics.arguments import metric_of
from mmforget.model.encode import Encoded, encode_prompt
from mmforget.model.examples import encode_all
from mmforget.model.line import End, end_of, line_to
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.models import Models
from mmforget.pipeline.prompts import render
from mmforget.pipeline.stage_one import prepare
from mmforget.results.store import safe_name
from mmforget.types import Example, Progress, Sample

RETAIN = "retain"
NO_RETAIN = "no retain model to compare with; give --retain_model"
NO_QUESTIONS = "what is to be forgotten are documents, and nothing is asked about them"
OUTSIDE = "non-members"
NO_OUTSIDE = "the benchmark has no holdout set in this data, rows that nobody has seen"
NO_TARGET = "no target model to compare with; give --target_model"


@dataclass(frozen=True)
class Compared:
    """Two models by one measure.

    Attributes:
        measure: as it was named.
        first, second: `model`, `target`, `retain`, or `retain/1` and so on, those of other seeds; the second is
            `non-members` where one model is asked about rows that nobody has seen.
        is_null: whether both never saw what was to be forgotten; beside the target, whether the first did not.
        result: None where there is none, and
        reason: why.
    """

    measure: str
    first: str
    second: str
    is_null: bool
    result: FadeResult | PathResult | FormResult | MembershipResult | None
    reason: str = ""


@dataclass(frozen=True)
class Space:
    """The models of one benchmark, and the rows that they are compared on.

    Attributes:
        cache: where all that models say is kept, so that what was interrupted goes on; None: nowhere.
    """

    config: RunConfig
    bound: Bound
    progress: Progress
    models: Models = field(default_factory=Models)
    cache: ResponseCache | None = None

    def specs(self, null_models: Sequence[ModelSpec]) -> dict[str, ModelSpec]:
        """The models by name: the one in question, the target where one is named, and those that never saw the rows."""
        config, seeds = self.config, self.config.stage_one_seeds
        is_micro = config.model == "micro"
        model = self._prepared("target", seed=next(iter(seeds), None)) if is_micro else config.with_pretrained(None)
        found = {"model": model}
        if config.target_model is not None:
            found["target"] = config.target_model
        retain = [] if config.retain_model is None else [config.retain_model]
        if not retain and is_micro and self.bound.benchmark.has_retain_model:
            retain = [self._prepared(RETAIN, seed=seed) for seed in seeds or (None,)]
        named = [*retain, *null_models] if retain else []
        return found | {RETAIN if not number else f"{RETAIN}/{number}": one for number, one in enumerate(named)}

    def _prepared(self, role: Any, *, seed: int | None) -> ModelSpec:
        return prepare(
            self.config, bound=self.bound, role=role, seed=seed, models=self.models, progress=self.progress
        ).spec

    def rows(self, name: str, loaded: LoadedModel) -> list[Example]:
        """The rows of a set as the model is asked about them, as many as the limit says."""
        found = self.bound.examples(name)
        kept = len(found) if self.config.limit is None else limited(len(found), self.config.limit)
        return render(found[:kept], loaded=loaded, config=self.config)

    @property
    def has_questions(self) -> bool:
        """Whether anything to forget is asked about, and is no document."""
        return any(not row.is_document for row in self.bound.examples(self.bound.benchmark.forget_set))

    def docs(self, name: str) -> dict[str, Mapping[str, Any]]:
        """The benchmark's rows of a set, by name."""
        return {str(doc["id"]): doc for doc in undecoded(self.bound.rows(name))}

    def asker(self, loaded: LoadedModel, name: str) -> MMForgetLM:
        config = self.config
        features, progress = run_features(config), self.told(name)
        return MMForgetLM(loaded, batch_size=config.batch_size, cache=self.cache, features=features, progress=progress)

    def told(self, name: str) -> Progress:
        return lambda done, total, label: self.progress(done, total, f"{name}: {label}")


def _pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is compared with the retain model, those of other seeds last; and the model with the target."""
    if "target" in names:
        yield "model", "target"
    yield from ((name, RETAIN) for name in names if name != RETAIN)


def _is_null(first: str, second: str) -> bool:
    return first.startswith(RETAIN) and second.startswith(RETAIN)


def _by_fade(space: Space, specs: Mapping[str, ModelSpec], *, name: str, how: Fade) -> list[Compared]:
    """The divergence of every model from the retain model."""
    others = [one for one in specs if one != RETAIN]
    if RETAIN not in specs or not space.has_questions:
        why = NO_QUESTIONS if RETAIN in specs else NO_RETAIN
        return [Compared(name, one, RETAIN, _is_null(one, RETAIN), None, why) for one in others]
    written = _written(space, specs, others=others, how=how)

    def divergence(one: str) -> FadeResult:
        first, second = written.drawn(one, RETAIN), written.drawn(RETAIN, one)
        return fade(written.rows, first, second, samples=how.samples)

    return [Compared(name, one, RETAIN, _is_null(one, RETAIN), divergence(one)) for one in others]


class _Written(NamedTuple):
    """What models wrote behind the same questions.

    Attributes:
        rows: the questions.
        texts: by model.
        told: by model that says it and model that wrote, the log-prob of each text.
    """

    rows: Sequence[Example]
    texts: Mapping[str, Sequence[Tokens]]
    told: Mapping[tuple[str, str], Sequence[float]]

    def drawn(self, writer: str, other: str) -> Drawn:
        return Drawn(list(map(len, self.texts[writer])), self.told[writer, writer], self.told[other, writer])


def _written(space: Space, specs: Mapping[str, ModelSpec], *, others: Sequence[str], how: Fade) -> _Written:
    """One model in memory at a time: the retain model comes first, to write, and last, for what the others wrote."""
    texts: dict[str, list[Tokens]] = {}
    told: dict[tuple[str, str], list[float]] = {}
    tokenizer: dict[str, int] = {}
    rows: list[Example] = []
    for model in (RETAIN, *others, RETAIN):
        loaded = space.models.get(specs[model])
        tokenizer = _same_tokens(loaded, tokenizer)
        rows, prompts = _prompts(space, loaded)
        engine = ModelEngine(loaded, batch_size=space.config.batch_size, features=run_features(space.config))
        if model not in texts:
            texts[model] = how.write(engine, rows, prompts, cache=space.cache)
        for writer in (one for one in texts if RETAIN in (model, one) or one == model):
            if (model, writer) not in told:
                said = space.told(model)
                told[model, writer] = how.told(engine, prompts, texts[writer], progress=said, cache=space.cache)
    return _Written(rows, texts, told)


def _by_forms(space: Space, specs: Mapping[str, ModelSpec], *, name: str, how: FormDependence) -> list[Compared]:
    """Every model beside the target, which the model itself is where it has forgotten nothing."""
    target = "target" if "target" in specs else "model" if space.config.model == "micro" else None
    others = [one for one in specs if one != target]
    if target is None or not space.has_questions:
        why = NO_TARGET if target is None else NO_QUESTIONS
        return [Compared(name, one, target or "target", one.startswith(RETAIN), None, why) for one in others]
    asked = {}
    for model in (target, *others):
        loaded = space.models.get(specs[model])
        rows, docs = _questions(space, loaded), space.docs(space.bound.benchmark.forget_set)
        asked[model] = asked_in_forms(space.asker(loaded, model), docs, rows, how=how)
    return [
        Compared(name, one, target, one.startswith(RETAIN), form_dependence(asked[one], asked[target]))
        for one in others
    ]  # fmt: skip


def _by_membership(space: Space, specs: Mapping[str, ModelSpec], *, name: str, how: Membership) -> list[Compared]:
    """Every model on what was to be forgotten and on what nobody has seen, the retain model first."""
    sets = (_members_of(space.bound.benchmark), space.bound.benchmark.holdout_set)
    order = sorted(specs, key=lambda one: one != RETAIN)
    if sets[1] is None or not space.bound.num_rows(sets[1]):
        return [Compared(name, one, OUTSIDE, one.startswith(RETAIN), None, NO_OUTSIDE) for one in specs]
    found: dict[str, Answered] = {}
    for model in order:
        lm = space.asker(space.models.get(specs[model]), model)
        found[model] = Answered(*(_scored_set(space, lm, str(one)) for one in sets))
    return [
        Compared(name, one, OUTSIDE, one.startswith(RETAIN), membership(found[one], found.get(RETAIN), how=how))
        for one in specs
    ]


def _members_of(benchmark: Benchmark) -> str:
    """The set whose members the benchmark's document looks for among non-members; else what is to be forgotten."""
    named = (use.set for use in benchmark.metrics if getattr(metric_of(use), "other", None) == "holdout")
    return next(named, benchmark.forget_set)


def _scored_set(space: Space, lm: MMForgetLM, name: str) -> list[Sample]:
    rows, docs = space.rows(name, lm.loaded), space.docs(name)
    return scored_answers(lm, docs, rows, set_name=name)


def _prompts(space: Space, loaded: LoadedModel) -> tuple[list[Example], list[Encoded]]:
    rows = _questions(space, loaded)
    return rows, [encode_prompt(loaded, row.context, row.images) for row in rows]


def _questions(space: Space, loaded: LoadedModel) -> list[Example]:
    """The rows to forget that are no documents."""
    return [row for row in space.rows(space.bound.benchmark.forget_set, loaded) if not row.is_document]


def _same_tokens(loaded: LoadedModel, tokenizer: Mapping[str, int]) -> dict[str, int]:
    """The model's tokens. Raises UserError where they are others than those of the models before."""
    own = dict(loaded.tokenizer.get_vocab())
    if tokenizer and own != tokenizer:
        raise UserError(
            f"{loaded.spec.pretrained} has other tokens than the models before it, so texts have no common log-prob"
        )
    return own


def _by_path(space: Space, specs: Mapping[str, ModelSpec], *, name: str, how: ModeConnectivity) -> list[Compared]:
    """The path from every model to the retain model, and from the model to the target."""
    found = []
    with tempfile.TemporaryDirectory(prefix="mmforget-") as folder:
        starts: dict[str, End] = {}
        for first, second in _pairs(list(specs)):
            if second not in specs:
                found.append(Compared(name, first, second, False, None, NO_RETAIN))
                continue
            place = Path(folder) / safe_name(first)
            starts[first] = starts.get(first) or end_of(space.models.get(specs[first]), folder=place)
            walk = _walk(
                space, specs[second], start=starts[first], how=how, folder=Path(folder), label=f"{first} to {second}"
            )
            found.append(Compared(name, first, second, _is_null(first, second), walk))
    return found


def _walk(space: Space, spec: ModelSpec, *, start: End, how: ModeConnectivity, folder: Path, label: str) -> PathResult:
    loaded = space.models.get(spec)
    kept, own = (
        _answered(space, name, loaded) for name in (space.bound.benchmark.retain_set, space.bound.benchmark.forget_set)
    )
    with tempfile.TemporaryDirectory(dir=folder) as other, line_to(loaded, start=start, folder=Path(other)) as line:
        return walked(
            line, how=how, retain=kept, forget=own, batch_size=space.config.batch_size, progress=space.told(label),
            cache=space.cache,
        )  # fmt: skip


def _answered(space: Space, name: str, loaded: LoadedModel) -> Rows:
    rows = space.rows(name, loaded)
    return Rows(
        encode_all(loaded, rows, append_eos=False, source=f"rows of the set {name}"), [row.subject for row in rows]
    )


WAYS: Mapping[type[Any], Callable[..., list[Compared]]] = {
    Fade: _by_fade,
    ModeConnectivity: _by_path,
    FormDependence: _by_forms,
    Membership: _by_membership,
}
"""By how a measure is set up, what makes its comparisons."""
