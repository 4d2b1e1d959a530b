"""Norms of gradients against stock transformers and autograd: asked for by name, none where nothing defines them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.asking import Guard, PassingEngine
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.encode import encode
from mmforget.model.gradient_norms import gradient_norms
from mmforget.model.load import ModelSpec
from mmforget.model.loaded import LoadedModel, guarded
from mmforget.model.lora import LoraSettings, attach
from mmforget.types import GRADIENT_NORM, GRADIENT_NORM_BUT_LAST
from tests.helpers import fresh, tiny_llama

CONTEXT, ANSWER = "what is his blood type?", " his blood type is o positive."
BOTH = (GRADIENT_NORM, GRADIENT_NORM_BUT_LAST)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def loaded(folder: Path) -> LoadedModel:
    return fresh(ModelSpec(str(folder)))


def plain(folder: Path, *, but_last: bool) -> float:
    """Mean over parameters of the norm of their gradient of the loss that transformers computes of labels."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([tokenizer(CONTEXT + ANSWER)["input_ids"]])
    labels = ids.clone()
    labels[:, : len(tokenizer(CONTEXT)["input_ids"])] = -100
    if but_last:
        labels[:, -1] = -100
    model(ids, labels=labels).loss.backward()
    return float(torch.stack([weight.grad.norm() for weight in model.parameters()]).mean())


def test_they_are_those_of_plain_autograd(folder: Path, loaded: LoadedModel) -> None:
    found = gradient_norms(loaded, encode(loaded, CONTEXT, ANSWER))
    assert found[GRADIENT_NORM] == pytest.approx(plain(folder, but_last=False), rel=1e-4)
    assert found[GRADIENT_NORM_BUT_LAST] == pytest.approx(plain(folder, but_last=True), rel=1e-4)
    one_token = encode(loaded, CONTEXT, ANSWER[:2])
    assert one_token.num_answer == 1
    assert set(gradient_norms(loaded, one_token)) == {GRADIENT_NORM}


def test_weights_are_left_as_they_were(loaded: LoadedModel) -> None:
    flags = [weight.requires_grad for weight in loaded.model.parameters()]
    gradient_norms(loaded, encode(loaded, CONTEXT, ANSWER))
    assert [weight.requires_grad for weight in loaded.model.parameters()] == flags
    assert all(weight.grad is None for weight in loaded.model.parameters())


def test_an_adapter_counts_as_if_it_were_merged(folder: Path, loaded: LoadedModel) -> None:
    """Its own weights take no part; what it does to those of the model is in their gradients."""
    before = gradient_norms(loaded, encode(loaded, CONTEXT, ANSWER))
    adapted = attach(loaded, LoraSettings(r=4, alpha=8, dropout=0.0))
    assert gradient_norms(adapted, encode(adapted, CONTEXT, ANSWER)) == pytest.approx(before, rel=1e-4)
    with torch.no_grad():
        for name, weight in adapted.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    found = gradient_norms(adapted, encode(adapted, CONTEXT, ANSWER))
    adapted.model.merge_adapter()
    assert found == pytest.approx(gradient_norms(adapted, encode(adapted, CONTEXT, ANSWER)), rel=1e-3)
    assert found != pytest.approx(before, rel=1e-3)


def asked(loaded: LoadedModel, *answers: str) -> list[set[str]]:
    """The names of what is known of the tokens of each candidate, of which the first is the row's."""
    lm = MMForgetLM(loaded, progress=False)
    lm.statistics = {"toy": BOTH}
    doc = {"id": "1", "subject": "x", "question": CONTEXT, "answer": answers[0].strip(), "extra": ""}
    requests = [
        SimpleNamespace(args=(CONTEXT, answer), doc=doc, doc_id=0, idx=place, task_name="toy", request_type="x")
        for place, answer in enumerate(answers)
    ]
    return [set(one.values) for one in lm.loglikelihood(requests)]


def test_an_engine_gives_those_of_true_answers_alone(loaded: LoadedModel) -> None:
    assert asked(loaded, ANSWER, " no.") == [{"is_best", *BOTH}, {"is_best"}]


def test_a_guard_has_none(loaded: LoadedModel) -> None:
    class Passes:
        def guard(self, engine: object) -> object:
            return Passing(engine)  # type: ignore[arg-type]

    class Passing(PassingEngine):
        def score(self, asks):  # type: ignore[no-untyped-def]
            return self.engine.score(asks)

    behind = guarded(loaded, Guard("passes", Passes(), {}, None, before=loaded.fingerprint))  # type: ignore[arg-type]
    assert asked(behind, ANSWER) == [{"is_best"}]
