"""Adapters that others have saved: each loads as plain PEFT puts it on, or is refused naming what has no place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_questions import TOLERANCE
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, MixtralConfig, Qwen2Config

from mmforget.errors import UserError
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import adapters_off, detach, load_adapter, save_adapter
from tests.helpers import fresh
from tests.tiny_models import tiny_qwen_vl, tiny_text

IDS = torch.tensor([[1, 50, 60, 70, 80, 90]])
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
Rename = Callable[[str], str]


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model(input_ids=IDS).logits
    return found


def made_by_peft(base: Path, folder: Path, config: LoraConfig, **saving: Any) -> Any:
    """A PEFT model with random weights everywhere that it trains, saved to `folder`."""
    is_image = "vision_config" in json.loads((base / "config.json").read_text())
    auto = AutoModelForImageTextToText if is_image else AutoModelForCausalLM
    torch.manual_seed(0)
    model = get_peft_model(auto.from_pretrained(base), config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.2)
    model.save_pretrained(folder, **saving)
    return model


def rename(folder: Path, how: Rename) -> None:
    tensors = load_file(folder / WEIGHTS)
    changed = {how(name): tensor for name, tensor in tensors.items()}
    assert changed.keys() != tensors.keys()
    save_file(changed, folder / WEIGHTS)


def reconfigure(folder: Path, **changes: Any) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def loaded_with(base: Path, folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(base), peft=str(folder)))


def old_llava(name: str) -> str:
    name = name.replace("model.model.language_model.", "model.language_model.model.")
    return name.replace("model.model.multi_modal_projector", "model.multi_modal_projector")


def old_qwen(name: str) -> str:
    return name.replace("model.model.language_model.", "model.model.").replace("model.model.visual.", "model.visual.")


@pytest.mark.parametrize(
    "targets",
    [
        r".*language_model.*\.(q_proj|v_proj)",
        r"language_model\.model\.layers\.\d+\.self_attn\.(q_proj|v_proj)",
        ["language_model.model.layers.0.self_attn.q_proj", "language_model.model.layers.1.self_attn.v_proj"],
    ],
)
def test_names_of_llava_before_452(llava_folder: Path, tmp_path: Path, targets: str | list[str]) -> None:
    """A projector saved whole, patterns of ranks and scales, and targets that fit the old names alone."""
    now = [old.replace("language_model.model.", "model.language_model.") for old in targets]
    config = LoraConfig(
        r=4,
        target_modules=now if isinstance(targets, list) else r".*language_model.*\.(q_proj|v_proj)",
        modules_to_save=["multi_modal_projector"],
        rank_pattern={"layers.0.self_attn.q_proj": 2},
        alpha_pattern={"layers.0.self_attn.q_proj": 32},
    )
    folder = tmp_path / "adapter"
    wanted = made_by_peft(llava_folder, folder, config)
    rename(folder, old_llava)
    old = "language_model.model.layers.0.self_attn.q_proj"
    reconfigure(folder, target_modules=targets, rank_pattern={old: 2}, alpha_pattern={old: 32})
    loaded = loaded_with(llava_folder, folder)
    torch.testing.assert_close(logits(loaded.model), logits(wanted), atol=TOLERANCE, rtol=0)
    again = loaded_with(llava_folder, save_adapter(loaded, tmp_path / "again"))
    torch.testing.assert_close(logits(again.model), logits(wanted), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("version", ["2", "2.5"])
def test_old_names_of_qwen_that_peft_loads_as_nothing(tmp_path: Path, version: str) -> None:
    base, folder = tiny_qwen_vl(tmp_path / "base", version=version), tmp_path / "adapter"
    wanted = made_by_peft(base, folder, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "qkv", "down_proj"]))
    assert any("visual" in name for name in load_file(folder / WEIGHTS))
    rename(folder, old_qwen)
    plain = AutoModelForImageTextToText.from_pretrained(base).eval()
    before = logits(plain)
    with pytest.warns(UserWarning, match="missing adapter keys"):
        assert torch.equal(logits(PeftModel.from_pretrained(plain, folder).eval()), before)
    loaded = loaded_with(base, folder)
    torch.testing.assert_close(logits(loaded.model), logits(wanted), atol=TOLERANCE, rtol=0)
    found = {re.sub(r"\.default", "", name): weight for name, weight in loaded.model.state_dict().items()}
    assert all(torch.equal(found[re.sub(r"\.default", "", n)], w) for n, w in wanted.state_dict().items())


def test_mixtral_of_transformers_4(tmp_path: Path) -> None:
    """Experts one by one, attention and router; compared with the sums B A added to the weights by hand."""
    base = tiny_text(tmp_path / "base", MixtralConfig, num_local_experts=4, num_experts_per_tok=2)
    plain = AutoModelForCausalLM.from_pretrained(base).eval()
    generator, scale, tensors = torch.Generator().manual_seed(0), 16 / 4, {}

    def update(name: str, weight: Tensor) -> Tensor:
        down = torch.randn(4, weight.shape[1], generator=generator) / 8
        up = torch.randn(weight.shape[0], 4, generator=generator) / 8
        tensors[f"base_model.model.{name}.lora_A.weight"], tensors[f"base_model.model.{name}.lora_B.weight"] = down, up
        return scale * up @ down

    with torch.no_grad():
        for number, layer in enumerate(plain.model.layers):
            old, experts = f"model.layers.{number}", layer.mlp.experts
            layer.self_attn.q_proj.weight += update(f"{old}.self_attn.q_proj", layer.self_attn.q_proj.weight)
            for at in range(4):
                name = f"{old}.block_sparse_moe.experts.{at}"
                half = experts.gate_up_proj.shape[1] // 2
                experts.gate_up_proj[at, :half] += update(f"{name}.w1", experts.gate_up_proj[at, :half])
                experts.gate_up_proj[at, half:] += update(f"{name}.w3", experts.gate_up_proj[at, half:])
                experts.down_proj[at] += update(f"{name}.w2", experts.down_proj[at])
    folder = tmp_path / "adapter"
    LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "w1", "w2", "w3"]).save_pretrained(str(folder))
    save_file(tensors, folder / WEIGHTS)
    loaded = loaded_with(base, folder)
    torch.testing.assert_close(logits(loaded.model), logits(plain), atol=1e-4, rtol=1e-4)
    again = loaded_with(base, save_adapter(loaded, tmp_path / "again"))
    assert torch.equal(logits(again.model), logits(loaded.model))


@pytest.mark.parametrize("targets", [["q_proj"], ["q_proj", "embed_tokens"], ["q_proj", "lm_head"]])
def test_embeddings_beside_lora(llama_folder: Path, tmp_path: Path, targets: list[str]) -> None:
    """Saved whole, and changed by whoever trained them: the base's own are replaced, and cannot be had back."""
    folder = tmp_path / "adapter"
    wanted = made_by_peft(llama_folder, folder, LoraConfig(r=4, target_modules=targets), save_embedding_layers=True)
    tensors = load_file(folder / WEIGHTS)
    whole = [name for name in tensors if "lora" not in name]
    assert len(whole) == (2 if len(targets) == 1 else 1)
    for name in whole:
        tensors[name] = tensors[name] * 1.5
        wanted.get_parameter(name).data.mul_(1.5)
    save_file(tensors, folder / WEIGHTS)
    loaded = loaded_with(llama_folder, folder)
    torch.testing.assert_close(logits(loaded.model), logits(wanted), atol=TOLERANCE, rtol=0)
    again = loaded_with(llama_folder, save_adapter(loaded, tmp_path / "again"))
    torch.testing.assert_close(logits(again.model), logits(wanted), atol=TOLERANCE, rtol=0)
    assert again.fingerprint == loaded.fingerprint
    put_on = load_adapter(fresh(ModelSpec(str(llama_folder))), folder)
    with pytest.raises(UserError, match="has replaced weights of .*load the base again"), adapters_off(put_on):
        pass
    with pytest.raises(UserError, match="has replaced weights"):
        detach(put_on)


@pytest.mark.parametrize("targets", [["q_proj"], ["q_proj", "embed_tokens"]])
def test_a_vocabulary_that_has_grown(
    llama_folder: Path, tmp_path: Path, targets: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    base = AutoModelForCausalLM.from_pretrained(llama_folder)
    num_rows = base.get_input_embeddings().weight.shape[0]
    base.resize_token_embeddings(num_rows + 3)
    torch.manual_seed(0)
    wanted = get_peft_model(base, LoraConfig(r=4, target_modules=targets, init_lora_weights=False)).eval()
    folder = tmp_path / "adapter"
    wanted.save_pretrained(folder, save_embedding_layers=True)
    loaded = loaded_with(llama_folder, folder)
    assert logits(loaded.model).shape[-1] == num_rows + 3
    assert "3 tokens more than" in caplog.text
    if len(targets) == 1:
        torch.testing.assert_close(logits(loaded.model), logits(wanted), atol=TOLERANCE, rtol=0)
    else:
        torch.testing.assert_close(logits(loaded.model)[..., :num_rows], logits(wanted)[..., :num_rows])


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_biases_trained_with_lora(tmp_path: Path, bias: Any) -> None:
    """PEFT's `disable_adapter` does not undo them, so neither is the base said to be there."""
    base, folder = tiny_text(tmp_path / "base", Qwen2Config), tmp_path / "adapter"
    wanted = made_by_peft(base, folder, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], bias=bias))
    assert any(name.endswith(".bias") for name in load_file(folder / WEIGHTS))
    loaded = loaded_with(base, folder)
    torch.testing.assert_close(logits(loaded.model), logits(wanted), atol=TOLERANCE, rtol=0)
    put_on = load_adapter(fresh(ModelSpec(str(base))), folder)
    with pytest.raises(UserError, match=r"has replaced weights of .*q_proj.*bias"), adapters_off(put_on):
        pass


def test_trained_tokens_and_modules(llama_folder: Path, tmp_path: Path) -> None:
    config = LoraConfig(
        r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], trainable_token_indices={"embed_tokens": [50, 60]}
    )
    wanted = made_by_peft(llama_folder, tmp_path / "adapter", config)
    loaded = loaded_with(llama_folder, tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded.model), logits(wanted), atol=TOLERANCE, rtol=0)
    plain = AutoModelForCausalLM.from_pretrained(llama_folder).eval()
    base = detach(load_adapter(fresh(ModelSpec(str(llama_folder))), tmp_path / "adapter"))
    assert torch.equal(logits(base.model), logits(plain))


def test_a_base_that_the_adapter_itself_changes(llama_folder: Path, tmp_path: Path) -> None:
    """PiSSA takes its largest part out of the base when it is put on."""
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="pissa")
    wanted = made_by_peft(llama_folder, tmp_path / "adapter", config)
    put_on = load_adapter(fresh(ModelSpec(str(llama_folder))), tmp_path / "adapter")
    torch.testing.assert_close(logits(put_on.model), logits(wanted))
    with pytest.raises(UserError, match="has replaced weights"):
        detach(put_on)


def test_tensors_without_a_place_are_named(llama_folder: Path, tmp_path: Path) -> None:
    """PEFT drops them without a word."""
    folder = tmp_path / "adapter"
    made_by_peft(llama_folder, folder, LoraConfig(r=4, target_modules=["q_proj"]))
    tensors = load_file(folder / WEIGHTS)
    extra = {
        name.replace("layers.1.", "layers.7."): one.clone() for name, one in tensors.items() if "layers.1." in name
    }
    head = torch.zeros(500, 64)
    save_file(tensors | extra | {"base_model.model.lm_head.weight": head}, folder / WEIGHTS)
    base = fresh(ModelSpec(str(llama_folder)))
    before = logits(base.model)
    with pytest.raises(UserError, match=r"2 tensors for layers that are not there \(.*layers\.7\.self_attn.q_proj"):
        load_adapter(base, folder)
    assert torch.equal(logits(base.model), before)
    del tensors["base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"]
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(UserError, match=r"1 tensors missing \(.*layers\.1\.self_attn.q_proj.lora_A"):
        load_adapter(base, folder)


def test_weights_that_are_not_finite(llama_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    made_by_peft(llama_folder, folder, LoraConfig(r=4, target_modules=["q_proj"]))
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(UserError, match="not finite"):
        loaded_with(llama_folder, folder)


def test_adapters_that_act_on_some_tokens_alone(llama_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    made_by_peft(llama_folder, folder, LoraConfig(r=4, target_modules=["q_proj"]))
    reconfigure(folder, alora_invocation_tokens=[5, 6])
    with pytest.raises(UserError, match="acts on some tokens"):
        loaded_with(llama_folder, folder)
