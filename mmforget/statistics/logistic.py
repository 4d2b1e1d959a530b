"""Logistic regression with a ridge penalty, for classifiers that are learned of a few numbers a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST_SPREAD = 1e-12
"""Below it a column of features is constant and says nothing."""


@dataclass(frozen=True)
class Classifier:
    """What was learned. N rows, F features.

    Attributes:
        mean, spread: of each feature where it was learned, float64 [F]; features are brought to mean 0 and deviation 1.
        weights: float64 [F] of features so brought.
        intercept: what stands beside them.
    """

    mean: Floats
    spread: Floats
    weights: Floats
    intercept: float

    def log_odds(self, features: Floats) -> Floats:
        """Of the class True, float64 [N], for features [N, F]."""
        found: Floats = (features - self.mean) / self.spread @ self.weights + self.intercept
        return found


def learned(features: Floats, labels: NDArray[np.bool_]) -> Classifier:
    """The classifier that minimises the summed log-loss plus half the squared weights, both classes counting alike.

    Args:
        features: float64 [N, F], finite.
        labels: bool [N], of both kinds.
    """
    from scipy.optimize import minimize

    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > LEAST_SPREAD, spread, 1.0)
    rows = (features - mean) / spread
    signs = np.where(labels, 1.0, -1.0)
    counts = len(labels) / 2.0 / np.where(labels, labels.sum(), (~labels).sum())

    def objective(found: Floats) -> tuple[float, Floats]:
        margins = signs * (rows @ found[:-1] + found[-1])
        value = float(counts @ np.logaddexp(0.0, -margins) + found[:-1] @ found[:-1] / 2.0)
        slopes = -counts * signs / (1.0 + np.exp(np.clip(margins, -500.0, 500.0)))
        return value, np.append(slopes @ rows + found[:-1], slopes.sum())

    found = minimize(objective, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return Classifier(mean, spread, found[:-1], float(found[-1]))
