"""Whom attacks ask besides the model: the target model, which answers once for all, and one that rewrites questions.

The target's answers lie in `probes.json` of the benchmark's folder. The attacker is read from this machine alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.attacks.base import build_attack
from mmforget.benchmark.cache import cache_folder
from mmforget.benchmark.document import AttackName
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.evaluation.attack import attackable
from mmforget.evaluation.attempting import Helpers
from mmforget.evaluation.probes import Probes, Target
from mmforget.evaluation.run import evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import load_model
from mmforget.model.micro import build_base
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.asked import response_cache, settings_of
from mmforget.pipeline.checking import attacks_of
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.models import Models
from mmforget.results.store import safe_name
from mmforget.types import Progress

MICRO = "micro"
MICRO_ROOM = 3072
"""Characters of a prompt of the attacker beside the question."""


def helped_by(config: RunConfig, *, bound: Bound, helper: str) -> tuple[AttackName, ...]:
    """The attacks of a run that ask `target` or `attacker`."""
    named = attacks_of(config, benchmark=bound.benchmark)
    return tuple(one for one in named if getattr(build_attack(one.attack, one.args), "knows", "") == helper)


def helpers_of(config: RunConfig, *, bound: Bound) -> Helpers:
    """What attacks of a run are helped by. Raises UserError for an attacker that is not there."""
    is_asked = bool(helped_by(config, bound=bound, helper="target"))
    target = Target(Probes(probes_file(config, bound=bound))) if is_asked else None
    return Helpers(target, attacker_of(config, bound=bound))


def probes_file(config: RunConfig, *, bound: Bound) -> Path:
    return config.output / safe_name(bound.benchmark.group) / "probes.json"


def about_helpers(config: RunConfig, *, bound: Bound) -> dict[str, Any]:
    """What of them decides numbers: the target that was asked, and the attacker's weights; nothing where none helps."""
    found: dict[str, Any] = {}
    if helped_by(config, bound=bound, helper="target"):
        found["probes"] = Probes(probes_file(config, bound=bound)).target
    attacker = attacker_of(config, bound=bound)
    return found if attacker is None else {**found, "attacker": attacker.loaded.fingerprint}


def attacker_of(config: RunConfig, *, bound: Bound) -> MMForgetLM | None:
    """The model that rewrites questions, loaded once; None where no attack asks it.

    `micro` is an untrained text model with the benchmark's words: it shows that everything runs, and rewrites nothing
    that makes sense.
    """
    if config.attacker is None or not helped_by(config, bound=bound, helper="attacker"):
        return None
    place = check_attacker(config.attacker) or parallel.on_main(lambda: _micro(bound))
    return _loaded(str(place), config.device, config.batch_size)


def _micro(bound: Bound) -> Path:
    """The folder of the untrained model, whose longest text is as long as a prompt of the attacker can be."""
    rows = bound.rows(bound.benchmark.forget_set)
    words = [*map(str, rows["question"][:]), *map(str, rows["answer"][:])]
    room = MICRO_ROOM + max(map(len, words))
    longest = " ".join(words * (room // len(" ".join(words)) + 1))[:room]
    return build_base([*words, longest], modality="text", folder=cache_folder() / "micro", seed=0)


def check_attacker(text: str) -> Path | None:
    """The folder that `--attacker` names; None for `micro`. Raises UserError for one that is not on this machine."""
    if text == MICRO:
        return None
    folder = Path(text).expanduser()
    if not (folder / "config.json").is_file():
        raise UserError(
            f"--attacker {text}: no folder with a model (config.json) on this machine; the attacker is never fetched, "
            "give a local Hugging Face folder, or micro"
        )
    return folder


@lru_cache(maxsize=1)
def _loaded(place: str, device: str | None, batch_size: int) -> MMForgetLM:
    return MMForgetLM(load_model(ModelSpec(place, device=device)), batch_size=batch_size, progress=False)


def ask_target(
    spec: ModelSpec,
    *,
    config: RunConfig,
    bound: Bound,
    rows: Mapping[str, Sequence[int]] | None,
    probes: Probes,
    models: Models,
    progress: Progress,
) -> None:
    """Has the target model answer what attacks ask it, before any model is asked what is made of that.

    Args:
        rows: by task the places of the rows that are asked; all, as limit says, unless given.
        probes: where its answers are kept.
    """
    named = helped_by(config, bound=bound, helper="target")
    tasks = attackable(bound.benchmark, named)
    settings = replace(settings_of(config), attacks=named, helpers=Helpers(Target(probes, by_target=True)))
    cache = response_cache(config)
    lm = MMForgetLM(
        models.get(spec), batch_size=config.batch_size, cache=cache, features=run_features(config), progress=progress
    )
    evaluate(
        lm,
        tasks,
        include_paths=config.include_path,
        data=bound.data,
        limit=config.limit if rows is None else None,
        blank_image=False,
        settings=settings if rows is None else replace(settings, samples={name: rows[name] for name in tasks}),
        progress=progress,
    )
