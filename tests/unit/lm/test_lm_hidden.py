"""Hidden states of questions, against `output_hidden_states` of the stock model, and what a guard shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText

from mmforget.asking import Ask, Decoding, Engine, Guard, GuardEngine
from mmforget.errors import PluginError, UserError
from mmforget.lm.engine import ModelEngine
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from tests.helpers import tiny_image, tiny_llava
from tests.tiny_models import tiny_qwen_vl

QUESTION = "<image>\nwhat is the name of this person?"
SCORED = Ask("score", "", QUESTION, " Anna Meier.", (), ()).showing([tiny_image(1)])
ASKS = [
    SCORED,
    Ask("score", "", QUESTION, " she lives in Bern, in a small house.", (), ()).showing([tiny_image(1)]),
    Ask("generate", "", QUESTION, None, (), (), Decoding(4)).showing([tiny_image(2)]),
    Ask("score", "", "what is his blood type?", " o positive.", (), ()),
    Ask("rolling", "", "", "she lives in the town of Bern.", (), ()),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llava(tmp_path_factory.mktemp("llava"))), device="cpu"))


def plain(loaded: LoadedModel, ask: Ask, *, positions: str) -> tuple[Tensor, Tensor]:
    """What layer 0 puts out [T, H], and what the final norm makes of the last, where a token is predicted."""
    processor = loaded.processor
    model = AutoModelForImageTextToText.from_pretrained(loaded.spec.pretrained).eval()

    def inputs(text: str) -> Any:
        shown = text.replace("<image>", getattr(processor, "image_token", "<image>"))
        return processor(text=[shown], images=list(ask.images) or None, return_tensors="pt")

    whole = inputs(ask.context + (ask.continuation or ""))
    # An empty context is the BOS token.
    num_context = inputs(ask.context)["input_ids"].shape[1] if ask.context else 1
    with torch.no_grad():
        states = model(**whole, output_hidden_states=True).hidden_states
    stop = whole["input_ids"].shape[1] - (ask.continuation is not None)
    part = slice(num_context - 1 if positions == "answer" else 0, stop)
    return states[1][0, part], states[-1][0, part]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("positions", ["answer", "all"])
def test_they_are_those_of_the_stock_model(loaded: LoadedModel, packed: bool, positions: Any) -> None:
    engine = ModelEngine(loaded, batch_size=3, packed=packed)
    found = engine.hidden(ASKS, layers=(0, -1), positions=positions)
    for ask, states in zip(ASKS, found, strict=True):
        first, last = plain(loaded, ask, positions=positions)
        assert states.shape == (2, *first.shape)
        assert (states.dtype, states.requires_grad) == (torch.float32, False)
        torch.testing.assert_close(states[0], first, atol=1e-5, rtol=1e-4)
        normed = loaded.core.get_decoder().norm(states[1])
        torch.testing.assert_close(normed, last, atol=1e-4, rtol=1e-4)
    (_, _, generated, _, rolled) = found
    if positions == "answer":
        assert (generated.shape[1], rolled.shape[1]) == (1, len(loaded.token_ids(str(ASKS[4].continuation))))


def test_a_prompt_with_positions_on_a_grid(tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(tiny_qwen_vl(tmp_path, version="2.5")), device="cpu"))
    (found,) = ModelEngine(loaded, batch_size=1).hidden(ASKS[2:3], layers=[0])
    torch.testing.assert_close(found[0], plain(loaded, ASKS[2], positions="answer")[0], atol=1e-4, rtol=1e-3)


def test_a_layer_that_is_not_there_is_named(loaded: LoadedModel) -> None:
    with pytest.raises(UserError, match="layer 2 is asked about, and the model has 2: 0 to 1"):
        ModelEngine(loaded, batch_size=1).hidden([SCORED], layers=(0, 2))


@dataclass(frozen=True)
class Doubled(GuardEngine):
    def hidden(self, asks: Sequence[Ask], **wanted: Any) -> list[Tensor]:
        return [2 * one for one in self.engine.hidden(asks, **wanted)]


@dataclass(frozen=True)
class Shown(GuardEngine):
    what: Any

    def hidden(self, asks: Sequence[Ask], **wanted: Any) -> Any:
        return self.what


@dataclass(frozen=True)
class Puts:
    """A guard whose engine is of this kind."""

    kind: Any
    more: tuple[Any, ...] = ()

    def guard(self, engine: Engine) -> Engine:
        found: Engine = self.kind(engine, *self.more)
        return found


@dataclass(frozen=True)
class Older:
    """An engine that knows nothing of hidden states."""

    engine: Engine

    def batches(self, asks: Sequence[Ask]) -> list[list[int]]:
        return self.engine.batches(asks)

    def score(self, asks: Sequence[Ask]) -> Any:
        return self.engine.score(asks)

    generate = roll = score


def behind(engine: ModelEngine, kind: Any, *more: Any) -> Engine:
    return Guard("puts", Puts(kind, more), {}, None, before=engine.fingerprint).around(engine)


def test_a_guard_shows_its_own_or_none(loaded: LoadedModel) -> None:
    engine = ModelEngine(loaded, batch_size=2)
    (bare,), (found,) = (one.hidden([SCORED], layers=[1]) for one in (engine, behind(engine, Doubled)))
    assert torch.equal(found, 2 * bare)
    for kind in (GuardEngine, Older):
        with pytest.raises(UserError, match="the guard gives no hidden states"):
            behind(engine, kind).hidden([SCORED], layers=[1])
    for wrong in ([], [torch.zeros(3)], [torch.zeros(2, 4, 4)], ["a"]):
        with pytest.raises(PluginError, match="method 'puts': hidden: has to give"):
            behind(engine, Shown, wrong).hidden([SCORED], layers=[1])
