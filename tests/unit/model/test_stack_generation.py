"""Text under many edits, and text drawn with seeds: in a batch as one at a time, sharing prompts or not."""

from __future__ import annotations

import pytest
import torch

from mmforget.model.choosing import Choice, Sampling, own_numbers
from mmforget.model.encode import Encoded, encode_prompt
from mmforget.model.generation import generate
from mmforget.model.loaded import LoadedModel
from mmforget.model.stack import attached
from tests.helpers import tiny_image
from tests.unit.model.test_stack import PACKED, QUESTIONS, make_stack, weights_changed

NUM_NEW = 6
SAMPLING = Sampling(temperature=0.8, top_p=0.95)


@pytest.fixture(params=["llava", "llama"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    found: LoadedModel = request.getfixturevalue(request.param)
    return found


def prompts(loaded: LoadedModel) -> list[Encoded]:
    """Every question about one picture, or none, each twice under several edits and under none."""
    images = [tiny_image(1)] if loaded.is_multimodal else []
    contexts = [("<image>\n" if images else "") + question for question in QUESTIONS]
    found = [encode_prompt(loaded, context, images) for context in contexts]
    return [one.under(edit) for one in found for edit in (1, None, 0, 2) for _ in range(2)]


@PACKED
@pytest.mark.parametrize("sampling", [None, SAMPLING], ids=["greedy", "sampled"])
def test_a_mixed_batch_writes_what_each_alone_writes(
    loaded: LoadedModel, packed: bool, sampling: Sampling | None
) -> None:
    stack, asked = make_stack(loaded), prompts(loaded)
    seeds = list(range(len(asked))) if sampling else None
    with attached(loaded, stack, fingerprint="all") as stacked:
        found = generate(
            stacked, asked, max_new_tokens=NUM_NEW, sampling=sampling, seeds=seeds, packed=packed, until=[" the"]
        )
    for number, (prompt, text) in enumerate(zip(asked, found, strict=True)):
        with weights_changed(loaded, stack, prompt.edit):
            (alone,) = generate(
                loaded, [prompt.under(None)], max_new_tokens=NUM_NEW, sampling=sampling, seeds=[number], packed=False,
                until=[" the"],
            )  # fmt: skip
        assert text == alone
    assert len(set(found)) > len(QUESTIONS)
    assert (found[::2] == found[1::2]) == (sampling is None)


def test_equal_prompts_are_computed_once(loaded: LoadedModel) -> None:
    (prompt,) = prompts(loaded)[2:3]
    sizes = []
    hook = loaded.core.get_input_embeddings().register_forward_hook(lambda *call: sizes.append(call[2].shape[1]))
    try:
        found = generate(loaded, [prompt] * 20, max_new_tokens=2, sampling=SAMPLING, seeds=range(20))
    finally:
        hook.remove()
    assert sizes == [len(prompt), 20]
    assert len(set(found)) > 1


def test_drawn_tokens_come_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0, -20.0]])
    seeds = range(4000)
    numbers = own_numbers(seeds, num_tokens=2)[:, 1]
    choice = Choice(Sampling(temperature=0.5), penalty=1, ends=frozenset())
    many = logits.expand(len(seeds), -1)
    tokens = choice.next_tokens(many, known=torch.zeros(len(seeds), 1, dtype=torch.int64), drawn=numbers)
    counts = torch.bincount(tokens, minlength=5) / len(seeds)
    assert counts.numpy() == pytest.approx((logits[0] / 0.5).softmax(-1).numpy(), abs=0.03)


def test_the_most_likely_tokens_alone_are_drawn_with_top_p() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(3, -1)
    choice = Choice(Sampling(top_p=0.7), penalty=1, ends=frozenset())
    numbers = torch.tensor([0.0, 0.6249, 0.999999999], dtype=torch.float64)
    tokens = choice.next_tokens(logits, known=torch.zeros(3, 1, dtype=torch.int64), drawn=numbers)
    assert tokens.tolist() == [0, 0, 1]
