"""Makes run records with whatever mmforget PYTHONPATH names, unless they are there, and measures its `leaderboard`.

    PYTHONPATH=CHECKOUT python tools/benchmarks/board_records.py FOLDER NUM page|json

Uses only what stays as it is from version to version: the record's dataclasses, `write_run` and the command.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from mmforget.results.schema import (
    AnswerExample,
    BenchmarkUse,
    Cost,
    GateResult,
    MethodUse,
    MetricResult,
    Provenance,
    RunRecord,
    SetUse,
    Verdict,
    VerdictStatus,
)
from mmforget.results.store import write_run
from mmforget.types import Estimate, Sample

METRICS = ("exact_match", "rouge_l", "degenerate", "answer_accuracy", "keyword_em", "truth_ratio", "probability")
SETS = {"forget": SetUse(12, 12, 4, "a" * 64), "retain": SetUse(12, 12, 4, "b" * 64)}
GATE = GateResult("exact_match", "clean", "forget", 0.8, 0.5, target=0.99, retain=0.03, passed=True)
NUM_SUBJECTS, NUM_QUESTIONS = 4, 3


def main(folder: Path, num: int, what: str) -> dict[str, float]:
    """Seconds on the clock and of the processor, and peak memory, of the command."""
    drawn = random.Random(0)
    for number in range(0 if (folder / "runs").exists() else num):
        role = {0: "target", 1: "retain"}.get(number, "unlearned")
        record = _record(role, f"method_{number}", drawn)
        write_run(folder / "runs" / f"{number:05d}", record, samples=_samples(), lm_eval={"results": {}})
    flags = ["--json"] if what == "json" else ["--output_path", str(folder / "board")]
    command = [sys.executable, "-m", "mmforget", "leaderboard", str(folder / "runs"), *flags]
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(os.devnull, "wb"))
        subprocess.run(command, stdout=out, stderr=out, check=True)
    wall_s = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall_s": wall_s, "cpu_s": used.ru_utime + used.ru_stime, "peak_bytes": used.ru_maxrss * 1024}


def _record(role: Any, name: str, drawn: random.Random) -> RunRecord:
    forget, utility = drawn.random(), 0.5 + drawn.random() / 2
    headline = {
        "forget_score": _rate(forget),
        "utility": _rate(utility),
        "utility_ratio": _rate(utility),
        "overall": _rate(2 * forget * utility / (forget + utility)),
        **{f"closeness/forget/{metric}": _rate(forget) for metric in METRICS},
    }
    status: VerdictStatus = "reference" if role != "unlearned" else "undecided"
    return RunRecord(
        role=role,
        name=role if role != "unlearned" else name,
        benchmark=BenchmarkUse("fiubench", "forget5", "clean", group="fiubench", title="FIUBench"),
        method=MethodUse(name, {"lr": 3e-3, "retain_weight": 1.0}, 0, "micro") if role == "unlearned" else None,
        model_info={"pretrained": "micro/fiubench", "fingerprint": name * 8, "dtype": "float32"},
        data={"source": "synthetic", "path": None, "num_subjects": 48, "seed": 0, "notes": ["drawn stand-ins"]},
        provenance=_provenance(),
        sets=SETS,
        metrics=tuple(
            MetricResult(metric, part, profile, _rate(drawn.random()), f"fiubench_{part}_gen", "gen")
            for metric in METRICS
            for part in ("forget", "retain")
            for profile in ("paper", "released", "clean")
        ),
        gate=GATE,
        verdict=Verdict(status, collapsed=False, eligible=role == "unlearned", reasons=()),
        headline=headline,
        training={"wall_s": 21.5, "num_steps": 40, "num_trainable": 98304},
        cost=Cost(wall_s=18.0, num_tokens=120_000, num_requests=1800, num_images_encoded=48, num_image_hits=1752),
        references={"target": "method_0" * 8, "retain": "method_1" * 8},
        examples=_examples(),
    )


def _rate(value: float) -> Estimate:
    return Estimate(value, max(0.0, value - 0.05), min(1.0, value + 0.05), NUM_SUBJECTS * NUM_QUESTIONS, 0, True)


def _provenance() -> Provenance:
    return Provenance(
        version="0.1.0",
        commit="0" * 40,
        dirty=False,
        packages={"torch": "2.13.0"},
        python="3.11.9",
        platform="Linux x86_64",
        device="cpu",
        num_threads=2,
        seeds={"data": 0, "training": 0},
        command=("mmforget", "run", "--model", "micro", "--tasks", "fiubench"),
        started="2026-11-21T05:16:00+00:00",
        wall_s=412.0,
        peak_memory_bytes=1_900_000_000,
    )


def _examples() -> tuple[AnswerExample, ...]:
    return tuple(
        AnswerExample(
            f"person {subject}", "forget", f"question {q}?", f"answer {q}", "said", "t", "r", _picture(subject)
        )
        for subject in range(NUM_SUBJECTS)
        for q in range(NUM_QUESTIONS)
    )


def _picture(hue: int) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 48), (40 * hue, 120, 160)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _samples() -> list[Sample]:
    names = [f"p{subject}/{question}" for subject in range(NUM_SUBJECTS) for question in range(NUM_QUESTIONS)]
    return [
        Sample(f"fiubench_{part}_gen", part, "gen", name, name[:2], "Who?", "mara quill.", response="mara quill.")
        for part in SETS
        for name in names
    ]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
