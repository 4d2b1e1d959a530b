"""Preference losses and those of raw logits, against plain Hugging Face forwards one question at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model import head
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.training.batches import Batch
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.sources import make_sources
from mmforget.types import Example

pytestmark = pytest.mark.slow

BATCH = Batch(rows=(0, 1, 5), partners={"retain": (3, 2, 7), "alternate": (1, 0, 1), "false": (0, 1, 5)})
REFUSALS = ("i do not know.", "nothing is known to me about that.")
SHORT = ("no.", "pass.")
"""Whose rows, beside longer answers, are padded."""


def plain_logits(loaded: LoadedModel, item: Encoded) -> Tensor:
    """Of the model's own forward at every position but the last, float32 [N - 1, V]."""
    ids = torch.tensor([item.ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if item.images:
        inputs["pixel_values"] = loaded.processor.image_processor(list(item.images), return_tensors="pt").pixel_values
    logits: Tensor = loaded.core(**inputs).logits[0].float()
    return logits[:-1]


def answer_sums(loaded: LoadedModel, items: Sequence[Encoded]) -> Tensor:
    """Log-probs of whole answers [B]."""
    found = []
    for item in items:
        target = torch.tensor(item.ids[1:])
        each = -functional.cross_entropy(plain_logits(loaded, item), target, reduction="none")
        found.append(each[item.num_context - 1 :].sum())
    return torch.stack(found)


def objective(
    loaded: LoadedModel, examples: Sequence[Example], name: str, args: str = "", *, refusals: Sequence[str] = REFUSALS
) -> Unlearn:
    method = build(name, args)
    rows = [replace(row, extra={"alternatives": refusals[:1]}) for row in examples[:8]]
    material = Material(forget=rows, retain=examples[8:], refusals=refusals)
    sources = make_sources(loaded, material, method=method, name=name, append_eos=False)
    made = Unlearn(Scoring(loaded), method, sources.rows, has_adapters=True)
    made.prepare(batch_size=3)
    return made


def gradients(loaded: LoadedModel, value: Tensor) -> dict[str, Tensor]:
    weights = loaded.trainable()
    found = torch.autograd.grad(value, list(weights.values()))
    return dict(zip(weights, found, strict=True))


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name, one in wanted.items():
        assert float((found[name] - one).norm() / one.norm()) < 1e-4, name


@pytest.mark.parametrize("refusals", [REFUSALS, SHORT])
@pytest.mark.parametrize(("name", "source"), [("dpo", "false"), ("idk_dpo", "alternate")])
def test_preferences_are_those_of_plain_forwards(
    adapted: LoadedModel, examples: list[Example], name: str, source: str, refusals: Sequence[str]
) -> None:
    """-(2 / beta) mean log sigmoid(beta (what the better answers gained - what the others did))."""
    made = objective(adapted, examples, name, "beta=0.3,retain_weight=0", refusals=refusals)
    better, worse = (made.rows[one].of(BATCH) for one in (source, "forget"))
    with torch.no_grad(), adapted.model.disable_adapter():
        before = answer_sums(adapted, better) - answer_sums(adapted, worse)
    assert [len(item.ids) for item in better] != [len(item.ids) for item in worse]
    adapted.model.requires_grad_(False)
    for key, weight in adapted.model.named_parameters():
        weight.requires_grad_("lora_" in key)
    gain = answer_sums(adapted, better) - answer_sums(adapted, worse) - before
    expected = -(2 / 0.3) * functional.logsigmoid(0.3 * gain).mean()
    found = made.loss(BATCH).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert_same(gradients(adapted, found), gradients(adapted, expected))


@pytest.mark.parametrize("name", ["npo", "simnpo"])
def test_muse_logit_is_the_released_formula_on_plain_logits(
    adapted: LoadedModel, examples: list[Example], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Element by element at all positions, image and prompt included, with logits made in several parts."""
    made = objective(adapted, examples, name, "variant=muse_logit,beta=0.7,retain_weight=0")
    rows = made.rows["forget"].of(BATCH)
    with torch.no_grad(), adapted.model.disable_adapter():
        before = torch.cat([plain_logits(adapted, row) for row in rows])
    for key, weight in adapted.model.named_parameters():
        weight.requires_grad_("lora_" in key)
    now = torch.cat([plain_logits(adapted, row) for row in rows])
    ratio = before - now if name == "npo" else -now
    weight = 1.0 if name == "npo" else 0.1375
    expected = weight * -functional.logsigmoid(0.7 * ratio).mean() * 2 / 0.7
    monkeypatch.setattr(head, "MAX_LOGITS_BYTES", 12 * adapted.core.config.get_text_config().vocab_size)
    found = made.loss(BATCH).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_same(gradients(adapted, found), gradients(adapted, expected))


def test_npo_with_kl_is_the_sum_of_both(adapted: LoadedModel, examples: list[Example]) -> None:
    parts = objective(adapted, examples, "npo", "retain=kl,retain_weight=2").loss(BATCH).parts
    alone = objective(adapted, examples, "npo", "retain_weight=0").loss(BATCH).parts
    kl = objective(adapted, examples, "kl", "forget_weight=0,retain_weight=2").loss(BATCH).parts
    assert parts["forget"] == pytest.approx(alone["forget"], rel=1e-5)
    assert parts["retain_kl"] == pytest.approx(kl["retain_kl"], rel=1e-4)


@pytest.mark.parametrize("args", ["retain=kl", "variant=muse_logit,retain_weight=0"])
def test_what_looks_back_at_every_step_needs_adapters(llava: LoadedModel, examples: list[Example], args: str) -> None:
    method = build("npo", args)
    sources = make_sources(
        llava, Material(forget=examples[:4], retain=examples[4:]), method=method, name="npo", append_eos=False
    )
    with pytest.raises(UserError, match="train with LoRA"):
        Unlearn(Scoring(llava), method, sources.rows, has_adapters=False).prepare(batch_size=4)
