"""The arithmetic of ROCR: pure functions of tensors, no model and no rows.

Shapes: I inputs and H outputs of a matrix, n keys of an edit, m keys of earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Moments:
    """Sums of x x^T over places of what matrices take in, float64 [I, I] each, and the number of places, by name."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    num: dict[str, float] = field(default_factory=dict)

    def take(self, name: str, values: Tensor, counts: Tensor) -> None:
        rows = values.to(torch.float32 if values.device.type == "mps" else torch.float64)
        product = rows.T @ (rows * counts.to(rows.dtype)[:, None])
        self.sums[name] = product if name not in self.sums else self.sums[name].add_(product)
        self.num[name] = self.num.get(name, 0.0) + float(counts.sum())

    def kept(self, name: str, *, threshold: float) -> Tensor:
        """Orthonormal columns float64 [I, r] along which the mean of x x^T is `threshold` or more; on the CPU."""
        values, vectors = torch.linalg.eigh(self.sums[name].cpu().double() / self.num[name])
        found: Tensor = vectors[:, values >= threshold]
        return found


@dataclass
class Means:
    """Mean over places of what modules take in or put out, by name."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    num: dict[str, float] = field(default_factory=dict)

    def take(self, name: str, values: Tensor, counts: Tensor) -> None:
        total = (values.cpu().double() * counts.cpu().double()[:, None]).sum(0)
        self.sums[name] = self.sums.get(name, torch.zeros_like(total)) + total
        self.num[name] = self.num.get(name, 0.0) + float(counts.sum())

    def mean(self, name: str) -> Tensor:
        """float64 [D]."""
        return self.sums[name] / self.num[name]


def projected(columns: Tensor, *, kept: Tensor) -> Tensor:
    """Columns [I, n] without what lies along the kept directions [I, r], which are orthonormal: P columns."""
    return columns - kept @ (kept.T @ columns)


def update(keys: Tensor, *, residuals: Tensor, earlier: Tensor, kept: Tensor, ridge: float) -> Tensor:
    """What is added to a weight [H, I]: D with D^T = (P (K K^T + C) + ridge 1)^-1 P K R^T, C = E E^T.

    With U = [K, E] and B = P U it is B (ridge 1 + U^T B)^-1 in its first n columns, times R^T, so that nothing larger
    than the number of keys is solved.

    Args:
        keys: K, float64 [I, n].
        residuals: R, float64 [H, n].
        earlier: E, float64 [I, m].
        kept: float64 [I, r], what P takes away.
        ridge: above 0.
    """
    every = torch.cat([keys, earlier], dim=1)
    inside = projected(every, kept=kept)
    small = ridge * torch.eye(every.shape[1], dtype=every.dtype) + every.T @ inside
    first = torch.eye(every.shape[1], dtype=every.dtype)[:, : keys.shape[1]]
    found: Tensor = residuals @ (inside @ torch.linalg.solve(small, first)).T
    return found
