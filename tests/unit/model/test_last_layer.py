"""Of the last layer only what is read is computed; scores and gradients stay those of the whole layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from model_questions import Question, chat, encode_all, one_image, plain_logprobs, text_only
from torch import nn

from mmforget.model.activations import decoder_layers
from mmforget.model.encode import Encoded
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.scoring import score
from mmforget.model.spec import ModelSpec

pytestmark = pytest.mark.slow


@contextmanager
def places_seen(loaded: LoadedModel) -> Iterator[list[int]]:
    """How many places the last layer's feed-forward part takes in, call by call."""
    part, sizes = decoder_layers(loaded.core)[-1].mlp, list[int]()
    inner = part.forward
    part.forward = lambda x: (sizes.append(x.shape[:-1].numel()), inner(x))[1]
    try:
        yield sizes
    finally:
        part.forward = inner


def num_read(encoded: list[Encoded]) -> int:
    """Distinct beginnings that an answer's token is predicted from."""
    return len({(one.image_keys, one.ids[:at]) for one in encoded for at in range(one.num_context, len(one))})


def num_distinct(encoded: list[Encoded]) -> int:
    return len({(one.image_keys, one.ids[:at]) for one in encoded for at in range(1, len(one) + 1)})


def with_adapter(loaded: LoadedModel, *, dropout: float = 0.0) -> LoadedModel:
    adapted, generator = attach(loaded, LoraSettings(r=2, dropout=dropout)), torch.Generator().manual_seed(0)
    for name, weight in sorted(adapted.trainable().items()):
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1, generator=generator)
    adapted.model.train()
    return adapted


def gradients(loaded: LoadedModel, encoded: list[Encoded], *, packed: bool) -> list[torch.Tensor]:
    loaded.model.zero_grad(set_to_none=True)
    score(loaded, encoded, packed=packed).token_logprobs.sum().backward()
    return [weight.grad.clone() for weight in loaded.trainable().values()]


@pytest.mark.parametrize("make", [one_image, text_only])
@torch.no_grad()
def test_answers_of_a_plain_model(llava: LoadedModel, make: Callable[[], list[Question]]) -> None:
    questions = chat(llava, make())
    encoded = encode_all(llava, questions)
    with places_seen(llava) as sizes:
        scored = score(llava, encoded)
    assert sum(sizes) == num_read(encoded) < num_distinct(encoded)
    for found, mask, question in zip(scored.token_logprobs, scored.mask, questions, strict=True):
        assert found[mask].numpy() == pytest.approx(plain_logprobs(llava, question).numpy(), abs=1e-5)


def test_gradients_are_those_of_one_question_a_row(fresh_llava: LoadedModel) -> None:
    adapted = with_adapter(fresh_llava)
    encoded = encode_all(adapted, one_image())
    with places_seen(adapted) as sizes:
        found = gradients(adapted, encoded, packed=True)
        assert sum(sizes) == num_read(encoded)
        wanted = gradients(adapted, encoded, packed=False)
        assert sum(sizes[1:]) >= sum(map(len, encoded))
    for one, other in zip(found, wanted, strict=True):
        assert torch.linalg.norm(one - other) <= 1e-5 * torch.linalg.norm(other)


def test_where_every_token_is_scored_all_is_computed(llava: LoadedModel) -> None:
    encoded = encode_all(llava, text_only())
    with places_seen(llava) as sizes, torch.no_grad():
        score(llava, encoded, positions="all")
    assert sum(sizes) >= num_distinct(encoded)


def test_under_dropout_all_is_computed_so_that_the_same_numbers_are_drawn(fresh_llava: LoadedModel) -> None:
    adapted = with_adapter(fresh_llava, dropout=0.5)
    encoded = encode_all(adapted, one_image())
    with places_seen(adapted) as sizes:
        score(adapted, encoded)
        adapted.model.eval()
        score(adapted, encoded)
    assert sizes == [num_distinct(encoded), num_read(encoded)]


def test_with_gradient_checkpointing_all_is_computed(llava_folder: object) -> None:
    adapted = with_adapter(load_model(ModelSpec(str(llava_folder))))
    adapted.core.gradient_checkpointing_enable()
    encoded = encode_all(adapted, one_image())
    with places_seen(adapted) as sizes:
        score(adapted, encoded)
    assert sizes[0] == num_distinct(encoded)
