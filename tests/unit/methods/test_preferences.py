"""Losses that prefer one answer to another, or to none: by hand on three tokens, and their gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods import losses
from mmforget.methods.base import Divergence, Drift, Reference, Request, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.methods.raw_logits import AgainstBefore, Alone, at_every_logit
from mmforget.types import Example, Scored
from tests.toy_steps import loss, scored

FORGET = scored([-1.0, -2.0], [-3.0])
SAME = torch.zeros(2)


def pairs(name: str, *, now: Scored, before: list[list[float]], forget: Scored, forgot: list[list[float]]) -> Step:
    """A step of a preference: the better answers under the name of their source."""
    return Step(
        {
            Scores(name): now,
            Reference(name): torch.tensor(before),
            Scores("forget"): forget,
            Reference("forget"): torch.tensor(forgot),
        }
    )


@pytest.mark.parametrize(("name", "source"), [("dpo", "false"), ("idk_dpo", "alternate")])
def test_dpo_by_hand(name: str, source: str) -> None:
    """The better answer rises from -3 to -2, the other falls from -1 to -3; beta 0.5: log(1 + e^-1.5) = 0.2014133,
    which 2 / beta = 4 makes 0.8056531.
    """
    made = pairs(source, now=scored([-1.0, -1.0]), before=[[-2.0, -1.0]], forget=scored([-3.0]), forgot=[[-1.0]])
    for variant, wanted in (("scaled", 0.8056531), ("plain", 0.2014133)):
        method = build(name, f"beta=0.5,retain_weight=0,variant={variant}")
        assert set(method.requests) == set(made.found)
        total, parts = loss(method, made)
        assert total.item() == pytest.approx(wanted, abs=1e-6)
        assert set(parts) == {"preference"}


@pytest.mark.parametrize("beta", [0.05, 0.5])
def test_dpo_at_the_reference_learns_one_answer_as_it_loses_the_other(beta: float) -> None:
    """There the loss is (2 / beta) log 2, and its gradient -1 and 1 a pair, as NLL and gradient ascent have it."""
    rows = [torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True) for _ in range(2)]
    mask = torch.ones((1, 3), dtype=torch.bool)
    better, worse = (Scored(row, mask, torch.zeros(1, dtype=torch.bool)) for row in rows)
    before = rows[0].detach().tolist()
    made = pairs("alternate", now=better, before=before, forget=worse, forgot=before)
    total, _ = loss(build("idk_dpo", f"beta={beta},retain_weight=0"), made)
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == pytest.approx(2 / beta * math.log(2), rel=1e-6)
    for row, sign in zip(rows, (-1.0, 1.0), strict=True):
        assert row.grad is not None
        assert row.grad[0].tolist() == pytest.approx([sign] * 3)


def test_dpo_is_what_autograd_makes_of_plain_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    now, old = (torch.randn((2, 3, 7), generator=generator) for _ in range(2))
    now.requires_grad_()
    target = torch.tensor([[1, 4, 0], [6, 2, 2]])

    def picked(logits: Tensor) -> Tensor:
        return -functional.cross_entropy(logits.transpose(1, 2), target, reduction="none")

    gain = (picked(now) - picked(old)).sum(1)
    expected = -(2 / 0.3) * torch.sigmoid(0.3 * (gain[0] - gain[1])).log()
    found = (2 / 0.3) * losses.dpo(gain[:1], rejected=gain[1:], beta=0.3).mean()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, now, retain_graph=True), torch.autograd.grad(expected, now))


def test_dpo_writes_false_answers_as_error_injection_does() -> None:
    row = Example("1", "1", "who?", " Ann", extra={"alternatives": ["ann", "Bo"]})
    (source,) = build("dpo").sources
    assert source.rows is not None
    assert [one.answer for one in source.rows(Material(forget=[row]))] == [" Bo"]
    bare = Example("2", "2", "who?", " Ann", extra={"alternatives": []})
    assert "no false answer is given for 'Ann'" in build("dpo").lacks(Material(forget=[row, bare]))


def test_simnpo_takes_means_of_tokens() -> None:
    """Means -1.5 and -3; beta 2: (log(1 + e^-3) + log(1 + e^-6)) / 2 = (0.0485874 + 0.0024757) / 2; with delta 1
    (log(1 + e^-1) + log(1 + e^-4)) / 2 = (0.3132617 + 0.0181499) / 2.
    """
    made = Step({Scores("forget"): FORGET})
    for delta, wanted in ((0, 0.0255315), (1, 0.1657058)):
        args = f"beta=2,delta={delta},forget_weight=1,retain_weight=0"
        assert loss(build("simnpo", args), made).total.item() == pytest.approx(wanted, abs=1e-6)
        half = loss(build("simnpo", args.replace("forget_weight=1", "forget_weight=0.5")), made).total.item()
        assert half == pytest.approx(wanted / 2, abs=1e-6)


def test_simnpo_is_npo_of_a_reference_that_holds_nothing_for_likely() -> None:
    """With a mean log-prob of -delta before; and its gradient never points upwards."""
    means = torch.tensor([-1.5, -3.0], requires_grad=True)
    found = losses.simnpo(means, beta=2.5, delta=0.4)
    torch.testing.assert_close(found, losses.npo(means, reference=SAME - 0.4, beta=2.5))
    (gradient,) = torch.autograd.grad(found.sum(), means)
    assert bool((gradient > 0).all())


def test_every_raw_logit_counts_alike() -> None:
    """Logits 0 and 1 where both were 0, beta 1: 2 (log 2 + log(1 + e)) / 2 = 0.6931472 + 1.3132617; without a
    reference the same, and with delta 1 log(1 + e) + log(1 + e^2) = 1.3132617 + 2.1269280.
    """
    logits, nothing = torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2)
    assert AgainstBefore(1.0)(logits, nothing).tolist() == pytest.approx([2.0064089], abs=1e-6)
    assert Alone(1.0, 0.0)(logits).tolist() == pytest.approx([2.0064089], abs=1e-6)
    assert Alone(1.0, 1.0)(logits).tolist() == pytest.approx([3.4401897], abs=1e-6)


@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_raw_logits_at_the_reference_all_fall_at_one_rate(beta: float) -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0]], requires_grad=True)
    found = AgainstBefore(beta)(logits, logits.detach().clone())
    assert found.item() == pytest.approx(2 / beta * math.log(2), rel=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient[0].tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(("name", "kind"), [("npo", AgainstBefore(0.1)), ("simnpo", Alone(2.5, 0.0))])
def test_muse_logit_averages_over_places(name: str, kind: Any) -> None:
    """Losses 2, 4 and 6 of three places, of which the padded fourth takes no part: 4."""
    everywhere, stat = Scores("forget", "all"), at_every_logit(kind)
    method = build(name, "variant=muse_logit,retain_weight=0")
    assert method.requests == (everywhere, stat)
    found: dict[Request, Any] = {everywhere: FORGET, stat: torch.tensor([[2.0, 4.0], [6.0, 9.0]])}
    weight = getattr(method, "forget_weight", 1.0)
    assert loss(method, Step(found)).total.item() == pytest.approx(4.0 * weight)


@pytest.mark.parametrize("name", ["npo", "simnpo", "dpo", "idk_dpo"])
def test_the_retain_term_may_be_a_divergence(name: str) -> None:
    """0.3 and 0.1 at two places, weighed by 2: 0.4, as in `kl`; at all positions where it is asked for."""
    without = build(name, "retain_weight=0").requests
    for kind, positions in (("kl", "answer"), ("kl_all", "all")):
        method = build(name, f"retain={kind},retain_weight=2")
        asked = Divergence("retain", positions)
        assert method.requests == (*without, asked)
        found: dict[Request, Any] = {
            request: FORGET if isinstance(request, Scores) else FORGET.token_logprobs for request in without
        }
        found[asked] = Drift(torch.tensor([[0.3, 0.1]]), torch.ones((1, 2), dtype=torch.bool), 5)
        assert loss(method, Step(found)).terms["retain_kl"] == pytest.approx(0.4)
    assert build(name, "retain=nll").requests == (*without, Scores("retain"))


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("dpo", "beta=0", "beta=0.0"),
        ("idk_dpo", "retain_weight=-1", "retain_weight=-1.0"),
        ("simnpo", "forget_weight=0", "forget_weight=0.0"),
        ("simnpo", "delta=-1", "delta=-1.0"),
        ("simnpo", "variant=muse", "muse_logit"),
        ("npo", "retain=none", "kl_all"),
    ],
)
def test_values_that_make_no_sense_are_refused(name: str, args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(name, args)
