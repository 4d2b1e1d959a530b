"""Losses of real micro-batches against plain Hugging Face forwards, one question at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material, RetainLogprobs
from mmforget.model.encode import Encoded
from mmforget.model.examples import encode_all
from mmforget.model.loaded import LoadedModel
from mmforget.training.batches import Batch
from mmforget.training.objective import Memorise, Scoring, Unlearn
from mmforget.training.sources import make_sources
from mmforget.types import Example

pytestmark = pytest.mark.slow

BATCH = Batch(rows=(0, 1, 5), partners={"retain": (3, 2, 7), "alternate": (1, 0, 1)})
REFUSALS = ("i do not know.", "nothing is known to me about that.")


def plain_logprobs(loaded: LoadedModel, item: Encoded) -> Tensor:
    """Log-softmax of the model's own forward, at the answer tokens: float32 [T]."""
    ids = torch.tensor([item.ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if item.images:
        inputs["pixel_values"] = loaded.processor.image_processor(list(item.images), return_tensors="pt").pixel_values
    logits = loaded.core(**inputs).logits[0].float()
    found = logits.log_softmax(-1)[:-1].gather(-1, ids[0, 1:, None])[:, 0]
    return found[item.num_context - 1 :]


def plain_nll(loaded: LoadedModel, items: Sequence[Encoded]) -> Tensor:
    tokens = torch.cat([plain_logprobs(loaded, item) for item in items])
    return -tokens.mean()


def objective(loaded: LoadedModel, examples: Sequence[Example], name: str, args: str = "") -> Unlearn:
    method, material = build(name, args), Material(forget=examples[:8], retain=examples[8:], refusals=REFUSALS)
    sources = make_sources(loaded, material, method=method, name=name, append_eos=False)
    made = Unlearn(Scoring(loaded), method, sources.rows, has_adapters=True)
    made.prepare(batch_size=3)
    return made


def test_memorise_is_the_loss_of_a_plain_forward(llava: LoadedModel, examples: list[Example]) -> None:
    encoded = encode_all(llava, examples, append_eos=True, source="rows")
    losses = Memorise(Scoring(llava), encoded).loss(Batch(rows=(0, 1, 6, 23)))
    expected = plain_nll(llava, [encoded[row] for row in (0, 1, 6, 23)])
    assert losses.total.item() == pytest.approx(expected.item(), abs=1e-5)
    assert losses.parts == {"nll": pytest.approx(expected.item(), abs=1e-5)}


def test_grad_diff_and_its_gradient_are_those_of_plain_forwards(adapted: LoadedModel, examples: list[Example]) -> None:
    made = objective(adapted, examples, "grad_diff", "retain_weight=2")
    forget, retain = (made.rows[name].of(BATCH) for name in ("forget", "retain"))
    made.loss(BATCH).total.backward()
    found = {name: weight.grad.clone() for name, weight in adapted.trainable().items() if weight.grad is not None}
    adapted.model.zero_grad()
    expected = -plain_nll(adapted, forget) + 2 * plain_nll(adapted, retain)
    expected.backward()
    assert made.loss(BATCH).total.item() == pytest.approx(expected.item(), abs=1e-5)
    assert set(found) == set(adapted.trainable())
    for name, weight in adapted.trainable().items():
        assert weight.grad is not None
        torch.testing.assert_close(found[name], weight.grad, rtol=1e-3, atol=1e-6)


def test_npo_reference_is_the_model_with_adapters_off(adapted: LoadedModel, examples: list[Example]) -> None:
    """(2 / beta) mean log(1 + exp(beta (s - s_ref))), every s a sum of plain log-probs."""
    made = objective(adapted, examples, "npo", "beta=0.3,retain_weight=0")
    with torch.no_grad():
        now = torch.stack([plain_logprobs(adapted, row).sum() for row in made.rows["forget"].of(BATCH)])
        with adapted.model.disable_adapter():
            before = torch.stack([plain_logprobs(adapted, row).sum() for row in made.rows["forget"].of(BATCH)])
    assert (now - before).abs().min() > 1e-2
    expected = (2 / 0.3) * torch.log1p(torch.exp(0.3 * (now - before))).mean()
    assert made.loss(BATCH).total.item() == pytest.approx(expected.item(), abs=1e-4)


def test_reference_log_probs_are_kept_per_row_in_float32(adapted: LoadedModel, examples: list[Example]) -> None:
    made = objective(adapted, examples, "npo")
    kept = made.references["forget"]
    assert [row.shape[0] for row in kept] == [item.num_answer for item in made.rows["forget"].encoded]
    assert {row.dtype for row in kept} == {torch.float32}


@pytest.mark.parametrize("positions", ["answer", "all"])
def test_kl_is_that_of_plain_forwards(adapted: LoadedModel, examples: list[Example], positions: str) -> None:
    """Mean over positions of sum p_ref (log p_ref - log p): of the answer, or of every token but the first."""
    made = objective(adapted, examples, "kl", f"forget_weight=0,positions={positions}")

    def distributions() -> Tensor:
        found = []
        for item in made.rows["retain"].of(BATCH):
            ids = torch.tensor([item.ids])
            pixels = adapted.processor.image_processor(list(item.images), return_tensors="pt").pixel_values
            logits = adapted.core(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels).logits[0]
            first = item.num_context - 1 if positions == "answer" else 0
            found.append(logits[first:-1].float().log_softmax(-1))
        return torch.cat(found)

    with torch.no_grad():
        now = distributions()
        with adapted.model.disable_adapter():
            before = distributions()
    expected = (before.exp() * (before - now)).sum(-1).mean().item()
    assert expected > 1e-4
    assert made.loss(BATCH).total.item() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_po_answers_the_forget_questions_with_the_drawn_refusals(adapted: LoadedModel, examples: list[Example]) -> None:
    made = objective(adapted, examples, "po")
    changed = [
        Example(examples[row].id, examples[row].subject, examples[row].context, f" {REFUSALS[k]}", examples[row].images)
        for row, k in zip(BATCH.rows, BATCH.partners["alternate"], strict=True)
    ]
    refused = encode_all(adapted, changed, append_eos=False, source="refusals")
    expected = plain_nll(adapted, [*refused, *made.rows["retain"].of(BATCH)])
    assert made.loss(BATCH).total.item() == pytest.approx(expected.item(), abs=1e-5)


def test_nll_of_forget_and_retain_is_reported_beside_the_loss(adapted: LoadedModel, examples: list[Example]) -> None:
    made = objective(adapted, examples, "grad_diff", "forget_weight=0.5")
    losses = made.loss(BATCH)
    assert losses.nll["forget"] == pytest.approx(-2 * losses.parts["forget"], rel=1e-5)
    assert made.retain_nll(BATCH) == pytest.approx(losses.nll["retain"], abs=1e-5)


def test_a_loss_of_every_method_trains_adapters_only(adapted: LoadedModel, examples: list[Example]) -> None:
    methods = ("ga", "grad_diff", "kl", "po", "npo", "simnpo", "idk_dpo", "task_vector", "whp_logit")
    for name in (*methods, "npo:variant=muse_logit", "simnpo:variant=muse_logit"):
        adapted.model.zero_grad()
        objective(adapted, examples, *name.split(":")).loss(BATCH).total.backward()
        reached = {
            n for n, w in adapted.model.named_parameters() if w.grad is not None and bool(w.grad.abs().max() > 0)
        }
        assert reached == set(adapted.trainable()), name


def test_kl_without_adapters_is_refused(llava: LoadedModel, examples: list[Example]) -> None:
    material = Material(forget=examples, retain=examples)
    sources = make_sources(llava, material, method=build("kl"), name="kl", append_eos=False)
    made = Unlearn(Scoring(llava), build("kl"), sources.rows, has_adapters=False)
    with pytest.raises(UserError, match="train with LoRA"):
        made.prepare(batch_size=4)


def test_rows_that_cannot_be_encoded_are_all_named(llava: LoadedModel, examples: list[Example]) -> None:
    broken = [Example("no image", "x", "who?", " a.", examples[0].images), Example("empty", "x", "who?", "")]
    with pytest.raises(UserError, match=r"(?s)2 faults.*'no image'.*'empty'"):
        encode_all(llava, [examples[0], *broken], append_eos=False, source="rows to forget")
    with pytest.raises(UserError, match="there are none"):
        encode_all(llava, [], append_eos=False, source="rows to forget")


def test_npo_of_offside_compares_with_the_retain_model_that_is_given(
    adapted: LoadedModel, examples: list[Example]
) -> None:
    """Means over the batch's tokens: of plain forwards now, and of what was handed in; without any, adapters off."""
    method, args = build("npo", "variant=offside,beta=0.9,retain_weight=0"), {"append_eos": False, "name": "npo"}
    material = Material(forget=examples[:8], retain=examples[8:])
    encoded = encode_all(adapted, examples[:8], append_eos=False, source="rows")
    given = [torch.full((row.num_answer,), -0.1 * (place + 1)) for place, row in enumerate(encoded)]
    known = replace(material, retain_logprobs=RetainLogprobs("gold", given))
    with torch.no_grad(), adapted.model.disable_adapter():
        before = [plain_logprobs(adapted, row) for row in encoded]
    for one, reference in ((known, given), (material, before)):
        sources = make_sources(adapted, one, method=method, **args)
        assert sources.hashes.get("retain model") == ("gold" if one is known else None)
        made = Unlearn(Scoring(adapted), method, sources.rows, has_adapters=True)
        made.prepare(batch_size=3)
        now = plain_nll(adapted, made.rows["forget"].of(BATCH))
        then = -torch.cat([reference[row] for row in BATCH.rows]).mean()
        expected = 2 / 0.9 * torch.nn.functional.softplus(-0.9 * (now - then))
        assert made.loss(BATCH).total.item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_retain_model_with_other_tokens_is_refused(adapted: LoadedModel, examples: list[Example]) -> None:
    known = RetainLogprobs("gold", [torch.zeros(1)] * 8)
    material = Material(forget=examples[:8], retain=examples[8:], retain_logprobs=known)
    with pytest.raises(UserError, match="in other tokens"):
        make_sources(adapted, material, method=build("npo", "variant=offside"), name="npo", append_eos=False)
