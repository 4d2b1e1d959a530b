"""Where the wall time of a demo goes: its command with a third of the people, one method and one seed, briefly
trained, in this one process, with a clock on every stage.
"""

from __future__ import annotations

import importlib
import io
import os
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

METHODS, SEEDS = "grad_diff", "0"
FEWER_PEOPLE = ["--metadata", "num_subjects=8", "--stage_one_args", "max_steps=40", "--allow_weak_target"]
QUICK = ["--limit", "2", "--stage_one_args", "max_steps=2", "--max_steps", "2", "--allow_weak_target"]
STAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "base model and vision tower": (("mmforget.pipeline.stage_one", "build_base"),),
    "stage one: target and retain model": (("mmforget.pipeline.stage_one", "finetune"),),
    "unlearning": (("mmforget.pipeline.unlearning", "unlearn"),),
    "evaluation": (("mmforget.pipeline.measuring", "evaluate"),),
    "scores and intervals": (("mmforget.pipeline.measuring", "score_record"),),
    "loading models": (("mmforget.pipeline.models", "load_model"),),
    "leaderboard": (("mmforget.cli.leaderboard", "execute"),),
}
"""Functions that are timed, where their callers look them up."""


def measure_stages(tasks: str, *, output: Path, quick: bool) -> dict[str, Any]:
    """Seconds of each stage of a demo in this process, and of the whole command without its imports."""
    from mmforget.cli.main import main

    places = [(stage, importlib.import_module(module), name) for stage, all_ in STAGES.items() for module, name in all_]
    seconds = dict.fromkeys(STAGES, 0.0)
    for stage, module, name in places:
        setattr(module, name, _timed(getattr(module, name), name=stage, seconds=seconds))
    cached = (Path(os.environ["MMFORGET_CACHE"]) / "stage_one").is_dir()
    command = ["run", "--model", "micro", "--tasks", tasks, "--methods", METHODS, "--seeds", SEEDS]
    command += ["--workers", "1", "--output_path", str(output)]
    shown, start = io.StringIO(), time.perf_counter()
    with redirect_stdout(shown), redirect_stderr(shown):
        status = main([*command, *(QUICK if quick else FEWER_PEOPLE)])
    if status != 0:
        raise RuntimeError(f"the demo ended with status {status}: {shown.getvalue()[-2000:]}")
    return {"models_were_cached": cached, "command_s": time.perf_counter() - start, "stages_s": seconds}


def _timed(function: Callable[..., Any], *, name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - start

    return timed
