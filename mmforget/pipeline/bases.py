"""Bases that methods start from in the target's place: trained once, before any request, or named by the user.

A base that another command has made is known by the account of its privacy, which lies beside its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path

from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.errors import UnknownName, UserError
from mmforget.methods.bases import Base, base_of
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.models import Models
from mmforget.pipeline.recipes import MethodPlan
from mmforget.pipeline.stage_one import StageOne, stage_one_settings, trained
from mmforget.pipeline.workers import Workers
from mmforget.results.fingerprint import hash_json
from mmforget.results.provenance import model_name
from mmforget.training.private import Account, read_account, require_accountant
from mmforget.training.settings import TrainSettings
from mmforget.types import Progress


def check_base(plan: MethodPlan, *, config: RunConfig, bound: Bound) -> None:
    """Raises UserError where the base that a method starts from cannot be trained, before any model is made."""
    base, benchmark = base_of(plan.method), bound.benchmark
    if base is None:
        return
    base_settings(base, config=config, benchmark=benchmark)
    if _named(config) is not None:
        return
    if config.model != "micro" and config.base is None:
        raise UserError(
            f"method '{plan.name}' starts from a base of its own, trained before the target; give --model_args "
            "pretrained=MODEL, what the target was trained from"
        )
    if config.model != "micro" and benchmark.document.pretrained:
        raise UserError(
            f"method '{plan.name}' starts from a base that learnt the target's rows otherwise, and models know those "
            f"of {benchmark.group} from before any training here; choose another benchmark or method"
        )
    if base.privacy is not None:
        require_accountant()


def base_settings(base: Base, *, config: RunConfig, benchmark: Benchmark) -> TrainSettings:
    """How a base is trained: as the target, but for what it says itself. Raises UnknownName for what is no setting."""
    settings = stage_one_settings(config, benchmark=benchmark, seed=next(iter(config.stage_one_seeds), None))
    known = [one.name for one in fields(TrainSettings)]
    for name in base.training:
        if name not in known:
            raise UnknownName("training setting", name=name, known=known)
    return replace(settings, **base.training)


def make_base(
    plan: MethodPlan, *, config: RunConfig, bound: Bound, models: Models, progress: Progress
) -> StageOne | None:
    """What a method starts from in the target's place; None: the target.

    Raises UserError where the model that was named is a base with other privacy, and what its training raises.
    """
    base = base_of(plan.method)
    if base is None:
        return None
    account = _named(config)
    if account is not None:
        _require_same(account, base=base, config=config, name=plan.name)
        return StageOne("base", config.with_pretrained(None), {"privacy": account.as_dict()})
    settings = base_settings(base, config=config, benchmark=bound.benchmark)
    return trained(
        config, bound=bound, role="base", settings=settings, privacy=base.privacy, models=models, progress=progress
    )


def make_starts(
    plans: Sequence[MethodPlan], *, config: RunConfig, bound: Bound, target: StageOne, pool: Workers
) -> list[StageOne]:
    """What each method starts from, in their order: the target, or its base; equal bases are made once."""
    bases = {key: plan for plan in plans if (key := _key(plan))}
    made = pool.run([partial(make_base, plan, config=config, bound=bound) for plan in bases.values()])
    found = dict(zip(bases, made, strict=True))
    return [found.get(_key(plan)) or target for plan in plans]


def make_bases(
    plans: Sequence[MethodPlan], *, config: RunConfig, bound: Bound, target: StageOne, pool: Workers
) -> list[StageOne]:
    """The bases of methods, each once. Raises UserError for a method that has none."""
    for plan in plans:
        if base_of(plan.method) is None:
            raise UserError(f"method '{plan.name}' starts from the target model; leave --method out")
    starts = make_starts(plans, config=config, bound=bound, target=target, pool=pool)
    return list({start.spec: start for start in starts}.values())


def require_target(config: RunConfig) -> None:
    """Raises UserError where the target would be trained from a model that has learnt its rows already, privately."""
    if config.target_model is None and _named(config) is not None:
        raise UserError(
            f"{model_name(config.with_pretrained(None).pretrained)} is a base that has learnt the target's rows with "
            "differential privacy; give the model before it as pretrained=, or name --target_model, too"
        )


def require_named(config: RunConfig, *, plan: MethodPlan) -> None:
    """Raises UserError where a method that needs a base of its own is to start from a model that is none."""
    if base_of(plan.method) is not None and config.model != "micro" and _named(config) is None:
        named = model_name(config.with_pretrained(None).pretrained)
        raise UserError(
            f"method '{plan.name}' starts from a base of its own, and {named} is none; make it with `mmforget target "
            f"--method {plan.name}` and name its folder"
        )


def _key(plan: MethodPlan) -> str:
    base = base_of(plan.method)
    return "" if base is None else hash_json(asdict(base))


def _named(config: RunConfig) -> Account | None:
    """Of the model that was named; None where it is no such base."""
    if config.model == "micro" or config.base is None:
        return None
    return read_account(Path(config.base.pretrained).expanduser())


def _require_same(account: Account, *, base: Base, config: RunConfig, name: str) -> None:
    wanted = {} if base.privacy is None else asdict(base.privacy)
    there = {"epsilon": account.epsilon_asked, **{key: getattr(account, key) for key in wanted if key != "epsilon"}}
    differing = [f"{key}={there[key]} there, {value} asked" for key, value in wanted.items() if there[key] != value]
    if differing:
        raise UserError(
            f"method '{name}': the base {model_name(config.with_pretrained(None).pretrained)} was made with other "
            f"privacy ({', '.join(differing)}); give --method_args as it was made, or another base"
        )
