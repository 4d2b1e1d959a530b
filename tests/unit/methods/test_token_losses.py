"""Losses of each token's distribution: by hand on three tokens of a vocabulary of three, and by autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import optimize, special
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods import losses
from mmforget.methods.base import Comparison, Request, Scores, Step, TokenStats
from mmforget.methods.build import build
from mmforget.methods.ceu import OWN, without_the_true_token
from mmforget.methods.ihl import RUNNER_UP
from mmforget.methods.undial import AdjustedTeacher
from mmforget.types import Scored
from tests.toy_steps import loss, scored, step

HALF = math.log(0.5)
ONE, TWO, THREE = (math.log(p) for p in (0.5, 0.25, 0.125))
FORGET, RETAIN = scored([ONE, TWO], [THREE]), scored([-0.5, -1.5])
TARGET = torch.tensor([0, 2, 1])
"""Of three tokens of three words each."""


def distributions(seed: int, *, scale: float = 1.0) -> Tensor:
    """Logits of three tokens over seven words, of which the first three are those of `TARGET`."""
    return (scale * torch.randn((3, 7), generator=torch.Generator().manual_seed(seed))).requires_grad_()


def of_tokens(values: Tensor, *, request: Request) -> Step:
    """A step of one answer of three tokens with these values."""
    found: dict[Any, Any] = {Scores("forget"): scored([-1.0, -1.0, -1.0]), request: values[None]}
    return Step(found)


def same_gradient(found: Tensor, wanted: Tensor, *, leaf: Tensor) -> None:
    ours, theirs = (torch.autograd.grad(one, leaf, retain_graph=True)[0] for one in (found, wanted))
    torch.testing.assert_close(ours, theirs)


def test_undial_by_hand() -> None:
    """Before 1/2, 1/4, 1/4 of which the true first is made 4 times less likely: 1/5, 2/5, 2/5. Now 1/2, 1/4, 1/4 gives
    0.2 log 2 + 0.8 log 4 = 1.2476649.
    """
    before = torch.tensor([[0.5, 0.25, 0.25]]).log()
    found = AdjustedTeacher(math.log(4))(before, torch.tensor([0]), before)
    assert found.item() == pytest.approx(1.2476649, abs=1e-6)
    assert before.exp()[0].tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_undial_averages_over_tokens_and_has_no_retain_term_of_its_own() -> None:
    method = build("undial")
    request = Comparison("forget", AdjustedTeacher(10.0))
    assert method.requests == (Scores("forget"), request)
    assert loss(method, of_tokens(torch.tensor([1.0, 2.0, 6.0]), request=request)).total.item() == pytest.approx(3.0)
    assert build("undial", "retain_weight=1").requests[2:] == (Scores("retain"),)


def test_undial_is_a_cross_entropy_of_lowered_logits() -> None:
    now, before = distributions(0), distributions(1).detach()
    lowered = before - 3 * functional.one_hot(TARGET, 7)
    wanted = functional.cross_entropy(now, lowered.softmax(-1))
    found = AdjustedTeacher(3.0)(now.log_softmax(-1), TARGET, before.log_softmax(-1)).mean()
    torch.testing.assert_close(found, wanted)
    same_gradient(found, wanted, leaf=now)


def test_undial_at_its_best_says_what_it_said_with_lower_odds() -> None:
    """The gradient vanishes at the teacher, whose odds of the true token are e^beta times smaller."""
    before = distributions(2).detach()
    best = (before - 2 * functional.one_hot(TARGET, 7)).requires_grad_()
    AdjustedTeacher(2.0)(best.log_softmax(-1), TARGET, before.log_softmax(-1)).sum().backward()  # type: ignore[no-untyped-call]
    assert best.grad is not None
    assert float(best.grad.abs().max()) < 1e-6


def test_ceu_by_hand() -> None:
    """1/2, 1/4, 1/4 without the first: 0, 1/2, 1/2, so log 4; without the second 2/3, 0, 1/3:
    (2 log 2 + log 4) / 3 = 0.9241962.
    """
    now = torch.tensor([[0.5, 0.25, 0.25]] * 2).log()
    found = without_the_true_token(now, torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([math.log(4), 0.9241962], abs=1e-6)


@pytest.mark.parametrize(("skip", "wanted"), [(0, 3.0), (1, 4.0), (2, 6.0)])
def test_ceu_leaves_the_first_tokens_of_an_answer_alone(skip: int, wanted: float) -> None:
    """Of 1, 2 and 6 the mean of all, of the last two, of the last."""
    made = of_tokens(torch.tensor([1.0, 2.0, 6.0]), request=OWN)
    assert loss(build("ceu", f"skip_first={skip}"), made).total.item() == pytest.approx(wanted)


def test_ceu_is_a_cross_entropy_with_a_constant_target() -> None:
    """The gradient of logit v is p_v - q_v: p at the true token, -p_true q_v at the others."""
    now = distributions(3)
    target = now.detach().clone()
    target[torch.arange(3), TARGET] = -torch.inf
    found = without_the_true_token(now.log_softmax(-1), TARGET).sum()
    wanted = functional.cross_entropy(now, target.softmax(-1), reduction="sum")
    torch.testing.assert_close(found, wanted)
    same_gradient(found, wanted, leaf=now)
    (gradient,) = torch.autograd.grad(found, now)
    torch.testing.assert_close(gradient, now.softmax(-1) - torch.from_numpy(special.softmax(target.numpy(), axis=-1)))


def test_wga_by_hand() -> None:
    """Probabilities 1/2, 1/4, 1/8 weigh log-probs: -(0.5 x 1 + 0.25 x 2 + 0.125 x 3) log 2 / 3; retain 1."""
    made = step(forget=FORGET, retain=RETAIN)
    wanted = -(0.5 + 0.5 + 0.375) * math.log(2) / 3
    total, parts = loss(build("wga"), made)
    assert parts == pytest.approx({"forget": wanted, "retain": 1.0}, abs=1e-6)
    assert total.item() == pytest.approx(wanted + 1.0, abs=1e-6)
    weighed = loss(build("wga", "forget_weight=2,retain_weight=0.5"), made).terms
    assert weighed == pytest.approx({"forget": 2 * wanted, "retain": 0.5}, abs=1e-6)


def test_satimp_by_hand() -> None:
    """p (1 - p) is 1/4, 3/16 and 7/64: -(0.25 x 1 + 0.1875 x 2 + 0.109375 x 3) log 2 / 3; retain 0.1."""
    made = step(forget=FORGET, retain=RETAIN)
    wanted = -(0.25 + 0.375 + 0.328125) * math.log(2) / 3
    terms = loss(build("satimp", "beta1=1"), made).terms
    assert terms == pytest.approx({"forget": wanted, "retain": 0.1}, abs=1e-6)


@pytest.mark.parametrize("args", ["beta=0", "beta1=0,beta2=0"])
def test_without_weights_it_is_gradient_ascent(args: str) -> None:
    method = build("wga" if args == "beta=0" else "satimp", f"{args},retain_weight=0")
    assert loss(method, step(forget=FORGET)).total.item() == pytest.approx(
        loss(build("ga"), step(forget=FORGET))[0].item()
    )


@pytest.mark.parametrize(
    ("name", "weigh"),
    [("wga", lambda p: p**1.0), ("satimp", lambda p: p**5.0 * (1 - p))],
)
def test_weights_are_constant(name: str, weigh: Any) -> None:
    """The gradient of a token's log-prob is its weight over the number of tokens."""
    logprobs = torch.tensor([[-0.1, -1.0, -3.0]], requires_grad=True)
    answers = Scored(logprobs, torch.ones((1, 3), dtype=torch.bool), torch.zeros(1, dtype=torch.bool))
    total = loss(build(name, "retain_weight=0"), step(forget=answers)).total
    (gradient,) = torch.autograd.grad(total, logprobs)
    torch.testing.assert_close(gradient, weigh(logprobs.detach().exp()) / 3)


def test_satimp_leaves_alone_what_is_certain() -> None:
    """1 - p of a token of log-prob -1e-9 is 1e-9, which p itself rounds away; its NLL makes 1e-18 / 2 of it."""
    total = loss(build("satimp", "retain_weight=0"), step(forget=scored([-1e-9, -50.0]))).total
    assert total.item() == pytest.approx(-0.5e-18, rel=1e-3)


def test_retain_ft_is_the_retain_term_of_whatever_it_joins() -> None:
    made = step(forget=FORGET, retain=RETAIN)
    assert loss(build("retain_ft"), made).terms == {"retain": pytest.approx(1.0)}
    assert build("retain_ft").requests == (Scores("retain"),)
    joined, alone = build("ga+retain_ft"), build("grad_diff")
    assert loss(joined, made).total.item() == pytest.approx(loss(alone, made).total.item())


def hinge(true: float, other: float) -> float:
    return losses.inverted_hinge(torch.tensor([true]).log(), runner_up=torch.tensor([other]).log()).item()


def test_ihl_by_hand() -> None:
    """1 + 0.5 - 0.25 = 1.25, 1 + 0.25 - 0.5 = 0.75, 1 + 0.125 - 0.75 = 0.375: mean 2.375 / 3."""
    runner_up = torch.tensor([[0.25, 0.5], [0.75, 1.0]]).log()
    found: dict[Any, Any] = {Scores("forget"): FORGET, RUNNER_UP: runner_up, Scores("retain"): RETAIN}
    assert loss(build("ihl"), Step(found)).terms == pytest.approx({"forget": 2.375 / 3, "retain": 1.0}, abs=1e-6)


@pytest.mark.parametrize(("true", "other", "wanted"), [(1.0, 0.0, 2.0), (0.0, 1.0, 0.0), (0.5, 0.5, 1.0)])
def test_ihl_lies_between_0_and_2(true: float, other: float, wanted: float) -> None:
    assert hinge(true, other) == pytest.approx(wanted)


def test_ihl_moves_mass_from_the_truth_to_the_runner_up() -> None:
    """Of probabilities: 1 at the truth, -1 at the runner-up, nothing elsewhere; of logits as softmax has it, by a
    numeric derivative.
    """
    now = distributions(4)

    def value(logits: Any) -> float:
        probs = special.softmax(logits)
        return float(1 + probs[2] - max(probs[word] for word in range(7) if word != 2))

    logprobs = now.log_softmax(-1)
    true = logprobs[torch.arange(3), TARGET]
    others = logprobs.scatter(-1, TARGET[:, None], -torch.inf).amax(-1)
    found = losses.inverted_hinge(true, runner_up=others)
    (gradient,) = torch.autograd.grad(found[1], now)
    assert found[1].item() == pytest.approx(value(now[1].detach().double().numpy()), abs=1e-6)
    numeric = optimize.approx_fprime(now[1].detach().double().numpy(), value, 1e-7)
    torch.testing.assert_close(gradient[1].double(), torch.from_numpy(numeric), atol=1e-6, rtol=1e-4)


def test_asks_for_what_it_needs() -> None:
    assert build("ihl").requests == (Scores("forget"), TokenStats("forget", "runner_up"), Scores("retain"))
    assert build("ihl", "retain_weight=0").requests == (Scores("forget"), RUNNER_UP)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("undial", "beta=0", "beta=0.0 is not allowed; give a number above 0"),
        ("ceu", "skip_first=-1", "skip_first=-1 is not allowed"),
        ("wga", "forget_weight=0", "forget_weight=0.0"),
        ("wga", "beta=-1", "beta=-1.0"),
        ("satimp", "beta2=-1", "beta2=-1.0"),
        ("ihl", "retain_weight=-1", "retain_weight=-1.0"),
    ],
)
def test_what_is_not_allowed_is_named(name: str, args: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, args)
