"""Losses of each token's distribution, against plain Hugging Face forwards one question at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmforget.model import head
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.types import Example
from tests.unit.training.test_training_preferences import BATCH, assert_same, gradients, objective, plain_logits

pytestmark = pytest.mark.slow

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def at_answers(loaded: LoadedModel, items: list[Encoded]) -> list[tuple[Tensor, Tensor]]:
    """Logits where each answer's tokens are predicted, [T_i, V], and these tokens [T_i]."""
    return [
        (plain_logits(loaded, item)[item.num_context - 1 :], torch.tensor(item.ids[item.num_context :]))
        for item in items
    ]


def undial(now: Tensor, before: Tensor, target: Tensor) -> Tensor:
    lowered = before - 2.0 * functional.one_hot(target, before.shape[-1])
    return functional.cross_entropy(now, lowered.softmax(-1), reduction="none")


def ceu(now: Tensor, before: Tensor, target: Tensor) -> Tensor:
    own = now.detach().masked_fill(functional.one_hot(target, now.shape[-1]).bool(), -torch.inf)
    return functional.cross_entropy(now, own.softmax(-1), reduction="none")


def wga(now: Tensor, before: Tensor, target: Tensor) -> Tensor:
    nll = functional.cross_entropy(now, target, reduction="none")
    return -(-nll.detach()).exp() * nll


def ihl(now: Tensor, before: Tensor, target: Tensor) -> Tensor:
    probs = now.softmax(-1)
    truth = functional.one_hot(target, now.shape[-1]).bool()
    return 1 + probs[truth] - probs.masked_fill(truth, 0).max(-1).values


def scrub(now: Tensor, before: Tensor, target: Tensor) -> Tensor:
    """Of its first epoch, which forgets."""
    old = (before / 2).softmax(-1)
    return -4 * (old * (old.log() - (now / 2).log_softmax(-1))).sum(-1)


def pdu(now: Tensor, before: Tensor, target: Tensor) -> Tensor:
    return (now.max(-1).values - now.mean(-1)).square()


WANTED: dict[tuple[str, str], Loss] = {
    ("undial", "beta=2"): undial,
    ("ceu", "skip_first=0"): ceu,
    ("wga", "retain_weight=0"): wga,
    ("ihl", "retain_weight=0"): ihl,
    ("scrub", ""): scrub,
    ("pdu", "multiplier=0,retain_bound=0"): pdu,
}


@pytest.mark.parametrize(("name", "args"), WANTED)
def test_token_losses_are_those_of_plain_forwards(
    adapted: LoadedModel, examples: list[Example], name: str, args: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions about images that share a row, and logits that are made in several parts."""
    made = objective(adapted, examples, name, args)
    rows = made.rows["forget"].of(BATCH)
    with torch.no_grad(), adapted.model.disable_adapter():
        before = at_answers(adapted, rows)
    for key, weight in adapted.model.named_parameters():
        weight.requires_grad_("lora_" in key)
    now = at_answers(adapted, rows)
    each = [WANTED[name, args](new, old, target) for (new, target), (old, _) in zip(now, before, strict=True)]
    expected = torch.cat(each).mean()
    monkeypatch.setattr(head, "MAX_LOGITS_BYTES", 12 * adapted.core.config.get_text_config().vocab_size)
    found = made.loss(BATCH).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert_same(gradients(adapted, found), gradients(adapted, expected))
