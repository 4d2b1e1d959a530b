"""LoRA on a 4-bit and an 8-bit base, on the CPU: only adapters change, gradients reach all of them, and it reloads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, load_adapter
from mmforget.model.scoring import score
from mmforget.training.adapters import trainable
from mmforget.training.log import read_log
from mmforget.training.settings import TrainSettings
from mmforget.training.stage_one import finetune
from mmforget.training.unlearn import unlearn
from mmforget.types import Example

SETTINGS = TrainSettings(
    lr=1e-2, max_steps=3, batch_size=4, lora=LoraSettings(r=4, alpha=8), schedule="constant", train_projector=False
)


def load(folder: Path, **more: Any) -> LoadedModel:
    return load_model(ModelSpec(pretrained=str(folder), device="cpu", **{"load_in_4bit": True, **more}))


def logprobs(loaded: LoadedModel, examples: list[Example]) -> torch.Tensor:
    loaded.model.eval()
    with torch.no_grad():
        return score(loaded, [encode(loaded, e.context, e.answer, e.images) for e in examples]).token_logprobs


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
@pytest.mark.parametrize("name", ["grad_diff", "npo"])
def test_only_the_adapter_changes_and_it_reloads_to_the_same_log_probs(
    bits: str, name: str, llava_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    kind = {"load_in_4bit": False, bits: True}
    loaded = load(llava_folder, **kind)
    before = {n: w.detach().clone() for n, w in loaded.model.named_parameters()}
    start = logprobs(loaded, examples[:8])
    trained: list[torch.Tensor] = []
    report = unlearn(
        loaded,
        Material(forget=examples[:8], retain=examples[8:]),
        method=build(name),
        settings=SETTINGS,
        folder=tmp_path,
        progress=lambda done, total, label: trained.append(logprobs(loaded, examples[:8])),
    )
    after = dict(loaded.model.named_parameters())
    assert set(after) == set(before)
    assert all(torch.equal(before[n].view(torch.uint8), after[n].view(torch.uint8)) for n in before if n in after)
    assert torch.equal(logprobs(loaded, examples[:8]), start)
    assert report.adapter is not None
    again = load_adapter(load(llava_folder, **kind), report.adapter)
    found = logprobs(again, examples[:8])
    assert found.sum() < start.sum() - 0.5
    torch.testing.assert_close(found, trained[-1], rtol=1e-5, atol=1e-5)
    assert report.num_trainable < report.num_parameters / 5
    assert report.peak_memory_bytes > 0
    assert report.wall_s > 0


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_training_starts_at_the_reference(
    bits: str, llava_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    """Before the first update the model is its own reference: NPO is (2 / 0.1) log 2, KL is 0."""
    loaded = load(llava_folder, **{"load_in_4bit": False, bits: True})
    for name, part, expected in (("npo", "forget", 20 * 0.69314718), ("kl", "retain_kl", 0.0)):
        unlearn(
            loaded,
            Material(forget=examples[:8], retain=examples[8:]),
            method=build(name),
            settings=SETTINGS,
            folder=tmp_path / name,
        )
        first = read_log(tmp_path / name / "train_log.jsonl")[0]
        assert first["parts"][part] == pytest.approx(expected, abs=2e-4)


def test_gradients_reach_every_adapter_tensor(llava_folder: Path, examples: list[Example]) -> None:
    """LoRA's A starts with no gradient since B is 0; after one step of B it has one, too."""
    with trainable(load(llava_folder), settings=SETTINGS) as prepared:
        encoded = [encode(prepared, e.context, e.answer, e.images) for e in examples[:4]]
        for _ in range(2):
            prepared.model.zero_grad()
            score(prepared, encoded).token_logprobs.sum().backward()
            gradients = {
                name: weight.grad for name, weight in prepared.model.named_parameters() if weight.grad is not None
            }
            with torch.no_grad():
                for name, gradient in gradients.items():
                    prepared.model.get_parameter(name).add_(0.01 * gradient)
        assert set(gradients) == {name for name, w in prepared.model.named_parameters() if "lora_" in name}
        assert all(bool(gradient.abs().max() > 0) for gradient in gradients.values())


def test_packed_weights_are_counted_as_the_weights_they_hold(
    llava_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    reports = [
        unlearn(loaded, Material(forget=examples[:4]), method=build("ga"), settings=SETTINGS, folder=tmp_path / str(k))
        for k, loaded in enumerate((load(llava_folder), load(llava_folder, load_in_4bit=False)))
    ]
    assert reports[0].num_parameters == reports[1].num_parameters


def test_training_a_quantised_model_in_full_is_refused(
    llava_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="use LoRA"):
        finetune(load(llava_folder), examples, settings=replace(SETTINGS, lora=None), folder=tmp_path)
