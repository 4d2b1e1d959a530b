"""What every metric and attack costs on one micro model, each by itself: seconds of one core, with nothing shared."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from mmforget.benchmark.document import AttackName
from mmforget.benchmark.spec import Benchmark
from mmforget.errors import UserError
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.answers import Answers
from mmforget.evaluation.attack import attackable
from mmforget.evaluation.run import evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.base import METRICS
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.asked import settings_of
from mmforget.pipeline.checking import attacks_of
from mmforget.pipeline.models import Models
from mmforget.pipeline.pool_models import Setting
from mmforget.results.files import read_json, write_json
from mmforget.results.fingerprint import hash_json
from mmforget.types import Progress, Sample

PRICE_FILE = "prices.json"


@dataclass(frozen=True)
class Prices:
    """Seconds by metric and set, `rouge_l/forget`, of asking what it reads and scoring it; by attack, beyond the plain
    questions."""

    metrics: Mapping[str, float]
    attacks: Mapping[str, float]


def priced(*, setting: Setting, models: Models, progress: Progress) -> Prices:
    """The prices on a retain model, measured once and then read."""
    path = setting.home.parent / PRICE_FILE
    attacks = attacks_of(setting.config, benchmark=setting.bound.benchmark)
    key = hash_json(
        {"attacks": [one.key for one in attacks], "metrics": [m.key for m in setting.bound.benchmark.metrics]}
    )
    if path.is_file() and (found := read_json(path)).get("key") == key:
        return Prices(found["metrics"], found["attacks"])
    loaded = models.get(next(iter(setting.starts.values())).spec)
    asked: dict[str, tuple[float, list[Sample]]] = {}
    for number, task in enumerate(setting.bound.benchmark.tasks):
        progress(number, len(setting.bound.benchmark.tasks), "what metrics cost")
        asked[task.name] = _asked(loaded, [task.name], setting=setting)
    prices = Prices(
        _of_metrics(asked, setting=setting),
        _of_attacks(loaded, attacks, asked=asked, setting=setting, progress=progress),
    )
    write_json(path, {"key": key, **asdict(prices)})
    return prices


def _asked(
    loaded: LoadedModel, tasks: Sequence[str], *, setting: Setting, attacks: tuple[AttackName, ...] = ()
) -> tuple[float, list[Sample]]:
    """Seconds, and the samples."""
    config = setting.config
    lm = MMForgetLM(loaded, batch_size=config.batch_size, progress=False)
    started = time.process_time()
    done = evaluate(
        lm, tasks, include_paths=config.include_path, data=setting.bound.data, limit=config.limit, blank_image=False,
        progress=False, settings=replace(settings_of(config), attacks=attacks),
    )  # fmt: skip
    return time.process_time() - started, done.samples


def _of_metrics(asked: Mapping[str, tuple[float, list[Sample]]], *, setting: Setting) -> dict[str, float]:
    benchmark, found = setting.bound.benchmark, dict[str, float]()
    samples = [sample for _, own in asked.values() for sample in own]
    for use in benchmark.metrics:
        alone = replace(benchmark, document=replace(benchmark.document, metrics=(use,)))
        started = time.process_time()
        results = aggregate(alone, Answers(samples), retain=setting.retain.samples, target=setting.target.samples)
        scoring = time.process_time() - started
        tasks = {result.task for result in results if result.task} or set(_read(benchmark, use.metric, use.set))
        found[f"{use.key}/{use.set}"] = scoring + sum(asked[task][0] for task in tasks)
    return found


def _read(benchmark: Benchmark, metric: str, set_name: str) -> list[str]:
    """The tasks that a composite reads: those of its components' sets."""
    roles = [part.role for part in getattr(METRICS.get(metric), "components", ())]
    sets = {benchmark.document.sets.get(role, role) for role in roles} or {set_name}
    return [task.name for task in benchmark.tasks if task.set in sets]


def _of_attacks(
    loaded: LoadedModel,
    attacks: Sequence[AttackName],
    *,
    asked: Mapping[str, tuple[float, list[Sample]]],
    setting: Setting,
    progress: Progress,
) -> dict[str, float]:
    found = {}
    for number, one in enumerate(attacks):
        progress(number, len(attacks), f"what {one.key} costs")
        try:
            tasks = attackable(setting.bound.benchmark, [one])
        except UserError:
            continue
        seconds, _ = _asked(loaded, tasks, setting=setting, attacks=(one,))
        found[one.key] = max(0.0, seconds - sum(asked[task][0] for task in tasks))
    return found
