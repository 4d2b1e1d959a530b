"""What every trained method must keep to, tried on toy log-probs: a loss that cannot be minimised is found at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mmforget.errors import PluginError
from mmforget.methods.base import Need, Step
from mmforget.plugins import is_ours, running
from mmforget.types import LossParts, Scored

NUM_ROWS, NUM_TOKENS, VOCABULARY = 3, 4, 5
MASK = torch.tensor([[True] * 4, [True, True, True, False], [True, True, False, False]])
SCORED = {
    Need.FORGET: "forget",
    Need.RETAIN: "retain",
    Need.RETAIN_KL: "retain",
    Need.ALTERNATE: "alternate",
    Need.BENIGN: "benign",
    Need.BUILT: "built",
}
"""The scores that each need brings into a step."""


def loss_of(method: Any, step: Step, *, name: str = "") -> LossParts:
    """The method's loss on a step, with what a method of another package does wrong in one line.

    Raises PluginError naming the method where its code fails, where the total is no scalar tensor with a gradient, or
    where the parts are not plain numbers by name.
    """
    what = f"method '{name or type(method).__name__}': loss"
    with running(method, what=what):
        found = method.loss(step)
    wrong = "" if is_ours(method) else _loss_fault(found)
    if wrong:
        raise PluginError(f"{what}: {wrong}")
    loss: LossParts = found
    return loss


def check_method(method: Any, *, name: str) -> None:
    """Tries a method of another package on a toy step with just what it needs, once with gradients.

    Raises PluginError with what is wrong. A method that edits weights has no loss to try.
    """
    if is_ours(method) or hasattr(method, "edit"):
        return
    with running(method, what=f"method '{name}': needs"):
        needs = frozenset(method.needs)
        strange = [need for need in needs if not isinstance(need, Need)]
    if strange or not isinstance(method.needs, (set, frozenset)):
        raise PluginError(f"method '{name}': needs has to be a frozenset of Need, and is {method.needs!r}")
    leaves = {role: _logits(seed) for seed, role in enumerate(dict.fromkeys(SCORED.values()))}
    loss = loss_of(method, toy_step(needs, logits=leaves), name=name)
    with running(method, what=f"method '{name}': backward"):
        loss.total.backward()  # type: ignore[no-untyped-call]
    reached = [leaf.grad for leaf in leaves.values() if leaf.grad is not None]
    total = loss.total.item()
    if not math.isfinite(total) or not all(bool(grad.isfinite().all()) for grad in reached):
        raise PluginError(f"method '{name}': loss: {total:g} on toy answers, or its gradient, is not finite")


def toy_step(needs: frozenset[Need], *, logits: Mapping[str, Tensor]) -> Step:
    """A step of three answers that holds just what `needs` name.

    Args:
        logits: [3, 4, 5] by what is scored, see `SCORED`.
    """
    scored = {role: _scored(logits[role]) for role in {SCORED[need] for need in needs if need in SCORED}}
    others: dict[Need, Callable[[], dict[str, Any]]] = {
        Need.REFERENCE_FORGET: lambda: {"forget_reference": _logprobs(logits["forget"]).detach() - 0.3},
        Need.RETAIN_KL: lambda: {"retain_kl": _divergence(logits["retain"])},
        Need.BUILT_KL: lambda: {
            "built_kl": _divergence(logits["built"]),
            "built_keep": MASK,
            "num_vocabulary": VOCABULARY,
        },
    }
    found: dict[str, Any] = dict(scored)
    for need in needs:
        found |= others[need]() if need in others else {}
    return Step(**found)


def _loss_fault(found: object) -> str:
    if not isinstance(found, tuple) or len(found) != 2:
        return f"gives a {type(found).__name__}, not LossParts(total, parts)"
    total, parts = found
    if not isinstance(total, Tensor) or total.dim() != 0:
        shape = f" of shape {list(total.shape)}" if isinstance(total, Tensor) else ""
        return f"the total is a {type(total).__name__}{shape}, not a scalar tensor"
    if not total.requires_grad:
        return "the total has no gradient; compute it from the step's tensors without detaching them"
    if not isinstance(parts, Mapping):
        return f"the parts are a {type(parts).__name__}, not a mapping of names to numbers"
    for name, value in parts.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"the part '{name}' is a {type(value).__name__}, not a plain number; use .item()"
    return ""


def _logits(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((NUM_ROWS, NUM_TOKENS, VOCABULARY), generator=generator).requires_grad_()


def _scored(logits: Tensor) -> Scored:
    return Scored(_logprobs(logits), MASK, torch.zeros(NUM_ROWS, dtype=torch.bool), None)


def _logprobs(logits: Tensor) -> Tensor:
    """Log-probs of the first word of the vocabulary, 0 where padded."""
    return torch.where(MASK, logits.log_softmax(-1)[..., 0], torch.zeros(()))


def _divergence(logits: Tensor) -> Tensor:
    """KL(uniform || these logits) at every position, 0 where padded."""
    uniform = torch.full_like(logits, -math.log(VOCABULARY))
    kl = (uniform.exp() * (uniform - logits.log_softmax(-1))).sum(-1)
    return torch.where(MASK, kl, torch.zeros(()))
