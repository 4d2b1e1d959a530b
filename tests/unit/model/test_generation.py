"""Greedy text is that of plain `model.generate`, prompt by prompt, in whatever batch."""

from __future__ import annotations

import pytest
import torch
from model_questions import Question, chat, one_image, several_images, text_only

from mmforget.errors import UserError
from mmforget.model.encode import encode_prompt
from mmforget.model.generation import generate
from mmforget.model.loaded import LoadedModel


def plain_text(loaded: LoadedModel, question: Question, *, max_new_tokens: int = 12) -> str:
    if loaded.processor is None:
        inputs = loaded.tokenizer(question.context, return_tensors="pt")
    else:
        inputs = loaded.processor(text=question.context, images=list(question.images) or None, return_tensors="pt")
    output = loaded.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    text: str = loaded.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


def prompts(loaded: LoadedModel, questions: list[Question]) -> list[object]:
    return [encode_prompt(loaded, one.context, one.images) for one in questions]


@pytest.mark.parametrize("with_chat", [False, True], ids=["bare", "chat"])
def test_it_equals_plain_generate(llava: LoadedModel, with_chat: bool) -> None:
    questions = one_image() + several_images() + text_only()[:1]
    questions = chat(llava, questions) if with_chat else questions
    wanted = [plain_text(llava, question) for question in questions]
    assert generate(llava, prompts(llava, questions), max_new_tokens=12) == wanted
    assert len(set(wanted)) > 5


def test_text_only_models(llama: LoadedModel) -> None:
    questions = text_only()[::4] + [Question("who?", "")]
    wanted = [plain_text(llama, question) for question in questions]
    assert generate(llama, prompts(llama, questions), max_new_tokens=12) == wanted


def test_text_ends_before_the_first_stop_string(llava: LoadedModel) -> None:
    question = one_image()[0]
    whole = plain_text(llava, question)
    stop = whole[3:5]
    (found,) = generate(llava, prompts(llava, [question]), max_new_tokens=12, until=["", stop])
    assert found == whole.split(stop)[0]


def test_generation_ends_when_every_text_has_stopped(llava: LoadedModel) -> None:
    calls = []
    handle = llava.model.lm_head.register_forward_hook(lambda *_: calls.append(1))
    question = one_image()[0]
    first = plain_text(llava, question, max_new_tokens=2)
    calls.clear()
    generate(llava, prompts(llava, [question, question]), max_new_tokens=40, until=[first])
    handle.remove()
    assert len(calls) == 2


def test_sampling_follows_torch_seed_and_temperature(llava: LoadedModel) -> None:
    asked = prompts(llava, one_image()[:2])
    texts = []
    for _ in range(2):
        torch.manual_seed(0)
        texts.append(generate(llava, asked, max_new_tokens=8, do_sample=True, temperature=2.0))
    assert texts[0] == texts[1]
    assert texts[0] != generate(llava, asked, max_new_tokens=8)
    torch.manual_seed(0)
    cold = generate(llava, asked, max_new_tokens=8, do_sample=True, temperature=1e-4)
    assert cold == generate(llava, asked, max_new_tokens=8)
    torch.manual_seed(0)
    assert generate(llava, asked, max_new_tokens=8, do_sample=True, temperature=2.0, top_p=1e-6) == cold


def test_no_prompts(llava: LoadedModel) -> None:
    assert generate(llava, [], max_new_tokens=5) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_new_tokens": 500}, "exceed the 512 tokens"),
        ({"max_new_tokens": 5, "do_sample": True, "temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"max_new_tokens": 5, "do_sample": True, "top_p": 0.0}, "top_p"),
    ],
)
def test_wrong_settings(llava: LoadedModel, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(llava, prompts(llava, one_image()[:1]), **settings)
