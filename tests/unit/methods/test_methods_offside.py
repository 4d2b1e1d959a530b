"""OFFSIDE's variants of the common losses, against plain torch on the same logits, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UnknownName
from mmforget.methods.base import Beginning, Divergence, Drift, Reference, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.requests import asks_retain_model
from mmforget.types import Scored
from tests.toy_steps import scored

FORGET, RETAIN, ALTERNATE = Scores("forget"), Scores("retain"), Scores("alternate")
ALL = Divergence("retain", "all")
BEGINNING = Beginning(num_updates=4, seed=0, hidden_size=8, num_layers=2)


def answers(logits: Tensor, labels: Tensor) -> Scored:
    """Scores of labels [B, T], of which -100 are padding, under logits [B, T, V]."""
    mask = labels != -100
    picked = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return Scored(torch.where(mask, picked, torch.zeros(())), mask, torch.zeros(len(labels), dtype=torch.bool))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """What a Hugging Face forward with labels gives: the mean over the tokens of the batch."""
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


@pytest.fixture
def batches() -> dict[str, tuple[Tensor, Tensor]]:
    """Logits and labels of one row to forget and three to keep, five words."""
    generator = torch.Generator().manual_seed(0)
    labels = {"forget": [[1, 2, 0, -100]], "retain": [[3, 1, -100, -100], [0, 4, 4, 2], [2, -100, -100, -100]]}
    return {
        name: (torch.randn((len(rows), 4, 5), generator=generator).requires_grad_(), torch.tensor(rows))
        for name, rows in labels.items()
    }


def test_grad_diff_weighs_by_rows(batches: dict[str, tuple[Tensor, Tensor]]) -> None:
    """One row and three: -CE / 4 + 3 CE / 4, and so are the gradients."""
    found = Step({FORGET: answers(*batches["forget"]), RETAIN: answers(*batches["retain"])})
    terms = build("grad_diff", "variant=offside").loss(found)
    expected = -0.25 * cross_entropy(*batches["forget"]) + 0.75 * cross_entropy(*batches["retain"])
    torch.testing.assert_close(sum(terms.values()), expected)
    leaves = [batches["forget"][0], batches["retain"][0]]
    ours, theirs = (torch.autograd.grad(one, leaves) for one in (sum(terms.values(), torch.zeros(())), expected))
    torch.testing.assert_close(ours, theirs)


def test_kl_takes_turns_and_sums_over_positions(batches: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Even micro-batches: -CE. Odd ones: CE + 0.1 kl_div of the whole tensor, reduced as `batchmean` of three rows."""
    before = torch.randn((3, 4, 5), generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    now = batches["retain"][0].log_softmax(-1)
    token_kl = (before.exp() * (before - now)).sum(-1)
    method = build("kl", "variant=offside")
    found = {
        FORGET: answers(*batches["forget"]),
        RETAIN: answers(*batches["retain"]),
        ALL: Drift(token_kl, torch.ones((3, 4), dtype=torch.bool), 5),
    }
    assert set(method.requests) == set(found)
    step = Step(found, state=method.start(BEGINNING))
    first, second, third = (sum(method.loss(step).values()) for _ in range(3))
    released = functional.kl_div(now, before, reduction="batchmean", log_target=True)
    torch.testing.assert_close(first, -cross_entropy(*batches["forget"]))
    torch.testing.assert_close(second, cross_entropy(*batches["retain"]) + 0.1 * released)
    torch.testing.assert_close(third, first)


def test_padding_takes_no_part_in_the_sum() -> None:
    """Divergences 0.3 and 0.1 of one row and 0.2 of another, whose second position is padding: .6 / 2 x .1 = .03."""
    mask = torch.tensor([[True, True], [True, False]])
    drift = Drift(torch.tensor([[0.3, 0.1], [0.2, 7.0]]), mask, 5)
    method = build("kl", "variant=offside")
    state = method.start(BEGINNING)
    step = Step({FORGET: scored([-1.0]), RETAIN: scored([-1.0], [-1.0]), ALL: drift}, state=state)
    method.loss(step)
    assert method.loss(step)["retain_kl"].item() == pytest.approx(0.03)


def test_po_takes_turns(batches: dict[str, tuple[Tensor, Tensor]]) -> None:
    method = build("po", "variant=offside")
    found = {ALTERNATE: answers(*batches["forget"]), RETAIN: answers(*batches["retain"])}
    step = Step(found, state=method.start(BEGINNING))
    terms = [method.loss(step) for _ in range(2)]
    assert [set(one) for one in terms] == [{"refusal", "retain"}] * 2
    torch.testing.assert_close(sum(terms[0].values()), cross_entropy(*batches["forget"]))
    torch.testing.assert_close(sum(terms[1].values()), cross_entropy(*batches["retain"]))


def test_two_turns_are_the_mean_of_both_halves(batches: dict[str, tuple[Tensor, Tensor]]) -> None:
    """As two accumulated micro-batches are divided by two."""
    method = build("po", "variant=offside")
    found = {ALTERNATE: answers(*batches["forget"]), RETAIN: answers(*batches["retain"])}
    step = Step(found, state=method.start(BEGINNING))
    total = sum((sum(method.loss(step).values()) / 2 for _ in range(2)), torch.zeros(()))
    expected = (cross_entropy(*batches["forget"]) + cross_entropy(*batches["retain"])) / 2
    torch.testing.assert_close(total, expected)


def test_npo_compares_means_of_the_batch_with_a_retain_model() -> None:
    """Tokens -1, -2 and -3: CE 2; under the retain model -1, -1 and -4: also 2; then -1, -1, -1: 1.

    -(2 / .9) log sigmoid(.9 (2 - 2)) = 2.2222 log 2 = 1.5403; with 1: 2.2222 log(1 + e^-.9) = .7585.
    """
    method = build("npo", "variant=offside,beta=0.9,retain_weight=0")
    gold = Reference("forget", of="retain_model")
    assert method.requests == (FORGET, gold)
    assert asks_retain_model(method)
    assert not asks_retain_model(build("npo"))
    now = scored([-1.0, -2.0], [-3.0])
    for reference, ce in (([[-1.0, -1.0], [-4.0, 0.0]], 2.0), ([[-1.0, -1.0], [-1.0, 0.0]], 1.0)):
        found = method.loss(Step({FORGET: now, gold: torch.tensor(reference)}))["forget"].item()
        assert found == pytest.approx(2 / 0.9 * math.log(1 + math.exp(-0.9 * (2.0 - ce))), abs=1e-6)
        softplus = 2 / 0.9 * functional.softplus(torch.tensor(-0.9 * (2.0 - ce))).item()
        assert found == pytest.approx(softplus, abs=1e-6)


@pytest.mark.parametrize("name", ["kl", "po"])
def test_without_turns_there_is_no_state(name: str) -> None:
    assert build(name).start(BEGINNING) == {}


@pytest.mark.parametrize("name", ["grad_diff", "kl", "po", "npo"])
def test_another_variant_is_refused(name: str) -> None:
    with pytest.raises(UnknownName, match="offside"):
        build(name, "variant=onside")
