"""Stock lm_eval on our task files gives what our evaluation gives: the same text to every question, the same ROUGE."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mmforget.benchmark.source import DataSource
from mmforget.benchmark.task_files import read_task_file
from mmforget.evaluation.run import Settings, evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model
from mmforget.results.store import read_run
from tests.commands import command
from tests.conftest import MicroModels
from tests.helpers import tiny_llama, tiny_llava

ROOT = Path(__file__).resolve().parents[2]
TASK = "fiubench_forget_gen"
GROUPS = ("fiubench", "medforget", "mmubench", "offside", "safe_eraser", "tofu", "unlok_vqa")


class Stock(NamedTuple):
    """What stock lm_eval wrote: scores by task and metric, texts by task and id of the row."""

    results: dict[str, dict[str, Any]]
    texts: dict[tuple[str, str], str]


def run_stock(
    model: Path, out: Path, *words: str, kind: str = "hf-multimodal", tasks: Sequence[str] = (TASK,)
) -> Stock:
    """`lm_eval run` in a process of its own."""
    command = [
        sys.executable, "-m", "lm_eval", "run", "--include_path", str(ROOT / "tasks"), "--tasks", ",".join(tasks),
        "--model", kind, "--model_args", f"pretrained={model}", "--metadata", '{"data": "synthetic"}',
        "--device", "cpu", "--batch_size", "7", "--output_path", str(out), "--log_samples", *words,
    ]  # fmt: skip
    settings = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, cwd=out.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = out.rglob("results_*.json")
    found = {name: read_texts(file) for name in tasks for file in out.rglob(f"samples_{name}_20*.jsonl")}
    texts = {(name, row): text for name, rows in found.items() for row, text in rows.items()}
    return Stock(json.loads(results.read_text())["results"], texts)


def read_texts(samples: Path) -> dict[str, str]:
    """Generated text by id of the row."""
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return {line["doc"]["id"]: line["resps"][0][0] for line in lines}


def scores(results: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in results.items() if name.endswith(",none") and "stderr" not in name}


def gen_tasks(*, text: bool) -> list[str]:
    """Every task that generates answers, about images or in text alone."""
    files = [file for group in GROUPS for file in (ROOT / "tasks" / group).glob("*_gen*.yaml")]
    labels = {file.stem: read_task_file(file)["metadata"]["unlearning"] for file in files}
    return sorted(name for name, label in labels.items() if (label["modality"] == "text") == text)


@pytest.mark.long
@pytest.mark.parametrize("text", [False, True], ids=["images", "text"])
def test_stock_lm_eval_runs_every_task_that_generates(tmp_path: Path, text: bool) -> None:
    """Two rows of each: the same text and the same scores as from us, where a score of NaN is one not to be had.

    A random model says something else to every picture and wording, so equal text means equal prompts and images.
    """
    tasks = gen_tasks(text=text)
    assert len(tasks) > (1 if text else 20)
    folder = (tiny_llama if text else tiny_llava)(tmp_path / "model", seed=3)
    few = ("--limit", "2", "--gen_kwargs", "max_gen_toks=12")
    stock = run_stock(folder, tmp_path / "out", *few, kind="hf" if text else "hf-multimodal", tasks=tasks)
    lm = MMForgetLM(load_model(ModelSpec(str(folder), device="cpu")), progress=False)
    settings = Settings(gen_kwargs={"max_gen_toks": 12})
    ours = evaluate(
        lm, tasks, data=DataSource("synthetic"), limit=2, blank_image=False, progress=False, settings=settings
    )
    assert {task for task, _ in stock.texts} == set(tasks)
    assert {(sample.task, sample.id): sample.response for sample in ours.samples} == stock.texts
    assert len(set(stock.texts.values())) > len(stock.texts) / 2
    for task in tasks:
        expected = scores(stock.results[task])
        assert expected
        assert scores(ours.results["results"][task]) == pytest.approx(expected, nan_ok=True)


@pytest.mark.long
def test_stock_lm_eval_gives_the_trained_target_the_same_answers_and_scores(micro: MicroModels, tmp_path: Path) -> None:
    """The model that `mmforget target` saved, asked by both command lines: it knows the answers to both."""
    stock = run_stock(micro.target, tmp_path / "stock")
    words = ("--tasks", TASK, "--data", "synthetic", "--no_blank_image", "--quiet", "--json")
    place = ("--output_path", tmp_path / "ours")
    said = command("eval", "--model", "hf", "--model_args", f"pretrained={micro.target}", *words, *place)
    assert said.status == 0, said.err
    samples = read_run(tmp_path / "ours" / "fiubench").samples()
    assert {(sample.task, sample.id): sample.response for sample in samples} == stock.texts
    expected, found = stock.results[TASK], json.loads(said.out)["results"][TASK]
    assert expected["rouge_l,none"] > 0.95
    assert scores(found) == pytest.approx(scores(expected), abs=1e-12)
    assert found.keys() == expected.keys()
