"""What a method starts from in the target's place: a base that learnt the same rows otherwise. Imports no torch.

Such a base is trained before anybody asks to forget, once for all requests, seeds and arguments of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mmforget.methods.arguments import require_below_one, require_positive

Accountant = Literal["prv", "rdp"]
"""How epsilon is computed, as opacus names it: from the distribution of the privacy loss itself, or from Renyi
divergences, which takes less time and finds more."""


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """(epsilon, delta)-differential privacy of a training, by DP-SGD, where what is protected is one row.

    Attributes:
        epsilon: the most that the training may spend; above 0.
        delta: above 0 and below 1.
        clip: the norm that the gradient of one row is cut to, over all weights that train.
        accountant: by default the one that needs least noise for the same epsilon; at an epsilon of 100 it counts
            for a minute, and `rdp` at once.
    """

    epsilon: float
    delta: float
    clip: float = 1.0
    accountant: Accountant = "prv"

    def __post_init__(self) -> None:
        require_positive(epsilon=self.epsilon, delta=self.delta, clip=self.clip)
        require_below_one(delta=self.delta)


@dataclass(frozen=True, kw_only=True)
class Base:
    """How a base learns the rows of the target.

    Attributes:
        training: settings of stage one that differ, by name.
        privacy: what the training may tell of a row; None: it is trained as any other.
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    privacy: Privacy | None = None


def base_of(method: Any) -> Base | None:
    """What a method, or one of its parts, starts from; None: the target."""
    found: list[Base] = [one.base for one in getattr(method, "parts", (method,)) if hasattr(one, "base")]
    return found[0] if found else None
