"""Every registered method, ours and plug-ins': what `training` relies on, whoever wrote it."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import pytest
import torch
from torch.nn import functional

from mmforget.errors import PluginError, UnknownName, UserError
from mmforget.methods.base import (
    METHODS,
    AtLayers,
    Beginning,
    Comparison,
    Divergence,
    Drift,
    Evidence,
    Hidden,
    Influence,
    Lens,
    LogitStats,
    Method,
    Reference,
    Request,
    Scores,
    Step,
    TokenStats,
    WordStats,
    is_wrapper,
)
from mmforget.methods.build import build
from mmforget.methods.contract import state_of
from mmforget.methods.described import described
from mmforget.methods.input_rephrasing import NAMES as REPHRASED
from mmforget.methods.requests import REQUESTS, SUPPLIED, asked_sources, sources_of
from mmforget.model.token_stats import statistic
from mmforget.types import Scored
from tests.toy_steps import loss

NUM_ROWS, NUM_TOKENS, VOCABULARY = 3, 4, 5
MASK = torch.tensor([[True] * 4, [True, True, True, False], [True, True, False, False]])
BEGINNING = Beginning(num_updates=4, seed=0, hidden_size=VOCABULARY, num_layers=2)
SIGNS = dict.fromkeys(("forget", *REPHRASED), -1)
"""Log-probs to forget fall, in whatever wording; all others rise."""
TRAINED = [name for name in METHODS.names() if hasattr(METHODS.get(name), "loss")]


def method_fits(method: object) -> bool:
    """Whether it learns the answers to forget, and makes something else of that."""
    return hasattr(method, "learnt_times") or hasattr(method, "guard")


@pytest.mark.parametrize("name", METHODS.names())
def test_it_says_where_it_comes_from(name: str) -> None:
    """Whoever lists methods sees what each does to a model, how near it is to its paper, and what a step costs."""
    if METHODS.entries[name].origin != "mmforget":
        pytest.skip("another package's")
    said = described(METHODS.get(name))
    assert said.evidence in get_args(Evidence)
    assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}|https://\S+", said.paper)
    assert (said.cost is None) == (said.requests == () and said.shape != "wrapper")


class Leaves:
    """Logits that a method's gradient can reach, one tensor a source, and the step made from them."""

    def __init__(
        self, requests: tuple[Request, ...], *, state: Mapping[str, torch.Tensor] | None = None, seed: int = 0
    ) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.targets = torch.randint(VOCABULARY, (NUM_ROWS, NUM_TOKENS), generator=rng)
        shape = (NUM_ROWS, NUM_TOKENS, VOCABULARY)
        names = [*SUPPLIED, *sorted({request.source for request in requests} - set(SUPPLIED))]
        # Answers are remembered, as they are where something is to be forgotten.
        learnt = 3 * functional.one_hot(self.targets, VOCABULARY)
        self.logits = {name: (torch.randn(shape, generator=rng) + learnt).requires_grad_() for name in names}
        self.step = Step({request: self.answer(request, rng=rng) for request in requests}, state=dict(state or {}))

    def answer(self, request: Request, *, rng: torch.Generator) -> Any:
        if isinstance(request, Scores):
            return Scored(self.logprobs(request.source), MASK, torch.zeros(NUM_ROWS, dtype=torch.bool))
        if isinstance(request, Reference):
            return self.logprobs(request.source).detach() - 0.3
        if isinstance(request, Hidden):
            return self.states(request)
        if isinstance(request, Influence):
            return request.kind(-torch.arange(1.0, NUM_ROWS + 1))
        if isinstance(request, Lens):
            return AtLayers(self.at_layers(request), MASK)
        if isinstance(request, TokenStats | LogitStats | Comparison | WordStats):
            return self.of_distributions(request)
        assert isinstance(request, Divergence), f"no toy answer to {request}"
        return Drift(self.divergence(request.source, rng=rng), MASK, VOCABULARY)

    def logprobs(self, name: str) -> torch.Tensor:
        found = self.logits[name].log_softmax(-1).gather(-1, self.targets[..., None])[..., 0]
        return torch.where(MASK, found, torch.zeros(()))

    def states(self, request: Hidden) -> torch.Tensor:
        """Of one layer, as wide as the vocabulary; those before training are a little off."""
        found = (self.logits[request.source] * MASK[..., None])[None]
        return found.detach() * 1.1 if request.before else found

    def at_layers(self, request: Lens) -> torch.Tensor:
        """At two layers, of which the first is half as sure."""
        found = []
        for scale in (0.5, 1.0):
            logprobs = (scale * self.logits[request.source]).log_softmax(-1).flatten(0, 1)
            found.append(statistic(request.kind)(logprobs, self.targets.flatten()).view(NUM_ROWS, NUM_TOKENS))
        return torch.stack(found) * MASK

    def of_distributions(self, request: TokenStats | LogitStats | Comparison | WordStats) -> torch.Tensor:
        """Of the model before training the answers are likelier."""
        logits, targets = self.logits[request.source].flatten(0, 1), self.targets.flatten()
        before = logits.detach() + 0.5 * functional.one_hot(targets, VOCABULARY)
        if isinstance(request, WordStats):
            found = request.kind(logits, targets, torch.arange(VOCABULARY) < 2)
        elif isinstance(request, LogitStats):
            found = request.kind(logits, before) if request.compared else request.kind(logits)  # type: ignore[call-arg]
        elif isinstance(request, Comparison):
            found = request.kind(logits.log_softmax(-1), targets, before.log_softmax(-1))
        else:
            found = statistic(request.kind)(logits.log_softmax(-1), targets)
        return torch.where(MASK, found.view(NUM_ROWS, NUM_TOKENS), torch.zeros(()))

    def divergence(self, name: str, *, rng: torch.Generator) -> torch.Tensor:
        """KL from distributions a little off these logits'."""
        logits = self.logits[name]
        reference = (logits.detach() + 0.1 * torch.randn(logits.shape, generator=rng)).log_softmax(-1)
        kl = (reference.exp() * (reference - logits.log_softmax(-1))).sum(-1)
        return torch.where(MASK, kl, torch.zeros(()))


def leaves_of(method: Method, *, requests: tuple[Request, ...] | None = None) -> Leaves:
    """What the method asks for, or other requests, with the state that it begins with."""
    return Leaves(method.requests if requests is None else requests, state=state_of(method, BEGINNING))


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


def test_requests_are_known_and_have_something_to_train_on(method: Method) -> None:
    assert isinstance(method.requests, tuple)
    assert all(isinstance(request, REQUESTS) for request in method.requests)
    assert any(isinstance(request, Scores | Lens | Hidden) for request in method.requests)
    brought = {name for name, source in sources_of(method).items() if source.rows is not None}
    assert asked_sources(method) <= {*SUPPLIED, *brought}


def test_loss_is_finite_and_differentiable_with_just_what_it_asks_for(method: Method) -> None:
    leaves = leaves_of(method)
    total, _ = loss(method, leaves.step)
    assert total.shape == ()
    assert math.isfinite(total.item())
    total.backward()  # type: ignore[no-untyped-call]
    trained = next(request for request in method.requests if isinstance(request, Scores | Lens | Hidden))
    gradient = leaves.logits[trained.source].grad
    assert gradient is not None
    assert bool(gradient.isfinite().all())
    # What is read at layers may be where the method wants it already.
    if isinstance(trained, Scores):
        looked_at = MASK.clone()
        looked_at[:, : getattr(method, "skip_first", 0)] = False
        if hasattr(method, "chosen"):
            looked_at &= method.chosen(leaves.step)
        assert bool((gradient[looked_at].abs().sum(-1) > 0).all()), "some masked token gets no gradient"
    assert bool((gradient[~MASK] == 0).all()), "padding gets a gradient"


def test_terms_are_scalars_that_add_up_to_the_total(method: Method) -> None:
    leaves = leaves_of(method)
    terms = method.loss(leaves.step)
    assert terms
    assert {value.shape for value in terms.values()} == {()}
    total, parts = loss(method, leaves.step)
    assert sum(parts.values()) == pytest.approx(total.item(), rel=1e-5, abs=1e-6)


def test_a_small_step_forgets_and_keeps_or_refuses(method: Method) -> None:
    """Along the negative gradient: log-probs to forget fall, those of refusals, of retain and benign answers and of
    rows the method wrote rise, unless the method only holds distributions where they were.
    """
    leaves = leaves_of(method)
    before, _ = loss(method, leaves.step)
    before.backward()  # type: ignore[no-untyped-call]
    for source in sorted(asked_sources(method)):
        gradient = leaves.logits[source].grad
        if gradient is None or Scores(source) not in method.requests:
            continue
        old = leaves.logprobs(source).sum()
        with torch.no_grad():
            leaves.logits[source] -= 1e-2 * gradient
        sign = 1 if method_fits(method) else SIGNS.get(source, 1)
        assert sign * (leaves.logprobs(source).sum() - old).item() > 0, f"{source} moves the wrong way"


def test_what_is_asked_for_is_what_is_read(method: Method) -> None:
    """Leaving out a request makes the loss say so; so requests are neither too few (above) nor too many (here)."""
    for missing in method.requests:
        fewer = tuple(request for request in method.requests if request != missing)
        with pytest.raises(PluginError, match="add "):
            method.loss(leaves_of(method, requests=fewer).step)


def test_the_same_step_gives_the_same_loss(method: Method) -> None:
    first, second = (loss(method, leaves_of(method).step).total.item() for _ in range(2))
    assert first == second


WRAPPERS = [name for name in METHODS.names() if is_wrapper(METHODS.get(name))]


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_joins_any_loss_and_is_nothing_alone(name: str) -> None:
    assert not hasattr(METHODS.get(name), "loss")
    assert build(f"npo+{name}").names == ("npo", name)
    for other in set(WRAPPERS) - {name}:
        with pytest.raises(UserError, match="only change how another method trains"):
            build(f"{name}+{other}")


@pytest.mark.parametrize("name", sorted(set(METHODS.names()) - set(TRAINED) - set(WRAPPERS)))
def test_what_trains_nothing_edits_or_guards(name: str) -> None:
    wanted = ("guard",) if hasattr(build(name), "guard") else ("edit", "check")
    assert all(callable(getattr(build(name), one)) for one in wanted)


WRITERS = [name for name in TRAINED if any(source.draw == "epoch" for source in sources_of(build(name)).values())]


@pytest.mark.parametrize("name", [name for name in TRAINED if name not in WRITERS and not method_fits(build(name))])
def test_it_joins_with_others_and_the_losses_add_up(name: str) -> None:
    """`a+b` is the sum of both, each term under its method's name."""
    partner = "grad_diff" if name != "grad_diff" else "po"
    joined = build(f"{name}+{partner}")
    assert set(joined.requests) == set(build(name).requests) | set(build(partner).requests)
    step = leaves_of(joined).step
    total, terms = loss(joined, step)
    each = [loss(part, Step(step.found, state=state_of(part, BEGINNING))) for part in joined.parts]
    alone = sum(one.total.item() for one in each)
    assert total.item() == pytest.approx(alone, rel=1e-5)
    assert {term.partition(".")[0] for term in terms} == {name, partner}
