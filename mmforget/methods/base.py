"""What a method is, what it may ask for, and how a name and its arguments become one. Imports no torch.

Shapes: B answers, T answer tokens (padded on the right).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from mmforget.errors import PluginError
from mmforget.methods.arguments import argument_types, from_arguments
from mmforget.registry import Registry
from mmforget.types import LossParts, Scored

if TYPE_CHECKING:
    from torch import Tensor


class Need(Enum):
    """One thing a method's loss reads. The trainer computes exactly what is named, once a micro-batch.

    FORGET: `step.forget`, the answers to forget.
    RETAIN: `step.retain`, as many answers to keep, drawn from the retain set.
    ALTERNATE: `step.alternate`, the questions to forget answered by a refusal.
    REFERENCE_FORGET: `step.forget_reference`, log-probs of the forget answers before training.
    RETAIN_KL: `step.retain_kl`, how far retain answers' distributions are from those before training.
    ALL_POSITIONS: what concerns retain covers every position (image, question and answer), not the answer alone.
    """

    FORGET = "forget"
    RETAIN = "retain"
    ALTERNATE = "alternate"
    REFERENCE_FORGET = "reference_forget"
    RETAIN_KL = "retain_kl"
    ALL_POSITIONS = "all_positions"


class _NotAsked:
    """Stands in a `Step` for what the method did not ask for, and says so to whoever touches it."""

    def __init__(self, *needs: Need) -> None:
        self._needs = needs

    def _refuse(self) -> NoReturn:
        names = " and ".join(f"Need.{need.name}" for need in self._needs)
        raise PluginError(f"a method's loss reads what its `needs` do not name; add {names}")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()

    def __getitem__(self, key: object) -> NoReturn:
        self._refuse()

    @classmethod
    def __torch_function__(
        cls, func: object, types: object, args: tuple[Any, ...] = (), kwargs: object = None
    ) -> NoReturn:
        next(arg for arg in args if isinstance(arg, cls))._refuse()


_NO_FORGET: Any = _NotAsked(Need.FORGET)
_NO_RETAIN: Any = _NotAsked(Need.RETAIN)
_NO_ALTERNATE: Any = _NotAsked(Need.ALTERNATE)
_NO_FORGET_REFERENCE: Any = _NotAsked(Need.REFERENCE_FORGET)
_NO_RETAIN_KL: Any = _NotAsked(Need.RETAIN_KL)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One micro-batch as a method sees it: scores, no model and no batch. Only what was asked for is there.

    Attributes:
        forget: the answers to forget; differentiable.
        retain: answers to keep; differentiable. Row i is the partner of forget row i, drawn anew every epoch.
        alternate: refusals to the questions of `forget`, in the same order; differentiable.
        forget_reference: float32 [B, T], log-probs of `forget` before training, 0 where padded; constant.
        retain_kl: float32 [B, T], KL(before training || now) of the next-token distributions at the positions of
            `retain.mask`, in nats, 0 where padded; differentiable.
    """

    forget: Scored = _NO_FORGET
    retain: Scored = _NO_RETAIN
    alternate: Scored = _NO_ALTERNATE
    forget_reference: Tensor = _NO_FORGET_REFERENCE
    retain_kl: Tensor = _NO_RETAIN_KL


class Method(Protocol):
    """A trained method: a frozen dataclass of hyper-parameters with a loss. The file's name is the method's name."""

    @property
    def needs(self) -> frozenset[Need]:
        """What `loss` reads; may depend on the hyper-parameters."""

    def loss(self, step: Step) -> LossParts:
        """The scalar to minimise, and its weighted terms, which add up to it."""


METHODS: Registry[type[Method]] = Registry("method", package="mmforget.methods", attribute="METHOD")


def build(name: str, args: str | Mapping[str, Any] = "") -> Method:
    """The method `name` with its hyper-parameters, given as `"beta=0.1,retain_weight=1"` or as a mapping.

    Raises UnknownName for a method or an argument that does not exist, UserError for a value of the wrong type or
    outside its range.
    """
    return from_arguments(METHODS.get(name), args, owner=f"method '{name}'")


def arguments(name: str) -> tuple[str, ...]:
    """Names of the arguments that the method `name` takes. Raises UnknownName for a method that does not exist."""
    return tuple(argument_types(METHODS.get(name)))
