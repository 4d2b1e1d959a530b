"""Metrics measured: pools of micro models with and without the knowledge, and what every metric and attack tells.

Every model is done once: the same command continues where it stopped, and with more attacks asks only what is new.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from mmforget import __version__, parallel
from mmforget.attacks.contract import check_attack
from mmforget.attacks.naming import attack_of
from mmforget.benchmark.document import AttackName
from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.errors import UserError
from mmforget.evaluation.stages import is_asked_in_stages
from mmforget.evaluation.worth import About, Key, Model, Trait, Worth, worths
from mmforget.metrics.base import METRICS, Metric, counts_failures, reads_attempts
from mmforget.pipeline.checking import check_document
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.legs import timed
from mmforget.pipeline.plan import check_attacks, resolve
from mmforget.pipeline.pool_models import PLAIN, Folders, Setting, measure_member, measure_unlearned, unlearned_name
from mmforget.pipeline.pools import STARTS, Member, changed_members, members
from mmforget.pipeline.prices import Prices, priced
from mmforget.pipeline.recipes import MethodPlan, method_plans
from mmforget.pipeline.records import measure_references
from mmforget.pipeline.stage_one import base_model, prepare
from mmforget.pipeline.unlearning import check_material
from mmforget.pipeline.workers import Job, Workers, workers
from mmforget.results.codec import to_jsonable
from mmforget.results.files import alone_in, prepare_folder, write_json
from mmforget.results.schema import RunRecord
from mmforget.results.store import read_run, safe_name
from mmforget.statistics.sequences import known_mean
from mmforget.types import Estimate, Progress

HEADLINE = "headline"
"""Profile under which the numbers of a record's headline stand."""
RESULT = "meta.json"
UNLEARNED = 2
"""Models that each method makes forget."""


@dataclass(frozen=True)
class PoolPlan:
    """What is done with one benchmark: the pools, and the methods that make some of their members forget."""

    bound: Bound
    members: tuple[Member, ...]
    methods: tuple[MethodPlan, ...]

    @property
    def changed(self) -> frozenset[str]:
        """The members that are measured after changes of their weights, too, as all that are made to forget are."""
        return changed_members(self.members)

    @property
    def unlearned(self) -> list[tuple[MethodPlan, Member]]:
        """Each method on the members with the knowledge, of as many starts, that learnt it longest and fastest."""
        plain = [one for one in self.members if one.pool == "with" and one.graded]
        firmest = {one.start: one for one in sorted(plain, key=lambda one: one.steps * one.lr)}
        return [(plan, firmest[start]) for plan in self.methods for start in sorted(firmest)[:UNLEARNED]]


@dataclass(frozen=True)
class MetaPlan:
    """What `mmforget meta` does."""

    config: RunConfig
    changes: tuple[AttackName, ...]
    benchmarks: tuple[PoolPlan, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "changes": [one.key for one in self.changes],
            "attacks": [one.key for one in self.config.attacks],
            "benchmarks": {
                one.bound.benchmark.group: [
                    *({**asdict(member), "is_changed": member.name in one.changed} for member in one.members),
                    *(
                        {"name": unlearned_name(plan, member=member), "is_changed": True}
                        for plan, member in one.unlearned
                    ),
                ]
                for one in self.benchmarks
            },
        }


def make_meta_plan(config: RunConfig, *, size: int, changes: Sequence[AttackName]) -> MetaPlan:
    """Raises UserError, UnknownName and PluginError for whatever would stop it."""
    if config.model != "micro":
        raise UserError("pools are of micro models, whose history is known; give --model micro")
    for one in changes:
        check_attack(one.attack, one.args)
        attack = attack_of(one.key)
        if attack.access != "weights" or not is_asked_in_stages(attack):
            raise UserError(f"--after {one.key}: changes no weights by itself; name attacks on weights, e.g. lasting")
    plans = tuple(_plan(config, bound=one, size=size) for one in resolve(config))
    guard = next((one.name for plan in plans for one in plan.methods if hasattr(one.method, "guard")), None)
    if changes and guard is not None:
        raise UserError(
            f"method '{guard}' puts a guard before the model, and --after changes the weights behind it; leave the "
            "method out, or give --after ''"
        )
    return MetaPlan(config, tuple(changes), plans)


def _plan(config: RunConfig, *, bound: Bound, size: int) -> PoolPlan:
    benchmark = bound.benchmark
    if not benchmark.has_retain_model or benchmark.document.one_at_a_time:
        raise UserError(
            f"{benchmark.group} has no retain model that never saw what is to be forgotten, or forgets each subject "
            "alone, so there are no models without the knowledge; leave it out"
        )
    check_document(benchmark)
    check_attacks(config, bound=bound)
    plans = method_plans(config, benchmark=benchmark)
    for plan in plans:
        check_material(plan, bound=bound)
    return PoolPlan(bound, tuple(members(size)), tuple(plans))


def measure_metrics(plan: MetaPlan, *, progress: Progress) -> dict[str, Any]:
    """Make and measure the pools; returns, and leaves in the output folder as `meta.json`, what metrics are worth."""
    config = plan.config
    parallel.on_main(lambda: prepare_folder(config.output))
    with alone_in(config.output), timed(config.output) as legs:
        with workers(config, progress=legs.told(progress)) as pool:
            found = {one.bound.benchmark.group: _measured(plan, one, pool=pool) for one in plan.benchmarks}
        seconds = legs.seconds
    document = {
        "version": __version__,
        "changes": [one.key for one in plan.changes],
        "wall_s": math.fsum(seconds),
        "legs_s": seconds,
        "benchmarks": found,
    }
    plain: dict[str, Any] = to_jsonable(document, strict=False).value
    write_json(config.output / RESULT, plain)
    return plain


def _measured(plan: MetaPlan, own: PoolPlan, *, pool: Workers) -> dict[str, Any]:
    setting = _setting(plan, own, pool=pool)
    (prices,) = pool.run([partial(priced, setting=setting)])
    jobs: list[Job[Folders]] = [
        partial(measure_member, one, setting=setting, is_changed=one.name in own.changed) for one in own.members
    ]
    jobs += [partial(measure_unlearned, method, member=one, setting=setting) for method, one in own.unlearned]
    folders = pool.run(jobs)
    models = [_model(one, found) for one, found in zip(own.members, folders, strict=False)]
    rest = zip(own.unlearned, folders[len(own.members) :], strict=True)
    models += [_unlearned(unlearned_name(method, member=one), found) for (method, one), found in rest]
    records = [read_run(found[PLAIN]).record for found in folders]
    trained = {one.key: not hasattr(attack_of(one.key), "alter") for one in plan.changes}
    told = worths(
        models, traits_of(records, retain=setting.retain.record, benchmark=own.bound.benchmark), trained=trained
    )
    return {
        "title": own.bound.benchmark.title,
        "modality": own.bound.benchmark.modality,
        "models": [{**asdict(one), "pool": one.pool} for one in own.members],
        "unlearned": [one.name for one in models if one.pool == "unlearned"],
        "training_s": known_mean([record.training.get("wall_s") for record in records]),
        "rows": [_row(one, prices=prices) for one in told if one.auc.value is not None],
    }


def _setting(plan: MetaPlan, own: PoolPlan, *, pool: Workers) -> Setting:
    """References and starts: those of stage one, which other runs have, too."""
    config, bound = plan.config, own.bound
    base_model(config, bound=bound, progress=pool.progress)
    job = partial(prepare, config, bound=bound)
    made = pool.run(
        [partial(job, role="target"), *(partial(job, role="retain", seed=seed) for seed in (None, *STARTS))]
    )
    home = config.output / safe_name(bound.benchmark.group)
    references = measure_references(config, bound=bound, models=made[:2], home=home, pool=pool)
    if references.retain is None:
        raise UserError(f"{bound.benchmark.group}: no retain model")
    starts = dict(zip(STARTS, made[2:], strict=True))
    return Setting(config, bound, plan.changes, home / "models", starts, references.target, references.retain)


def _model(member: Member, folders: Folders) -> Model:
    return Model(member.name, member.pool, member.share, member.graded, _values(folders))


def _unlearned(name: str, folders: Folders) -> Model:
    ratio = read_run(folders[PLAIN]).record.headline.get("utility_ratio")
    return Model(name, "unlearned", 1.0, False, _values(folders), None if ratio is None else ratio.value)


def _values(folders: Folders) -> dict[str, dict[Key, float | None]]:
    """By change of weights, what was read."""
    return {change: values_of(read_run(folder).record) for change, folder in folders.items()}


def values_of(record: RunRecord) -> dict[Key, float | None]:
    """Every number of a record that is measured here."""
    return {key: estimate.value for key, estimate in _estimates(record)}


def _estimates(record: RunRecord) -> Iterator[tuple[Key, Estimate]]:
    """Headline and metrics; of the answers under attacks what reads all attempts, and of several tasks the first."""
    seen = set()
    for name in ("forget_score", "utility", "overall"):
        if name in record.headline:
            yield Key(name, "", HEADLINE), record.headline[name]
    for result in record.metrics:
        key = Key(result.name, result.set, result.profile, result.attack)
        is_asked = result.attack is None or reads_attempts(_metric(result.name))
        if is_asked and key not in seen:
            seen.add(key)
            yield key, result.estimate


def _metric(key: str) -> Metric:
    """The metric of a record's key, with its defaults: what it declares does not depend on arguments."""
    return METRICS.get(key.partition("(")[0])


def traits_of(records: Sequence[RunRecord], *, retain: RunRecord, benchmark: Benchmark) -> dict[Key, Trait]:
    """What is known of every number that any record has."""
    reference = values_of(retain)
    found: dict[Key, Trait] = {}
    for record in records:
        for key, estimate in _estimates(record):
            about = _about(key, benchmark=benchmark)
            found.setdefault(key, Trait(estimate.higher_is_better, about, estimate.range, reference.get(key)))
    return found


def _about(key: Key, *, benchmark: Benchmark) -> About:
    if key.profile == HEADLINE:
        return "forgotten" if key.metric == "forget_score" else "kept"
    if counts_failures(_metric(key.metric)):
        return "failures"
    return "forgotten" if key.set in (benchmark.forget_set, benchmark.rephrase_set) else "kept"


def _row(worth: Worth, *, prices: Prices) -> dict[str, Any]:
    key = worth.key
    seconds = prices.attacks.get(key.attack) if key.attack else prices.metrics.get(f"{key.metric}/{key.set}")
    return {**key._asdict(), **{k: v for k, v in asdict(worth).items() if k != "key"}, "tells": worth.tells,
            "seconds": seconds}  # fmt: skip
