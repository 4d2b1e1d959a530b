"""4-bit with LoRA through the command line, on the trained micro target: trained, saved, loaded again, evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from mmforget.benchmark import DataSource, find
from mmforget.model.encode import encode
from mmforget.model.fingerprint import folder_hashes
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from mmforget.model.spec import ModelSpec
from mmforget.results.store import read_run
from tests.commands import Said, command
from tests.conftest import MicroModels

STEPS = 8
TRAINING = (
    "--recipe", "micro", "--tasks", "fiubench", "--data", "synthetic", "--max_steps", str(STEPS), "--lr", "2e-3",
    "--quiet",
)  # fmt: skip


def unlearn(base: str, out: Path, *words: str, method: str = "grad_diff") -> Said:
    chosen = ("--model", "hf", "--model_args", f"pretrained={base}", "--method", method)
    return command("unlearn", *chosen, *TRAINING, *words, "--output_path", out)


class Made(NamedTuple):
    """An adapter trained on the 4-bit target, and the report of its training."""

    target: Path
    report: dict[str, Any]

    @property
    def adapter(self) -> Path:
        return Path(self.report["folder"]) / "adapter"

    @property
    def model_args(self) -> str:
        return f"pretrained={self.target},load_in_4bit=True,peft={self.adapter}"


@pytest.fixture(scope="module")
def made(micro: MicroModels, tmp_path_factory: pytest.TempPathFactory) -> Made:
    before = folder_hashes(micro.target)
    said = unlearn(f"{micro.target},load_in_4bit=True", tmp_path_factory.mktemp("quantised"), "--json")
    assert said.status == 0, said.err
    assert folder_hashes(micro.target) == before
    report = json.loads(said.out)
    assert report["model_args"] == (f"pretrained={micro.target},peft={report['folder']}/adapter,load_in_4bit=True")
    return Made(micro.target, report)


def load(model_args: str) -> LoadedModel:
    return load_model(ModelSpec.parse(model_args, device="cpu"))


def logprobs(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """Log-probs of the tokens of seven answers about the people to forget, by question."""
    examples = find("fiubench").bind(DataSource("synthetic")).examples("forget")[:7]
    with torch.no_grad():
        scored = score(loaded, [encode(loaded, e.context, e.answer, e.images) for e in examples])
    rows = zip(examples, scored.token_logprobs, scored.mask, strict=True)
    return {example.id: row[mask] for example, row, mask in rows}


def test_the_report_has_steps_memory_and_time(made: Made) -> None:
    report = made.report
    assert (report["num_steps"], report["stopped"]) == (STEPS, "")
    assert report["wall_s"] > 0
    assert report["peak_memory_bytes"] > 1e6
    assert report["peak_memory_kind"] in ("cuda_max_allocated", "process_rss")
    assert 0 < report["num_trainable"] < report["num_parameters"] / 2


def test_only_adapter_weights_change_and_gradients_reach_them_all(made: Made) -> None:
    """LoRA matrices of language layers alone are saved; every B starts at zero, so one that is not has learnt."""
    saved = load_file(made.adapter / "adapter_model.safetensors")
    assert all("lora_" in name and "vision" not in name for name in saved)
    learnt = [weight for name, weight in saved.items() if "lora_B" in name]
    assert len(learnt) == 4 * 7  # layers x (four projections of attention, three of the feed-forward network)
    assert all(bool(weight.abs().max() > 0) for weight in learnt)


def test_the_saved_adapter_loads_to_the_same_log_probs_and_has_forgotten(made: Made) -> None:
    once, twice = logprobs(load(made.model_args)), logprobs(load(made.model_args))
    before = logprobs(load(f"pretrained={made.target},load_in_4bit=True"))
    assert all(torch.equal(once[name], twice[name]) for name in before)
    assert sum(row.sum() for row in once.values()) < sum(row.sum() for row in before.values()) - 1


def test_eval_with_the_adapter_gives_its_log_probs(made: Made, tmp_path: Path) -> None:
    words = ("--tasks", "fiubench_forget_prob", "--data", "synthetic", "--output_path", tmp_path, "--quiet")
    said = command("eval", "--model", "hf", "--model_args", made.model_args, *words)
    assert said.status == 0, said.err
    run = read_run(tmp_path / "fiubench")
    assert run.record.model_info["quantisation"] == "4bit-nf4"
    samples = {sample.id: sample for sample in run.samples() if sample.attack is None}
    for name, row in logprobs(load(made.model_args)).items():
        stored = torch.tensor(samples[name].token_logprobs["answer"])
        torch.testing.assert_close(row, stored, rtol=0, atol=1e-4)


def test_an_unmerged_adapter_is_refused_as_the_start_of_unlearning(made: Made, tmp_path: Path) -> None:
    said = unlearn(made.model_args.removeprefix("pretrained="), tmp_path / "out", method="npo")
    assert said.status == 2
    assert "unmerged" in said.err
    assert "add merge_peft=True to --model_args" in said.err
    assert not (tmp_path / "out" / "training" / "adapter").exists()


def test_merged_it_is_a_start_like_any_other(made: Made, tmp_path: Path) -> None:
    base = f"{made.model_args.removeprefix('pretrained=')},merge_peft=True"
    said = unlearn(base, tmp_path / "out", "--max_steps", "1", "--json", method="npo")
    assert said.status == 0, said.err
    report = json.loads(said.out)
    # NPO against the merged model itself starts at (2 / beta) log 2.
    assert report["final_parts"]["forget"] == pytest.approx(2 / 0.1 * 0.6931472, rel=1e-3)
    # What the verb says loads it: the merged base in 4 bit, and the adapter on it.
    assert "load_in_4bit=True" in report["model_args"]
    made_now = load(report["model_args"])
    assert (made_now.quantisation, made_now.has_adapter) == ("4bit-nf4", True)
