"""Methods joined as `a+b`: names, arguments, what cannot be joined, and sums worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mmforget.errors import UnknownName, UserError
from mmforget.methods.base import METHODS, Divergence, Scores, hyper_parameters
from mmforget.methods.build import arguments, build
from mmforget.methods.composite import ONE_ALONE
from mmforget.types import Scored
from tests.toy_steps import loss, step


def scored(probability: float) -> Scored:
    """Two answers of two tokens, each token of this probability."""
    logprobs = torch.full((2, 2), math.log(probability))
    return Scored(logprobs, torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, dtype=torch.bool))


def test_the_losses_add_up() -> None:
    """ga: -NLL(forget) = -ln 2. grad_diff: -ln 2 + 0.5 ln 4 = 0. Together -ln 2; the retain term is 0.5 ln 4 = ln 2."""
    method = build("ga+grad_diff", "grad_diff.retain_weight=0.5")
    total, parts = loss(method, step(forget=scored(0.5), retain=scored(0.25)))
    assert total.item() == pytest.approx(-math.log(2))
    assert parts == {
        "ga.forget": pytest.approx(-math.log(2)),
        "grad_diff.forget": pytest.approx(-math.log(2)),
        "grad_diff.retain": pytest.approx(math.log(2)),
    }


def test_needs_are_those_of_all_parts() -> None:
    assert set(build("ga+po").requests) == {Scores("forget"), Scores("alternate"), Scores("retain")}


def test_an_argument_goes_to_all_that_have_it_or_to_the_one_it_names() -> None:
    found = hyper_parameters(build("grad_diff+npo", "retain_weight=2,npo.retain_weight=3,beta=0.2"))
    assert (found["grad_diff.retain_weight"], found["npo.retain_weight"], found["npo.beta"]) == (2.0, 3.0, 0.2)
    assert {"retain_weight", "grad_diff.retain_weight", "npo.beta"} <= set(arguments("grad_diff+npo"))


@pytest.mark.parametrize("name", ["ga+", "+ga", "ga+ga", "ga++po"])
def test_a_name_that_joins_nothing_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="write different names, e.g. ga\\+pd"):
        build(name)


def test_unknown_parts_and_arguments_are_named() -> None:
    with pytest.raises(UnknownName, match="unknown method 'gb'"):
        build("gb+po")
    with pytest.raises(UnknownName, match="argument of method 'ga\\+npo'"):
        build("ga+npo", "bta=1")
    with pytest.raises(UnknownName):
        build("ga+npo", "ga.beta=1")


@pytest.mark.parametrize("hook", sorted(ONE_ALONE))
def test_what_one_alone_can_do_is_refused_of_two(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ga", "npo"):
        monkeypatch.setattr(METHODS.get(name), hook, lambda self: None, raising=False)
    with pytest.raises(
        UserError, match=rf"^method 'ga\+npo': ga and npo both {ONE_ALONE[hook]}; join one of them alone"
    ):
        build("ga+npo")


def test_parts_may_look_at_different_positions_of_retain_rows() -> None:
    found = build("kl+grad_diff", "kl.positions=all").requests
    assert {Divergence("retain", "all"), Scores("retain", "answer")} <= set(found)
