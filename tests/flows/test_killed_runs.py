"""Killed at any moment, the same command continues, and ends as if it had never been disturbed: to the last bit.

`tools/kill_runs.py` does it at more moments.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mmforget.results.store import read_run
from tests.commands import command
from tests.equal_runs import differences, log, records
from tests.helpers import tiny_llava
from tests.killing import Ended, Runner, left_over, undisturbed, with_tower

RUN = (
    "run", "--model", "micro", "--tasks", "fiubench_forget1", "--methods", "npo", "--seeds", "0,1",
    "--allow_weak_target", "--stage_one_args", "max_steps=8,save_steps=3,batch_size=8", "--max_steps", "6",
    "--save_steps", "2", "--train_batch_size", "4", "--limit", "5", "--batch_size", "4",
    "--metadata", "num_subjects=12",
)  # fmt: skip
NUM_STOPS, SEED = 5, 2
SIDE_BY_SIDE = (
    ("npo, seed 0: 3 of 6", signal.SIGINT),
    ("fiubench_forget1: measure npo, seed 1: 0 of 1", signal.SIGKILL),
)
"""In training and in evaluation: each a step of progress that a worker tells of."""


class Attempt(NamedTuple):
    """One process of a disturbed run: by which signal it was to be stopped, and how it ended."""

    by: int
    ended: Ended


class Disturbed(NamedTuple):
    """A run that was stopped again and again, how each process ended, and how the last one did."""

    runner: Runner
    attempts: list[Attempt]
    last: Ended


@pytest.fixture(scope="module")
def calm(tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The run that nothing disturbs, in one process."""
    return undisturbed(tmp_path_factory.mktemp("calm"), RUN, tower=tower)


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.long) for name in ("one process", "two workers")]
)
def disturbed(
    request: pytest.FixtureRequest, calm: Runner, tower: Path, tmp_path_factory: pytest.TempPathFactory
) -> Disturbed:
    """The same run, given again at once after each stop.

    In one process it is stopped in every fifth of what happens, at a moment drawn at random, a file about to be written
    or removed included; with workers, at a step of theirs. Once by Ctrl-C.
    """
    made = with_tower(Runner(tmp_path_factory.mktemp("disturbed")), source=tower)
    alone = request.param == "one process"
    stops = list(drawn(calm.moments())) if alone else SIDE_BY_SIDE
    words = [*RUN, "--workers", "1" if alone else "2"]
    attempts = [Attempt(by, made.run(words, moment=moment, by=by)) for moment, by in stops]
    return Disturbed(made, attempts, made.run(words))


def drawn(moments: Sequence[str]) -> Iterator[tuple[str, signal.Signals]]:
    """One moment of each of `NUM_STOPS` equal parts of a run, and its signal."""
    rng = random.Random(SEED)
    for part in range(NUM_STOPS):
        by = signal.SIGINT if part == NUM_STOPS // 2 else signal.SIGKILL
        yield rng.choice(moments[part * len(moments) // NUM_STOPS : (part + 1) * len(moments) // NUM_STOPS]), by


def test_every_signal_hit_its_moment(disturbed: Disturbed) -> None:
    expected = [130 if attempt.by == signal.SIGINT else -signal.SIGKILL for attempt in disturbed.attempts]
    assert [attempt.ended.status for attempt in disturbed.attempts] == expected
    assert len(set(expected)) == 2
    assert disturbed.last.status == 0, disturbed.last.err


def test_ctrl_c_says_that_the_same_command_continues(disturbed: Disturbed) -> None:
    (attempt,) = [attempt for attempt in disturbed.attempts if attempt.by == signal.SIGINT]
    assert "mmforget: interrupted; the same command continues where it stopped" in attempt.ended.err
    assert "Traceback" not in attempt.ended.err


def test_no_worker_is_left(disturbed: Disturbed) -> None:
    ended = [*(attempt.ended for attempt in disturbed.attempts), disturbed.last]
    assert [left_over(one.session) for one in ended] == [[]] * len(ended)


def test_it_ends_as_the_undisturbed_run(calm: Runner, disturbed: Disturbed) -> None:
    """Leaderboard, records, samples, logs and weights to the last bit, and no checkpoint or half a file is left."""
    assert len(records(calm)) == 4
    assert differences(calm, disturbed.runner) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_the_log_of_a_training_has_every_step_once(seed: int, disturbed: Disturbed) -> None:
    place = Path("fiubench_forget1", "npo", f"seed_{seed}", "training", "train_log.jsonl")
    assert [line["step"] for line in log(disturbed.runner.output / place)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("unwritten", "again"),
    [
        ("write_samples", 2),
        ("write_config", 3),
        pytest.param("write_samples", 3, marks=pytest.mark.long),
        pytest.param("write_config", 2, marks=pytest.mark.long),
    ],
)
def test_a_record_of_other_settings_is_not_taken_for_this_one(
    unwritten: str, again: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked with --limit 2, then with 3 but stopped while that is stored, then with either again."""
    from mmforget.results import store

    def asked(limit: int) -> int:
        words = ("--tasks", "fiubench_forget_prob", "--data", "synthetic", "--limit", str(limit), "--quiet")
        said = command("eval", "--model_args", f"pretrained={model}", *words, "--output_path", out)
        return said.status or read_run(out / "fiubench").record.sets["forget"].num_questions

    def stopped(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    model, out = tiny_llava(tmp_path / "model"), tmp_path / "out"
    assert asked(2) == 2
    with monkeypatch.context() as patch:
        patch.setattr(store, unwritten, stopped)
        assert asked(3) == 130
    assert asked(again) == again
