"""Every registered method, ours and plug-ins': what `training` relies on, whoever wrote it."""

from __future__ import annotations

import importlib
import math
import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch

from mmforget.errors import PluginError, UnknownName
from mmforget.methods.base import METHODS, Method, Need, Step, build
from mmforget.types import Scored

NUM_ROWS, NUM_TOKENS, VOCABULARY = 3, 4, 5
MASK = torch.tensor([[True] * 4, [True, True, True, False], [True, True, False, False]])
IS_NEEDED = {
    Need.FORGET: "forget",
    Need.RETAIN: "retain",
    Need.ALTERNATE: "alternate",
    Need.REFERENCE_FORGET: "forget_reference",
    Need.RETAIN_KL: "retain_kl",
    Need.BENIGN: "benign",
    Need.BUILT: "built",
    Need.BUILT_KL: "built_kl",
}
SETS = ("forget", "retain", "alternate", "benign", "built")
TRAINED_ON = {
    Need.FORGET: "forget",
    Need.ALTERNATE: "alternate",
    Need.BENIGN: "benign",
    Need.BUILT: "built",
}
TRAINED = [name for name in METHODS.names() if hasattr(METHODS.get(name), "loss")]


class Leaves:
    """Logits that a method's gradient can reach, one tensor a set, and the step made from them."""

    def __init__(self, needs: frozenset[Need], *, seed: int = 0) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.targets = torch.randint(VOCABULARY, (NUM_ROWS, NUM_TOKENS), generator=rng)
        shape = (NUM_ROWS, NUM_TOKENS, VOCABULARY)
        self.logits = {name: torch.randn(shape, generator=rng).requires_grad_() for name in SETS}
        offered: dict[str, Any] = {name: self.scored(name) for name in self.logits}
        others = {
            "forget_reference": self.logprobs("forget").detach() - 0.3,
            "retain_kl": self.divergence("retain", rng=rng),
            "built_kl": self.divergence("built", rng=rng),
            "built_keep": MASK,
            "num_vocabulary": VOCABULARY,
        }
        wanted = {IS_NEEDED[need] for need in needs if need in IS_NEEDED}
        if Need.BUILT_KL in needs:
            wanted |= {"built_keep", "num_vocabulary"}
        if Need.RETAIN_KL in needs:
            wanted.add("retain")
        self.step = Step(**{name: value for name, value in {**offered, **others}.items() if name in wanted})

    def logprobs(self, name: str) -> torch.Tensor:
        found = self.logits[name].log_softmax(-1).gather(-1, self.targets[..., None])[..., 0]
        return torch.where(MASK, found, torch.zeros(()))

    def divergence(self, name: str, *, rng: torch.Generator) -> torch.Tensor:
        """KL from distributions a little off these logits'."""
        logits = self.logits[name]
        reference = (logits.detach() + 0.1 * torch.randn(logits.shape, generator=rng)).log_softmax(-1)
        kl = (reference.exp() * (reference - logits.log_softmax(-1))).sum(-1)
        return torch.where(MASK, kl, torch.zeros(()))

    def scored(self, name: str) -> Scored:
        return Scored(self.logprobs(name), MASK, torch.zeros(NUM_ROWS, dtype=torch.bool), None)


@pytest.fixture(params=METHODS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TRAINED)
def method(request: pytest.FixtureRequest) -> Method:
    found: Method = build(str(request.param))
    return found


def test_is_a_frozen_dataclass_whose_arguments_all_have_defaults(name: str) -> None:
    kind = METHODS.get(name)
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert build(name) == kind()
    assert all(field.init for field in fields(kind))


def test_refuses_an_argument_that_it_does_not_have(name: str) -> None:
    with pytest.raises(UnknownName, match=f"argument of method '{name}'"):
        build(name, "no_such_argument=1")


def test_says_what_it_does_and_where_it_comes_from(name: str) -> None:
    document = importlib.import_module(METHODS.entries[name].module).__doc__ or ""
    assert 20 <= len(METHODS.entries[name].summary) <= 120
    assert METHODS.entries[name].summary.endswith(".")
    assert re.search(r"https://\S+|arXiv \d{4}\.\d{4,5}", document), "no link to the paper"
    assert METHODS.get(name).__doc__


def test_needs_are_known_and_have_something_to_train_on(method: Method) -> None:
    assert method.needs <= frozenset(Need)
    assert method.needs & set(TRAINED_ON)


def test_loss_is_finite_and_differentiable_with_just_what_it_needs(method: Method) -> None:
    leaves = Leaves(method.needs)
    total, _ = method.loss(leaves.step)
    assert total.shape == ()
    assert math.isfinite(total.item())
    total.backward()
    trained = next(name for need, name in TRAINED_ON.items() if need in method.needs)
    gradient = leaves.logits[trained].grad
    assert gradient is not None
    assert bool(gradient.isfinite().all())
    assert bool((gradient[MASK].abs().sum(-1) > 0).all()), "some masked token gets no gradient"
    assert bool((gradient[~MASK] == 0).all()), "padding gets a gradient"


def test_parts_add_up_to_the_total(method: Method) -> None:
    total, parts = method.loss(Leaves(method.needs).step)
    assert parts
    assert all(isinstance(value, float) for value in parts.values())
    assert sum(parts.values()) == pytest.approx(total.item(), rel=1e-5, abs=1e-6)


def test_a_small_step_forgets_and_keeps_or_refuses(method: Method) -> None:
    """Along the negative gradient: log-probs to forget fall, those of refusals, of retain and benign answers and of
    rows the method wrote rise, unless the method only holds retain distributions where they were.
    """
    leaves = Leaves(method.needs)
    before, _ = method.loss(leaves.step)
    before.backward()
    for set_name, sign in (("forget", -1), ("alternate", 1), ("retain", 1), ("benign", 1), ("built", 1)):
        gradient = leaves.logits[set_name].grad
        if gradient is None or (set_name == "retain" and Need.RETAIN not in method.needs):
            continue
        old = leaves.logprobs(set_name).sum()
        with torch.no_grad():
            leaves.logits[set_name] -= 1e-2 * gradient
        assert sign * (leaves.logprobs(set_name).sum() - old).item() > 0, f"{set_name} moves the wrong way"


@pytest.mark.parametrize("missing", list(IS_NEEDED), ids=lambda need: need.name)
def test_what_is_needed_is_what_is_read(method: Method, missing: Need) -> None:
    """Leaving out a need makes the loss say so; so needs are neither too few (above) nor too many (here)."""
    if missing not in method.needs:
        return
    fewer = method.needs - {missing}
    with pytest.raises((PluginError, ValueError)):
        method.loss(Leaves(fewer).step)


def test_the_same_step_gives_the_same_loss(method: Method) -> None:
    first, second = (method.loss(Leaves(method.needs).step).total.item() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", sorted(set(METHODS.names()) - set(TRAINED)))
def test_what_trains_nothing_edits(name: str) -> None:
    assert callable(build(name).edit)
    assert callable(build(name).check)
    assert not build(name).needs


@pytest.mark.parametrize("name", [name for name in TRAINED if Need.BUILT not in build(name).needs])
def test_it_joins_with_others_and_the_losses_add_up(name: str) -> None:
    """`a+b` is the sum of both, each term under its method's name."""
    partner = "grad_diff" if name != "grad_diff" else "po"
    joined = build(f"{name}+{partner}")
    assert joined.needs == joined.parts[0].needs | joined.parts[1].needs
    step = Leaves(joined.needs).step
    total, terms = joined.loss(step)
    assert total.item() == pytest.approx(sum(part.loss(step).total.item() for part in joined.parts), rel=1e-5)
    assert {term.partition(".")[0] for term in terms} == {name, partner}
