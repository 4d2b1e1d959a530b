"""LLaVA-NeXT, Qwen2-VL and Qwen2.5-VL score, pack and train as their own processor and forward pass do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_questions import (
    QUESTIONS,
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

from mmforget.errors import UserError
from mmforget.model.encode import encode, encode_prompt
from mmforget.model.families import llava_next, qwen_vl
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, save_model
from mmforget.model.lora import LoraSettings, attach, set_trainable
from mmforget.model.scoring import score
from mmforget.model.vision import FeatureCache
from tests.helpers import fresh, tiny_image
from tests.tiny_models import tiny_llava_next, tiny_qwen_vl

MAKE: dict[str, Callable[[Path], Path]] = {
    "llava_next": tiny_llava_next,
    "qwen2_vl": tiny_qwen_vl,
    "qwen2_5_vl": lambda folder: tiny_qwen_vl(folder, version="2.5"),
}


@pytest.fixture(scope="module", params=MAKE)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKE[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture
def loaded(folder: Path) -> LoadedModel:
    return fresh(ModelSpec(str(folder)))


@pytest.fixture(params=["2", "2.5"])
def qwen(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_qwen_vl(tmp_path, version=request.param))))


def mixed_questions(loaded: LoadedModel) -> list[Question]:
    """About one picture, several, the same twice, none; written as the model's processor has it."""
    return written(loaded, [*one_image(), *several_images(), *text_only()])


def written(loaded: LoadedModel, questions: Sequence[Question]) -> list[Question]:
    mark = str(loaded.image_text)
    # Without marks around them transformers takes images that stand side by side for one.
    mark = f"<|vision_start|>{mark}<|vision_end|>" if loaded.family is qwen_vl else mark
    return [question._replace(context=question.context.replace("<image>", mark)) for question in questions]


def test_the_family(loaded: LoadedModel) -> None:
    kind = loaded.core.config.model_type
    assert loaded.family is {"llava_next": llava_next, "qwen2_vl": qwen_vl, "qwen2_5_vl": qwen_vl}[kind]
    assert loaded.shares_prefixes
    assert loaded.core.config.vision_config._attn_implementation == "sdpa"
    assert loaded.core.config.text_config._attn_implementation == "mmforget"


@torch.no_grad()
def test_scores_are_those_of_the_plain_forward(loaded: LoadedModel) -> None:
    questions = mixed_questions(loaded)
    encoded = encode_all(loaded, questions)
    wanted = [plain_logprobs(loaded, question) for question in questions]
    assert len({len(one.image_at) for one in encoded}) > 4
    for packed in (True, False):
        assert largest_difference(score(loaded, encoded, packed=packed).token_logprobs, wanted) < TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("packed", [True, False])
def test_texts_are_those_of_generate(loaded: LoadedModel, packed: bool) -> None:
    questions = mixed_questions(loaded)[::3]
    wanted = []
    for question in questions:
        stock = loaded.processor(text=question.context, images=list(question.images) or None, return_tensors="pt")
        (ids,) = loaded.core.generate(**stock, max_new_tokens=6, do_sample=False)
        wanted.append(loaded.tokenizer.decode(ids[stock["input_ids"].shape[1] :], skip_special_tokens=True))
    prompts = [encode_prompt(loaded, question.context, question.images) for question in questions]
    assert generate(loaded, prompts, max_new_tokens=6, packed=packed) == wanted


def test_ids_are_those_of_the_processor(loaded: LoadedModel) -> None:
    for question in mixed_questions(loaded):
        found = encode(loaded, *question)
        stock = loaded.processor(text=question.context + question.answer, images=list(question.images) or None)
        assert list(found.ids) == stock["input_ids"][0]
        assert found.ids.count(loaded.image_token) == len(found.image_at) == sum(found.image_sizes)


def test_the_placeholder_of_tasks(loaded: LoadedModel) -> None:
    """`<image>` stands for the model's own image token."""
    found = encode(loaded, "<image>\nwho?", " Anna", [tiny_image(1)])
    assert found.ids == encode(loaded, f"{loaded.image_text}\nwho?", " Anna", [tiny_image(1)]).ids


def random_sizes(count: int) -> list[tuple[int, int]]:
    """Wide, tall, tiny and large ones."""
    rng = np.random.default_rng(0)
    return [(int(w), int(h)) for w, h in np.exp(rng.uniform(np.log(6), np.log(300), size=(count, 2)))]


def test_image_tokens_of_any_size(loaded: LoadedModel) -> None:
    for size in random_sizes(150):
        stock = loaded.processor(text=loaded.image_text, images=[Image.new("RGB", size)])
        wanted = stock["input_ids"][0].count(loaded.image_token)
        assert loaded.family.num_image_tokens(loaded.core.config, loaded.processor, size=size) == wanted, size


def test_positions_are_those_of_the_model(qwen: LoadedModel) -> None:
    sizes = random_sizes(60)
    for first, second in zip(sizes[::2], sizes[1::2], strict=True):
        for context, used in (
            ("a <image> b <image>c", (first, second)),
            ("<image>", (second,)),
            ("a <image>", (first,)),
        ):
            images = tuple(Image.new("RGB", size) for size in used)
            (question,) = written(qwen, [Question(context, " Anna Meier", images)])
            stock = qwen.processor(text=question.context + question.answer, images=list(images), return_tensors="pt")
            wanted, _ = qwen.core.model.get_rope_index(
                stock["input_ids"], stock["mm_token_type_ids"], image_grid_thw=stock["image_grid_thw"]
            )
            found = encode(qwen, *question).positions
            assert found.dtype == np.int64
            assert found.tolist() == wanted[:, 0].tolist()
    assert encode(qwen, "who?", " Anna").grid_positions is None


def test_an_image_that_is_too_thin(qwen: LoadedModel) -> None:
    with pytest.raises(UserError, match="cannot read an image of 900 x 3 pixels .*aspect ratio.*crop it"):
        encode(qwen, "<image>who?", " Anna", [Image.new("RGB", (900, 3))])


def test_lora_reaches_the_language_model_alone(loaded: LoadedModel) -> None:
    adapted = attach(loaded, LoraSettings(r=2))
    layers = {name.split(".lora_")[0] for name in adapted.trainable()}
    # Two layers of seven projections.
    assert len(layers) == 14
    assert all("language_model.layers" in name for name in layers)


def test_gradients_packed_and_plain(folder: Path) -> None:
    found = []
    for packed in (True, False):
        adapted = attach(fresh(ModelSpec(str(folder))), LoraSettings(r=2, train_projector=True))
        generator = torch.Generator().manual_seed(0)
        for name, weight in sorted(adapted.trainable().items()):
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.05, generator=generator)
        encoded = encode_all(adapted, mixed_questions(adapted))
        score(adapted, encoded, packed=packed).token_logprobs.sum().backward()
        found.append({name: weight.grad for name, weight in adapted.trainable().items()})
    assert all(gradient is not None and gradient.any() for gradient in found[0].values())
    assert any("lora_" not in name for name in found[0])
    norm = max(float(gradient.norm()) for gradient in found[1].values())
    for name, gradient in found[0].items():
        assert float((gradient - found[1][name]).norm()) < 1e-5 * norm


def test_gradients_of_all_weights_are_those_of_the_plain_forward(folder: Path) -> None:
    """Language model, projector and tower, which then goes through every step; the token behind line ends is frozen."""
    ours, stock = (fresh(ModelSpec(str(folder))) for _ in range(2))
    ours = set_trainable(ours, projector=True, tower=True)
    questions = written(ours, several_images())
    score(ours, encode_all(ours, questions), features=FeatureCache()).token_logprobs.sum().backward()
    stock.model.requires_grad_(True)
    torch.stack([plain_logprobs(stock, question).sum() for question in questions]).sum().backward()
    wanted = dict(stock.core.named_parameters())
    norm = max(float(weight.grad.norm()) for weight in wanted.values() if weight.grad is not None)
    trained = ours.trainable()
    for name, weight in trained.items():
        if wanted[name].grad is None:
            assert weight.grad is None or not weight.grad.any(), name
        else:
            assert float((weight.grad - wanted[name].grad).norm()) < 1e-4 * norm, name
    frozen = set(wanted) - set(trained)
    assert frozen <= {"model.image_newline"}


@torch.no_grad()
def test_images_are_encoded_once(loaded: LoadedModel) -> None:
    """Three pictures in 17 questions, scored twice; afterwards two new ones."""
    cache = FeatureCache()
    encoded = encode_all(loaded, mixed_questions(loaded))
    for packed in (True, False):
        score(loaded, encoded, packed=packed, features=cache)
    assert (cache.num_encoded, cache.num_hits) == (3, 3)
    score(loaded, [encode(loaded, "<image>who?", " Anna", [tiny_image(k)]) for k in (7, 8)], features=cache)
    assert (cache.num_encoded, cache.num_hits) == (5, 3)


def test_a_frozen_tower_behind_a_trained_projector_is_kept(loaded: LoadedModel) -> None:
    cache = FeatureCache()
    trained = set_trainable(loaded, projector=True)
    encoded = encode_all(trained, written(trained, one_image()))
    for _ in range(2):
        score(trained, encoded, features=cache).token_logprobs.sum().backward()
    assert (cache.num_encoded, cache.num_hits) == (3, 3)
    projector = trained.family.projector(trained.core)
    assert projector is not None
    assert all(weight.grad is not None and weight.grad.any() for weight in projector.parameters())


@torch.no_grad()
def test_the_same_numbers_again(folder: Path) -> None:
    runs = []
    for _ in range(2):
        loaded = load_model(ModelSpec(str(folder)))
        runs.append(score(loaded, encode_all(loaded, mixed_questions(loaded)), features=FeatureCache()).token_logprobs)
    assert torch.equal(*runs)


def test_a_saved_model_is_the_same_model(loaded: LoadedModel, tmp_path: Path) -> None:
    again = load_model(ModelSpec(str(save_model(loaded, tmp_path / "saved"))))
    encoded = encode_all(loaded, mixed_questions(loaded))
    with torch.no_grad():
        assert torch.equal(score(again, encoded).token_logprobs, score(loaded, encoded).token_logprobs)


def test_four_bits(folder: Path) -> None:
    """Quantised are the language model's layers alone; packed and plain rows agree as far as rounding lets them."""
    pytest.importorskip("bitsandbytes")
    loaded = load_model(ModelSpec(str(folder), load_in_4bit=True, device="cpu"))
    quantised = {name for name, module in loaded.core.named_modules() if type(module).__name__ == "Linear4bit"}
    assert len(quantised) == 14
    assert all("language_model.layers" in name for name in quantised)
    encoded = encode_all(loaded, mixed_questions(loaded))
    with torch.no_grad():
        packed, plain = (score(loaded, encoded, packed=way).token_logprobs for way in (True, False))
    assert float((packed - plain).abs().max()) < 1e-4
    adapted = attach(loaded, LoraSettings(r=2))
    score(adapted, encoded).token_logprobs.sum().backward()
    assert all(weight.grad is not None for weight in adapted.trainable().values())


def test_half_precision(folder: Path) -> None:
    """Packed, plain and the stock forward in bfloat16 lie within the noise of that precision."""
    loaded = load_model(ModelSpec(str(folder), dtype="bfloat16"))
    cache = FeatureCache()
    with torch.no_grad():
        encoded = encode_all(loaded, mixed_questions(loaded))
        packed = score(loaded, encoded, features=cache).token_logprobs
        plain = score(loaded, encoded, packed=False, features=cache).token_logprobs
    assert float((packed - plain).abs().mean()) < 0.05
    found: Any = cache._features
    assert {features.dtype for features in found.values()} == {torch.bfloat16}


def test_questions_without_chat_marks(loaded: LoadedModel) -> None:
    """Images side by side are two images, whatever stands between them."""
    images = (tiny_image(1), tiny_image(2, size=(90, 60)))
    found = encode(loaded, f"<image><image>{QUESTIONS[0][0]}", " Anna", images)
    assert len(found.image_sizes) == 2
    with torch.no_grad():
        assert score(loaded, [found]).token_logprobs.isfinite().all()
