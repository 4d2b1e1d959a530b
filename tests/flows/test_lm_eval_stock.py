"""Stock lm_eval on our task files gives what our evaluation gives: the same text to every question, the same ROUGE."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark.source import DataSource
from mmforget.evaluate.run import evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model
from tests.commands import command
from tests.conftest import MicroModels
from tests.helpers import tiny_llava

ROOT = Path(__file__).resolve().parents[2]
TASK = "fiubench_forget_gen"


def run_stock(model: Path, out: Path, *, kind: str = "hf-multimodal", task: str = TASK) -> dict[str, Any]:
    """`lm_eval run` in a process of its own; the results file it writes, with the samples beside it."""
    command = [
        sys.executable, "-m", "lm_eval", "run", "--include_path", str(ROOT / "tasks"), "--tasks", task,
        "--model", kind, "--model_args", f"pretrained={model}", "--metadata", '{"data": "synthetic"}',
        "--device", "cpu", "--batch_size", "7", "--output_path", str(out), "--log_samples",
    ]  # fmt: skip
    settings = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, cwd=out.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = out.rglob("results_*.json")
    (samples,) = out.rglob("samples_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return {**json.loads(results.read_text()), "samples": lines}


@pytest.mark.slow
def test_stock_lm_eval_gives_the_same_answers_and_the_same_rouge(tmp_path: Path) -> None:
    """A random model says something else to every picture and wording, so equal text means equal prompts and images."""
    folder = tiny_llava(tmp_path / "model", seed=3)
    stock = run_stock(folder, tmp_path / "out")
    lm = MMForgetLM(load_model(ModelSpec(str(folder), device="cpu")), progress=False)
    ours = evaluate(lm, [TASK], data=DataSource("synthetic"), blank_control=False, progress=False)
    texts = {line["doc"]["id"]: line["resps"][0][0] for line in stock["samples"]}
    assert {sample.id: sample.response for sample in ours.samples} == texts
    assert len(set(texts.values())) > len(texts) / 2
    expected, found = stock["results"][TASK], ours.results["results"][TASK]
    metrics = [name for name in found if name.endswith(",none") and "stderr" not in name]
    assert "rouge_l,none" in metrics
    assert found["rouge_l,none"] > 0
    assert {name: found[name] for name in metrics} == pytest.approx({name: expected[name] for name in metrics})
    assert found.keys() == expected.keys()


@pytest.mark.slow
def test_stock_lm_eval_gives_the_trained_target_the_same_rouge(micro: MicroModels, tmp_path: Path) -> None:
    """The model that `mmforget target` saved, asked by both command lines: it knows the answers to both."""
    stock = run_stock(micro.target, tmp_path / "stock")
    words = ("--tasks", TASK, "--data", "synthetic", "--no_blank_control", "--quiet", "--json")
    said = command("eval", "--model", "hf", "--model_args", f"pretrained={micro.target}", *words)
    assert said.status == 0, said.err
    expected, found = stock["results"][TASK], json.loads(said.out)["results"][TASK]
    assert expected["rouge_l,none"] > 0.95
    assert found["rouge_l,none"] == pytest.approx(expected["rouge_l,none"], abs=1e-12)
    assert found["exact_match,none"] == pytest.approx(expected["exact_match,none"], abs=1e-12)
