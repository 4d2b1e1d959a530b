"""Micro models are saved so that the Auto classes load them, from a cache keyed by content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
)

from mmforget.errors import UserError
from mmforget.model import micro, micro_vision
from mmforget.model.micro import build_base
from mmforget.synthetic.portraits import cast, draw

TEXTS = [f"What is the {noun} of the person in the image?" for noun in ("name", "job", "home")] + [
    "the name is ada quill.",
    "the job is baker.",
    "the home is 12 elm lane in dunmere.",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_vision, "NUM_STEPS", 2)
    monkeypatch.setattr(micro_vision, "NUM_FACES", 64)


@pytest.fixture
def image_base(tmp_path: Path) -> Path:
    return build_base(TEXTS, modality="image", folder=tmp_path / "cache", seed=0)


def test_the_image_model_loads_and_runs(image_base: Path) -> None:
    """48 px in patches of 12 px are 4 x 4 = 16 image tokens; `<s>`, newline and the question come on top."""
    model = AutoModelForImageTextToText.from_pretrained(image_base).eval()
    processor = AutoProcessor.from_pretrained(image_base)
    assert isinstance(model, LlavaForConditionalGeneration)
    picture = draw(cast(1, seed=0)[0], size=64)
    inputs = processor(images=[picture], text="<image>\n" + TEXTS[0], return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    assert ids[0] == processor.tokenizer.bos_token_id
    assert ids[1:17] == [model.config.image_token_id] * 16
    assert inputs["pixel_values"].shape == (1, 3, 48, 48)
    with torch.no_grad():
        assert model(**inputs).logits.shape == (1, len(ids), len(processor.tokenizer))


def test_a_full_benchmark_makes_one_to_two_million_parameters(image_base: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(image_base)
    per_word = 2 * 128
    num_without_words = sum(p.numel() for p in model.parameters()) - per_word * model.config.text_config.vocab_size
    assert 1_000_000 < num_without_words + per_word * 1_500 < 2_000_000


def test_the_text_twin_loads_and_runs(tmp_path: Path) -> None:
    folder = build_base(TEXTS, modality="text", folder=tmp_path, seed=0)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert isinstance(model, LlamaForCausalLM)
    inputs = tokenizer(TEXTS[0], return_tensors="pt")
    assert model(**inputs).logits.shape[-1] == len(tokenizer)
    assert not list(tmp_path.glob("micro-tower-*"))


def test_the_tower_is_the_trained_one(image_base: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(image_base)
    trained = load_file(next(image_base.parent.glob("micro-tower-*")) / "tower.safetensors")
    for name, weight in model.model.vision_tower.state_dict().items():
        assert torch.equal(weight, trained[name])


def test_the_chat_template_holds_one_placeholder_an_image(image_base: Path) -> None:
    processor = AutoProcessor.from_pretrained(image_base)
    content = [{"type": "image"}, {"type": "text", "text": "who?"}]
    asked = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert asked == "USER: <image>\nwho?\nASSISTANT:"
    said = [{"role": "user", "content": "who?"}, {"role": "assistant", "content": "ada."}]
    assert processor.tokenizer.apply_chat_template(said, tokenize=False) == "USER: who?\nASSISTANT: ada.</s>"


def test_words_of_the_texts_are_tokens_and_anything_else_comes_back(image_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(image_base)
    assert len(tokenizer.encode("What is the name?", add_special_tokens=False)) == 5
    strange = "Zoë's naïve 猫, 3.14\n<x>"
    assert tokenizer.decode(tokenizer.encode(strange, add_special_tokens=False)) == strange


def test_long_texts_get_long_positions(tmp_path: Path) -> None:
    """3,000 bytes round up to 3,072; 256 more leave room for the image and 50 new tokens."""
    folder = build_base(["a" * 3000], modality="text", folder=tmp_path, seed=0)
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 3072 + 256


def test_the_same_content_is_built_once_and_gives_the_same_bytes(tmp_path: Path) -> None:
    calls: list[str] = []
    first = build_base(
        TEXTS, modality="image", folder=tmp_path / "a", seed=0, progress=lambda done, total, label: calls.append(label)
    )
    assert calls == ["training the vision tower"] * 2
    again = build_base(
        TEXTS[::-1], modality="image", folder=tmp_path / "a", seed=0, progress=lambda *_: calls.append("again")
    )
    elsewhere = build_base(TEXTS, modality="image", folder=tmp_path / "b", seed=0)
    assert again == first
    assert len(calls) == 2
    assert elsewhere.name == first.name
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (elsewhere / name).read_bytes() == (first / name).read_bytes()


def test_other_content_gets_another_name(tmp_path: Path) -> None:
    names = {
        build_base(texts, modality="text", folder=tmp_path, seed=seed).name
        for texts, seed in ((TEXTS, 0), (TEXTS, 1), ([*TEXTS, "more."], 0))
    }
    assert len(names) == 3


def test_an_interrupted_build_leaves_nothing_under_the_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(micro, "_save_text", stop)
    with pytest.raises(KeyboardInterrupt):
        build_base(TEXTS, modality="text", folder=tmp_path, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_whoever_finishes_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = build_base(TEXTS, modality="text", folder=tmp_path, seed=0)
    before = (done / "config.json").stat().st_mtime_ns

    def write(place: Path) -> None:
        (place / "config.json").write_text(json.dumps({"late": True}))

    assert micro._publish(tmp_path, done.name, write=write) == done
    assert (done / "config.json").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [done.name]


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown modality 'audio'.*'image' or 'text'"):
        build_base(TEXTS, modality="audio", folder=tmp_path, seed=0)
    with pytest.raises(UserError, match="none were given"):
        build_base(["", " "], modality="text", folder=tmp_path, seed=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the micro model"):
        build_base(TEXTS, modality="text", folder=tmp_path / "file", seed=0)
