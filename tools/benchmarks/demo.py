"""The FIUBench demo on micro models: its evaluation with and without sharing, and where its wall time goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import demo_pairs
from benchmarks.context import Context
from benchmarks.measuring import ENOUGH_S, Seconds, say
from mmforget.benchmark.find import find_all
from mmforget.benchmark.source import DataSource
from mmforget.evaluation.run import evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import load_model
from mmforget.model.spec import ModelSpec
from mmforget.model.vision import FeatureCache

SCRIPT = Path(__file__).parent.parent / "bench.py"
TASKS = "fiubench"
BATCH_SIZE = 16


def run(context: Context) -> dict[str, Any]:
    """The breakdown of a short demo with a third of its people, then its target model evaluated both ways.

    Trained models are looked for in $MMFORGET_CACHE and left there; without it all is made anew in `context.folder`.
    With another checkout, the two demos in turn and nothing else.
    """
    if context.against is not None:
        return {"pairs": demo_pairs.run(context, context.against)}
    cache = os.environ.get("MMFORGET_CACHE") or str(context.folder / "cache")
    breakdown = _breakdown(context, cache=cache)
    return {"breakdown": breakdown, "evaluation": _evaluations(context, Path(cache))}


def _breakdown(context: Context, *, cache: str) -> dict[str, Any]:
    say("demo: from benchmark to leaderboard")
    flags = ["--quick"] if context.quick else []
    command = [sys.executable, str(SCRIPT), "--child", "demo.stages", "--folder", str(context.folder), *flags]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**os.environ, "MMFORGET_CACHE": cache})
    wall = time.perf_counter() - start
    found = json.loads(done.stdout.splitlines()[-1])
    stages = {"imports": wall - found["command_s"], **found["stages_s"]}
    stages["everything else"] = wall - sum(stages.values())
    return {"models_were_cached": found["models_were_cached"], "wall_s": wall, "stages_s": stages}


def _evaluations(context: Context, cache: Path) -> dict[str, Any]:
    """The target model on all tasks, with and without sharing, in turn.

    As in a run, image features are kept from one evaluation to the next: of all its models only the first encodes, and
    the best is one of those after it.
    """
    once = _evaluation(cache, limit=2 if context.quick else None)
    features = {"ours": FeatureCache(), "plain": FeatureCache()}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in features}
    samples: dict[str, Any] = {}
    for number in range(max(2, context.repeats)):
        for name, kept in features.items():
            if number > 1 and sum(one["wall_s"] for one in found[name]) >= ENOUGH_S:
                continue
            say(f"demo: evaluation of the target model, {name}")
            numbers, samples[name] = once(packed=name == "ours", features=kept)
            found[name].append(numbers)
    best = {name: min(runs, key=lambda one: one["answering_s"]) for name, runs in found.items()}
    keys = ("answering_s", "answering_cpu_s", "scoring_s", "generation_s", "wall_s")
    ratios = {key.removesuffix("_s"): best["plain"][key] / best["ours"][key] for key in keys}
    return {**best, "ratios": ratios, **_compared(samples["ours"], samples["plain"]), "runs": found}


def _evaluation(cache: Path, *, limit: int | None) -> Callable[..., tuple[dict[str, Any], Any]]:
    """A function that evaluates the target model once, and gives times, counts and samples."""
    (folder,) = (cache / "stage_one").glob(f"{TASKS}-target-*/model")
    loaded = load_model(ModelSpec(str(folder), device="cpu"))
    (benchmark,) = find_all([TASKS], ())
    data, names = benchmark.bind(DataSource("synthetic")).data, [task.name for task in benchmark.tasks]

    def once(*, packed: bool, features: FeatureCache) -> tuple[dict[str, Any], Any]:
        lm = MMForgetLM(loaded, batch_size=BATCH_SIZE, packed=packed, features=features, cache=None, progress=False)
        scoring, generation = _clocked(lm, "loglikelihood"), _clocked(lm, "generate_until")
        start = Seconds.now()
        samples = evaluate(lm, names, data=data, limit=limit, progress=False).samples
        wall, cost = start.passed().wall, lm.cost()
        answering = [*scoring, *generation]
        numbers = {
            "wall_s": wall,
            "answering_s": sum(one.wall for one in answering),
            "answering_cpu_s": sum(one.cpu for one in answering),
            "scoring_s": sum(one.wall for one in scoring),
            "generation_s": sum(one.wall for one in generation),
            "requests": cost.num_requests,
            "tokens": cost.num_tokens,
        }
        return numbers, samples

    return once


def _clocked(lm: MMForgetLM, method: str) -> list[Seconds]:
    """Times of every later call of a method of this one object."""
    taken: list[Seconds] = []
    function = getattr(lm, method)

    def clocked(*args: Any, **kwargs: Any) -> Any:
        start = Seconds.now()
        found = function(*args, **kwargs)
        taken.append(start.passed())
        return found

    setattr(lm, method, clocked)
    return taken


def _compared(ours: Any, plain: Any) -> dict[str, Any]:
    """Largest difference of any token's log-prob, and how many texts differ. Raises where samples do not match."""
    largest, texts, different = 0.0, 0, 0
    for one, other in zip(ours, plain, strict=True):
        if (one.task, one.id, one.attack) != (other.task, other.id, other.attack):
            raise RuntimeError(f"samples in another order: {one.task} {one.id}, {other.task} {other.id}")
        for role, values in one.token_logprobs.items():
            pairs = zip(values, other.token_logprobs[role], strict=True)
            largest = max([largest, *(abs(a - b) for a, b in pairs)])
        texts += one.response is not None
        different += one.response != other.response
    return {"largest_difference": largest, "texts": texts, "texts_that_differ": different}
