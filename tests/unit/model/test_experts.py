"""Mixtures of experts: the same request reaches the same parts in every family, and what is left out is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from model_questions import logprobs, train
from transformers import (
    AutoModelForCausalLM,
    DeepseekV2Config,
    GraniteMoeConfig,
    MixtralConfig,
    OlmoeConfig,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)

from mmforget.errors import UserError
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, adapters_off, attach, detach, load_adapter, save_adapter
from mmforget.pipeline.measuring import model_info
from tests.helpers import fresh
from tests.tiny_models import tiny_text

SPARSE: dict[str, Any] = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
FAMILIES: dict[str, tuple[type, dict[str, Any]]] = {
    "mixtral": (MixtralConfig, {"num_local_experts": 3, "num_experts_per_tok": 2}),
    "olmoe": (OlmoeConfig, {"num_experts": 3, "num_experts_per_tok": 2}),
    "granite": (GraniteMoeConfig, {"num_local_experts": 3, "num_experts_per_tok": 2}),
    "qwen3": (Qwen3MoeConfig, {**SPARSE, "head_dim": 8, "mlp_only_layers": [0]}),
    "qwen2": (Qwen2MoeConfig, {**SPARSE, "shared_expert_intermediate_size": 48}),
    "deepseek": (
        DeepseekV2Config,
        {
            "n_routed_experts": 3,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "n_shared_experts": 2,
            "first_k_dense_replace": 1,
            "num_key_value_heads": 4,
            "q_lora_rank": None,
            "kv_lora_rank": 16,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 8,
            "v_head_dim": 16,
            "n_group": 1,
            "topk_group": 1,
        },
    ),
}
ALL = ("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind, settings = FAMILIES[request.param]
    return tiny_text(tmp_path_factory.mktemp("experts") / request.param, kind, **settings)


def reached(loaded: LoadedModel) -> set[str]:
    """Modules with a LoRA in or around them."""
    names = {name.split(".lora_A")[0] for name in loaded.trainable()}
    return {name.replace("base_model.model.", "").replace(".base_layer", "") for name in names if ".lora_B" not in name}


def layers(folder: Path, *ends: str) -> set[str]:
    """Linear layers of the model as it is on disk, by the end of their names."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    linear = (name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    return {name for name in linear if name.endswith(ends)}


def holders(folder: Path) -> set[str]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    return {name for name, _ in model.named_modules() if name.endswith(".experts")}


def test_without_a_request_all_layers_but_experts_and_routers(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = attach(fresh(ModelSpec(str(folder))), LoraSettings(r=2))
    assert reached(loaded) == layers(folder, "proj", "proj_with_mqa")
    assert "are not adapted" in caplog.text
    experts = model_info(loaded)["experts"]
    assert (experts["adapted"], experts["routers_adapted"]) == (False, False)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    counts = [weight.numel() for name, weight in plain.named_parameters() if ".experts." in name]
    assert experts["num_weights"] == sum(counts) > 0


def test_named_the_experts_of_every_family_are_reached(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They train, switch off, are saved, come back and are taken off like any other part."""
    base = fresh(ModelSpec(str(folder)))
    reference = logprobs(base)
    loaded = attach(base, LoraSettings(r=2, target_modules=ALL))
    assert reached(loaded) == layers(folder, *(f".{name}" for name in ALL)) | holders(folder)
    assert "are adapted, too" in caplog.text
    assert model_info(loaded)["experts"]["adapted"]
    assert torch.equal(logprobs(loaded), reference)
    trained = logprobs(train(loaded, lr=0.5))
    assert float((trained - reference).abs().max()) > 1e-3
    with adapters_off(loaded):
        assert torch.equal(logprobs(loaded), reference)
    saved = save_adapter(loaded, tmp_path / "adapter")
    assert torch.equal(logprobs(load_adapter(fresh(base.spec), saved)), trained)
    assert torch.equal(logprobs(detach(loaded)), reference)


def test_the_default_adapter_comes_back(folder: Path, tmp_path: Path) -> None:
    """PEFT alone takes names of shared experts for those of routed ones."""
    loaded = train(attach(fresh(ModelSpec(str(folder))), LoraSettings(r=2)), lr=0.5)
    saved = save_adapter(loaded, tmp_path / "adapter")
    assert torch.equal(logprobs(load_model(ModelSpec(str(folder), peft=str(saved)))), logprobs(loaded))


def test_an_expression_or_a_whole_name(folder: Path) -> None:
    loaded = attach(fresh(ModelSpec(str(folder))), LoraSettings(r=2, target_modules=r".*\.experts\..*"))
    assert reached(loaded) == holders(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ("q_proj", "gate_proj")}, r"experts \(.*gate_up_proj\) hold gate_proj and up_proj"),
        ({"target_modules": ("q_proj", "nonsense")}, "nonsense match no layer.*it has .*down_proj"),
        ({"target_modules": ALL, "dropout": 0.1}, "dropout=0.1 cannot be had on routed experts"),
    ],
)
def test_requests_that_cannot_be_met(folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        attach(fresh(ModelSpec(str(folder))), LoraSettings(**settings))


def test_routers_are_named_as_such(tmp_path: Path) -> None:
    kind, settings = FAMILIES["qwen2"]
    folder = tiny_text(tmp_path / "base", kind, **settings)
    for name in ("gate", "shared_expert_gate"):
        with pytest.raises(UserError, match=f"{name}: routers are not adapted"):
            attach(fresh(ModelSpec(str(folder))), LoraSettings(target_modules=("q_proj", name)))


def test_what_four_bits_leave_in_full_precision_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = ModelSpec(str(folder))
    whole = model_info(load_model(spec))["experts"]
    assert caplog.text == ""
    info = model_info(load_model(replace(spec, load_in_4bit=True)))
    assert info["quantisation"] == "4bit-nf4"
    assert info["experts"] == whole
    assert f"its routed experts, {100 * whole['share']:.0f} % of the weights, stay in full precision" in caplog.text
