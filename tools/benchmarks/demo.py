"""The FIUBench demo on micro models: its evaluation with and without sharing, and where its wall time goes."""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.measuring import clock, say

SCRIPT = Path(__file__).parent.parent / "bench.py"
TASKS, METHODS = "fiubench", "ga,grad_diff,kl,po,npo"
QUICK = ["--limit", "2", "--stage_one_args", "max_steps=2", "--max_steps", "2", "--allow_weak_target"]
BATCH_SIZE = 16
STAGES = {
    "base model and vision tower": ("mmforget.pipeline.stage_one", "build_base"),
    "stage one: target and retain model": ("mmforget.pipeline.stage_one", "finetune"),
    "unlearning": ("mmforget.pipeline.unlearning", "unlearn"),
    "evaluation": ("mmforget.pipeline.measuring", "evaluate"),
    "leaderboard": ("mmforget.cli.leaderboard", "execute"),
}
"""Functions that are timed, where their callers look them up."""


def run(context: Context) -> dict[str, Any]:
    """The breakdown of one whole demo, then its target model evaluated both ways.

    Trained models are looked for in $MMFORGET_CACHE and left there; without it all is made anew in `context.folder`.
    """
    cache = os.environ.get("MMFORGET_CACHE") or str(context.folder / "cache")
    say("demo: the whole run")
    flags = ["--quick"] if context.quick else []
    command = [sys.executable, str(SCRIPT), "--child", "demo.stages", "--folder", str(context.folder), *flags]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**os.environ, "MMFORGET_CACHE": cache})
    stages = json.loads(done.stdout.splitlines()[-1])
    stages["wall_s"] = time.perf_counter() - start
    known = sum(stages["stages_s"].values())
    stages["stages_s"]["everything else"] = stages["wall_s"] - known
    return {
        "models_were_cached": stages.pop("models_were_cached"),
        "breakdown": stages,
        "evaluation": _evaluations(context, Path(cache)),
    }


def measure_stages(context: Context) -> dict[str, Any]:
    """Seconds of each stage of a demo in this process."""
    start = time.perf_counter()
    from mmforget.cli.main import main

    modules = {name: importlib.import_module(module) for name, (module, _) in STAGES.items()}
    seconds = {"imports": time.perf_counter() - start, **dict.fromkeys(STAGES, 0.0)}
    for name, (_, function) in STAGES.items():
        setattr(modules[name], function, _timed(getattr(modules[name], function), name=name, seconds=seconds))
    cached = (Path(os.environ["MMFORGET_CACHE"]) / "stage_one").is_dir()
    output = context.folder / "demo"
    command = ["run", "--model", "micro", "--tasks", TASKS, "--methods", METHODS, "--output_path", str(output)]
    shown = io.StringIO()
    with redirect_stdout(shown), redirect_stderr(shown):
        status = main([*command, *(QUICK if context.quick else [])])
    if status != 0:
        raise RuntimeError(f"the demo ended with status {status}: {shown.getvalue()[-2000:]}")
    return {"models_were_cached": cached, "stages_s": seconds}


def _timed(function: Callable[..., Any], *, name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - start

    return timed


def _evaluations(context: Context, cache: Path) -> dict[str, Any]:
    from mmforget.benchmark.find import find_all
    from mmforget.benchmark.source import DataSource
    from mmforget.evaluate.run import evaluate
    from mmforget.lm.adapter import MMForgetLM
    from mmforget.model.load import load_model
    from mmforget.model.spec import ModelSpec

    (folder,) = (cache / "stage_one").glob(f"{TASKS}-target-*/model")
    loaded = load_model(ModelSpec(str(folder), device="cpu"))
    (benchmark,) = find_all([TASKS], ())
    data, names = benchmark.bind(DataSource("synthetic")), [task.name for task in benchmark.tasks]
    limit = 2 if context.quick else None
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "plain": []}
    samples: dict[str, Any] = {}
    for _ in range(min(context.repeats, 3)):
        for name, packed in (("ours", True), ("plain", False)):
            say(f"demo: evaluation of the target model, {name}")
            lm = _Clocked(MMForgetLM(loaded, batch_size=BATCH_SIZE, packed=packed, cache=None, progress=False))
            wall = clock(
                lambda lm=lm, name=name: samples.update(
                    {name: evaluate(lm.inner, names, data=data, limit=limit, progress=False).samples}
                )
            ).wall
            cost = lm.inner.cost()
            found[name].append({"wall_s": wall, **lm.seconds, "requests": cost.num_requests, "tokens": cost.num_tokens})
    best = {name: min(runs, key=lambda one: one["scoring_s"] + one["generation_s"]) for name, runs in found.items()}
    answering = {name: one["scoring_s"] + one["generation_s"] for name, one in best.items()}
    return {
        **best,
        "ratio": answering["plain"] / answering["ours"],
        "ratio_scoring": best["plain"]["scoring_s"] / best["ours"]["scoring_s"],
        "ratio_generation": best["plain"]["generation_s"] / best["ours"]["generation_s"],
        "ratio_wall": best["plain"]["wall_s"] / best["ours"]["wall_s"],
        **_compared(samples["ours"], samples["plain"]),
        "runs": found,
    }


class _Clocked:
    """An lm_eval model with a clock on its scoring and its generation."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.seconds = {"scoring_s": 0.0, "generation_s": 0.0}
        for method, name in (("loglikelihood", "scoring_s"), ("generate_until", "generation_s")):
            setattr(inner, method, _timed(getattr(inner, method), name=name, seconds=self.seconds))


def _compared(ours: Any, plain: Any) -> dict[str, Any]:
    """Largest difference of any token's log-prob, and how many texts differ. Raises where samples do not match."""
    largest, texts, different = 0.0, 0, 0
    for one, other in zip(ours, plain, strict=True):
        if (one.task, one.id, one.control) != (other.task, other.id, other.control):
            raise RuntimeError(f"samples in another order: {one.task} {one.id}, {other.task} {other.id}")
        for role, values in one.token_logprobs.items():
            pairs = zip(values, other.token_logprobs[role], strict=True)
            largest = max([largest, *(abs(a - b) for a, b in pairs)])
        texts += one.response is not None
        different += one.response != other.response
    return {"largest_difference": largest, "texts": texts, "texts_that_differ": different}
