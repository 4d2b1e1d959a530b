"""4-bit and 8-bit models on the CPU: what is quantised, that they train, and that what they learn is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_questions import TOLERANCE, encode_all, largest_difference, logprobs, one_image, plain_logprobs, train

from mmforget.errors import UserError
from mmforget.model import quantize
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import with_fingerprint
from mmforget.model.lora import LoraSettings, adapters_off, attach, merge_adapter, save_adapter, set_trainable
from mmforget.model.scoring import score

KINDS = {
    "nf4": {"load_in_4bit": True},
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": False},
    "int8": {"load_in_8bit": True},
}


@pytest.fixture(params=KINDS)
def spec(request: pytest.FixtureRequest, llava_folder: Path) -> ModelSpec:
    return replace(ModelSpec(str(llava_folder), device="cpu"), **KINDS[request.param])


def test_the_language_model_alone_is_quantised(spec: ModelSpec) -> None:
    loaded = load_model(spec)
    bits = {
        name for name, module in loaded.model.named_modules() if type(module).__name__ in ("Linear4bit", "Linear8bitLt")
    }
    plain = {name for name, module in loaded.model.named_modules() if type(module) is torch.nn.Linear}
    assert len(bits) == 14
    assert all("language_model.layers" in name for name in bits)
    assert "lm_head" in plain
    assert {name.split(".")[1] for name in plain - {"lm_head"}} == {"vision_tower", "multi_modal_projector"}


@torch.no_grad()
def test_scores_equal_a_plain_forward_of_the_quantised_model(llava_folder: Path) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), load_in_4bit=True, dtype="float32"))
    questions = one_image()
    wanted = [plain_logprobs(loaded, question) for question in questions]
    for packed in (True, False):
        scored = score(loaded, encode_all(loaded, questions), packed=packed)
        assert largest_difference(scored.token_logprobs, wanted) < TOLERANCE


def test_adapters_train_after_the_model_was_evaluated(spec: ModelSpec, tmp_path: Path) -> None:
    """Only the adapter changes, a gradient reaches all of it, and reloaded it gives the same log-probs."""
    base = load_model(spec)
    reference = logprobs(base)
    loaded = attach(base, LoraSettings(r=2))
    before = {name: weight.detach().clone() for name, weight in loaded.model.named_parameters()}
    loaded.model.train()
    loaded.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    train(loaded).model.eval()
    changed = {name for name, weight in loaded.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == set(loaded.trainable())
    trained = logprobs(loaded)
    with adapters_off(loaded):
        assert torch.equal(logprobs(loaded), reference)
    again = load_model(replace(spec, peft=str(save_adapter(loaded, tmp_path / "adapter"))))
    assert torch.equal(logprobs(again), trained)
    assert again.fingerprint == with_fingerprint(loaded).fingerprint


def test_merged_before_it_is_quantised(llava_folder: Path, tmp_path: Path) -> None:
    """The merged model in NF4 is the merged model saved by hand and loaded in NF4."""
    from mmforget.model.loaded import save_model

    base = ModelSpec(str(llava_folder))
    trained = train(attach(load_model(base), LoraSettings(r=2)))
    adapter = save_adapter(trained, tmp_path / "adapter")
    by_hand = ModelSpec(str(save_model(merge_adapter(trained), tmp_path / "merged")), load_in_4bit=True)
    merged = load_model(replace(base, peft=str(adapter), merge_peft=True, load_in_4bit=True))
    assert torch.equal(logprobs(merged), logprobs(load_model(by_hand)))
    assert merged.fingerprint != load_model(replace(base, load_in_4bit=True)).fingerprint
    with adapters_off(attach(merged, LoraSettings(r=2))):
        pass


def test_what_quantised_weights_cannot_do(llava_folder: Path) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), load_in_4bit=True))
    with pytest.raises(UserError, match="quantised weights cannot be trained"):
        set_trainable(loaded)
    with pytest.raises(UserError, match="cannot be merged into quantised weights"):
        merge_adapter(attach(loaded, LoraSettings(r=2)))


@pytest.mark.parametrize("flag", ["load_in_4bit", "load_in_8bit"])
def test_where_it_cannot_be(llava_folder: Path, flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=f"{flag}=True cannot be used on device 'mps'.*bitsandbytes"):
        load_model(ModelSpec(str(llava_folder), device="mps", **{flag: True}))
    monkeypatch.setattr(quantize.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"{flag}=True needs the package bitsandbytes"):
        load_model(ModelSpec(str(llava_folder), **{flag: True}))


def test_weights_that_are_quantised_already(llava_folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = shutil.copytree(llava_folder, tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(UserError, match=r"already quantised \(gptq\)"):
        load_model(ModelSpec(str(folder), load_in_4bit=True))
