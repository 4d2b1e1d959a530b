"""Killed while seeds are trained side by side, a run ends as one that one process made in peace: to the last bit."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.equal_runs import differences, records
from tests.killing import Ended, Runner, left_over, undisturbed, with_tower

RUN = (
    "run", "--model", "micro", "--tasks", "fiubench_forget1", "--methods", "npo", "--seeds", "0,1",
    "--allow_weak_target", "--stage_one_args", "max_steps=4,save_steps=2", "--max_steps", "4", "--save_steps", "2",
    "--limit", "4", "--batch_size", "4",
)  # fmt: skip
STOPS = (
    ("retain model: 3 of 4", signal.SIGKILL),
    ("npo, seed 0: 3 of 4", signal.SIGINT),
    ("fiubench_forget1: measure npo, seed 1: 0 of 1", signal.SIGKILL),
)
"""In stage one, in training, in evaluation: each a step of progress that a worker tells of."""


class Stopped(NamedTuple):
    """A run that was stopped again and again, how each process ended, and how the last one did."""

    runner: Runner
    attempts: list[Ended]
    last: Ended


@pytest.fixture(scope="module")
def calm(tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """In one process, which nothing disturbs."""
    return undisturbed(tmp_path_factory.mktemp("calm"), RUN, tower=tower)


@pytest.fixture(scope="module")
def stopped(tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """With two workers, given again at once after each stop."""
    made = with_tower(Runner(tmp_path_factory.mktemp("stopped")), source=tower)
    words = [*RUN, "--workers", "2"]
    attempts = [made.run(words, moment=moment, by=by) for moment, by in STOPS]
    return Stopped(made, attempts, made.run(words))


def test_every_signal_hit_its_moment(stopped: Stopped) -> None:
    assert [one.status for one in stopped.attempts] == [-signal.SIGKILL, 130, -signal.SIGKILL]
    assert stopped.last.status == 0, stopped.last.err


def test_ctrl_c_says_that_the_same_command_continues(stopped: Stopped) -> None:
    said = stopped.attempts[1].err
    assert "mmforget: interrupted; the same command continues where it stopped" in said
    assert "Traceback" not in said


def test_no_worker_is_left(stopped: Stopped) -> None:
    assert [left_over(one.session) for one in (*stopped.attempts, stopped.last)] == [[]] * 4


def test_it_ends_as_the_undisturbed_run_in_one_process(calm: Runner, stopped: Stopped) -> None:
    assert len(records(calm)) == 4
    assert differences(calm, stopped.runner) == []
