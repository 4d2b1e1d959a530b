"""A mixture of experts on a benchmark by the command line: one expert and its router learn, all else stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import OlmoeConfig, Qwen2MoeConfig

from mmforget.results.store import read_run, safe_name
from tests.commands import command
from tests.tiny_models import tiny_text

SPARSE = {"num_experts": 4, "num_experts_per_tok": 2}
QWEN = {**SPARSE, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 48}
WORDS = (
    "--device", "cpu", "--tasks", "tofu_forget10", "--data", "synthetic", "--metadata", "num_subjects=20", "--limit",
    "3", "--methods", "npo+uoe", "--recipe", "micro", "--lora_r", "0", "--lr", "1e-2", "--max_steps", "2",
    "--train_batch_size", "4", "--gen_kwargs", "max_gen_toks=4", "--quiet", "--allow_weak_target",
)  # fmt: skip


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: one for path in folder.glob("*.safetensors") for name, one in load_file(path).items()}


@pytest.mark.long
@pytest.mark.parametrize("kind", [OlmoeConfig, Qwen2MoeConfig], ids=["olmoe", "qwen2"])
def test_experts_but_one_are_those_of_the_target(kind: type, tmp_path: Path) -> None:
    model = tiny_text(tmp_path / "model", kind, **(SPARSE if kind is OlmoeConfig else QWEN))
    given = ("--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model))
    said = command("run", *given, "--retain_model", str(model), *WORDS, "--output_path", tmp_path / "out")
    assert said.status == 0, said.err
    found = read_run(tmp_path / "out" / "tofu_forget10" / safe_name("npo+uoe"))
    assert found.record.training["num_steps"] == 2
    assert all(one.num_questions for one in found.record.sets.values())
    before, after = tensors(model), tensors(found.folder / "training" / "model")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    # Checkpoints hold experts one by one: of one three matrices have changed, and a router.
    (layer,) = {name.partition(".mlp.")[0] for name in changed}
    (router,) = [name for name in changed if ".experts." not in name]
    assert router == f"{layer}.mlp.gate.weight"
    (expert,) = {name.partition(".experts.")[2].partition(".")[0] for name in changed - {router}}
    matrices = ("gate_proj", "up_proj", "down_proj")
    assert changed - {router} == {f"{layer}.mlp.experts.{expert}.{one}.weight" for one in matrices}
