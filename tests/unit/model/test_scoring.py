"""Scores equal a plain Hugging Face forward pass, whatever shares a row or a batch, and so do their gradients."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
import torch
from model_questions import (
    TOLERANCE,
    Question,
    chat,
    encode_all,
    largest_difference,
    one_image,
    plain_logprobs,
    several_images,
    text_only,
)

from mmforget.errors import UserError
from mmforget.model.encode import encode, encode_prompt
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, adapters_off, attach, set_trainable
from mmforget.model.scoring import Positions, Wanted, look, score
from mmforget.model.vision import FeatureCache
from mmforget.types import Scored

pytestmark = pytest.mark.slow


def in_batches(loaded: LoadedModel, questions: list[Question], *, size: int, packed: bool) -> list[torch.Tensor]:
    encoded = encode_all(loaded, questions)
    rows: list[torch.Tensor] = []
    for start in range(0, len(encoded), size):
        scored = score(loaded, encoded[start : start + size], packed=packed)
        rows += [row[keep] for row, keep in zip(scored.token_logprobs, scored.mask, strict=True)]
    return rows


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
@pytest.mark.parametrize("size", [1, 8, 100])
@pytest.mark.parametrize("with_chat", [False, True], ids=["bare", "chat"])
@torch.no_grad()
def test_it_equals_a_plain_forward(llava: LoadedModel, with_chat: bool, size: int, packed: bool) -> None:
    """One image, several images and text only, in one call, images of three sizes."""
    questions = one_image() + several_images() + text_only()
    questions = chat(llava, questions) if with_chat else questions
    wanted = [plain_logprobs(llava, question) for question in questions]
    found = in_batches(llava, questions, size=size, packed=packed)
    assert [len(one) for one in found] == [len(one) for one in wanted]
    assert max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True)) < TOLERANCE


@torch.no_grad()
def test_the_image_matters(llava: LoadedModel) -> None:
    first, other = one_image()[0], one_image()[4]
    assert first.answer == other.answer
    scored = score(llava, encode_all(llava, [first, other]))
    assert float((scored.token_logprobs[0] - scored.token_logprobs[1]).abs().max()) > 0.1


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
@torch.no_grad()
def test_text_only_models(llama: LoadedModel, packed: bool) -> None:
    questions = text_only()
    wanted = [plain_logprobs(llama, question) for question in questions]
    scored = score(llama, encode_all(llama, questions), packed=packed)
    assert largest_difference(scored.token_logprobs, wanted) < TOLERANCE


@torch.no_grad()
def test_mask_and_padding(llava: LoadedModel) -> None:
    encoded = encode_all(llava, one_image())
    scored = score(llava, encoded)
    assert scored.mask.sum(1).tolist() == [one.num_answer for one in encoded]
    assert scored.mask.shape[1] == max(one.num_answer for one in encoded)
    assert not scored.token_logprobs[~scored.mask].any()
    assert scored.token_logprobs.dtype == torch.float32


@torch.no_grad()
def test_greedy_is_true_only_for_the_most_likely_answer(llava: LoadedModel) -> None:
    question = one_image()[0]
    prompt = encode_prompt(llava, question.context, question.images)
    inputs = llava.processor(text=question.context, images=list(question.images), return_tensors="pt")
    best = llava.model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, len(prompt.ids) :].tolist()
    other = [*best[:-1], (best[-1] + 1) % 300]
    from dataclasses import replace

    greedy, not_greedy = (replace(prompt, ids=(*prompt.ids, *tail)) for tail in (best, other))
    assert score(llava, [greedy, not_greedy]).is_greedy.tolist() == [True, False]


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
@torch.no_grad()
def test_distributions_are_those_that_predict_the_answer(llava: LoadedModel, packed: bool) -> None:
    questions = one_image()[:5]
    wanted_of_each = Wanted(statistics=[lambda logprobs, target: logprobs])
    scored, (logprobs,) = look(llava, encode_all(llava, questions), wanted=wanted_of_each, packed=packed)
    for row, question in enumerate(questions):
        inputs = llava.processor(
            text=question.context + question.answer, images=list(question.images), return_tensors="pt"
        )
        num_answer = int(scored.mask[row].sum())
        wanted = llava.model(**inputs).logits[0, -num_answer - 1 : -1].log_softmax(-1)
        torch.testing.assert_close(logprobs[row, :num_answer], wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
@torch.no_grad()
def test_all_positions_cover_prompt_and_image(llava: LoadedModel, packed: bool) -> None:
    questions = one_image()[:6] + several_images()
    scored = score(llava, encode_all(llava, questions), positions="all", packed=packed)
    for row, question in enumerate(questions):
        inputs = llava.processor(
            text=question.context + question.answer, images=list(question.images), return_tensors="pt"
        )
        ids, logprobs = inputs["input_ids"][0], llava.model(**inputs).logits[0].log_softmax(-1)
        wanted = logprobs[:-1].gather(-1, ids[1:, None])[:, 0]
        assert int(scored.mask[row].sum()) == len(ids) - 1
        torch.testing.assert_close(scored.token_logprobs[row, : len(wanted)], wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("max_tokens", [64, 200])
@torch.no_grad()
def test_several_passes_give_the_same(llava: LoadedModel, max_tokens: int) -> None:
    encoded = encode_all(llava, one_image() + text_only())
    whole, parts = score(llava, encoded), score(llava, encoded, max_tokens=max_tokens)
    torch.testing.assert_close(parts.token_logprobs, whole.token_logprobs, atol=TOLERANCE, rtol=0)


def gradients(loaded: LoadedModel, scored: Scored) -> dict[str, torch.Tensor]:
    loaded.model.zero_grad()
    (-scored.token_logprobs.sum() / scored.mask.sum()).backward()
    return {name: weight.grad.clone() for name, weight in loaded.trainable().items() if weight.grad is not None}


def test_gradients_of_packed_rows_equal_plain_ones(fresh_llava: LoadedModel) -> None:
    loaded = set_trainable(fresh_llava, projector=True)
    encoded = encode_all(loaded, one_image() + several_images() + text_only())
    plain = gradients(loaded, score(loaded, encoded, packed=False))
    packed = gradients(loaded, score(loaded, encoded, packed=True, features=FeatureCache()))
    assert packed.keys() == plain.keys() == loaded.trainable().keys()
    for name, wanted in plain.items():
        assert float((packed[name] - wanted).norm() / wanted.norm()) < 1e-5, name


def test_gradients_equal_those_of_a_plain_forward(fresh_llava: LoadedModel) -> None:
    loaded = set_trainable(fresh_llava, projector=True)
    questions = one_image(num_images=2)
    packed = gradients(loaded, score(loaded, encode_all(loaded, questions)))
    loaded.model.zero_grad()
    torch.stack([-plain_logprobs(loaded, question).sum() for question in questions]).sum().backward()
    num_tokens = sum(one.num_answer for one in encode_all(loaded, questions))
    for name, weight in loaded.trainable().items():
        assert weight.grad is not None
        wanted = weight.grad / num_tokens
        assert float((packed[name] - wanted).norm() / wanted.norm()) < 1e-5, name


def test_logits_in_pieces_give_the_same_gradients(fresh_llava: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = set_trainable(fresh_llava)
    encoded = encode_all(loaded, one_image())
    whole = gradients(loaded, score(loaded, encoded))
    monkeypatch.setattr("mmforget.model.head.MAX_LOGITS_BYTES", 4 * 400 * 7)
    pieces = gradients(loaded, score(loaded, encoded))
    for name, wanted in whole.items():
        torch.testing.assert_close(pieces[name], wanted, atol=1e-6, rtol=1e-4)


def test_checkpointed_layers_give_the_same_gradients(fresh_llava: LoadedModel) -> None:
    loaded = set_trainable(fresh_llava)
    loaded.model.train()
    encoded = encode_all(loaded, one_image())
    wanted = gradients(loaded, score(loaded, encoded))
    loaded.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = gradients(loaded, score(loaded, encoded))
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_another_attention_computes_each_question_alone(llava: LoadedModel) -> None:
    eager = load_model(ModelSpec(llava.spec.pretrained, attn_implementation="eager"))
    assert not eager.family.packs(eager.core.config)
    encoded = encode_all(llava, one_image())
    found, wanted = score(eager, encoded), score(llava, encoded)
    torch.testing.assert_close(found.token_logprobs, wanted.token_logprobs, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_bfloat16_packs_without_nan(llava: LoadedModel) -> None:
    half = load_model(ModelSpec(llava.spec.pretrained, dtype="bfloat16"))
    encoded = encode_all(llava, one_image())
    found, wanted = score(half, encoded), score(llava, encoded)
    assert float((found.token_logprobs - wanted.token_logprobs).abs().mean()) < 0.1


def test_nothing_to_score(llava: LoadedModel) -> None:
    with pytest.raises(UserError, match="no question"):
        score(llava, [])
    with pytest.raises(UserError, match="none to score"):
        score(llava, [encode_prompt(llava, "who?")])


@torch.no_grad()
def test_equal_sequences_in_one_row(llava: LoadedModel) -> None:
    """A branch of which nothing is left behind the prefix takes its scores from the prefix."""
    question = one_image()[0]
    encoded = [encode(llava, question.context, question.answer, question.images) for _ in range(3)]
    scored = score(llava, encoded)
    assert largest_difference(scored.token_logprobs, [plain_logprobs(llava, question)] * 3) < TOLERANCE


@pytest.mark.parametrize("logits_bytes", [2**28, 4 * 400 * 7], ids=["whole", "in parts"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
@pytest.mark.parametrize("positions", ["answer", "all"])
def test_divergence_from_the_model_before_training(
    fresh_llava: LoadedModel,
    positions: Positions,
    packed: bool,
    logits_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """KL(before || now) and its gradient equal those of two plain forward passes, their logits and torch's kl_div."""
    monkeypatch.setattr("mmforget.model.head.MAX_LOGITS_BYTES", logits_bytes)
    loaded = attach(fresh_llava, LoraSettings(r=4))
    for name, weight in loaded.trainable().items():
        torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(len(name)))
    questions = one_image(2)
    encoded = encode_all(loaded, questions)

    def reference() -> AbstractContextManager[object]:
        return adapters_off(loaded)

    scored, (token_kl,) = look(loaded, encoded, wanted=Wanted(reference=reference), positions=positions, packed=packed)
    wanted = []
    for question, one in zip(questions, encoded, strict=True):
        begin = one.num_context if positions == "answer" else 1
        inputs = loaded.processor(  # type: ignore[misc]
            text=question.context + question.answer, images=list(question.images), return_tensors="pt"
        )
        with adapters_off(loaded), torch.no_grad():
            before = loaded.model(**inputs).logits[0, begin - 1 : -1].log_softmax(-1)
        now = loaded.model(**inputs).logits[0, begin - 1 : -1].log_softmax(-1)
        wanted.append(torch.nn.functional.kl_div(now, before, reduction="none", log_target=True).sum(-1))
    assert max(float(one.detach().max()) for one in wanted) > 0.01
    for row, one in zip(token_kl, wanted, strict=True):
        torch.testing.assert_close(row[: len(one)], one, atol=TOLERANCE, rtol=0)
        assert not row[len(one) :].any()
    scored = score(loaded, encoded, positions=positions, packed=packed)
    torch.testing.assert_close(scored.token_logprobs, scored.token_logprobs)
    weights = list(loaded.trainable().values())
    ours = torch.autograd.grad(token_kl.sum(), weights)
    theirs = torch.autograd.grad(sum(one.sum() for one in wanted), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
