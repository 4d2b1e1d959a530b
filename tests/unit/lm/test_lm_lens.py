"""Logits read at any layer, against `output_hidden_states`, norm and head of the stock model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, PhiConfig

from mmforget.asking import Ask, Decoding, Depth, Guard, GuardEngine
from mmforget.errors import PluginError, UserError
from mmforget.lm.engine import ModelEngine
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from tests.helpers import tiny_image, tiny_llava
from tests.tiny_models import tiny_gemma3, tiny_text

QUESTION = "<image>\nwhat is the name of this person?"
ASKS = [
    Ask("score", "", QUESTION, " Anna Meier.", (), ()).showing([tiny_image(1)]),
    Ask("score", "", QUESTION, " she lives in Bern.", (), ()).showing([tiny_image(1)]),
    Ask("score", "", "what is his blood type?", " o positive.", (), ()),
]
DEPTHS = (Depth(0), Depth(2), Depth(3), Depth(3, 2))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tiny_llava(tmp_path_factory.mktemp("llava"), num_layers=4)
    return load_model(ModelSpec(str(folder), device="cpu"))


def stock(loaded: LoadedModel, ask: Ask) -> tuple[Tensor, list[int]]:
    """Logits [T, 4, V] where the answer's tokens are predicted, and these tokens."""
    processor: Any = loaded.processor
    model = AutoModelForImageTextToText.from_pretrained(loaded.spec.pretrained).eval()
    whole, front = (
        processor(text=[text], images=list(ask.images) or None, return_tensors="pt")
        for text in (ask.context + (ask.continuation or ""), ask.context)
    )
    start, ids = front["input_ids"].shape[1], whole["input_ids"][0]
    last: list[Tensor] = []
    norm = model.model.language_model.norm
    hook = norm.register_forward_hook(lambda _module, given, _out: last.append(given[0]))
    with torch.no_grad():
        states = model(**whole, output_hidden_states=True).hidden_states
        hook.remove()
        read = [norm(states[1]), norm(states[3]), states[4], norm(states[4])]
        logits = torch.stack([model.lm_head(one[0, start - 1 : -1]) for one in read], dim=1)
    assert len(last) == 1
    return logits, ids[start:].tolist()


@pytest.mark.parametrize("packed", [True, False])
def test_they_are_those_of_the_stock_model(loaded: LoadedModel, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last layer read once is what the model says; twice normalised it is what the released code reads."""
    monkeypatch.setattr("mmforget.lm.lens.MAX_LOGITS_BYTES", 1)
    engine = ModelEngine(loaded, batch_size=2, packed=packed)
    found = engine.lens(ASKS, depths=DEPTHS, look=lambda logits, token: (logits.clone(), token))
    for ask, looked in zip(ASKS, found, strict=True):
        logits, tokens = stock(loaded, ask)
        assert [token for _, token in looked] == tokens
        torch.testing.assert_close(torch.stack([one for one, _ in looked]), logits, atol=2e-4, rtol=1e-4)


def test_log_probs_are_those_of_scoring(loaded: LoadedModel) -> None:
    engine = ModelEngine(loaded, batch_size=8)
    found = engine.lens(ASKS, depths=[Depth(3)], look=lambda logits, token: float(logits.log_softmax(-1)[0, token]))
    for looked, scored in zip(found, engine.score(ASKS), strict=True):
        assert looked == pytest.approx(list(scored.token_logprobs), abs=1e-5)


def test_a_model_in_half_precision_is_read_in_its_own(loaded: LoadedModel) -> None:
    half = load_model(ModelSpec(loaded.spec.pretrained, device="cpu", dtype="bfloat16"))
    engine = ModelEngine(half, batch_size=8)
    found = engine.lens(ASKS, depths=[Depth(1), Depth(3)], look=lambda logits, token: (logits.dtype, logits[1, token]))
    assert {dtype for looked in found for dtype, _ in looked} == {torch.float32}
    full = ModelEngine(loaded, batch_size=8).lens(ASKS, depths=[Depth(3)], look=lambda logits, token: logits[0, token])
    for looked, wanted in zip(found, full, strict=True):
        assert [float(one) for _, one in looked] == pytest.approx([float(one) for one in wanted], abs=0.2)


def test_a_question_without_an_answer_has_nothing_to_look_for(loaded: LoadedModel) -> None:
    ask = Ask("generate", "", "who?", None, (), (), Decoding(3), where="row 7")
    with pytest.raises(UserError, match="row 7: has no answer whose tokens could be looked for"):
        ModelEngine(loaded, batch_size=1).lens([ask], depths=[Depth(0)], look=lambda *_: 0)


def test_other_families_are_read_or_refused(tmp_path: Path) -> None:
    phi = load_model(ModelSpec(str(tiny_text(tmp_path / "phi", PhiConfig)), device="cpu"))
    ((found,),) = ModelEngine(phi, batch_size=1).lens(
        [Ask("score", "", "a", "b", (), ())], depths=[Depth(0), Depth(1)], look=lambda logits, _: logits.shape[0]
    )
    assert found == 2
    gemma = load_model(ModelSpec(str(tiny_gemma3(tmp_path / "gemma")), device="cpu"))
    with pytest.raises(UserError, match="their layers cannot be read by their head"):
        ModelEngine(gemma, batch_size=1).lens([], depths=[Depth(0)], look=lambda *_: 0)


class Puts:
    """A guard whose engine is of this kind."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def guard(self, engine: Any) -> Any:
        return self.kind(engine)


class Shows(GuardEngine):
    def lens(self, asks: Any, **wanted: Any) -> Any:
        return self.engine.lens(asks, **wanted)


class Less(GuardEngine):
    def lens(self, asks: Any, **wanted: Any) -> Any:
        return [0 for _ in asks]


def test_a_guard_shows_what_it_passes_on_and_nothing_else(loaded: LoadedModel) -> None:
    engine = ModelEngine(loaded, batch_size=4)

    def behind(kind: Any) -> Any:
        return Guard("g", Puts(kind), {}, None, before=loaded.fingerprint).around(engine)

    def best(logits: Tensor, _token: int) -> list[int]:
        return logits.argmax(-1).tolist()

    assert behind(Shows).lens(ASKS, depths=DEPTHS, look=best) == engine.lens(ASKS, depths=DEPTHS, look=best)
    with pytest.raises(UserError, match="the guard gives no hidden states; look at the model itself, without guard="):
        behind(GuardEngine).lens([], depths=DEPTHS, look=best)
    with pytest.raises(PluginError, match="method 'g': lens: has to give a list for each of 3 questions"):
        behind(Less).lens(ASKS, depths=DEPTHS, look=best)
