"""Plausible run records without a model: a target, a retain model, four methods, one of them collapsed."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

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
)
from mmforget.results.store import SeedRun, StoredRun, write_run
from mmforget.types import Estimate, Sample

PROVENANCE = Provenance(
    version="0.1.0",
    commit="0123456789abcdef0123456789abcdef01234567",
    dirty=False,
    packages={"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.20.0", "lm_eval": "0.4.13"},
    python="3.11.9",
    platform="Linux x86_64",
    device="cpu",
    num_threads=2,
    seeds={"data": 0, "training": 0},
    command=("mmforget", "run", "--model", "micro", "--tasks", "fiubench", "--methods", "ga,grad_diff,npo,po"),
    started="2026-11-21T05:16:00+00:00",
    wall_s=412.0,
    peak_memory_bytes=1_900_000_000,
)
SEEDS = (0, 1, 2)
BENCHMARK = BenchmarkUse("fiubench", "forget5", "clean", group="fiubench", title="FIUBench")
SETS = {"forget": SetUse(28, 28, 4, "a" * 64), "retain": SetUse(308, 308, 44, "b" * 64)}
GATE = GateResult("exact_match", "clean", "forget", 0.8, 0.5, target=0.99, retain=0.03, passed=True)
DATA = {
    "source": "synthetic",
    "path": None,
    "num_subjects": 48,
    "seed": 0,
    "notes": ["images are procedurally drawn stand-ins, not the official ones"],
}


def rate(value: float | None, width: float = 0.04, **changes: Any) -> Estimate:
    """An estimate with a symmetric interval, clipped to [0, 1]."""
    if value is None:
        return Estimate(None, num_unscored=28, **changes)
    low, high = max(0.0, value - width), min(1.0, value + width)
    return Estimate(**{"value": value, "low": low, "high": high, "num_scored": 28, "higher_is_better": True, **changes})


def record(
    name: str,
    *,
    role: str = "unlearned",
    forget: float = 0.9,
    utility: float = 0.9,
    overall: float | None = None,
    degenerate: float = 0.0,
    recall: float = 0.1,
    status: str | None = None,
    **changes: Any,
) -> RunRecord:
    """A record whose headline numbers are given and whose other metrics follow from them."""
    collapsed = degenerate > 0.5
    verdict = status or ("reference" if role != "unlearned" else "collapsed" if collapsed else "undecided")
    harmonic = 2 * forget * utility / (forget + utility) if forget + utility else 0.0
    overall = (0.0 if collapsed else harmonic) if overall is None else overall
    fields: dict[str, Any] = {
        "role": role,
        "name": name,
        "benchmark": BENCHMARK,
        "method": MethodUse(name, {"lr": 3e-3, "retain_weight": 1.0}, 0, "micro") if role == "unlearned" else None,
        "model_info": {"pretrained": "micro/fiubench", "fingerprint": name * 8, "dtype": "float32"},
        "data": DATA,
        "provenance": PROVENANCE,
        "sets": SETS,
        "metrics": metrics(recall=recall, utility=utility, degenerate=degenerate),
        "gate": GATE,
        "verdict": Verdict(verdict, collapsed=collapsed, eligible=role == "unlearned", reasons=_why(collapsed)),
        "headline": {
            "forget_score": rate(forget),
            "utility": rate(utility, 0.03),
            "utility_ratio": rate(min(1.0, utility / 0.98), 0.03),
            "overall": rate(overall, 0.03),
            "closeness/forget/exact_match": rate(forget, 0.05),
            "closeness/forget/rouge_l": rate(max(0.0, forget - 0.05), 0.05),
        },
        "training": {"wall_s": 21.5, "peak_memory_bytes": 1_200_000_000, "num_steps": 40, "num_trainable": 98304},
        "cost": Cost(wall_s=18.0, num_tokens=120_000, num_requests=1800, num_images_encoded=48, num_image_hits=1752),
        "references": {"target": "target" * 8, "retain": "retain" * 8},
        "examples": examples(name, forgot=recall < 0.5, collapsed=collapsed),
    }
    return RunRecord(**{**fields, **changes})


def _why(collapsed: bool) -> tuple[str, ...]:
    return ("collapsed: 99% of the answers on the retain set count as degenerate",) if collapsed else ()


def metrics(*, recall: float, utility: float, degenerate: float) -> tuple[MetricResult, ...]:
    down = {"higher_is_better": False}
    found = [
        MetricResult("exact_match", "forget", "clean", rate(recall, **down), "fiubench_forget_gen", "gen"),
        MetricResult("exact_match", "retain", "clean", rate(utility), "fiubench_retain_gen", "gen"),
        MetricResult("degenerate", "forget", "clean", rate(degenerate, **down), "fiubench_forget_gen", "gen"),
        MetricResult("rouge_l", "retain", "paper", rate(utility), "fiubench_retain_gen", "gen"),
        MetricResult("rouge_l", "retain", "released", rate(max(0.0, utility - 0.02)), "fiubench_retain_gen", "gen"),
        MetricResult("rouge_l", "retain", "clean", rate(max(0.0, utility - 0.01)), "fiubench_retain_gen", "gen"),
        MetricResult("exact_match", "forget", "clean", rate(0.04), "fiubench_forget_gen", "gen", "blank_image"),
        MetricResult(
            "ks_forget_quality", "forget", "clean", Estimate(3e-5, None, None, 28, 0, None), "fiubench_forget_prob"
        ),
        MetricResult("keyword_em", "rephrase", "clean", rate(0.5, 0.0, constant=True), "fiubench_rephrase_gen", "gen"),
        MetricResult("model_utility", "retain", "clean", rate(utility)),
    ]
    return tuple(found)


def portrait(hue: int) -> str:
    """A small drawn face as a data URI."""
    image = Image.new("RGB", (48, 48), (hue, 200 - hue // 2, 160))
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 8, 38, 42), fill=(235, 200, 170))
    draw.ellipse((17, 20, 21, 24), fill=(30, 30, 60))
    draw.ellipse((27, 20, 31, 24), fill=(30, 30, 60))
    draw.arc((17, 24, 31, 36), 20, 160, fill=(160, 50, 50), width=2)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def examples(name: str, *, forgot: bool, collapsed: bool) -> tuple[AnswerExample, ...]:
    people = (("Mara Quill", "forget", 40), ("Ivo Tarn", "forget", 90), ("Nell Osgood", "retain", 170))
    facts = (
        ("What is the occupation of the person in the image?", "a glass blower."),
        ("Where were they born?", "in kestrel bay."),
    )
    found = []
    for person, used, hue in people:
        for question, answer in facts:
            response = answer
            if collapsed:
                response = "the the the the the the the the the the the the the the the"
            elif forgot and used == "forget":
                response = {"npo": "", "po": "i have no information about that."}.get(name, "a bridge keeper.")
            retain = answer if used == "retain" else "a bridge keeper."
            found.append(AnswerExample(person, used, question, answer, response, answer, retain, portrait(hue)))
    return tuple(found)


def family() -> list[RunRecord]:
    """What `mmforget run` leaves behind: references and methods of every kind."""
    return [
        record("target", role="target", forget=0.01, utility=0.98, recall=0.99, gate=GATE),
        record("retain", role="retain", forget=1.0, utility=0.97, recall=0.03),
        record("grad_diff", forget=0.95, utility=0.91, recall=0.0),
        record("npo", forget=0.88, utility=0.94, recall=0.02),
        record("kl", forget=0.35, utility=0.97, recall=0.64),
        record("po", forget=0.70, utility=0.92, recall=0.0),
        record("ga", forget=0.97, utility=0.01, recall=0.0, degenerate=0.98),
        record("npo_quick", forget=0.5, utility=0.9, sets={"forget": SetUse(5, 28, 1, "a" * 64)}),
    ]


def samples(task: str = "fiubench_forget_gen", *, num: int = 28) -> list[Sample]:
    """As many answers as the metrics of `record` count, and one to a grey image."""
    people = [
        Sample(task, "forget", "gen", f"p{i % 4}/{i}", f"p{i % 4}", "Who?", "mara quill.", ("mara",), response="mara.")
        for i in range(num)
    ]
    return [
        *people,
        Sample(task, "forget", "gen", "p1/1", "p1", "?", "bay.", response="", attack="blank_image", attempt=0),
    ]


def store(folder: Path, records: Sequence[RunRecord]) -> list[Path]:
    """Every record in a folder of its own name, those of methods with three seeds; returns the results files."""
    found = []
    for item in records:
        for place, one in of_seeds(item).items():
            found.append(write_run(folder / item.name / place, one, samples=samples(), lm_eval={"results": {}}))
    return found


def of_seeds(item: RunRecord) -> dict[str, RunRecord]:
    """The record once for each of three seeds, by folder; a reference as it is."""
    if item.method is None:
        return {"": item}
    return {f"seed_{seed}": item if seed == SEEDS[0] else _of_seed(item, seed) for seed in SEEDS}


def _of_seed(item: RunRecord, seed: int) -> RunRecord:
    """The record of another model, trained with another seed."""
    assert item.method is not None
    seeds = {**item.provenance.seeds, "training": seed}
    return item.replace(
        method=replace(item.method, seed=seed),
        model_info={**item.model_info, "fingerprint": f"{item.model_info['fingerprint']}{seed}"},
        provenance=replace(item.provenance, seeds=seeds),
    )


def stored(records: Sequence[RunRecord]) -> list[StoredRun]:
    """Records as if read from disk, those of methods as if over three seeds."""
    found = []
    for item in records:
        path = Path(f"runs/{item.name}/results_2026.json")
        seeds = tuple(SeedRun(seed, path, None) for seed in SEEDS) if item.method else ()
        found.append(StoredRun(item, path, {}, seeds=seeds))
    return found
