"""FLAT by hand on three tokens, and its divergences against convex conjugates that scipy finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import optimize

from mmforget.methods.build import build
from mmforget.methods.flat import DIVERGENCES, RELEASED, Kind
from tests.toy_steps import loss, scored, step

P = [math.log(p) for p in (0.5, 0.25, 0.125)]
MADE = step(alternate=scored([P[0]], [P[1], P[1]]), forget=scored([P[0], P[2]]))
"""Refusals of 1/2 and of 1/4, mean 3/8; answers of (1/2 + 1/8) / 2 = 5/16."""

GENERATORS: dict[Kind, Callable[[float], float]] = {
    "total_variation": lambda u: abs(u - 1) / 2,
    "kl": lambda u: u * math.log(u),
    "reverse_kl": lambda u: -math.log(u),
    "jensen_shannon": lambda u: u * math.log(u) - (u + 1) * math.log((1 + u) / 2),
    "pearson": lambda u: (u - 1) ** 2,
    "neyman": lambda u: (1 - u) ** 2 / u,
    "squared_hellinger": lambda u: (math.sqrt(u) - 1) ** 2,
    "jeffrey": lambda u: (u - 1) * math.log(u),
}
RISING = [name for name in DIVERGENCES if name not in RELEASED]


@pytest.mark.parametrize(
    ("divergence", "template", "forget"),
    [
        ("total_variation", math.tanh(0.375) / 2, math.tanh(0.3125) / 2),
        ("kl", 0.375, math.exp(-0.6875)),
        ("pearson", 0.375, 0.3125 + 0.3125**2 / 4),
        ("jensen_shannon", 0.1700239, 0.1684077),
    ],
)
def test_flat_by_hand(divergence: str, template: float, forget: float) -> None:
    """Jensen-Shannon: log 2 - log(1 + e^-0.375) and 0.3125 + log(1 + e^-0.3125) - log 2."""
    terms = loss(build("flat", f"divergence={divergence}"), MADE).terms
    assert terms == pytest.approx({"template": -template, "forget": forget}, abs=1e-6)


@pytest.mark.parametrize("value", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_costs_are_conjugates_of_gains(name: Kind, value: float) -> None:
    """f*(g*(v)) is the largest u g*(v) - f(u) over u > 0; that of Jeffrey's to the third order."""
    kind, v = DIVERGENCES[name], torch.tensor(value, dtype=torch.float64)
    gain = kind.gain(v).item()
    found = optimize.minimize_scalar(
        lambda u: GENERATORS[name](u) - u * gain, bounds=(1e-9, 20.0), method="bounded", options={"xatol": 1e-12}
    )
    assert kind.cost(v).item() == pytest.approx(-found.fun, abs=0.02 if name == "jeffrey" else 1e-6)


@pytest.mark.parametrize("variant", ["clean", "released"])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_refusals_rise_and_answers_fall_but_where_the_code_errs(name: str, variant: str) -> None:
    leaves = {source: torch.tensor(0.4, requires_grad=True) for source in ("template", "forget")}
    kind: Any = (RELEASED if variant == "released" else {}).get(name, DIVERGENCES[name])  # type: ignore[call-overload]
    (kind.cost(leaves["forget"]) - kind.gain(leaves["template"])).backward()
    template, forget = (leaf.grad.item() for leaf in leaves.values() if leaf.grad is not None)
    assert (template < 0) == (variant == "clean" or name in RISING)
    assert (forget > 0) == (variant == "clean" or name in (*RISING, "neyman"))


def test_released_is_what_the_code_computes() -> None:
    """Neyman: -(1 - e^0.375) and 2 - 2 sqrt(1 - 0.3125)."""
    terms = loss(build("flat", "divergence=neyman,variant=released"), MADE).terms
    assert terms == pytest.approx({"template": math.exp(0.375) - 1, "forget": 2 - 2 * math.sqrt(0.6875)}, abs=1e-6)
    same = [loss(build("flat", f"divergence=kl,variant={one}"), MADE).total.item() for one in ("clean", "released")]
    assert same[0] == same[1]
