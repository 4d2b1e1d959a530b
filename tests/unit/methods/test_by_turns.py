"""Losses with state: SCRUB's turns and the multiplier of primal-dual unlearning, by hand on three tokens."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import special, stats
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods.base import Beginning, Comparison, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.pdu import LEVEL, above_the_mean
from mmforget.methods.scrub import Tempered
from tests.toy_steps import scored

TARGET = torch.tensor([0, 2, 1])


def beginning(updates_per_epoch: int) -> Beginning:
    return Beginning(num_updates=20, seed=0, hidden_size=8, num_layers=2, updates_per_epoch=updates_per_epoch)


def terms(method: Any, made: Step) -> dict[str, float]:
    return {name: value.item() for name, value in method.loss(made).items()}


def scrubbed(state: dict[str, Tensor], *, update: int) -> Step:
    """Divergences 1, 2 and 6 of forget tokens, 0.5 and 1.5 of retain ones, whose NLL is 2."""
    found: dict[Any, Any] = {
        Scores("forget"): scored([-1.0, -1.0], [-1.0]),
        Comparison("forget", Tempered(2.0)): torch.tensor([[1.0, 2.0], [6.0, 0.0]]),
        Scores("retain"): scored([-1.0, -3.0]),
        Comparison("retain", Tempered(2.0)): torch.tensor([[0.5, 1.5]]),
    }
    return Step(found, update, 20, state)


def test_scrub_forgets_and_keeps_by_turns_of_an_epoch() -> None:
    """Of two updates each: forget, keep, forget, keep, and keep ever after two passes; -3 or 2 and 0.5 x 1."""
    method = build("scrub", "forget_passes=2")
    state = method.start(beginning(2))
    forget = {"forget": -3.0, "retain": 0.0, "retain_kl": 0.0}
    keep = {"forget": 0.0, "retain": 2.0, "retain_kl": 0.5}
    found = [terms(method, scrubbed(state, update=update)) for update in range(12)]
    wanted = [forget] * 2 + [keep] * 2 + [forget] * 2 + [keep] * 6
    assert found == [pytest.approx(one) for one in wanted]


def test_a_resumed_scrub_goes_on_where_it_was() -> None:
    method = build("scrub")
    kept = {name: one.clone() for name, one in method.start(beginning(2)).items()}
    assert terms(method, scrubbed(kept, update=3))["forget"] == 0
    assert terms(method, scrubbed(kept, update=4))["forget"] == pytest.approx(-3.0)


def test_scrub_weighs_what_it_keeps() -> None:
    method = build("scrub", "nll_weight=0.99,kl_weight=0.01")
    found = terms(method, scrubbed(method.start(beginning(1)), update=1))
    assert found == pytest.approx({"forget": 0.0, "retain": 1.98, "retain_kl": 0.01})


def test_scrubs_divergence_by_hand() -> None:
    """Logits 2 log 3 and 0 halve to odds of 3 to 1 before and of 1 to 1 now: 0.75 log 1.5 + 0.25 log 0.5 = 0.1308120,
    times 4.
    """
    before, now = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    found = Tempered(2.0)(now.log_softmax(-1), TARGET[:1], before.log_softmax(-1))
    assert found.item() == pytest.approx(4 * 0.1308120, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_scrubs_divergence_is_scipys(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    now, before = (torch.randn((3, 7), generator=generator) for _ in range(2))
    found = Tempered(temperature)(now.log_softmax(-1), TARGET, before.log_softmax(-1))
    old, new = (special.softmax(one.double().numpy() / temperature, axis=-1) for one in (before, now))
    wanted = [temperature**2 * stats.entropy(p, q) for p, q in zip(old, new, strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


def test_scrubs_divergence_has_the_gradient_of_tempered_distributions() -> None:
    """T (q - p) of each logit, for T squared times KL(p || q); none where nothing has changed."""
    now = torch.randn((3, 7), generator=torch.Generator().manual_seed(1)).requires_grad_()
    before = torch.randn((3, 7), generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(Tempered(2.0)(now.log_softmax(-1), TARGET, before.log_softmax(-1)).sum(), now)
    torch.testing.assert_close(gradient, 2 * ((now / 2).softmax(-1) - (before / 2).softmax(-1)))
    (still,) = torch.autograd.grad(Tempered(2.0)(now.log_softmax(-1), TARGET, now.detach().log_softmax(-1)).sum(), now)
    assert float(still.abs().max()) < 1e-6


def test_pdu_levels_logits_whatever_they_are_shifted_by() -> None:
    """Logits 3, 0 and 0: (3 - 1)^2 = 4; 1, 1 and 1: 0."""
    logits = torch.tensor([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert above_the_mean(logits, TARGET[:2]).tolist() == pytest.approx([4.0, 0.0])
    assert above_the_mean(logits.log_softmax(-1), TARGET[:2]).tolist() == pytest.approx([4.0, 0.0], abs=1e-5)


def test_pdu_has_the_gradient_of_raw_logits() -> None:
    """2 (max - mean) (1 at the largest - 1 / V)."""
    logits = torch.randn((3, 7), generator=torch.Generator().manual_seed(3)).requires_grad_()
    (gradient,) = torch.autograd.grad(above_the_mean(logits.log_softmax(-1), TARGET).sum(), logits)
    plain = logits.detach()
    above = plain.max(-1).values - plain.mean(-1)
    wanted = 2 * above[:, None] * (functional.one_hot(plain.argmax(-1), 7) - 1 / 7)
    torch.testing.assert_close(gradient, wanted)


def bounded(state: dict[str, Tensor], *, update: int, nll: float) -> Step:
    """Levels 1, 2 and 6 of forget tokens."""
    found: dict[Any, Any] = {
        Scores("forget"): scored([-1.0, -1.0], [-1.0]),
        LEVEL: torch.tensor([[1.0, 2.0], [6.0, 0.0]]),
        Scores("retain"): scored([-nll]),
    }
    return Step(found, update, 20, state)


def test_pdu_moves_its_multiplier_after_every_update_behind_the_warm_up() -> None:
    """Bound 1, step 2, epochs of two updates, one of warm-up. NLL 1.5 is 0.5 above: 4 while update 2 runs, then
    4 + 2 x 0.5 = 5; the two micro-batches of update 3, 1.5 and 2.5, are 1 above on average: 7; NLL 0 takes it to 5,
    3, 1 and no further than 0.
    """
    method = build("pdu", "retain_bound=1,multiplier=4,dual_step=2,warmup_epochs=1")
    state = method.start(beginning(2))
    seen = []
    for update, nll in [(0, 1.5), (1, 1.5), (2, 1.5), (3, 1.5), (3, 2.5), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)]:
        found = terms(method, bounded(state, update=update, nll=nll))
        seen.append(state["multiplier"].item())
        assert found == pytest.approx({"forget": 3.0, "retain": seen[-1] * (nll - 1)})
    assert seen == pytest.approx([4, 4, 4, 5, 5, 7, 5, 3, 1, 0])


def test_pdu_may_move_it_after_epochs() -> None:
    """Of the one epoch of warm-up 1.5 and 2.5 are 1 above the bound on average: 4 + 2; of the second 3.5 above: 13."""
    method = build("pdu", "retain_bound=1,multiplier=4,dual_step=2,warmup_epochs=1,period=epoch")
    state = method.start(beginning(2))
    seen = []
    for update, nll in enumerate([1.5, 2.5, 4.0, 5.0, 1.0]):
        method.loss(bounded(state, update=update, nll=nll))
        seen.append(state["multiplier"].item())
    assert seen == pytest.approx([4, 4, 6, 6, 13])


def test_a_resumed_pdu_has_the_multiplier_that_it_had() -> None:
    method = build("pdu", "retain_bound=1,multiplier=4,dual_step=2,warmup_epochs=0")
    whole, halves = method.start(beginning(2)), method.start(beginning(2))
    for update in range(4):
        method.loss(bounded(whole, update=update, nll=1.5))
        halves = {name: one.clone() for name, one in halves.items()}
        method.loss(bounded(halves, update=update, nll=1.5))
    assert whole == halves
    assert whole["multiplier"].item() == pytest.approx(7.0)


def test_the_multiplier_has_no_gradient() -> None:
    logprobs = torch.tensor([[-2.0]], requires_grad=True)
    method = build("pdu", "retain_bound=1,multiplier=4")
    made = bounded(method.start(beginning(1)), update=0, nll=2.0)
    made.found[Scores("retain")] = scored([-2.0])._replace(token_logprobs=logprobs)  # type: ignore[index]
    (gradient,) = torch.autograd.grad(method.loss(made)["retain"], logprobs)
    assert gradient.item() == pytest.approx(-4.0)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("scrub", "temperature=0", "temperature=0.0 is not allowed; give a number above 0"),
        ("scrub", "forget_passes=0", "forget_passes=0"),
        ("pdu", "retain_bound=-1", "retain_bound=-1.0"),
        ("pdu", "dual_step=0", "dual_step=0.0"),
    ],
)
def test_what_is_not_allowed_is_named(name: str, args: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, args)
