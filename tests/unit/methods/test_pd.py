"""Prompt decoupling: its loss, alone and joined, with the published weights."""

from __future__ import annotations

import math

import pytest
import torch

from mmforget.errors import UnknownName, UserError
from mmforget.methods.base import Scores, hyper_parameters
from mmforget.methods.build import build
from mmforget.methods.pd import PromptDecoupling
from mmforget.methods.requests import sources_of
from tests.toy_steps import loss, scored, step

FORGET, RETAIN = scored([-1.0, -2.0], [-3.0]), scored([-0.5, -0.5, -1.0], [-1.0, -1.0])
BENIGN = scored([-2.0, -4.0], [-1.0, -1.0])
"""NLL 2, 0.8 and 2 nats a token: (1 + 2 + 3) / 3, (0.5 + 0.5 + 1 + 1 + 1) / 5, (2 + 4 + 1 + 1) / 4."""


def test_alone_it_is_the_nll_of_the_normal_answers() -> None:
    total, parts = loss(build("pd"), step(benign=BENIGN))
    assert total.item() == pytest.approx(2.0)
    assert parts == {"benign": pytest.approx(2.0)}
    assert build("pd").requests == (Scores("benign"),)


@pytest.mark.parametrize(
    ("name", "weight"),
    [("ga+pd", 0.5), ("grad_diff+pd", 0.5), ("kl+pd", 1.0), ("po+pd", 1.0), ("npo+pd", 1.0), ("pd+ga", 0.5)],
)
def test_the_published_weights_are_the_defaults(name: str, weight: float) -> None:
    """gapd and gdpd 0.5, klpd and idkpd 1.0; npo is not in the release, so 1 is ours."""
    assert hyper_parameters(build(name))["pd.weight"] == weight


def test_beside_several_published_methods_the_weight_is_ours() -> None:
    assert PromptDecoupling().beside(("ga", "po")).weight == 1.0
    assert PromptDecoupling().beside(("ga", "npo")).weight == 0.5


def test_a_weight_that_is_given_stands() -> None:
    assert hyper_parameters(build("ga+pd", "weight=0.3"))["pd.weight"] == 0.3
    assert hyper_parameters(build("po+pd", "pd.weight=0"))["pd.weight"] == 0.0


def test_ga_with_pd_as_released() -> None:
    """gapd = -L_f + 0.5 L_pd = -2 + 0.5 x 2 = -1."""
    total, parts = loss(build("ga+pd"), step(forget=FORGET, benign=BENIGN))
    assert total.item() == pytest.approx(-1.0)
    assert parts == {"ga.forget": pytest.approx(-2.0), "pd.benign": pytest.approx(1.0)}


def test_grad_diff_with_pd_as_released_halves_the_retain_weight() -> None:
    """gdpd = -L_f + 0.5 L_r + 0.5 L_pd = -2 + 0.4 + 1 = -0.6; with its own weight of 1: -0.2."""
    made = step(forget=FORGET, retain=RETAIN, benign=BENIGN)
    assert loss(build("grad_diff+pd", "grad_diff.retain_weight=0.5"), made).total.item() == pytest.approx(-0.6)
    assert loss(build("grad_diff+pd"), made).total.item() == pytest.approx(-0.2)


def test_kl_with_pd_as_released() -> None:
    """klpd = -L_f + KL + L_pd = -2 + (0.3 + 0.1) / 2 + 2 = 0.2."""
    made = step(forget=FORGET, retain=scored([-1.0, -1.0]), retain_kl=torch.tensor([[0.3, 0.1]]), benign=BENIGN)
    assert loss(build("kl+pd"), made).total.item() == pytest.approx(0.2)


def test_po_with_pd_as_released() -> None:
    """idkpd = pooled CE + L_pd: refusals 4 + 2 over 2 tokens with retain 4 over 5: 10 / 7, plus 2."""
    made = step(alternate=scored([-4.0], [-2.0]), retain=RETAIN, benign=BENIGN)
    assert loss(build("po+pd"), made).total.item() == pytest.approx(10 / 7 + 2)


def test_the_trainer_is_told_how_to_pair() -> None:
    drawn = [sources_of(build(name))["benign"].draw for name in ("ga+pd", "pd")]
    assert drawn == ["paired", "paired"]
    assert sources_of(build("ga+pd", "pairing=random"))["benign"].draw == "random"
    with pytest.raises(UnknownName, match="'shuffled'"):
        build("pd", "pairing=shuffled")


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(UserError, match="weight=-1.0"):
        build("ga+pd", "weight=-1")


def test_gradients_reach_benign_tokens_alone_and_by_the_weight() -> None:
    """d/d logprob = -0.5 / 4 for each of the 4 tokens."""
    logprobs = BENIGN.token_logprobs.clone().requires_grad_()
    loss(build("pd", "weight=0.5"), step(benign=BENIGN._replace(token_logprobs=logprobs))).total.backward()
    assert logprobs.grad is not None
    assert torch.allclose(logprobs.grad, torch.full((2, 2), -0.125))
    assert math.isfinite(float(logprobs.grad.sum()))
