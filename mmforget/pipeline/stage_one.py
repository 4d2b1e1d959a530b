"""Stage one: the target model, which has learnt everything, and the retain model, which never saw the forget set.

Both come from one base and one recipe and differ only in their rows. A method may have a base of its own, which learns
the target's rows otherwise and is what all its requests start from. A model that was trained before with the same base,
rows, settings and seed is found by its fingerprint and not trained again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from mmforget import __version__, parallel
from mmforget.benchmark.cache import cache_folder
from mmforget.benchmark.rows import PLACEHOLDER
from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.errors import UnknownName, UserError
from mmforget.methods.bases import Privacy
from mmforget.model.examples import in_plain_text
from mmforget.model.loaded import LoadedModel
from mmforget.model.micro import build_base
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.fitting import check_rows_fit
from mmforget.pipeline.models import Models
from mmforget.pipeline.prompts import render
from mmforget.results.fingerprint import hash_image, hash_json
from mmforget.training.private import read_account
from mmforget.training.session import UNIMPORTANT
from mmforget.training.settings import TrainSettings, settings_from
from mmforget.training.stage_one import finetune
from mmforget.types import Example, Progress

Role = Literal["target", "retain", "base"]


@dataclass(frozen=True)
class StageOne:
    """A target or retain model or a method's base: how to load it, and what training it took (empty where given)."""

    role: Role
    spec: ModelSpec
    training: Mapping[str, Any]


def prepare(
    config: RunConfig,
    *,
    bound: Bound,
    role: Role,
    seed: int | None = None,
    models: Models,
    progress: Progress,
) -> StageOne:
    """The target or retain model of a benchmark: the one the user names, one trained before, or a new one.

    Args:
        seed: of its training; the run's, or else the recipe's, unless given.

    Raises UserError where the user's model cannot be loaded, the recipe is unknown or a folder cannot be written.
    """
    benchmark = bound.benchmark
    if len(config.stage_one_seeds) > 1:
        progress = labelled(progress, suffix=f", seed {seed}")
    given = config.target_model if role == "target" else config.retain_model
    if given is not None:
        return StageOne(role, given, {})
    if benchmark.document.pretrained and config.model != "micro":
        return StageOne(role, config.with_pretrained(None), {})
    settings = stage_one_settings(config, benchmark=benchmark, seed=seed)
    return trained(config, bound=bound, role=role, settings=settings, models=models, progress=progress)


def trained(
    config: RunConfig,
    *,
    bound: Bound,
    role: Role,
    settings: TrainSettings,
    privacy: Privacy | None = None,
    models: Models,
    progress: Progress,
) -> StageOne:
    """A model of stage one, trained unless it lies there already; a method's base has the rows of the target.

    Raises UserError as `prepare` does, and what `finetune` raises.
    """
    benchmark = bound.benchmark
    rows = benchmark.stage_one["target" if role == "base" else role]
    base_spec = base_model(config, bound=bound, progress=progress)
    base = models.get(base_spec)
    if role == "target":
        check_rows_fit(base, config=config, bound=bound)
    examples = bound.examples(rows)
    if config.model == "micro":
        examples += [example for name in benchmark.document.known for example in bound.examples(name)]
    examples = render(examples, loaded=base, config=config)
    if not examples:
        raise UserError(f"{benchmark.group}: the set '{rows}' has no rows in this data")
    key = _key(base, examples=examples, settings=settings, privacy=privacy)
    folder = _home(config, benchmark=benchmark) / f"{benchmark.name}-{role}-{key[:16]}"
    report = finetune(
        base, examples, settings=settings, folder=folder, label=f"{role} model", progress=progress,
        features=run_features(config), privacy=privacy,
    )  # fmt: skip
    # Its weights were trained in place.
    models.forget()
    spec = replace(base_spec, pretrained=str(report.output), revision=None, peft=None, merge_peft=False)
    account = None if privacy is None else read_account(report.output)
    told = {} if account is None else {"privacy": account.as_dict()}
    return StageOne(role, spec, {**report.as_dict(), "settings": settings.as_dict(), **told})


def labelled(progress: Progress, *, suffix: str) -> Progress:
    """Progress whose labels end in `suffix`, so that what runs side by side is told apart."""
    return lambda done, total, label: progress(done, total, label + suffix)


def stage_one_settings(config: RunConfig, *, benchmark: Benchmark, seed: int | None = None) -> TrainSettings:
    """Training settings of stage one: the recipe's, with the run's seed. Flags are for unlearning, not for this."""
    recipe = recipe_of(config, benchmark=benchmark)
    settings = settings_from(recipe["stage_one"], {"seed": config.seed, **config.stage_one})
    if settings.eval_steps is not None:
        raise UserError(
            f"--stage_one_args eval_steps={settings.eval_steps}: only methods are looked at while they train; leave it "
            "out"
        )
    return settings if seed is None else replace(settings, seed=seed)


def recipe_of(config: RunConfig, *, benchmark: Benchmark) -> Mapping[str, Any]:
    """The benchmark's recipe of the name the run asks for. Raises UnknownName with those there are."""
    if config.recipe not in benchmark.recipes:
        raise UnknownName("recipe", name=config.recipe, known=benchmark.recipes)
    return benchmark.recipes[config.recipe]


def base_model(config: RunConfig, *, bound: Bound, progress: Progress) -> ModelSpec:
    """What stage one starts from: the model named, or the micro model for the benchmark's texts, made where missing."""
    if config.model != "micro":
        return config.with_pretrained(None)
    texts = benchmark_texts(bound)
    home, modality = cache_folder() / "micro", "text" if bound.benchmark.modality == "text" else "image"
    folder = parallel.on_main(lambda: build_base(texts, modality=modality, folder=home, seed=0, progress=progress))
    return config.with_pretrained(str(folder))


def benchmark_texts(bound: Bound) -> list[str]:
    """Every text a model of this benchmark can meet: what a micro model's vocabulary is made of."""
    texts: set[str] = set(bound.refusals)
    is_framed = any(prompt.description or prompt.gen_prefix for prompt in bound.benchmark.prompts)
    for name in bound.benchmark.set_names:
        rows = bound.rows(name)
        for column in ("question", "answer"):
            texts.update(rows[column][:])
        for column in ("question_rephrased", "answer_rephrased", "answer_perturbed"):
            texts.update(text for several in rows[column][:] for text in several)
        if is_framed or "turns" in rows.column_names or any(rows["choices"][:]):
            texts.update(in_plain_text(one).context.replace(PLACEHOLDER, "") for one in bound.examples(name))
            texts.update(text for several in rows["choices"][:] for text in several)
    return sorted(texts)


def _home(config: RunConfig, *, benchmark: Benchmark) -> Path:
    """Micro models are small and shared by all runs; others are large and belong to the run that made them."""
    if config.model == "micro":
        return cache_folder() / "stage_one"
    return config.output / "models" / benchmark.group


def _key(base: LoadedModel, *, examples: Sequence[Example], settings: TrainSettings, privacy: Privacy | None) -> str:
    hashes: dict[int, str] = {}
    for example in examples:
        for image in example.images:
            hashes.setdefault(id(image), hash_image(image))
    rows = [[e.id, e.context, e.answer, [hashes[id(i)] for i in e.images]] for e in examples]
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    deciding = {name: value for name, value in settings.as_dict().items() if name not in UNIMPORTANT}
    facts = {"base": base.fingerprint, "rows": rows, "settings": deciding, "version": __version__}
    facts |= {} if privacy is None else {"privacy": asdict(privacy)}
    return hash_json({**facts, **versions})
