"""Without images, with both kinds of task in one call, and in a chat template: what is trained is what is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mmforget.model.encode import Encoded
from mmforget.results.store import read_run
from tests.commands import command
from tests.conftest import MicroModels

FEW = (
    "--stage_one_args",
    "max_steps=4,batch_size=8",
    "--max_steps",
    "2",
    "--train_batch_size",
    "4",
    "--allow_weak_target",
    "--limit",
    "7",
    "--workers",
    "1",
    "--gen_kwargs",
    "max_gen_toks=8",
    "--quiet",
)


def test_the_text_only_twin_runs_from_benchmark_to_board(model_cache: Path, tmp_path: Path) -> None:
    said = command(
        "run", "--model", "micro", "--tasks", "fiubench_text", "--methods", "npo", *FEW, "--output_path", tmp_path
    )
    assert said.status == 0, said.err
    rows = json.loads((tmp_path / "leaderboard.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {"target", "retain", "npo"}
    run = read_run(tmp_path / "fiubench_text" / "npo")
    assert run.record.benchmark.modality == "text"
    assert run.record.cost.num_images_encoded == 0
    assert {sample.attack for sample in run.samples()} == {None}
    assert all(example.image is None for example in run.record.examples)
    # Without the picture the question has to say whom it is about.
    names = {sample.question for sample in run.samples() if sample.set == "forget"}
    assert names
    assert not [question for question in names if "this person" in question or "<image>" in question]
    config = json.loads((Path(run_model(run.record.training, tmp_path)) / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"


def run_model(training: Any, out: Path) -> str:
    """The adapter's folder, relative to the training's as the record has it."""
    return str(out / "fiubench_text" / "npo" / "training" / training["output"])


MIXED = ("fiubench_forget_gen", "fiubench_forget_gen_text")


def answers(model: Path, tasks: Sequence[str], *words: str | Path) -> dict[str, Any]:
    chosen = ("--model", "hf", "--model_args", f"pretrained={model}", "--tasks", ",".join(tasks))
    said = command("eval", *chosen, "--data", "synthetic", "--quiet", "--json", *words)
    assert said.status == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


@pytest.mark.long
def test_text_and_image_tasks_in_one_call_score_as_they_do_alone(micro: MicroModels, tmp_path: Path) -> None:
    both = answers(micro.target, MIXED, "--no_blank_image")["results"]
    alone = [answers(micro.target, [task], "--no_blank_image")["results"][task] for task in MIXED]
    assert [both[task] for task in MIXED] == alone
    # It learnt the faces and was never told a name.
    assert both[MIXED[0]]["exact_match,none"] > 0.9
    assert both[MIXED[1]]["exact_match,none"] < 0.5


def test_text_and_image_tasks_in_one_call_give_two_records(micro: MicroModels, tmp_path: Path) -> None:
    found = answers(micro.target, MIXED, "--limit", "7", "--output_path", tmp_path)
    assert set(found["results"]) >= set(MIXED)
    records = {path.parent.name: read_run(path.parent).record for path in tmp_path.rglob("results_*.json")}
    assert {name: record.benchmark.modality for name, record in records.items()} == {
        "fiubench": "image",
        "fiubench_text": "text",
    }
    assert found["unlearning"].keys() == records.keys()


@pytest.mark.long
def test_in_a_chat_template_training_sees_the_text_that_is_asked(
    model_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token by token: what the method trained on, end of text aside, are the very requests of the evaluation."""
    from mmforget.lm import engine
    from mmforget.training import sources

    trained: dict[str, list[Encoded]] = {}
    asked: list[Encoded] = []
    encode_all, encode = sources.encode_all, engine.encode

    def training(*args: Any, source: str, **kwargs: Any) -> list[Encoded]:
        trained[source] = encode_all(*args, source=source, **kwargs)
        return trained[source]

    def asking(*args: Any, **kwargs: Any) -> Encoded:
        asked.append(encode(*args, **kwargs))
        return asked[-1]

    monkeypatch.setattr(sources, "encode_all", training)
    monkeypatch.setattr(engine, "encode", asking)
    said = command(
        "run", "--model", "micro", "--tasks", "fiubench_forget1", "--methods", "npo", *FEW, "--apply_chat_template",
        "--output_path", tmp_path,
    )  # fmt: skip
    assert said.status == 0, said.err
    assert read_run(tmp_path / "fiubench_forget1" / "npo").lm_eval["chat_template"]
    requests = {tuple(item.ids): item.num_context for item in asked}
    for source in ("rows to forget", "rows to keep"):
        shared = [item for item in trained[source] if tuple(item.ids[:-1]) in requests]
        assert len(shared) >= 7, source
        assert all(requests[tuple(item.ids[:-1])] == item.num_context for item in shared)
    forget = {tuple(item.ids[: item.num_context]) for item in trained["rows to forget"]}
    contexts = {tuple(item.ids[: item.num_context]) for item in asked}
    assert len(forget & contexts) == 7
