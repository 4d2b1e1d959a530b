"""Adapters that are bounded: what they add, by how much at most, and that anybody can load what is left of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.changed_layers import change_layers, make_plain
from mmforget.model.encode import encode
from mmforget.model.load import load_model
from mmforget.model.loaded import ADAPTER, LoadedModel
from mmforget.model.lora import LoraSettings, attach, merge_adapter
from mmforget.model.scoring import score
from mmforget.model.spec import ModelSpec
from mmforget.training.edited import edited
from mmforget.training.many import unlearn_many
from mmforget.training.report import TrainReport
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import fresh
from tests.unit.training.conftest import make_examples

SETTINGS = TrainSettings(lr=1e-1, max_steps=4, batch_size=4, lora=LoraSettings(r=2, alpha=4, dropout=0.1), seed=1)
DIVISOR, SCALING = 5.0, 2.0


def forget(loaded: LoadedModel, folder: Path, rows: list[Example], name: str, **more: Any) -> TrainReport:
    return unlearn(
        loaded, Material(forget=rows[:8], retain=rows[8:]), method=build(*name.split(":")),
        settings=replace(SETTINGS, **more), folder=folder, label=name,
    )  # fmt: skip


def logprobs(loaded: LoadedModel, rows: list[Example]) -> Tensor:
    with torch.no_grad():
        return score(loaded, [encode(loaded, one.context, one.answer, one.images) for one in rows]).token_logprobs


@pytest.mark.parametrize(("bound", "expected"), [("sin", 2 * math.sin(0.6) / 5), ("tanh", 2 * math.tanh(0.6) / 5)])
def test_what_is_added_by_hand(bound: str, expected: float) -> None:
    """omega 2, an element 0.3 of B A, s 2, g 5; of four inputs the default g is 2."""
    found = build("bounded", f"bound={bound},omega=2,divisor=5").learnt_change(torch.full((3, 4), 0.3), scaling=2.0)
    torch.testing.assert_close(found, torch.full((3, 4), expected))
    again = build("bounded", f"bound={bound},omega=2").learnt_change(torch.full((3, 4), 0.3), scaling=2.0)
    torch.testing.assert_close(again, found * 5 / 2)
    assert not build("bounded").learnt_change(torch.zeros(3, 4), scaling=2.0).any()


def test_layers_compute_it_and_their_factors_learn_by_it(llava: LoadedModel) -> None:
    """Against the formula on a plain weight, gradients included; plain factors in the end give the same."""
    loaded, method = attach(llava, LoraSettings(r=2, alpha=4)), build("bounded")
    names = change_layers(loaded, method.learnt_change)
    assert {name.rpartition(".")[2] for name in names} == {"gate_proj", "up_proj", "down_proj"}
    layer: Any = loaded.core.get_submodule(names[0])
    down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    x = torch.randn(3, layer.in_features)
    assert torch.equal(layer(x), layer.base_layer(x))
    with torch.no_grad():
        up.normal_()
    change = 2.0 / math.sqrt(layer.in_features) * torch.sin(100 * up @ down)
    wanted = x @ (layer.base_layer.weight + change).T
    torch.testing.assert_close(layer(x), wanted)
    for one, other in zip(
        *(torch.autograd.grad(y.square().sum(), (down, up)) for y in (layer(x), wanted)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
    before = layer(x)
    make_plain(loaded)
    torch.testing.assert_close(layer(x), before)
    assert layer.r[ADAPTER] == min(layer.in_features, layer.out_features)


def test_no_weight_moves_further_than_the_bound_and_anybody_can_load_it(
    llama: LoadedModel, llama_folder: Path, tmp_path: Path
) -> None:
    rows = make_examples(with_images=False)
    report = forget(llama, tmp_path, rows, f"grad_diff+bounded:divisor={DIVISOR}")
    assert report.adapter is not None
    stock: Any = AutoModelForCausalLM.from_pretrained(llama_folder)
    merged = PeftModel.from_pretrained(stock, report.adapter).merge_and_unload()
    moved, bound = {}, SCALING / DIVISOR
    for name, weight in AutoModelForCausalLM.from_pretrained(llama_folder).named_parameters():
        moved[name] = float((merged.get_parameter(name) - weight).abs().max())
    inside = {name: far for name, far in moved.items() if ".mlp." in name}
    assert all(0 < far <= bound + 1e-6 for far in inside.values()), inside
    assert max(inside.values()) > bound / 2
    assert any(far > 0 for name, far in moved.items() if ".self_attn." in name)
    assert not any(far for name, far in moved.items() if ".mlp." not in name and ".self_attn." not in name)
    loaded = load_model(ModelSpec(pretrained=str(llama_folder), peft=str(report.adapter), device="cpu"))
    ours = fresh(ModelSpec(pretrained=str(llama_folder), device="cpu"))
    ours.model.load_state_dict(merged.state_dict())
    torch.testing.assert_close(logprobs(loaded, rows), logprobs(ours, rows), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logprobs(merge_adapter(loaded), rows), logprobs(ours, rows), rtol=1e-4, atol=1e-4)
    num = sum(weight.numel() for weight in attach(llama, LoraSettings(r=2)).trainable().values())
    assert report.num_trainable == num


def test_what_is_edited_for_a_while_is_what_is_saved(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    rows = Material(forget=examples[:8], retain=examples[8:])
    before = logprobs(llava, examples)
    with edited(llava, rows, method=build("ga+bounded"), settings=SETTINGS) as forgetful:
        found, name = logprobs(forgetful, examples), forgetful.fingerprint
    assert torch.equal(logprobs(llava, examples), before)
    report = forget(llava, tmp_path, examples, "ga+bounded")
    again = load_model(replace(llava.spec, peft=str(report.adapter)))
    assert again.fingerprint == name
    torch.testing.assert_close(logprobs(again, examples), found, rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_a_base_in_four_bit_keeps_its_weights(llama_folder: Path, tmp_path: Path) -> None:
    rows = make_examples(with_images=False)
    spec = ModelSpec(pretrained=str(llama_folder), device="cpu", load_in_4bit=True)
    report = forget(load_model(spec), tmp_path, rows, "grad_diff+bounded")
    plain, found = load_model(spec), load_model(replace(spec, peft=str(report.adapter)))
    far = (logprobs(plain, rows) - logprobs(found, rows)).abs().max()
    assert torch.isfinite(far)
    assert far > 1e-3
    assert not any(isinstance(one, nn.Linear) and type(one) is nn.Linear for _, one in _inside(plain, "mlp"))


def _inside(loaded: LoadedModel, part: str) -> list[tuple[str, nn.Module]]:
    return [(name, one) for name, one in loaded.core.named_modules() if f".{part}." in name]


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("ga+bounded", {"lora": None}, r"changes what adapters add to weights; train with LoRA \(--lora_r 8\)"),
        ("ga+bounded", {"lora": LoraSettings(target_modules=("q_proj",))}, "none has one; put adapters on them"),
    ],
)
def test_what_has_no_bound_is_refused(
    name: str, more: dict[str, Any], said: str, llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        forget(llava, tmp_path, examples, name, **more)


def test_adapters_that_begin_elsewhere_have_none() -> None:
    with pytest.raises(UserError, match="the adapters of 'loku' begin as a part of the weights"):
        build("loku+bounded")
    with pytest.raises(UserError, match="omega"):
        build("bounded", "omega=0")


def test_edits_many_at_a_time_are_refused(llava: LoadedModel, examples: list[Example]) -> None:
    with (
        pytest.raises(UserError, match="make them one by one"),
        unlearn_many(llava, {"a": Material(forget=examples[:4])}, method=build("ga+bounded"), settings=SETTINGS),
    ):
        pass
