"""What a method's loss may ask for, and the step that then holds it. Imports no torch.

Shapes: B answers, T answer tokens (padded on the right).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from mmforget.errors import PluginError
from mmforget.types import Scored

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
    BENIGN: `step.benign`, the questions to forget asked of a harmless image, with their normal answers.
    BUILT: `step.built`, rows that the method writes itself; epochs run over these and not over the rows to forget.
    BUILT_KL: `step.built_kl`, how far their distributions are from those before training.
    """

    FORGET = "forget"
    RETAIN = "retain"
    ALTERNATE = "alternate"
    REFERENCE_FORGET = "reference_forget"
    RETAIN_KL = "retain_kl"
    ALL_POSITIONS = "all_positions"
    BENIGN = "benign"
    BUILT = "built"
    BUILT_KL = "built_kl"


RETAIN_NEEDS = frozenset({Need.RETAIN, Need.RETAIN_KL})
"""Those that take rows of the retain set."""


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
_NO_BENIGN: Any = _NotAsked(Need.BENIGN)
_NO_BUILT: Any = _NotAsked(Need.BUILT)
_NO_BUILT_KL: Any = _NotAsked(Need.BUILT_KL)


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
        benign: normal answers to the questions of `forget` about a harmless image, in the same order; differentiable.
        built: the method's own rows; its mask marks the tokens of their answers; differentiable.
        built_kl: float32 [B, T] as in `built`, KL(before || now) in nats, summed over the vocabulary but for the
            method's silent words; differentiable.
        built_keep: bool [B, T], the positions whose `built_kl` counts, see `WritesRows.kl_alignment`.
        num_vocabulary: how many tokens of the vocabulary `built_kl` is summed over.
    """

    forget: Scored = _NO_FORGET
    retain: Scored = _NO_RETAIN
    alternate: Scored = _NO_ALTERNATE
    forget_reference: Tensor = _NO_FORGET_REFERENCE
    retain_kl: Tensor = _NO_RETAIN_KL
    benign: Scored = _NO_BENIGN
    built: Scored = _NO_BUILT
    built_kl: Tensor = _NO_BUILT_KL
    built_keep: Tensor = _NO_BUILT_KL
    num_vocabulary: int = _NO_BUILT_KL
