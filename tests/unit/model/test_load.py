"""Model arguments, loading, and every way in which a model can be the wrong one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_questions import encode_all, one_image

from mmforget.errors import UnknownName, UserError
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, save_model
from mmforget.model.scoring import score


def test_arguments_are_parsed() -> None:
    spec = ModelSpec.parse(
        "pretrained=some/model, load_in_4bit=True,bnb_4bit_use_double_quant=no,dtype=bfloat16", device="cpu"
    )
    assert spec == ModelSpec(
        "some/model", load_in_4bit=True, bnb_4bit_use_double_quant=False, dtype="bfloat16", device="cpu"
    )
    assert ModelSpec.from_mapping({"pretrained": "m", "load_in_8bit": True, "revision": None}).load_in_8bit
    assert ModelSpec.parse("pretrained=m,device_map=auto", device=None).device is None


@pytest.mark.parametrize(
    "text",
    ["pretrained=m", "pretrained=m,revision=v,peft=a,dtype=bf16,load_in_4bit=True,bnb_4bit_use_double_quant=False"],
)
def test_arguments_are_written_as_they_are_read(text: str) -> None:
    assert ModelSpec.parse(text).as_text() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pretrained=m,load_in_4bits=True", "did you mean 'load_in_4bit'"),
        ("pretrained=m,dtype=bfloat", "dtype 'bfloat'; did you mean 'bfloat16'"),
        ("pretrained=m,bnb_4bit_quant_type=nf", "did you mean 'nf4'"),
        ("pretrained=m,attn_implementation=spda", "did you mean 'sdpa'"),
        ("pretrained=m,load_in_4bit=maybe", "neither True nor False"),
        ("pretrained=m,load_in_4bit=True,load_in_8bit=True", "exclude each other"),
        ("pretrained=m,merge_peft=True", "none is named"),
        ("pretrained=m,device_map=auto,device=cpu", "exclude each other"),
        ("pretrained=m,pretrained=n", "given twice"),
        ("pretrained", "has no value"),
        ("dtype=float32", "no model named"),
    ],
)
def test_wrong_arguments(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModelSpec.parse(text)


@pytest.mark.parametrize("name", ["dtype", "model argument"])
def test_unknown_names_say_what_is_known(name: str) -> None:
    text = "pretrained=m,dtype=x" if name == "dtype" else "pretrained=m,x=1"
    with pytest.raises(UnknownName) as caught:
        ModelSpec.parse(text)
    assert caught.value.kind == name
    assert "float32" in caught.value.known or "pretrained" in caught.value.known


def test_both_kinds_of_model_load_frozen(llava: LoadedModel, llama: LoadedModel) -> None:
    assert type(llava.model).__name__ == "LlavaForConditionalGeneration"
    assert type(llama.model).__name__ == "LlamaForCausalLM"
    assert llava.is_multimodal
    assert llava.processor is not None
    assert not llama.is_multimodal
    assert llama.processor is None
    for loaded in (llava, llama):
        assert not loaded.trainable()
        assert not loaded.model.training
        assert loaded.max_length == 512
        assert loaded.device == torch.device("cpu")
        assert loaded.core is loaded.model


@pytest.mark.parametrize(
    ("name", "dtype"), [("auto", torch.float32), ("bfloat16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_dtypes(llava_folder: Path, name: str, dtype: torch.dtype) -> None:
    assert load_model(ModelSpec(str(llava_folder), dtype=name)).model.dtype == dtype


def test_a_saved_model_is_the_same_model(llava: LoadedModel, tmp_path: Path) -> None:
    again = load_model(ModelSpec(str(save_model(llava, tmp_path / "saved"))))
    encoded = encode_all(llava, one_image())
    with torch.no_grad():
        assert torch.equal(score(again, encoded).token_logprobs, score(llava, encoded).token_logprobs)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/folder", "there is no folder /no/such/folder"),
        ("./nowhere", "there is no folder"),
        ("a/b/c", "there is no folder a/b/c"),
        ("mmforget-tests/not-there", "hub cannot be asked .*HF_HUB_OFFLINE is set"),
    ],
)
def test_unknown_places(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=message):
        load_model(ModelSpec(name))


CAUSES = {
    "GatedRepoError": "is gated on the hub.*hf auth login",
    "RevisionNotFoundError": "has no revision 'v9'",
    "RepositoryNotFoundError": "neither a local folder nor a repository",
    "ConnectError": "hub cannot be asked",
}


@pytest.mark.parametrize("cause", CAUSES)
def test_what_the_hub_refuses(cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no") from type(cause, (Exception,), {})("why")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", refuse)
    with pytest.raises(UserError, match=CAUSES[cause]):
        load_model(ModelSpec("owner/name", revision="v9"))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _damaged_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _changed_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _unknown_type(folder: Path) -> None:
    _changed_config(folder, model_type="nonsense")


def _unsupported_type(folder: Path) -> None:
    _changed_config(folder, model_type="blip-2", image_token_index=None)


def _not_generative(folder: Path) -> None:
    _changed_config(folder, model_type="clip_vision_model")


def _other_tower(folder: Path) -> None:
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    _changed_config(folder, vision_config=vision | {"model_type": "pixtral"})


def _too_few_weights(folder: Path) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    _changed_config(folder, text_config=text | {"num_hidden_layers": 3, "layer_types": None})


def _own_code(folder: Path) -> None:
    _changed_config(folder, model_type="own", auto_map={"AutoConfig": "own.Config"})
    (folder / "own.py").write_text("raise SystemExit('this code must not run')")


def _adapter_only(folder: Path) -> None:
    _empty(folder)
    (folder / "adapter_config.json").write_text("{}")


def _adapter_beside_weights(folder: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder)
    get_peft_model(model, LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)


def _adapter_beside_its_base_config(folder: Path) -> None:
    _adapter_beside_weights(folder)
    _without_weights(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_empty, "without a config.json"),
        (_truncated, "weights are damaged|cannot be loaded"),
        (_without_weights, "no safetensors"),
        (_pickled, "no safetensors"),
        (_damaged_config, "config.json"),
        (_unknown_type, "nonsense"),
        (_unsupported_type, "'blip-2' are not supported: its configuration names no image token; supported: llava"),
        (_not_generative, "neither a causal language model"),
        (_other_tower, "'pixtral' is not supported; supported: clip_vision_model"),
        (_too_few_weights, "weights are missing, e.g. .*layers.2"),
        (_own_code, "brings its own code.*trust_remote_code=True"),
        (_adapter_only, "is an adapter, not a model"),
        (_adapter_beside_its_base_config, "is an adapter, not a model"),
        (
            _adapter_beside_weights,
            r"holds weights \(model.safetensors\) and an adapter \(adapter_config.json, adapter_model.safetensors\)",
        ),
    ],
)
def test_damaged_folders(llava_folder: Path, tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = shutil.copytree(llava_folder, tmp_path / "model")
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_model(ModelSpec(str(folder)))
    assert str(folder) in str(caught.value) or damage in (_unsupported_type, _not_generative, _other_tower)


def test_devices_that_are_not_there(llava_folder: Path) -> None:
    with pytest.raises(UserError, match="device 'gpu' does not exist"):
        load_model(ModelSpec(str(llava_folder), device="gpu"))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no CUDA device"):
            load_model(ModelSpec(str(llava_folder), device="cuda:0"))


def test_a_model_without_pad_token_gets_one(llama_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llama_folder, tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "pad_token"}))
    assert load_model(ModelSpec(str(folder))).tokenizer.pad_token_id is not None


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    with pytest.raises(UserError, match="is a file"):
        load_model(ModelSpec(str(path)))


def test_saving_what_cannot_be_saved(llava: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="quantised"):
        save_model(load_model(replace(llava.spec, load_in_4bit=True)), tmp_path / "saved")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot write"):
        save_model(llava, blocked)
