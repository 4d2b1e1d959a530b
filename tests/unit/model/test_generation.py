"""Greedy text is that of plain `model.generate`, prompt by prompt, in whatever batch, packed or not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from model_questions import Question, chat, one_image, several_images, text_only
from transformers import GemmaConfig, GPT2Config, GPTNeoXConfig, OPTConfig, PhiConfig

from mmforget.errors import UserError
from mmforget.model import generation
from mmforget.model.choosing import Sampling
from mmforget.model.encode import Encoded, encode_prompt
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.vision import FeatureCache
from tests.helpers import tiny_image
from tests.tiny_models import LANGUAGE, tiny_idefics3, tiny_llava_next, tiny_qwen_vl, tiny_text

FAMILIES: dict[str, Any] = {
    "llava_next": tiny_llava_next,
    "qwen2_vl": tiny_qwen_vl,
    "qwen2_5_vl": lambda folder: tiny_qwen_vl(folder, version="2.5"),
    "idefics3, which runs its own forward": tiny_idefics3,
}
TEXT_FAMILIES: dict[str, tuple[type, dict[str, Any]]] = {
    "gpt_neox": (GPTNeoXConfig, {}),
    "phi": (PhiConfig, {}),
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "opt": (OPTConfig, {"ffn_dim": 64, "word_embed_proj_dim": 16}),
    "gemma": (GemmaConfig, {"head_dim": 8}),
}


def plain_ids(loaded: LoadedModel, question: Question, *, max_new_tokens: int = 12) -> list[int]:
    if loaded.processor is None:
        inputs = loaded.tokenizer(question.context, return_tensors="pt")
    else:
        inputs = loaded.processor(text=question.context, images=list(question.images) or None, return_tensors="pt")
    output = loaded.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    ids: list[int] = output[0, inputs["input_ids"].shape[1] :].tolist()
    return ids


def plain_text(loaded: LoadedModel, question: Question, *, max_new_tokens: int = 12) -> str:
    ids = plain_ids(loaded, question, max_new_tokens=max_new_tokens)
    text: str = loaded.tokenizer.decode(ids, skip_special_tokens=True)
    return text


def prompts(loaded: LoadedModel, questions: Sequence[Question]) -> list[Encoded]:
    return [encode_prompt(loaded, one.context, one.images) for one in questions]


def mixed() -> list[Question]:
    """One picture, several, none; the same prompt twice; prompts that begin others."""
    picture = one_image()[0].images
    shorter = [Question("<image>\nwhat is", "", picture), Question("<image>\n", "", picture), Question("what", "")]
    return [*one_image(), *several_images(), *text_only()[::4], one_image()[1], *shorter]


def both(loaded: LoadedModel, questions: Sequence[Question], **settings: Any) -> list[str]:
    """The texts, which are the same packed or not."""
    asked = prompts(loaded, questions)
    found = generate(loaded, asked, **settings)
    assert generate(loaded, asked, **settings, packed=False) == found
    return found


@contextmanager
def counted_tokens(loaded: LoadedModel) -> Iterator[list[int]]:
    """How many tokens each forward pass takes through the first layer of the language model."""
    (layer,) = (part for name, part in loaded.core.named_modules() if name.endswith("language_model.layers.0"))
    counts: list[int] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: counts.append(inputs[0].shape[:-1].numel()))
    yield counts
    handle.remove()


def num_distinct(asked: Sequence[Encoded]) -> int:
    """Nodes of the tree that the prompts make: an independent count, one beginning after the other."""
    return len({(one.image_keys, one.ids[: size + 1]) for one in asked for size in range(len(one))})


@pytest.mark.parametrize("with_chat", [False, True], ids=["bare", "chat"])
def test_it_equals_plain_generate(llava: LoadedModel, with_chat: bool) -> None:
    questions = chat(llava, mixed()) if with_chat else mixed()
    wanted = [plain_text(llava, question) for question in questions]
    assert both(llava, questions, max_new_tokens=12) == wanted
    assert len(set(wanted)) > 5


def test_text_only_models(llama: LoadedModel) -> None:
    questions = [*text_only()[::4], Question("who?", ""), Question("what is the name of this dog?", "")]
    wanted = [plain_text(llama, question) for question in questions]
    assert both(llama, questions, max_new_tokens=12) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_random_trees_of_prompts(llama: LoadedModel, seed: int) -> None:
    """Prompts of 2 to 70 random tokens that share nothing, a little, or all but the last token."""
    rng = random.Random(seed)
    found = [[1, *(rng.randrange(4, 400) for _ in range(rng.randrange(1, 50)))] for _ in range(3)]
    while len(found) < 14:
        base = rng.choice(found)
        tail = [rng.randrange(4, 400) for _ in range(rng.randrange(1, 20))]
        found.append([*base[: rng.randrange(1, len(base) + 1)], *tail])
    wanted = []
    for ids in found:
        output = llama.model.generate(torch.tensor([ids]), max_new_tokens=10, do_sample=False)
        wanted.append(llama.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))
    asked = [Encoded(tuple(ids), len(ids)) for ids in found]
    assert generate(llama, asked, max_new_tokens=10) == wanted


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_other_image_families(make: Any, tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(make(tmp_path))))
    mark = str(loaded.image_text)
    # Without marks around them transformers takes Qwen's images that stand side by side for one.
    mark = f"<|vision_start|>{mark}<|vision_end|>" if loaded.family.NAME == "qwen_vl" else mark
    questions = [one._replace(context=one.context.replace("<image>", mark)) for one in mixed()[::2]]
    wanted = [plain_text(loaded, question, max_new_tokens=8) for question in questions]
    assert both(loaded, questions, max_new_tokens=8) == wanted


@pytest.mark.parametrize("name", TEXT_FAMILIES)
def test_other_text_families(name: str, tmp_path: Path) -> None:
    kind, settings = TEXT_FAMILIES[name]
    loaded = load_model(ModelSpec(str(tiny_text(tmp_path, kind, **LANGUAGE | settings))))
    assert loaded.shares_prefixes
    questions = text_only()[::2]
    wanted = [plain_text(loaded, question, max_new_tokens=8) for question in questions]
    assert both(loaded, questions, max_new_tokens=8) == wanted


def test_prompts_are_computed_once_and_images_too(llava: LoadedModel) -> None:
    """Every distinct prompt token goes through the model once, then one token a prompt and step."""
    asked, features = prompts(llava, mixed()), FeatureCache()
    with counted_tokens(llava) as counts:
        generate(llava, asked, max_new_tokens=5, features=features)
    assert counts == [num_distinct(asked)] + [len(asked)] * 4
    assert counts[0] < 0.6 * sum(map(len, asked))
    assert features.num_encoded == 3


def test_texts_end_where_the_checkpoint_says(llava: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of every prompt but the last two ends with the token that it has in another place."""
    questions = mixed()
    written = [plain_ids(llava, question) for question in questions]
    ends = [ids[1 + number % 9] for number, ids in enumerate(written[:-2])]
    monkeypatch.setattr(llava.core.generation_config, "eos_token_id", ends)
    lengths = [len(plain_ids(llava, question, max_new_tokens=20)) for question in questions]
    wanted = [plain_text(llava, question, max_new_tokens=20) for question in questions]
    with counted_tokens(llava) as counts:
        found = generate(llava, prompts(llava, questions), max_new_tokens=20)
    assert found == wanted
    # A prompt takes part at least as long as it goes on, and leaves when a quarter of the batch has ended.
    goes_on = [sum(length > step for length in lengths) for step in range(1, max(lengths))]
    assert len(set(goes_on)) > 3
    assert len(counts) == max(lengths)
    assert all(left <= count <= left / 0.75 for left, count in zip(goes_on, counts[1:], strict=True))
    monkeypatch.setattr(llava.core.generation_config, "eos_token_id", ends[0])
    wanted = [plain_text(llava, question) for question in questions]
    assert both(llava, questions, max_new_tokens=12) == wanted


def test_without_an_end_texts_have_full_length(llava: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llava.core.generation_config, "eos_token_id", None)
    with counted_tokens(llava) as counts:
        generate(llava, prompts(llava, one_image()), max_new_tokens=7)
    assert len(counts) == 7


def test_repetition_penalty_of_the_checkpoint(llava: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = mixed()
    without = [plain_text(llava, question) for question in questions]
    monkeypatch.setattr(llava.core.generation_config, "repetition_penalty", 1.8)
    wanted = [plain_text(llava, question) for question in questions]
    assert both(llava, questions, max_new_tokens=12) == wanted
    assert sum(one != other for one, other in zip(wanted, without, strict=True)) > len(wanted) / 3


def test_settings_that_only_generate_honours_are_honoured_and_said_once(
    llava: LoadedModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    generation._say_plain.cache_clear()
    monkeypatch.setattr(llava.core.generation_config, "no_repeat_ngram_size", 1)
    question = one_image()[0]
    for _ in range(2):
        assert generate(llava, prompts(llava, [question]), max_new_tokens=12) == [plain_text(llava, question)]
    (record,) = [record for record in caplog.records if record.name.startswith("mmforget")]
    assert "{'no_repeat_ngram_size': 1} need plain model.generate" in record.getMessage()


def test_sampling_settings_of_the_checkpoint_do_not_matter(llava: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = one_image()[:3]
    wanted = [plain_text(llava, question) for question in questions]
    for name, value in {"do_sample": True, "temperature": 0.6, "top_p": 0.5, "top_k": 3}.items():
        monkeypatch.setattr(llava.core.generation_config, name, value)
    assert both(llava, questions, max_new_tokens=12) == wanted


def test_an_adapter_is_part_of_the_model(fresh_llava: LoadedModel) -> None:
    before = [plain_text(fresh_llava, question) for question in one_image()]
    loaded = attach(fresh_llava, LoraSettings(r=4))
    torch.manual_seed(0)
    for weight in loaded.trainable().values():
        torch.nn.init.normal_(weight, std=0.2)
    loaded.model.eval()
    wanted = [plain_text(loaded, question) for question in one_image()]
    assert wanted != before
    assert both(loaded, one_image(), max_new_tokens=12) == wanted


def test_half_precision(llava_folder: Path) -> None:
    """Rounding may turn a near tie, so only most texts are those of `model.generate`."""
    loaded = load_model(ModelSpec(str(llava_folder), dtype="bfloat16"))
    asked = prompts(loaded, mixed())
    found = generate(loaded, asked, max_new_tokens=4)
    wanted = generate(loaded, asked, max_new_tokens=4, packed=False)
    assert sum(one == other for one, other in zip(found, wanted, strict=True)) > len(asked) / 2


def test_text_ends_before_the_first_stop_string(llava: LoadedModel) -> None:
    questions = mixed()
    whole = [plain_text(llava, question) for question in questions]
    stop = whole[0][3:5]
    found = both(llava, questions, max_new_tokens=12, until=["", stop])
    assert found == [text.split(stop)[0] for text in whole]
    assert found != whole


def test_generation_ends_when_every_text_has_stopped(llava: LoadedModel) -> None:
    calls = []
    handle = llava.model.lm_head.register_forward_hook(lambda *_: calls.append(1))
    question = one_image()[0]
    first = plain_text(llava, question, max_new_tokens=2)
    for packed in (True, False):
        calls.clear()
        generate(llava, prompts(llava, [question, question]), max_new_tokens=40, until=[first], packed=packed)
        assert len(calls) == 2
    handle.remove()


@pytest.mark.parametrize("packed", [True, False])
def test_sampling_follows_torch_seed_and_temperature(llava: LoadedModel, packed: bool) -> None:
    asked = prompts(llava, one_image()[:2])
    texts = []
    for _ in range(2):
        torch.manual_seed(0)
        texts.append(generate(llava, asked, max_new_tokens=8, sampling=Sampling(2.0), packed=packed))
    assert texts[0] == texts[1]
    assert texts[0] != generate(llava, asked, max_new_tokens=8)
    torch.manual_seed(0)
    cold = generate(llava, asked, max_new_tokens=8, sampling=Sampling(1e-4), packed=packed)
    assert cold == generate(llava, asked, max_new_tokens=8)
    torch.manual_seed(0)
    narrow = generate(llava, asked, max_new_tokens=8, sampling=Sampling(2.0, 1e-6), packed=packed)
    assert narrow == cold


def test_equal_prompts_are_sampled_each_for_itself(llava: LoadedModel) -> None:
    torch.manual_seed(0)
    asked = [encode_prompt(llava, "<image>\nwho?", [tiny_image(1)])] * 6
    assert len(set(generate(llava, asked, max_new_tokens=8, sampling=Sampling(3.0)))) > 3


def test_one_new_token(llava: LoadedModel) -> None:
    wanted = [plain_text(llava, question, max_new_tokens=1) for question in mixed()]
    assert both(llava, mixed(), max_new_tokens=1) == wanted


def test_no_prompts(llava: LoadedModel) -> None:
    assert generate(llava, [], max_new_tokens=5) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_new_tokens": 500}, "exceed the 512 tokens"),
        ({"max_new_tokens": 5, "sampling": Sampling(temperature=0.0)}, "temperature=0.0 must be above 0"),
        ({"max_new_tokens": 5, "sampling": Sampling(top_p=0.0)}, "top_p"),
    ],
)
def test_wrong_settings(llava: LoadedModel, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(llava, prompts(llava, one_image()[:1]), **settings)
