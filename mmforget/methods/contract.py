"""What every trained method must keep to, tried on toy log-probs: a loss that cannot be minimised is found at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmforget.asking import Ask, Decoding, Depth, Guard, Look, Positions
from mmforget.errors import PluginError
from mmforget.methods.base import called
from mmforget.methods.material import Material
from mmforget.methods.requests import (
    REQUESTS,
    Divergence,
    Hidden,
    Influence,
    Lens,
    Reference,
    Request,
    Scores,
    asked_sources,
    sources_of,
)
from mmforget.methods.steps import AtLayers, Beginning, Drift, Step
from mmforget.plugins import is_ours, running
from mmforget.results.codec import to_jsonable
from mmforget.types import Example, Scored, TokenScores

NUM_ROWS, NUM_TOKENS, VOCABULARY = 3, 4, 5
HIDDEN_SIZE, NUM_LAYERS = 8, 2
MASK = torch.tensor([[True] * 4, [True, True, True, False], [True, True, False, False]])


States = Callable[[Sequence[Example]], Tensor]
"""What the last decoder layer puts out at the last token of each row's question: float32 [N, H]."""


class Loss(NamedTuple):
    """A scalar to minimise, and the weighted terms that it is the sum of."""

    total: Tensor
    terms: Mapping[str, Tensor]


def loss_of(method: Any, step: Step, *, name: str = "") -> Loss:
    """The method's loss on a step, with what a method of another package does wrong in one line.

    Raises PluginError naming the method where its code fails, or where what it gives is no mapping of names to scalar
    tensors of which one has a gradient.
    """
    what = f"method '{name or called(method)}': loss"
    with running(method, what=what):
        found = method.loss(step)
    wrong = "" if is_ours(method) else _loss_fault(found)
    if wrong:
        raise PluginError(f"{what}: {wrong}")
    first, *rest = found.values()
    return Loss(sum(rest, start=first), found)


def state_of(method: Any, beginning: Beginning, *, name: str = "") -> dict[str, Tensor]:
    """The method's state before the first update; none for most. Raises PluginError for what are no named tensors."""
    if not hasattr(method, "start"):
        return {}
    what = f"method '{name or called(method)}': start"
    with running(method, what=what):
        found = method.start(beginning)
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise PluginError(f"{what}: gives a {type(found).__name__}, not a mapping of names to tensors")
    return found


def stand_in_states(rows: Sequence[Example]) -> Tensor:
    """In place of a model's, to try a guard that learns before there is one: drawn, another for each row."""
    return torch.randn(len(rows), HIDDEN_SIZE, generator=torch.Generator().manual_seed(0))


def guard_state(method: Any, material: Material, *, name: str, states: States = stand_in_states) -> dict[str, Any]:
    """What a guard keeps of the rows, plain JSON values; nothing for most.

    Raises PluginError for what is no mapping of names to plain values.
    """
    learns = hasattr(method, "learn")
    if not hasattr(method, "start") and not learns:
        return {}
    what = f"method '{name}': {'learn' if learns else 'start'}"
    with running(method, what=what):
        found = method.learn(material, states) if learns else method.start(material)
        state = to_jsonable(found).value
    if not isinstance(state, dict):
        raise PluginError(f"{what}: gives a {type(found).__name__}, not a mapping of names to plain values")
    return state


def check_method(method: Any, *, name: str) -> None:
    """Tries a method of another package on a toy step with just what it asks for, once with gradients.

    Raises PluginError with what is wrong. A guard is asked a toy question of each kind. A method that edits weights, or
    that only wraps others, has no loss to try.
    """
    if hasattr(method, "guard") and not is_ours(method):
        _try_guard(method, name=name)
    if is_ours(method) or not hasattr(method, "loss"):
        return
    with running(method, what=f"method '{name}': requests"):
        requests = method.requests
        sources_of(method)
    if not isinstance(requests, tuple) or not all(isinstance(request, REQUESTS) for request in requests):
        names = ", ".join(kind.__name__ for kind in REQUESTS)
        raise PluginError(f"method '{name}': requests has to be a tuple of {names}, and is {requests!r}")
    leaves = {source: _logits(seed) for seed, source in enumerate(sorted(asked_sources(method)))}
    state = state_of(
        method, Beginning(num_updates=10, seed=0, hidden_size=HIDDEN_SIZE, num_layers=NUM_LAYERS), name=name
    )
    loss = loss_of(method, toy_step(requests, logits=leaves, state=state), name=name)
    with running(method, what=f"method '{name}': backward"):
        loss.total.backward()  # type: ignore[no-untyped-call]
    reached = [leaf.grad for leaf in leaves.values() if leaf.grad is not None]
    total = loss.total.item()
    if not math.isfinite(total) or not all(bool(grad.isfinite().all()) for grad in reached):
        raise PluginError(f"method '{name}': loss: {total:g} on toy answers, or its gradient, is not finite")


def _try_guard(method: Any, *, name: str) -> None:
    rows = [Example("toy", "Ann", "Who?", " Ann.")]
    material = Material(forget=rows, retain=rows, refusals=["I do not know."])
    state = guard_state(method, material, name=name)
    guard = Guard(name, method, {}, None, before="toy", state=state)
    engine = guard.around(_ToyEngine())
    engine.score([Ask("score", "toy", "Who?", " Ann.", (), ())])
    engine.generate([Ask("generate", "toy", "Who?", None, (), (), Decoding(4))])
    engine.roll([Ask("rolling", "toy", "", "Ann.", (), ())])


class _ToyEngine:
    """Says `Ann.` to everything, and holds every token for likely."""

    fingerprint = "toy"

    def first_words(self, context: str) -> int:
        return 0

    def last_words(self, context: str) -> int:
        return len(context)

    def batches(self, asks: Sequence[Ask]) -> list[list[int]]:
        return [list(range(len(asks)))]

    def score(self, asks: Sequence[Ask]) -> list[TokenScores]:
        return [TokenScores((-0.1, -0.2), True) for _ in asks]

    def generate(self, asks: Sequence[Ask]) -> list[str]:
        return ["Ann." for _ in asks]

    def roll(self, asks: Sequence[Ask]) -> list[TokenScores]:
        return self.score(asks)

    def hidden(self, asks: Sequence[Ask], *, layers: Sequence[int], positions: Positions = "answer") -> list[Tensor]:
        return [torch.zeros(len(layers), NUM_TOKENS, HIDDEN_SIZE) for _ in asks]

    def lens(self, asks: Sequence[Ask], *, depths: Sequence[Depth], look: Look[Any]) -> list[list[Any]]:
        return [[look(torch.zeros(len(depths), NUM_TOKENS), 0)] for _ in asks]


def toy_step(
    requests: tuple[Request, ...], *, logits: Mapping[str, Tensor], state: Mapping[str, Tensor] | None = None
) -> Step:
    """A step of three answers that holds just what is asked for.

    Args:
        logits: [3, 4, 5] by source.
    """
    found = {request: _answer(request, logits[request.source]) for request in requests}
    return Step(found, state=dict(state or {}))


def _answer(request: Request, logits: Tensor) -> Any:
    if isinstance(request, Scores):
        return Scored(_logprobs(logits), MASK, torch.zeros(NUM_ROWS, dtype=torch.bool))
    if isinstance(request, Reference):
        return _logprobs(logits).detach() - 0.3
    if isinstance(request, Influence):
        return torch.ones(NUM_ROWS)
    if isinstance(request, Hidden):
        return _states(request, logits)
    if isinstance(request, Divergence):
        return Drift(_divergence(logits), MASK, VOCABULARY)
    if isinstance(request, Lens):
        return AtLayers(torch.stack([_logprobs(logits)] * NUM_LAYERS), MASK)
    # Whatever is wanted of a distribution or of raw logits, it is a number a token that moves with the logits.
    return _logprobs(logits)


def _loss_fault(found: object) -> str:
    if not isinstance(found, dict) or not found:
        return f"gives a {type(found).__name__}, not a mapping of names to tensors"
    for term, value in found.items():
        if not isinstance(value, Tensor) or value.dim() != 0:
            shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
            return f"the term '{term}' is a {type(value).__name__}{shape}, not a scalar tensor"
    if not any(value.requires_grad for value in found.values()):
        return "no term has a gradient; compute them from the step's tensors without detaching them"
    return ""


def _logits(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((NUM_ROWS, NUM_TOKENS, VOCABULARY), generator=generator).requires_grad_()


def _logprobs(logits: Tensor) -> Tensor:
    """Log-probs of the first word of the vocabulary, 0 where padded."""
    return torch.where(MASK, logits.log_softmax(-1)[..., 0], torch.zeros(()))


def _states(request: Hidden, logits: Tensor) -> Tensor:
    """Hidden states [L, 3, 4, H] that move with the logits, another multiple of them in each layer."""
    wide = torch.cat([logits, logits], -1)[..., :HIDDEN_SIZE] * MASK[..., None]
    found = torch.stack([wide * (1 + layer % NUM_LAYERS) for layer in request.layers])
    return (found.detach() - 0.3) * MASK[..., None] if request.before else found


def _divergence(logits: Tensor) -> Tensor:
    """KL(uniform || these logits) at every position, 0 where padded."""
    uniform = torch.full_like(logits, -math.log(VOCABULARY))
    kl = (uniform.exp() * (uniform - logits.log_softmax(-1))).sum(-1)
    return torch.where(MASK, kl, torch.zeros(()))
