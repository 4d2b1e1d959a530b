"""Adapters: what they reach, that switched off they leave the model as it was, and that they come back from disk."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_questions import TOLERANCE, logprobs, one_image, plain_logprobs, train
from peft import LoraConfig

from mmforget.errors import UserError
from mmforget.model.adapter_files import configuration
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, save_model, with_fingerprint
from mmforget.model.lora import (
    LoraSettings,
    adapters_off,
    attach,
    detach,
    load_adapter,
    merge_adapter,
    save_adapter,
    set_trainable,
)
from tests.helpers import fresh, tiny_llava


def adapted_modules(loaded: LoadedModel) -> set[str]:
    return {name.split(".lora_A")[0] for name in loaded.trainable() if "lora_A" in name}


def test_the_language_model_and_nothing_else(fresh_llava: LoadedModel) -> None:
    """2 layers x 7 projections; no tower, no projector, no head."""
    loaded = attach(fresh_llava, LoraSettings(r=2))
    assert len(adapted_modules(loaded)) == 14
    assert all("language_model.layers" in name for name in adapted_modules(loaded))
    assert all("lora_" in name for name in loaded.trainable())


@pytest.mark.parametrize(
    ("targets", "num_modules", "part"),
    [
        (("q_proj",), 2, "language_model"),
        (("q_proj", "down_proj"), 4, "language_model"),
        (r".*q_proj", 2, "language_model"),
        (r".*vision_tower.*q_proj", 2, "vision_tower"),
    ],
)
def test_the_tower_is_adapted_only_when_asked(
    fresh_llava: LoadedModel, targets: tuple[str, ...] | str, num_modules: int, part: str
) -> None:
    modules = adapted_modules(attach(fresh_llava, LoraSettings(r=2, target_modules=targets)))
    assert len(modules) == num_modules
    assert all(part in name for name in modules)


def test_training_changes_the_adapter_and_nothing_else(fresh_llava: LoadedModel) -> None:
    loaded = attach(fresh_llava, LoraSettings(r=2, train_projector=True))
    before = {name: weight.detach().clone() for name, weight in loaded.model.named_parameters()}
    train(loaded)
    changed = {name for name, weight in loaded.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == set(loaded.trainable())
    assert any("multi_modal_projector" in name for name in changed)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("train_projector", [False, True])
def test_switched_off_it_is_the_reference_model(llava_folder: Path, dtype: str, train_projector: bool) -> None:
    base = fresh(ModelSpec(str(llava_folder), dtype=dtype))
    reference = logprobs(base)
    loaded = attach(base, LoraSettings(r=2, train_projector=train_projector))
    assert torch.equal(logprobs(loaded), reference)
    train(loaded)
    trainable, trained = set(loaded.trainable()), logprobs(loaded)
    with adapters_off(loaded):
        assert torch.equal(logprobs(loaded), reference)
    assert torch.equal(logprobs(loaded), trained)
    assert set(loaded.trainable()) == trainable
    assert float((trained - reference).abs().max()) > 0.05


def test_gradient_checkpointing_reaches_every_adapter(fresh_llava: LoadedModel) -> None:
    loaded = attach(fresh_llava, LoraSettings(r=2, train_projector=True))
    loaded.model.train()
    loaded.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    train(loaded)


@pytest.mark.parametrize("train_projector", [False, True])
def test_a_saved_adapter_comes_back(llava_folder: Path, tmp_path: Path, train_projector: bool) -> None:
    base = ModelSpec(str(llava_folder))
    trained = train(attach(fresh(base), LoraSettings(r=2, train_projector=train_projector)))
    folder = save_adapter(trained, tmp_path / "adapter")
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json", ".md"}
    again = load_model(replace(base, peft=str(folder)))
    assert torch.equal(logprobs(again), logprobs(trained))
    assert not again.trainable()
    assert again.fingerprint == with_fingerprint(trained).fingerprint != again.base_fingerprint
    scaled = shutil.copytree(folder, tmp_path / "scaled")
    settings = json.loads((scaled / "adapter_config.json").read_text())
    (scaled / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": settings["lora_alpha"] * 2}))
    assert load_adapter(fresh(ModelSpec(str(llava_folder))), scaled).fingerprint != again.fingerprint
    merged = load_model(replace(base, peft=str(folder), merge_peft=True))
    torch.testing.assert_close(logprobs(merged), logprobs(trained), atol=TOLERANCE, rtol=0)
    assert len({merged.fingerprint, again.fingerprint, merged.base_fingerprint}) == 2
    assert not merged.has_adapter


def test_a_saved_adapter_says_what_it_is_for_and_nothing_of_where_it_was(llava_folder: Path, tmp_path: Path) -> None:
    for spec, kind in ((ModelSpec(str(llava_folder)), None), (ModelSpec(str(llava_folder), load_in_8bit=True), "8bit")):
        folder = save_adapter(attach(load_model(spec), LoraSettings(r=2)), tmp_path / str(kind))
        assert json.loads((folder / "base.json").read_text()) == {"base": "llava", "quantisation": kind}
        texts = [path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".md")]
        assert not any(str(llava_folder.parent) in text for text in texts)
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "llava"
        assert ("load_in_8bit=True" in (folder / "README.md").read_text()) == (kind == "8bit")


def test_what_is_saved_and_hashed_of_a_set_is_in_order() -> None:
    """PEFT itself writes the order of Python's hashing, which is another in each process."""
    config = LoraConfig(target_modules=["v_proj", "q_proj", "up_proj", "o_proj", "k_proj", "down_proj"])
    found = configuration(config)["target_modules"]
    assert found == ["down_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def test_plain_peft_loads_what_is_saved(llava_folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    trained = train(attach(fresh(ModelSpec(str(llava_folder))), LoraSettings(r=2, train_projector=True)))
    plain = AutoModelForImageTextToText.from_pretrained(llava_folder)
    again = PeftModel.from_pretrained(plain, save_adapter(trained, tmp_path / "adapter")).eval()
    with torch.no_grad():
        wanted, found = (plain_logprobs(one, one_image(1)[0]) for one in (trained, replace(trained, model=again)))
    torch.testing.assert_close(found, wanted, atol=TOLERANCE, rtol=0)


MADE_ON = {
    "4bit": ({"load_in_4bit": True}, {}, "in 4bit-nf4 and is put on one in full precision.*load_in_4bit=True"),
    "fp4": (
        {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
        {"load_in_8bit": True},
        "in 4bit-fp4 and is put on one in 8bit.*load_in_4bit=True,bnb_4bit_quant_type=fp4",
    ),
    "float": ({}, {"load_in_4bit": True}, "in full precision and is put on one in 4bit-nf4"),
}


@pytest.mark.parametrize("case", MADE_ON)
def test_another_quantisation_is_warned_of(
    llava_folder: Path, tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, used, message = MADE_ON[case]
    base = ModelSpec(str(llava_folder))
    folder = save_adapter(attach(load_model(replace(base, **made)), LoraSettings(r=2)), tmp_path / "adapter")
    load_model(replace(base, **made, peft=str(folder)))
    assert caplog.text == ""
    load_model(replace(base, **used, peft=str(folder)))
    assert re.search(message, caplog.text)
    (folder / "base.json").unlink()
    caplog.clear()
    load_model(replace(base, **used, peft=str(folder)))
    assert caplog.text == ""


def test_a_merged_model_can_be_saved_and_unlearned_from(fresh_llava: LoadedModel, tmp_path: Path) -> None:
    target = merge_adapter(train(attach(fresh_llava, LoraSettings(r=2))))
    wanted = logprobs(target)
    again = load_model(ModelSpec(str(save_model(target, tmp_path / "target"))))
    torch.testing.assert_close(logprobs(again), wanted, atol=TOLERANCE, rtol=0)
    loaded = train(attach(target, LoraSettings(r=2)))
    with adapters_off(loaded):
        assert torch.equal(logprobs(loaded), wanted)


def test_text_only_models(llama_folder: Path, tmp_path: Path) -> None:
    loaded = train(attach(fresh(ModelSpec(str(llama_folder))), LoraSettings(r=2)))
    assert len(adapted_modules(loaded)) == 14
    folder = save_adapter(loaded, tmp_path / "adapter")
    assert torch.equal(logprobs(load_model(ModelSpec(str(llama_folder), peft=str(folder)))), logprobs(loaded))
    with pytest.raises(UserError, match="no projector"):
        attach(fresh(ModelSpec(str(llama_folder))), LoraSettings(train_projector=True))


def test_detached_it_is_the_base_again(fresh_llava: LoadedModel) -> None:
    before, reference = fresh_llava.fingerprint, logprobs(fresh_llava)
    base = detach(train(attach(fresh_llava, LoraSettings(r=2, train_projector=True))))
    assert torch.equal(logprobs(base), reference)
    assert base.fingerprint == before
    assert not base.has_adapter
    assert not base.trainable()
    assert detach(base) is base
    assert torch.equal(logprobs(attach(base, LoraSettings(r=3))), reference)


def test_an_unmerged_adapter_is_no_reference(llava_folder: Path, tmp_path: Path) -> None:
    folder = save_adapter(attach(fresh(ModelSpec(str(llava_folder))), LoraSettings(r=2)), tmp_path / "adapter")
    loaded = load_model(ModelSpec(str(llava_folder), peft=str(folder)))
    with pytest.raises(UserError, match="merge_peft=True"), adapters_off(loaded):
        pass
    with pytest.raises(UserError, match="merge_peft=True"):
        attach(loaded, LoraSettings())
    with pytest.raises(UserError, match="merge_peft=True"):
        set_trainable(loaded)
    merged = load_model(ModelSpec(str(llava_folder), peft=str(folder), merge_peft=True))
    with adapters_off(attach(merged, LoraSettings(r=2))):
        pass


def test_no_adapter_at_all(fresh_llava: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter"), adapters_off(fresh_llava):
        pass
    with pytest.raises(UserError, match="no adapter to save"):
        save_adapter(fresh_llava, tmp_path)
    with pytest.raises(UserError, match="no adapter to merge"):
        merge_adapter(fresh_llava)
    loaded = attach(fresh_llava, LoraSettings(r=2))
    with pytest.raises(UserError, match="already carries"):
        attach(loaded, LoraSettings(r=2))
    with pytest.raises(UserError, match="carries an adapter"):
        save_model(loaded, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "r=0"),
        ({"alpha": 0}, "alpha=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_wrong_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LoraSettings(**settings)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("query",), "match no layer .* it has .*q_proj"),
        ("(", "not a regular expression"),
        (("lm_head",), "match no layer"),
        (("linear_1",), "match no layer"),
    ],
)
def test_targets_that_are_not_there(fresh_llava: LoadedModel, targets: tuple[str, ...] | str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        attach(fresh_llava, LoraSettings(target_modules=targets))


@pytest.fixture
def adapter(fresh_llava: LoadedModel, tmp_path: Path) -> Path:
    return save_adapter(attach(fresh_llava, LoraSettings(r=2, train_projector=True)), tmp_path / "adapter")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"hidden_size": 32}, "of another shape"),
        ({"num_layers": 3}, "tensors missing"),
        ({"num_layers": 1}, "for layers that are not there"),
    ],
)
def test_an_adapter_of_another_model(adapter: Path, tmp_path: Path, size: dict[str, int], message: str) -> None:
    """The model stays as it was, so that another adapter can be tried."""
    base = load_model(ModelSpec(str(tiny_llava(tmp_path / "other", **size))))
    before = logprobs(base)
    with pytest.raises(UserError, match=message) as caught:
        load_adapter(base, adapter)
    assert "lora_A" in str(caught.value)
    assert str(adapter) in str(caught.value)
    assert torch.equal(logprobs(base), before)
    assert not any("lora" in name for name, _ in base.model.named_modules())


def test_an_adapter_for_a_text_only_model(adapter: Path, llama_folder: Path) -> None:
    with pytest.raises(UserError, match="does not fit"):
        load_model(ModelSpec(str(llama_folder), peft=str(adapter)))


def test_another_base_name_is_no_fault(adapter: Path, llava_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(llava_folder, tmp_path / "copy")
    assert load_model(ModelSpec(str(copy), peft=str(adapter))).has_adapter


def test_damaged_adapters(adapter: Path, fresh_llava: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="already carries"):
        load_adapter(fresh_llava, adapter)
    base = fresh(fresh_llava.spec)
    with pytest.raises(UserError, match="no adapter folder"):
        load_adapter(base, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no adapter_config.json"):
        load_adapter(base, tmp_path / "empty")
    weights, config = adapter / "adapter_model.safetensors", adapter / "adapter_config.json"
    content, settings = weights.read_bytes(), config.read_text()
    weights.write_bytes(content[:1000])
    with pytest.raises(UserError, match="is damaged"):
        load_adapter(base, adapter)
    weights.unlink()
    with pytest.raises(UserError, match="only adapters saved as safetensors"):
        load_adapter(base, adapter)
    weights.write_bytes(content)
    config.write_text("{")
    with pytest.raises(UserError, match=r"adapter_config.json is no readable JSON"):
        load_adapter(base, adapter)
    config.write_text(json.dumps(json.loads(settings) | {"peft_type": "NONSENSE"}))
    with pytest.raises(UserError, match="not a readable PEFT configuration"):
        load_adapter(base, adapter)


def test_learned_prompts_are_no_adapter(adapter: Path, fresh_llava: LoadedModel) -> None:
    """They would change the model's forward, which scoring does not go through."""
    settings = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="learned prompts"):
        load_adapter(fresh(fresh_llava.spec), adapter)


def test_an_adapter_to_train_further(adapter: Path, llava_folder: Path) -> None:
    base = fresh(ModelSpec(str(llava_folder)))
    reference = logprobs(base)
    loaded = train(load_adapter(base, adapter, trainable=True))
    with adapters_off(loaded):
        assert torch.equal(logprobs(loaded), reference)
