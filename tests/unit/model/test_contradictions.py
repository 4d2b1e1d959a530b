"""Checkpoints that contradict themselves are refused when they are loaded, in one line that names both values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmforget.errors import UserError
from mmforget.model.encode import encode
from mmforget.model.load import ModelSpec, load_model
from tests.tiny_models import tiny_idefics3, tiny_llava_next, tiny_qwen_vl


def changed(path: Path, **changes: Any) -> None:
    """A JSON file with other values; `a__b` is the key b inside a."""
    values = json.loads(path.read_text())
    for way, value in changes.items():
        inner, *keys = values, *way.split("__")
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
    path.write_text(json.dumps(values))


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder / "config.json", **changes)


def without(key: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        values = json.loads(path.read_text())
        del values[key]
        path.write_text(json.dumps(values))

    return damage


def processor(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder / "processor_config.json", **changes)


def weights_of_nothing(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if name.endswith("language_model.model.norm.weight"))
    save_file(tensors | {name: torch.full_like(tensors[name], torch.nan)}, path, metadata={"format": "pt"})


CROP = {"image_processor__crop_size": {"height": 36, "width": 36}, "image_processor__size": {"shortest_edge": 36}}
LLAVA: dict[str, tuple[Callable[[Path], None], str]] = {
    "image token of the tokenizer": (
        config(image_token_index=398),
        "image token 398 .*, the processor 3 .'<image>'",
    ),
    "image token beyond the embeddings": (config(image_token_index=400), "image token 400.* embeddings for 400 tokens"),
    "crops": (processor(**CROP), "pictures of 36 x 36 pixels, the vision tower takes 48 x 48"),
    "patches": (processor(patch_size=14), "patch_size 14, config.json vision_config.patch_size 12"),
    "class token": (
        processor(vision_feature_select_strategy="full"),
        "vision_feature_select_strategy 'full', config.json vision_feature_select_strategy 'default'",
    ),
    "layer of the tower": (config(vision_feature_layer=9), "cannot read a picture .*vision_feature_layer"),
    "no numbers": (weights_of_nothing, "gives logits that are no finite numbers"),
    "narrower than its weights": (
        config(text_config__intermediate_size=96),
        r"6 weights have another shape than config.json says, e.g. .* is \(.*128.*\) and should be \(.*96.*\)",
    ),
    "the size of its language model": (
        without("text_config"),
        r"config.json describes 6,\d{3},\d{3},\d{3} weights, and the files hold \d{2,3},\d{3}; a key that is missing",
    ),
    "dtype": (config(dtype="float99", text_config__dtype="float99"), "config.json.*float99"),
}


@pytest.mark.parametrize("name", LLAVA)
def test_llava(llava_folder: Path, tmp_path: Path, name: str) -> None:
    damage, message = LLAVA[name]
    folder = shutil.copytree(llava_folder, tmp_path / "model")
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_model(ModelSpec(str(folder)))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


OTHERS: dict[str, tuple[Any, Callable[[Path], None], str]] = {
    "qwen2_vl, merging": (
        tiny_qwen_vl,
        processor(image_processor__merge_size=1),
        "size 1, .*spatial_merge_size 2",
    ),
    "qwen2_vl, patches": (tiny_qwen_vl, processor(image_processor__patch_size=8), "patch_size 8, .*patch_size 4"),
    "llava_next, crops": (
        tiny_llava_next,
        processor(**CROP),
        "pictures of 36 x 36 pixels, the vision tower takes 24 x 24",
    ),
    "idefics3, image token": (
        tiny_idefics3,
        config(image_token_id=398),
        "398 .*the processor writes '<fake",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_families(tmp_path: Path, name: str) -> None:
    make, damage, message = OTHERS[name]
    folder = make(tmp_path)
    load_model(ModelSpec(str(folder)))
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_model(ModelSpec(str(folder)))
    assert "\n" not in str(caught.value)


def _with_token(llama_folder: Path, folder: Path, **named: str) -> Path:
    """The model with a tokenizer that has one token more than it has embeddings."""
    from transformers import AutoTokenizer

    shutil.copytree(llama_folder, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens(named) if named else tokenizer.add_tokens(["Zurich"])
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["pad_token", "eos_token", "bos_token"])
def test_a_named_token_beyond_the_embeddings(llama_folder: Path, tmp_path: Path, name: str) -> None:
    folder = _with_token(llama_folder, tmp_path / "model", **{name: "<new>"})
    with pytest.raises(UserError, match=f"tokenizer's {name} '<new>' is number 400, but .* embeddings for 400 tokens"):
        load_model(ModelSpec(str(folder)))


def test_any_other_token_beyond_the_embeddings(llama_folder: Path, tmp_path: Path) -> None:
    """Published tokenizers have tokens that nobody writes: the row that does is refused."""
    loaded = load_model(ModelSpec(str(_with_token(llama_folder, tmp_path / "model"))))
    assert encode(loaded, "where?", " Bern").num_answer
    for context, answer in (("in Zurich?", " yes"), ("where?", " in Zurich")):
        with pytest.raises(UserError, match=r"token 400 \('Zurich'\), but .* embeddings for 400 tokens"):
            encode(loaded, context, answer)


def test_a_home_folder(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(llama_folder.parent))
    spec = ModelSpec.parse(f"pretrained=~/{llama_folder.name},peft=~/adapter")
    assert (spec.pretrained, spec.peft) == (str(llama_folder), str(llama_folder.parent / "adapter"))
    assert ModelSpec("owner/name").pretrained == "owner/name"
