"""Two models that could answer differently never share a fingerprint; the same model always has the same one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from mmforget.model.fingerprint import tensors_fingerprint, weights_fingerprint
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, save_model, with_fingerprint
from mmforget.model.lora import LoraSettings, attach, set_trainable
from tests.helpers import tiny_llama


def test_a_copy_is_the_same_model(llava_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(llava_folder, tmp_path / "copy")
    assert weights_fingerprint(ModelSpec(str(copy))) == weights_fingerprint(ModelSpec(str(llava_folder)))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "processor_config.json"]
)
def test_every_file_counts(llava_folder: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(llava_folder, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[-2] ^= 1
    (copy / name).write_bytes(content)
    assert weights_fingerprint(ModelSpec(str(copy))) != weights_fingerprint(ModelSpec(str(llava_folder)))


def test_a_record_beside_the_weights_does_not_count(llava_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(llava_folder, tmp_path / "copy")
    (copy / "report.json").write_text('{"wall_s": 12.3}')
    assert weights_fingerprint(ModelSpec(str(copy))) == weights_fingerprint(ModelSpec(str(llava_folder)))


def test_how_it_is_loaded_counts(llava_folder: Path) -> None:
    folder = str(llava_folder)
    specs = [
        ModelSpec(folder),
        ModelSpec(folder, dtype="bfloat16"),
        ModelSpec(folder, attn_implementation="eager"),
        ModelSpec(folder, load_in_8bit=True),
        ModelSpec(folder, load_in_4bit=True),
        ModelSpec(folder, load_in_4bit=True, bnb_4bit_quant_type="fp4"),
        ModelSpec(folder, load_in_4bit=True, bnb_4bit_use_double_quant=False),
    ]
    assert len({weights_fingerprint(spec) for spec in specs}) == len(specs)


def test_another_seed_is_another_model(llama_folder: Path, tmp_path: Path) -> None:
    other = tiny_llama(tmp_path / "other", seed=1)
    assert weights_fingerprint(ModelSpec(str(other))) != weights_fingerprint(ModelSpec(str(llama_folder)))


def test_tensors_by_name_shape_dtype_and_content() -> None:
    one = {"a": torch.zeros(4), "b": torch.ones(2, dtype=torch.bfloat16)}
    assert tensors_fingerprint(one) == tensors_fingerprint(dict(reversed(one.items())))
    others = [
        {**one, "a": torch.zeros(2, 2)},
        {**one, "a": torch.zeros(4, dtype=torch.float64)},
        {**one, "a": torch.tensor([0.0, 0, 0, -0.0])},
        {"c": one["a"], "b": one["b"]},
    ]
    assert len({tensors_fingerprint(tensors) for tensors in [one, *others]}) == 5


def test_a_model_in_training_shares_its_fingerprint_with_none(fresh_llava: LoadedModel, llava_folder: Path) -> None:
    again = load_model(ModelSpec(str(llava_folder)))
    first, second = attach(fresh_llava, LoraSettings(r=2)), attach(again, LoraSettings(r=2))
    assert len({first.fingerprint, second.fingerprint, fresh_llava.fingerprint}) == 3
    assert first.base_fingerprint == fresh_llava.fingerprint == again.fingerprint


@torch.no_grad()
def test_full_training_changes_the_fingerprint(fresh_llava: LoadedModel, tmp_path: Path) -> None:
    loaded = set_trainable(fresh_llava)
    before = with_fingerprint(loaded).fingerprint
    next(iter(loaded.trainable().values())).add_(1)
    after = with_fingerprint(loaded)
    assert len({before, after.fingerprint, fresh_llava.fingerprint, loaded.fingerprint}) == 4
    folder = save_model(loaded, tmp_path / "saved")
    assert with_fingerprint(loaded, folder=folder).fingerprint == load_model(ModelSpec(str(folder))).fingerprint


def test_a_large_file_that_was_replaced_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same size and with the same time of change, as copying tools leave it."""
    monkeypatch.setenv("MMFORGET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mmforget.model.fingerprint.LARGE_BYTES", 1)
    path = tmp_path / "config.json"
    path.write_text("one")
    before = path.stat()
    first = weights_fingerprint(ModelSpec(str(tmp_path)))
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert weights_fingerprint(ModelSpec(str(tmp_path))) != first


def test_the_index_of_shards_counts(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    first = weights_fingerprint(ModelSpec(str(tmp_path)))
    index.write_text('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}')
    assert weights_fingerprint(ModelSpec(str(tmp_path))) != first


SETTINGS = {
    "LoHaConfig": ({"r": 2}, {"alpha": 32}),
    "LoKrConfig": ({"r": 2}, {"alpha": 32}),
    "VeraConfig": ({"r": 2, "save_projection": False}, {"projection_prng_key": 1}),
    "RandLoraConfig": ({"r": 2, "save_projection": False}, {"randlora_alpha": 1}),
    "FourierFTConfig": ({"n_frequency": 4}, {"random_loc_seed": 1}),
    "VBLoRAConfig": ({"r": 2, "num_vectors": 4, "vector_length": 16, "topk": 2}, {"topk": 1}),
    "HRAConfig": ({"r": 2}, {"apply_GS": True}),
    "OFTConfig": ({"r": 0, "oft_block_size": 16}, {"use_cayley_neumann": False}),
    "LoraConfig": ({"r": 2}, {"lora_alpha": 1}),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_of_an_adapter_counts_but_names_do_not(llama_folder: Path, tmp_path: Path, kind: str) -> None:
    """Equal tensors give other numbers with another scale, seed or form."""
    import peft
    from transformers import AutoModelForCausalLM

    settings, changes = SETTINGS[kind]
    config = getattr(peft, kind)(target_modules=["q_proj"], **settings)
    folder = tmp_path / "adapter"
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(llama_folder), config).save_pretrained(folder)
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text())
    assert all(written[name] != value for name, value in changes.items())

    def fingerprint(**values: object) -> str:
        path.write_text(json.dumps(written | values))
        return load_model(ModelSpec(str(llama_folder), peft=str(folder))).fingerprint

    first = fingerprint()
    assert fingerprint(**changes) != first
    assert fingerprint(base_model_name_or_path="elsewhere", peft_version="0.1", inference_mode=False) == first


def test_large_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFORGET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mmforget.model.fingerprint.LARGE_BYTES", 1)
    hashed: list[Path] = []

    def hash_file(path: Path) -> str:
        hashed.append(path)
        return path.read_text()

    monkeypatch.setattr("mmforget.model.fingerprint.hash_file", hash_file)
    (tmp_path / "config.json").write_text("one")
    first = weights_fingerprint(ModelSpec(str(tmp_path)))
    assert weights_fingerprint(ModelSpec(str(tmp_path))) == first
    assert len(hashed) == 1
    (tmp_path / "config.json").write_text("another")
    assert weights_fingerprint(ModelSpec(str(tmp_path))) != first
    assert len(hashed) == 2
    assert len(json.loads((tmp_path / "cache" / "file_hashes.json").read_text())) == 2
