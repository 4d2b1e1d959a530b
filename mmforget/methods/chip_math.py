"""The arithmetic of CHIP: pure functions of tensors, no model and no hierarchy.

Shapes: D outputs of a matrix, k of them selected, m directions, r the rank that is removed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmforget.methods.edits import Matrix

SHORTEST = 1e-8
"""Differences of this length or less have no direction."""


def num_neurons(num_outputs: int, *, share: float) -> int:
    """max(1, floor(D * share)); a share is exact to a billionth, so that 3 % of 100 is 3."""
    return max(1, math.floor(num_outputs * share + 1e-9))


def select(forget: Tensor, retain: Tensor, *, share: float) -> Tensor:
    """Indices int64 [k], ascending, of the outputs with the largest mean |a| on forget rows minus that on retain rows.

    The raw difference, neither a ratio nor its size; of equal ones the first.

    Args:
        forget, retain: [D], mean absolute output over the rows of each side.
    """
    order = torch.argsort(forget - retain, descending=True, stable=True)
    return order[: num_neurons(len(forget), share=share)].sort().values


def direction(target: Tensor, *, reference: Tensor, neurons: Tensor) -> Tensor | None:
    """The unit vector float64 [k] from the reference's mean row to the target's, on the selected outputs.

    None where they are no more than 1e-8 apart.

    Args:
        target, reference: [D], mean rows.
    """
    difference = (target - reference).double()[neurons]
    length = float(difference.norm())
    return difference / length if length > SHORTEST else None


def rank_for(energies: Tensor, *, tau: float) -> int:
    """1 + how many cumulative energies lie below tau of their total, within [1, m].

    Args:
        energies: [m], squared singular values, descending.
    """
    reached = torch.cumsum(energies, dim=0)
    below = int((reached < tau * reached[-1]).sum())
    return min(max(1, 1 + below), len(energies))


def basis(directions: Tensor, *, tau: float) -> Tensor:
    """Orthonormal columns float64 [k, r] that hold `tau` of the directions' energy: their first right singular vectors.

    The directions are not centred. Where the decomposition does not converge: their normalised mean.

    Args:
        directions: [m, k], unit rows.
    """
    rows = directions.double()
    try:
        _, singular, right = torch.linalg.svd(rows, full_matrices=False)
    except RuntimeError:
        mean = rows.mean(dim=0)
        found: Tensor = (mean / mean.norm().clamp(min=SHORTEST))[:, None]
        return found
    columns: Tensor = right[: rank_for(singular.square(), tau=tau)].T
    return columns


def complement(columns: Tensor) -> Tensor:
    """The projection float64 [k, k] onto what is orthogonal to orthonormal columns [k, r]: I - Q Q^T."""
    return torch.eye(len(columns), dtype=columns.dtype) - columns @ columns.T


def project(matrix: Matrix, *, neurons: Tensor, columns: Tensor) -> Matrix:
    """The matrix whose selected outputs lack what lies along the columns, for every input; its bias, too.

    The product is taken in float64 (in float32 where the device has none) and rounded once, to the matrix's own dtype.
    Other outputs keep their very bits.

    Args:
        neurons: int64 [k].
        columns: float64 [k, r], orthonormal.
    """
    weight = _without(matrix.weight, neurons=neurons, columns=columns)
    if matrix.bias is None:
        return Matrix(weight, None)
    return Matrix(weight, _without(matrix.bias[:, None], neurons=neurons, columns=columns)[:, 0])


def project_released(matrix: Matrix, *, neurons: Tensor, columns: Tensor) -> Matrix:
    """`project` as released: I - Q Q^T is rounded to the weight's dtype before the product, and the bias stays."""
    weight = matrix.weight
    chosen = neurons.to(weight.device)
    projection = complement(columns).to(weight.device, weight.dtype)
    changed = weight.detach().clone()
    changed[chosen] = projection @ changed[chosen]
    return Matrix(changed, matrix.bias)


def _without(values: Tensor, *, neurons: Tensor, columns: Tensor) -> Tensor:
    """Rows of values [D, n] with the selected ones made orthogonal to the columns."""
    chosen = neurons.to(values.device)
    precise = torch.float32 if values.device.type == "mps" else torch.float64
    axes = columns.to(values.device, precise)
    rows = values.detach()[chosen].to(precise)
    changed = values.detach().clone()
    changed[chosen] = (rows - axes @ (axes.T @ rows)).to(values.dtype)
    return changed
