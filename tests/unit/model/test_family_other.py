"""Image-text models without a family of their own give their own numbers, or say why they cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_questions import (
    PICTURES,
    TOLERANCE,
    Question,
    encode_all,
    largest_difference,
    one_image,
    plain_logprobs,
    several_images,
    text_only,
)
from PIL import Image
from transformers import Blip2Config, Florence2Config, Gemma3Processor, Idefics3ForConditionalGeneration

from mmforget.errors import UserError
from mmforget.model import selfcheck
from mmforget.model.encode import encode, encode_prompt
from mmforget.model.families import IMAGE_FAMILIES, find_family, other, written_images
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach, set_trainable
from mmforget.model.scoring import score
from mmforget.model.vision import FeatureCache
from tests.helpers import fresh, tiny_image
from tests.tiny_models import tiny_gemma3, tiny_idefics3

MAKE: dict[str, Callable[[Path], Path]] = {"idefics3": tiny_idefics3, "gemma3": tiny_gemma3}


@pytest.fixture(scope="module", params=MAKE)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKE[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture
def loaded(folder: Path) -> LoadedModel:
    return fresh(ModelSpec(str(folder)))


def mixed_questions(loaded: LoadedModel) -> list[Question]:
    found = [*one_image(), *several_images(), *text_only()]
    mark = str(loaded.image_text)
    return [question._replace(context=question.context.replace("<image>", mark)) for question in found]


@torch.no_grad()
def test_scores_are_those_of_the_plain_forward(loaded: LoadedModel) -> None:
    assert loaded.family is other
    assert not loaded.shares_prefixes
    questions = mixed_questions(loaded)
    wanted = [plain_logprobs(loaded, question) for question in questions]
    found = score(loaded, encode_all(loaded, questions), features=FeatureCache()).token_logprobs
    assert largest_difference(found, wanted) < TOLERANCE
    again = score(loaded, encode_all(loaded, questions), packed=False).token_logprobs
    assert torch.equal(found, again)


def test_ids_are_those_of_the_processor(loaded: LoadedModel) -> None:
    for question in mixed_questions(loaded):
        found = encode(loaded, *question)
        stock = loaded.processor(text=question.context + question.answer, images=list(question.images) or None)
        assert list(found.ids) == stock["input_ids"][0]
        assert [found.ids[at] for at in found.image_at] == [loaded.image_token] * sum(found.image_sizes)
        prompt = encode_prompt(loaded, question.context, question.images)
        assert prompt.ids == found.ids[: found.num_context]


@pytest.mark.parametrize("size", [(20, 90), (90, 20), (64, 64), (7, 300)])
def test_image_tokens_of_any_size(loaded: LoadedModel, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    stock = loaded.processor(text=loaded.image_text, images=[image])["input_ids"][0]
    found = encode(loaded, "<image>", " Anna", [image])
    assert list(found.ids[: found.num_context]) == stock


@pytest.mark.parametrize(
    ("context", "answer", "num_images", "message"),
    [
        ("who?", " Anna", 1, "0 <image> placeholder.* 1 image"),
        ("<image><image>who?", " Anna", 1, "2 <image> placeholder.* 1 image"),
        ("<image>who?", " <image>", 1, "cannot hold an image"),
    ],
)
def test_placeholders_must_match_images(
    loaded: LoadedModel, context: str, answer: str, num_images: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        encode(loaded, context, answer, PICTURES[:num_images])


def test_training(loaded: LoadedModel) -> None:
    """An adapter sits in the language model alone, and gets the gradient of the plain forward."""
    questions = mixed_questions(loaded)
    adapted = attach(loaded, LoraSettings(r=2))
    layers = {name.split(".lora_")[0] for name in adapted.trainable()}
    assert len(layers) == 14
    assert all("language_model.layers" in name or "text_model.layers" in name for name in layers)
    adapted.model.train()
    score(adapted, encode_all(adapted, questions)).token_logprobs.sum().backward()
    found = {name: weight.grad.clone() for name, weight in adapted.trainable().items() if weight.grad is not None}
    adapted.model.zero_grad()
    adapted.model.eval()
    torch.stack([plain_logprobs(adapted, question).sum() for question in questions]).sum().backward()
    norm = max(float(weight.grad.norm()) for weight in adapted.trainable().values())
    for name, weight in adapted.trainable().items():
        assert float((weight.grad - found[name]).norm()) < 1e-5 * norm


def test_all_weights_train_but_the_tower_is_left_out(loaded: LoadedModel) -> None:
    names = set(set_trainable(loaded).trainable())
    assert "lm_head.weight" in names or loaded.core.config.tie_word_embeddings
    assert not any("vision" in name for name in names)
    assert any("vision" in name for name in set_trainable(loaded, tower=True).trainable())


def test_four_bits(folder: Path) -> None:
    pytest.importorskip("bitsandbytes")
    loaded = load_model(ModelSpec(str(folder), load_in_4bit=True, device="cpu"))
    quantised = {name for name, module in loaded.core.named_modules() if type(module).__name__ == "Linear4bit"}
    assert quantised
    assert all("language_model.layers" in name or "text_model.layers" in name for name in quantised)
    with torch.no_grad():
        assert score(loaded, encode_all(loaded, mixed_questions(loaded))).token_logprobs.isfinite().all()


@torch.no_grad()
def test_texts_are_those_of_generate(loaded: LoadedModel) -> None:
    questions = mixed_questions(loaded)[::3]
    wanted = []
    for question in questions:
        stock = loaded.processor(text=question.context, images=list(question.images) or None, return_tensors="pt")
        (ids,) = loaded.core.generate(**stock, max_new_tokens=6, do_sample=False)
        wanted.append(loaded.tokenizer.decode(ids[stock["input_ids"].shape[1] :], skip_special_tokens=True))
    prompts = [encode_prompt(loaded, question.context, question.images) for question in questions]
    assert generate(loaded, prompts, max_new_tokens=6) == wanted


def test_it_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    selfcheck._say.cache_clear()
    with caplog.at_level(logging.INFO, logger="mmforget"):
        for _ in range(2):
            load_model(ModelSpec(str(folder)))
    said = [record for record in caplog.records if record.name == selfcheck.__name__]
    assert len(said) == 1
    assert "its own forward reads text and images, one sequence at a time" in said[0].getMessage()


def test_a_processor_that_does_not_write_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_gemma3(tmp_path)
    monkeypatch.delattr(Gemma3Processor, "replace_image_token")
    with pytest.raises(
        UserError, match=r"'gemma3' are not supported: NotImplementedError.*supported: llava, llava_next"
    ):
        load_model(ModelSpec(str(folder)))


def test_a_processor_with_tokens_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PaliGemma's way: the processor puts something behind every text."""
    folder, plain = tiny_gemma3(tmp_path), Gemma3Processor.__call__

    def changed(self: Any, images: Any = None, text: Any = None, **kwargs: Any) -> Any:
        return plain(self, images=images, text=[one + "\n" for one in text], **kwargs)

    monkeypatch.setattr(Gemma3Processor, "__call__", changed)
    with pytest.raises(UserError, match="its processor gives other tokens than mmforget does"):
        load_model(ModelSpec(str(folder)))


def test_a_model_that_reads_in_both_directions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token sees the last one."""
    folder, plain = tiny_idefics3(tmp_path), Idefics3ForConditionalGeneration.forward

    def changed(self: Any, **kwargs: Any) -> Any:
        output = plain(self, **kwargs)
        output.logits = output.logits + output.logits[:, -1:]
        return output

    monkeypatch.setattr(Idefics3ForConditionalGeneration, "forward", changed)
    with pytest.raises(UserError, match="reads text in both directions"):
        load_model(ModelSpec(str(folder)))


def test_types_that_cannot_be_used() -> None:
    with pytest.raises(UserError, match="'blip-2' are not supported: its configuration names no image token"):
        find_family(Blip2Config())
    with pytest.raises(UserError, match="'florence2' are not supported: it is an encoder-decoder"):
        find_family(Florence2Config())
    assert sorted(IMAGE_FAMILIES) == list(written_images.CHECKED)


def test_one_image_size_is_asked_once(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(loaded, "<image>who?", " Anna", [tiny_image(1, size=(31, 33))])
    monkeypatch.setattr(type(loaded.processor), "__call__", None)
    encode(loaded, "<image>who?", " Anna", [tiny_image(2, size=(31, 33))])


def test_an_image_that_the_processor_refuses(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ValueError("too\nthin")

    monkeypatch.setattr(type(loaded.processor), "__call__", refuse)
    with pytest.raises(UserError, match=r"cannot read an image of 500 x 2 pixels \(too thin\); crop it$"):
        encode(loaded, "<image>who?", " Anna", [tiny_image(1, size=(500, 2))])
