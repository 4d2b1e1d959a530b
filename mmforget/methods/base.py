"""What a method is; `methods.build` makes one of a name and arguments. Imports no torch.

Requests, `Source` and `Step` are offered here, too, so that a method has one place to import from.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from mmforget.methods.computing import Compute, Part
from mmforget.methods.grids import USUAL, Grid, Times
from mmforget.methods.requests import (
    Comparison,
    Divergence,
    Hidden,
    Influence,
    Labels,
    Lens,
    LogitStats,
    Reference,
    Request,
    Scores,
    Source,
    TokenStats,
    WordStats,
)
from mmforget.methods.steps import AtLayers, Beginning, Drift, Step
from mmforget.plugins import Hook
from mmforget.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from mmforget.asking import Engine

__all__ = [
    "METHODS",
    "USUAL",
    "AtLayers",
    "Beginning",
    "Comparison",
    "Compute",
    "Divergence",
    "Drift",
    "Evidence",
    "Grid",
    "Guarding",
    "Hidden",
    "Influence",
    "Labels",
    "Lens",
    "LogitStats",
    "Method",
    "Part",
    "Reference",
    "Request",
    "Scores",
    "Source",
    "Step",
    "Times",
    "TokenStats",
    "WordStats",
    "Wrapper",
    "hyper_parameters",
]

JOINER = "+"
WRAPPING = ("gradients", "learnt_change", "choose_expert", "reveal")
"""What a wrapper may have, of which it has one."""
Evidence = Literal["exact", "adaptation", "reconstruction"]
"""How near a method is to its paper: its formula, the same idea carried over to other models, or what is built from a
description that leaves the formula open."""


class Method(Protocol):
    """A trained method: a frozen dataclass of hyper-parameters with a loss. The file's name is the method's name.

    It may have nine things more. `sources`, a tuple of `Source`: rows that it brings, or draws otherwise than usual,
    or whose answers are scored against other tokens (`Labels`), which the model itself says before it trains.
    `start(beginning) -> dict[str, Tensor]`: its state, which every `Step` then carries, checkpoints keep and a
    continued training finds again. `needs_all_subjects = True`: it cannot forget one subject without the others, and
    is refused where a run forgets one at a time. `lacks(material) -> str`: why it cannot unlearn just these rows, empty
    where it can; such a run leaves subjects out by name that lack something. `learnt_times`: what adapters have learnt
    is multiplied by this in the end, and -1 takes it away from the model. `first_factors(weight, *, forget, retain,
    rank, scaling)`: what the adapter of a weight [O, I] begins with, factors [r, I] and [O, r] made of the mean squared
    gradients [O, I] of answers to forget and to keep; the same is taken away again for good, so that the model is at
    first what it was. `trained_part(squares)`: which elements of a weight train, bool of its shape, by the mean squared
    gradients there of the answers of each source that it asks about; the others stay bit by bit, and nothing decays.
    `base`, a `methods.bases.Base`: what it starts from in the target's place, which learnt the target's rows otherwise,
    with differential privacy for one, before anybody asked to forget. `gradients(compute, *, weights)`, as a `Wrapper`
    has it: how an update of its own loss, and of what it is joined with, is computed.

    A method of any shape may say where it comes from, for lists: `paper`, an address, and `evidence`, how near to it;
    and `besides`, in words what it computes beside its steps.
    So may it say what is worth trying of it: `grid`, values by argument or training setting, see `methods.grids`, which
    `run --tune N` draws from; without one a trained method is tried with `USUAL`, and any other as it is.
    """

    @property
    def requests(self) -> tuple[Request, ...]:
        """What `loss` reads; may depend on the hyper-parameters."""

    def loss(self, step: Step) -> dict[str, Tensor]:
        """Weighted terms by name, each a scalar; their sum is minimised."""


@runtime_checkable
class Wrapper(Protocol):
    """A method that changes how another trains, joined as `npo+sam`: it has no loss and one or more of these.

    `gradients`, see below. `learnt_change(product, *, scaling)`: what the adapter of a feed-forward weight [O, I] adds
    to it, in place of scaling times the product [O, I] of its factors. With `gradients` it may have `finish`, which is
    None or `(weights, *, state, update)`: called once after `update` updates, when the training has ended for whatever
    reason, to put other values in the weights. `choose_expert(affinities) -> (layer, expert)` with
    `anchor(probabilities, *, expert)`: of a mixture of experts one expert and its router train alone, chosen by mean
    router probabilities [L, E] over the rows to forget, and `anchor` is a term of the loss, of those [n, E] there.

    `reveal(material, write, *, seed)` with `rounds` gives a `methods.revealing.Told` for each row to forget: a question
    and the model's answer, which are forgotten in its place, with its pictures. `write(asked)` are the model's answers
    to any questions, see `methods.revealing`. It is called before the first update of each of `rounds` equal shares;
    where a model tells nothing, the row stays what it was in the round before. What it says as `candidates`, a tuple of
    texts, tells one training from another; what it `lacks` is said before any work.
    """

    def gradients(self, compute: Compute, *, weights: Mapping[str, Tensor]) -> Tensor:
        """Leaves the gradients of one update in `weights`, and returns its loss.

        Args:
            compute: adds the gradients of the loss at the present weights to those that are there, and returns the
                loss: `compute()` of all of it, `compute("forget")` and `compute("keep")` through the rows of one kind,
                see `methods.computing`. It may be called again; randomness is then as before, and nothing that a loss
                counts is counted twice.
            weights: what trains, by name; they have to be at the end what they were. Gradients are None at first.
        """


@runtime_checkable
class Guarding(Protocol):
    """A method that changes no weights and stands between questions and a model: it has a `guard`.

    It may have `start(material) -> dict[str, Any]`: what it keeps of the rows to forget and to retain, the refusals and
    concepts, as plain JSON values. They lie in the guard's file, count in its fingerprint, and are what `guard` is then
    given beside the engine: `guard(engine, state)`.

    With `learn(material, states) -> dict[str, Any]` in place of `start` it may ask the model as well: `states(rows)` is
    what the last decoder layer puts out at the last token of each row's question, float32 [N, H].

    With `loss` and `requests` it trains all the same: an adapter, which lies in the guard's folder and is put on the
    model that the engine asks. With `mix(before, adapted)` besides, tokens are chosen and scored by the logits that it
    makes of those without and with the adapter, float32 [n, V] each; `choose(before, adapted)` makes those that tokens
    are chosen by, where they are others than those that are scored. With `first_layers` the adapter lies in so many of
    the first decoder layers (a float is a share of all), and what trains and is mixed is these, the final norm and the
    head: a small model that shares its weights with the one before.
    """

    def guard(self, engine: Engine) -> Engine:
        """What answers in the engine's place; see `mmforget.asking`, where `GuardEngine` is what to begin with."""


def shape_faults(name: str, plugin: object) -> list[str]:
    """What keeps an object from being a method, in words."""
    if not isinstance(plugin, type):
        kind = type(plugin).__name__
        return [f"METHOD is an object of {kind}; it has to be the class itself: METHOD = {kind}"]
    if not is_dataclass(plugin):
        return [f"METHOD ({plugin.__name__}) is no dataclass; its fields are the method's arguments"]
    if is_wrapper(plugin) or hasattr(plugin, "guard"):
        return []
    wanted = ("edit", "check") if hasattr(plugin, "edit") else ("loss", "requests")
    missing = [key for key in wanted if not hasattr(plugin, key)]
    return [f"METHOD ({plugin.__name__}) lacks {' and '.join(missing)}"] if missing else []


def is_wrapper(method: object) -> bool:
    """Whether a method, or its class, has no loss of its own and changes how another one trains."""
    return not hasattr(method, "loss") and any(hasattr(method, name) for name in WRAPPING)


METHODS: Registry[type[Any]] = Registry(
    "method", package="mmforget.methods", attribute="METHOD", faults_of=shape_faults
)


def part_with(method: Any, name: str) -> Any:
    """The method, or the first of its parts, that has this; None where none has."""
    return next((one for one in getattr(method, "parts", (method,)) if hasattr(one, name)), None)


def called(method: Any) -> str:
    """A method as people name it, joined ones as `a+b`; by its class where it is not registered."""
    if hasattr(method, "parts"):
        return JOINER.join(method.names)
    kind = type(method)
    module = sys.modules.get(kind.__module__)
    entries = (one for one in METHODS.entries.values() if one.module == kind.__module__)
    return next((one.name for one in entries if getattr(module, one.attribute, None) is kind), kind.__name__)


def hook_of(method: Any, name: str) -> Hook | None:
    """What a method, or the one of its parts that has this, does there; None where none has."""
    part = part_with(method, name)
    return None if part is None else hook(part, getattr(part, name), what=name)


def hook(method: Any, function: Any, *, what: str) -> Hook:
    """A function of a method, as code that answers for what it does wrong."""
    return Hook(function, method, f"method '{called(method)}': {what}")


def finish_of(method: Any) -> Hook | None:
    """What a wrapper does when the training has ended; None for most."""
    end = getattr(method, "finish", None)
    return None if end is None else hook(method, end, what="finish")


def hyper_parameters(method: Any) -> dict[str, Any]:
    """The method's arguments by name, plain values, for records; a method that is no dataclass has none."""
    named = getattr(method, "hyper_parameters", None)
    if named is not None:
        found: dict[str, Any] = named()
        return found
    return asdict(method) if is_dataclass(method) and not isinstance(method, type) else {}
