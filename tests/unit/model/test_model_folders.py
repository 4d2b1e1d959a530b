"""Damaged model, adapter and processor folders load, or are refused in one line; see tools/fuzzing/model_folders.py."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from fuzzing.model_folders import cases
from mmforget.errors import UserError
from mmforget.model.encode import encode, encode_prompt
from mmforget.model.folder import blamed, check_folder
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.lora import LoraSettings, attach, save_adapter
from mmforget.model.scoring import score
from tests.helpers import tiny_image

NUM_CASES = {"llama": 40, "llava": 25, "adapter": 40}


@pytest.fixture(scope="module")
def adapter_folder(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    loaded = attach(load_model(ModelSpec(str(llama_folder))), LoraSettings(r=2))
    return save_adapter(loaded, tmp_path_factory.mktemp("adapters") / "adapter")


def use(spec: ModelSpec) -> None:
    """Loads the model, and asks it one thing of each kind."""
    loaded = load_model(spec)
    images = [tiny_image(1)] if loaded.is_multimodal else []
    context = "<image>\nwho?" if images else "who?"
    with torch.no_grad():
        scored = score(loaded, [encode(loaded, context, " Anna", images)])
        assert scored.token_logprobs.isfinite().all()
        assert len(generate(loaded, [encode_prompt(loaded, context, images)], max_new_tokens=2)) == 1


@pytest.mark.parametrize("kind", NUM_CASES)
def test_no_damage_raises_anything_else(
    kind: str, llama_folder: Path, llava_folder: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    """A pipe that was opened would keep this test waiting for ever."""
    source = {"llama": llama_folder, "llava": llava_folder, "adapter": adapter_folder}[kind]
    refused = []
    for case in islice(cases(0, source), NUM_CASES[kind]):
        folder = case.write(source, tmp_path / "copy")
        spec = ModelSpec(str(llama_folder), peft=str(folder)) if kind == "adapter" else ModelSpec(str(folder))
        try:
            use(spec)
        except UserError as error:
            refused.append(str(error))
    assert [message for message in refused if "\n" in message] == []
    assert len(refused) > NUM_CASES[kind] / 4


VALUES: dict[str, tuple[str, dict[str, Any]]] = {
    "config.json: hidden_act is 'nonsense'": ("config.json", {"hidden_act": "nonsense"}),
    "config.json: num_attention_heads is 0": ("config.json", {"num_attention_heads": 0}),
    "config.json: rms_norm_eps is 'small'": ("config.json", {"rms_norm_eps": "small"}),
    "config.json: num_hidden_layers is 1000000": ("config.json", {"num_hidden_layers": 10**6}),
    "config.json: vocab_size is 1000000000000": ("config.json", {"vocab_size": 10**12}),
    "config.json: dtype is 'float99'": ("config.json", {"dtype": "float99"}),
    "generation_config.json: eos_token_id is '</s>'": ("generation_config.json", {"eos_token_id": "</s>"}),
    "generation_config.json: eos_token_id is .1.5.": ("generation_config.json", {"eos_token_id": [1.5]}),
    "generation_config.json: repetition_penalty is -1": ("generation_config.json", {"repetition_penalty": -1}),
    "generation_config.json: bos_token_id is 'x'": ("generation_config.json", {"bos_token_id": "x"}),
    "generation_config.json: num_beams is .1.": ("generation_config.json", {"num_beams": [1]}),
    "tokenizer_config.json: bos_token is 3": ("tokenizer_config.json", {"bos_token": 3}),
    "tokenizer_config.json: model_max_length is .1.": ("tokenizer_config.json", {"model_max_length": [1]}),
    "tokenizer.json: padding is 7": ("tokenizer.json", {"padding": 7}),
}


@pytest.mark.parametrize("message", VALUES)
def test_the_key_at_fault_is_named(message: str, llama_folder: Path, tmp_path: Path) -> None:
    name, changes = VALUES[message]
    folder = shutil.copytree(llama_folder, tmp_path / "model")
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=message.replace("json: ", "json:? .{0,9}?")) as caught:
        load_model(ModelSpec(str(folder)))
    assert "\n" not in str(caught.value)


ADAPTER_VALUES: dict[str, Any] = {
    "r": ["a", "rank .*'a'|r is 'a'"],
    "peft_type": ["NONSENSE", "adapter_config.json .*: peft_type is 'NONSENSE'; known: .*LORA"],
    "lora_alpha": [float("nan"), "lora_alpha is nan; PEFT takes int"],
    "lora_dropout": ["0.1", "lora_dropout is '0.1'; PEFT takes float"],
    "target_modules": [{"a": 1}, "target_modules is {'a': 1}; PEFT takes"],
    "rank_pattern": [
        {"q_proj": 10**7},
        "rank 10000000, but no tensor of adapter_model.safetensors has more",
    ],
    "megatron_config": [{"a": 1}, "megatron_config is {'a': 1}, which asks PEFT to import another package"],
    "bias": ["nonsense", "adapter_config.json asks for what cannot be .*nonsense"],
}


@pytest.mark.parametrize("key", ADAPTER_VALUES)
def test_a_wrong_value_of_an_adapter(key: str, llama_folder: Path, adapter_folder: Path, tmp_path: Path) -> None:
    value, message = ADAPTER_VALUES[key]
    folder = shutil.copytree(adapter_folder, tmp_path / "adapter")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(UserError, match=message) as caught:
        load_model(ModelSpec(str(llama_folder), peft=str(folder)))
    assert "\n" not in str(caught.value)


def test_special_files_are_not_opened(llama_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llama_folder, tmp_path / "model")
    (folder / "merges.txt").unlink(missing_ok=True)
    os.mkfifo(folder / "merges.txt")
    with pytest.raises(UserError, match=r"merges.txt: not a regular file"):
        check_folder(folder)


def test_configurations_may_hold_infinity(tmp_path: Path) -> None:
    """Mamba2's do, as a limit of its steps."""
    (tmp_path / "config.json").write_text('{"time_step_limit": [0.0, Infinity]}')
    check_folder(tmp_path)


def test_blame_by_hand(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"a": 1, "b": {"c": 2, "d": 0}, "e": 3}))

    def attempt(folder: Path) -> float:
        values = json.loads((folder / "config.json").read_text())
        return 1 / values["b"].get("d", 1)

    assert blamed(tmp_path, files=["config.json", "none.json"], attempt=attempt) == "config.json: b.d is 0"
    assert blamed(tmp_path, files=["config.json"], attempt=lambda folder: 1 / 0) is None
    assert json.loads((tmp_path / "config.json").read_text())["b"]["d"] == 0


class PanicException(BaseException):
    """Named as what Rust code raises through Python, which is no Exception either."""


def test_blame_outlives_a_panic_and_not_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"layers": 2, "heads": -7}))

    def attempt(folder: Path, *, error: type[BaseException]) -> None:
        if json.loads((folder / "config.json").read_text()).get("heads") == -7:
            raise error("out of range")

    where = blamed(tmp_path / "model", files=["config.json"], attempt=partial(attempt, error=PanicException))
    assert where == "config.json: heads is -7"
    with pytest.raises(KeyboardInterrupt):
        blamed(tmp_path / "model", files=["config.json"], attempt=partial(attempt, error=KeyboardInterrupt))
