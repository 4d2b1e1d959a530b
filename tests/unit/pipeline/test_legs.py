"""Seconds of legs: those that were interrupted count, and a killed one up to its last note."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmforget.errors import UserError
from mmforget.pipeline.legs import EVERY_S, LEGS_FILE, Legs, timed


def test_legs_add_up_and_one_that_is_killed_counts_up_to_its_last_note(tmp_path: Path) -> None:
    """The first is killed at 45 s, when 40 s were noted: less often than every 30 s nothing is written."""
    now = 100.0
    first = Legs(tmp_path, clock=lambda: now)
    calls: list[tuple[int, int, str]] = []
    tell = first.told(lambda *told: calls.append(told))
    for passed in (EVERY_S - 1, 40.0, 45.0):
        now = 100.0 + passed
        tell(1, 2, "x")
    assert json.loads((tmp_path / LEGS_FILE).read_text()) == {"legs_s": [40.0]}
    assert calls == [(1, 2, "x")] * 3
    now = 1000.0
    second = Legs(tmp_path, clock=lambda: now)
    now = 1005.0
    assert second.seconds == [40.0, 5.0]


def test_a_leg_that_is_interrupted_counts(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), timed(tmp_path):
        raise KeyboardInterrupt
    with timed(tmp_path) as legs:
        assert len(legs.before) == 1
        assert 0.0 <= legs.before[0] < 10.0


@pytest.mark.parametrize("text", ['{"legs_s": 3}', '{"legs_s": ["x"]}', "[]", "{"])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / LEGS_FILE).write_text(text)
    with pytest.raises(UserError, match="legs.json"):
        Legs(tmp_path)
