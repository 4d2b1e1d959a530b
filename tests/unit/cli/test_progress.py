"""Progress in logs: long work says how far it is, quick work says nothing."""

from __future__ import annotations

import pytest

from mmforget.cli import progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress.time, "monotonic", made)
    return made


def test_long_work_reports_every_half_minute_and_its_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """100 steps of 1 s: lines at 30, 60 and 90 s and at the end."""
    with progress.progress_bars() as report:
        for step in range(101):
            clock.now = float(step)
            report(step, 100, "train")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "train: 30 of 100 in 30 s",
        "train: 60 of 100 in 60 s",
        "train: 90 of 100 in 90 s",
        "train: 100 of 100 in 100 s",
    ]


def test_quick_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bars() as report:
        for step in range(11):
            clock.now = step / 10
            report(step, 10, "score")
    assert capsys.readouterr().err == ""


def test_quiet_says_nothing_at_all(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bars(quiet=True) as report:
        report(0, 1, "train")
        clock.now = 1000.0
        report(1, 1, "train")
    assert capsys.readouterr().err == ""
