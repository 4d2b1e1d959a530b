"""4-bit and 8-bit models on the CPU: what is quantised, that they train, and that what they learn is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from model_questions import TOLERANCE, encode_all, largest_difference, logprobs, one_image, plain_logprobs, train

from mmforget.errors import UserError
from mmforget.model import quantize
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import with_fingerprint
from mmforget.model.lora import LoraSettings, adapters_off, attach, merge_adapter, save_adapter, set_trainable
from mmforget.model.scoring import score


class Saved(NamedTuple):
    """A folder with quantised weights, and what is to be said of them."""

    folder: Path
    kind: str


KINDS = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
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
    with pytest.raises(UserError, match="quantised weights cannot be trained .* leave load_in_4bit"):
        set_trainable(loaded)
    with pytest.raises(UserError, match="cannot be merged into quantised weights"):
        merge_adapter(attach(loaded, LoraSettings(r=2)))


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, llava_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A folder that transformers itself has saved in 4 or 8 bit, with its own defaults, as hubs have them."""
    from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

    settings = BitsAndBytesConfig(**KINDS[request.param], llm_int8_skip_modules=["lm_head"])
    model = AutoModelForImageTextToText.from_pretrained(
        llava_folder, device_map={"": "cpu"}, quantization_config=settings
    )
    folder = tmp_path_factory.mktemp("saved") / request.param
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(llava_folder).save_pretrained(folder)
    return Saved(folder, {"nf4": "4bit-nf4", "fp4": "4bit-fp4", "int8": "8bit"}[request.param])


def test_a_folder_saved_in_few_bits_is_quantised_without_a_flag(
    saved: Saved, llava_folder: Path, tmp_path: Path
) -> None:
    """In the record, in training, merging and saving alike; adapters train on it and come back."""
    from mmforget.model.loaded import save_model
    from mmforget.pipeline.measuring import model_info

    spec = ModelSpec(str(saved.folder))
    loaded = load_model(spec)
    assert model_info(loaded)["quantisation"] == loaded.quantisation == saved.kind
    assert load_model(ModelSpec(str(llava_folder))).quantisation is None
    with pytest.raises(
        UserError, match=rf"cannot be trained in full.*\({saved.kind}\).*was quantised in full precision"
    ):
        set_trainable(loaded)
    with pytest.raises(UserError, match="are not saved"):
        save_model(loaded, tmp_path / "model")
    trained = train(attach(loaded, LoraSettings(r=2)))
    adapter = save_adapter(trained, tmp_path / "adapter")
    again = replace(spec, peft=str(adapter))
    assert torch.equal(logprobs(load_model(again)), logprobs(trained))
    with pytest.raises(UserError, match="cannot be merged into quantised weights"):
        load_model(replace(again, merge_peft=True))
    assert attach(load_model(spec), LoraSettings(r=2)).quantisation == saved.kind


def test_stage_one_refuses_adapters_it_could_not_merge(saved: Saved, tmp_path: Path) -> None:
    """Before any training, since its result is one whole model."""
    from mmforget.training.settings import TrainSettings
    from mmforget.training.stage_one import finetune

    loaded = load_model(ModelSpec(str(saved.folder)))
    with pytest.raises(UserError, match="adapters would be merged"):
        finetune(loaded, [], settings=TrainSettings(lora=LoraSettings()), folder=tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_int8_scores_depend_on_nothing_else_that_is_asked(llava_folder: Path, saved: Saved) -> None:
    """With mixed precision (threshold 6), an activation of one row takes its column out of int8 for all."""
    specs = [ModelSpec(str(llava_folder), device="cpu", load_in_8bit=True)]
    if saved.kind == "8bit":
        specs.append(ModelSpec(str(saved.folder)))
    for spec in specs:
        loaded = load_model(spec)
        encoded = encode_all(loaded, one_image(1))
        with torch.no_grad():
            together = score(loaded, encoded, packed=False).token_logprobs
            alone = [score(loaded, [one], packed=False).token_logprobs[0] for one in encoded]
        assert largest_difference(together, alone) < TOLERANCE


@torch.no_grad()
def test_int8_computes_in_training_as_in_evaluation(llava_folder: Path) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), device="cpu", load_in_8bit=True))
    in_evaluation = logprobs(loaded)
    loaded.model.train()
    assert torch.equal(logprobs(loaded), in_evaluation)


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
