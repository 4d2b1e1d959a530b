"""What stands below the name of a row whose settings were chosen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mmforget.leaderboard.tuning import best_of


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"budget": 3, "trials": [{}, {}, {}]}, "best of 3 settings"),
        ({"budget": 3, "trials": [{}]}, "best of 1 setting (budget 3)"),
        ({"budget": 3, "trials": []}, ""),
        ("all of them", ""),
    ],
)
def test_how_many_were_tried(told: Any, text: str) -> None:
    row: Any = SimpleNamespace(record=SimpleNamespace(training={"tuning": told}))
    assert best_of(row) == text
