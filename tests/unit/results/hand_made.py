"""Lines of evidence made by hand: a target that is found out always, a retain model never."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmforget.results.evidence import Evidence


def line(attack: str | None, excess: float, *, high: float | None = None, **changes: Any) -> Evidence:
    """Of an attack that finds `excess`, surely where that is large, among four subjects."""
    ends = (excess - 0.1, min(1.0, excess + 0.1) if high is None else high)
    fields: dict[str, Any] = {
        "attack": attack, "task": "t", "access": "black_box", "num_scored": 28, "num_unscored": 0, "num_subjects": 4,
        "unlearned": excess, "target": 1.0, "retain": 0.0, "excess": excess, "low": ends[0], "high": ends[1],
        "p_value": 0.001 if excess > 0.5 else 0.6, "outcome": "open",
    }  # fmt: skip
    found = Evidence(**{**fields, **changes})
    return replace(found, p_left=0.01 if (found.high or 1.0) <= 0.25 * found.room else 0.5)


PLAIN = line(None, 0.0)
HELD = line("logit_lens", 0.0, access="hidden")
