"""Each method's loss on one hand-made step: what the published formula gives there."""

from __future__ import annotations

import math

import pytest
import torch

from mmforget.errors import UnknownName, UserError
from mmforget.methods.base import Divergence, Scores
from mmforget.methods.build import build
from tests.toy_steps import loss, scored, step

FORGET = scored([-1.0, -2.0], [-3.0])
RETAIN = scored([-0.5, -0.5, -1.0], [-1.0, -1.0])


def test_ga_is_the_negative_nll() -> None:
    """-(1 + 2 + 3) / 3 tokens."""
    total, parts = loss(build("ga"), step(forget=FORGET))
    assert total.item() == pytest.approx(-2.0)
    assert parts == {"forget": pytest.approx(-2.0)}


def test_grad_diff_weighs_both_terms() -> None:
    """NLL forget 2, NLL retain (0.5 + 0.5 + 1 + 1 + 1) / 5 = 0.8: -2 + 0.8 = -1.2; weights 0.5 and 3: -1 + 2.4."""
    made = step(forget=FORGET, retain=RETAIN)
    assert loss(build("grad_diff"), made).total.item() == pytest.approx(-1.2)
    assert loss(build("grad_diff", "forget_weight=0.5,retain_weight=3"), made).total.item() == pytest.approx(1.4)


def test_kl_adds_the_divergence_on_retain() -> None:
    """NLL forget 2; divergences 0.3 and 0.1 at two positions: mean 0.2; weight 5: -2 + 1."""
    made = step(forget=FORGET, retain=scored([-1.0, -1.0]), retain_kl=torch.tensor([[0.3, 0.1]]))
    total, parts = loss(build("kl", "retain_weight=5"), made)
    assert total.item() == pytest.approx(-1.0)
    assert parts["retain_kl"] == pytest.approx(1.0)


def test_kl_asks_for_all_positions_only_as_released() -> None:
    assert Divergence("retain", "answer") in build("kl").requests
    assert Divergence("retain", "all") in build("kl", "positions=all").requests


def test_po_pools_refusals_and_retain_answers() -> None:
    """Refusals: 4 + 2 over 2 tokens; retain: 4 over 5 tokens. (6 + 4) / 7; shares 6 / 7 and 4 / 7."""
    total, parts = loss(build("po"), step(alternate=scored([-4.0], [-2.0]), retain=RETAIN))
    assert total.item() == pytest.approx(10 / 7)
    assert parts == {"refusal": pytest.approx(6 / 7), "retain": pytest.approx(4 / 7)}


def test_po_never_looks_at_the_true_answer() -> None:
    assert Scores("forget") not in build("po").requests


def test_npo_compares_whole_answers_with_the_reference() -> None:
    """Sums -3 and -3 now, -2 and -5 before; beta 1, no retain: 2 (log(1 + e^-1) + log(1 + e^2)) / 2
    = 0.3132617 + 2.1269280 = 2.4401897.
    """
    made = step(forget=FORGET, before=torch.tensor([[-1.0, -1.0], [-5.0, 0.0]]))
    total, parts = loss(build("npo", "beta=1,retain_weight=0"), made)
    assert total.item() == pytest.approx(2.4401897, abs=1e-6)
    assert set(parts) == {"forget"}


def test_npo_seq_mean_compares_means() -> None:
    """Means -1.5 and -3 now, -1 and -5 before; beta 1: log(1 + e^-0.5) + log(1 + e^2) = 0.4740770 + 2.1269280."""
    made = step(forget=FORGET, before=torch.tensor([[-1.0, -1.0], [-5.0, 0.0]]))
    total = loss(build("npo", {"beta": 1, "retain_weight": 0, "variant": "seq_mean"}), made).total
    assert total.item() == pytest.approx(2.6010050, abs=1e-6)


def test_npo_adds_retain_nll() -> None:
    """At the reference with beta 0.1: 20 log 2, plus 0.5 x 0.8."""
    made = step(forget=FORGET, retain=RETAIN, before=FORGET.token_logprobs.clone())
    total = loss(build("npo", "retain_weight=0.5"), made).total
    assert total.item() == pytest.approx(20 * math.log(2) + 0.4, abs=1e-5)


def test_npo_without_retain_weight_asks_for_no_retain_rows() -> None:
    assert Scores("retain") in build("npo").requests
    assert Scores("retain") not in build("npo", "retain_weight=0").requests


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("npo", "beta=0", "beta=0.0"),
        ("npo", "beta=nan", "'nan'"),
        ("npo", "retain_weight=-1", "retain_weight=-1.0"),
        ("npo", "variant=muse", "seq_mean"),
        ("grad_diff", "forget_weight=much", "'much'"),
        ("kl", "positions=some", "'some'"),
    ],
)
def test_values_that_make_no_sense_are_refused(name: str, args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(name, args)


def test_a_misspelt_method_is_suggested() -> None:
    with pytest.raises(UnknownName, match="did you mean 'grad_diff'"):
        build("graddiff")
