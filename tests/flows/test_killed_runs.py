"""Killed at any moment, the same command continues, and ends as if it had never been disturbed: to the last bit.

`tools/kill_runs.py` does it at more moments, with seeds side by side.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mmforget.results.store import read_run
from tests.commands import command
from tests.equal_runs import board, differing_weights, log, record, weights
from tests.helpers import tiny_llava
from tests.killing import Ended, Runner, undisturbed, with_tower

METHODS = ("grad_diff", "npo")
NAMES = ("target", "retain", *METHODS)
RUN = (
    "run", "--model", "micro", "--tasks", "fiubench_forget1", "--methods", ",".join(METHODS), "--allow_weak_target",
    "--stage_one_args", "max_steps=8,save_steps=3", "--max_steps", "6", "--save_steps", "2", "--limit", "5",
    "--batch_size", "4", "--metadata", "num_subjects=12",
)  # fmt: skip
NUM_KILLS, SEED = 5, 2


class Attempt(NamedTuple):
    """One process of the disturbed run: when it was to be stopped, by which signal, and how it ended."""

    moment: str
    by: int
    ended: Ended


@pytest.fixture(scope="module")
def calm(tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The run that nothing disturbs."""
    return undisturbed(tmp_path_factory.mktemp("calm"), RUN, tower=tower)


class Disturbed(NamedTuple):
    runner: Runner
    attempts: list[Attempt]
    last: Ended


@pytest.fixture(scope="module")
def disturbed(calm: Runner, tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    """The same run, stopped in every sixth of what happens, at a moment drawn at random, once by Ctrl-C."""
    made = with_tower(Runner(tmp_path_factory.mktemp("disturbed")), source=tower)
    attempts = []
    for number, moment in enumerate(drawn(calm.moments())):
        by = signal.SIGINT if number == NUM_KILLS // 2 else signal.SIGKILL
        attempts.append(Attempt(moment, by, made.run([*RUN, "--workers", "1"], moment=moment, by=by)))
    return Disturbed(made, attempts, made.run([*RUN, "--workers", "1"]))


def drawn(moments: list[str]) -> Iterator[str]:
    """One moment of each of `NUM_KILLS + 1` equal parts of a run."""
    rng, parts = random.Random(SEED), NUM_KILLS + 1
    for part in range(parts):
        yield rng.choice(moments[part * len(moments) // parts : (part + 1) * len(moments) // parts])


def test_every_signal_hit_its_moment(disturbed: Disturbed) -> None:
    expected = [130 if attempt.by == signal.SIGINT else -signal.SIGKILL for attempt in disturbed.attempts]
    assert [attempt.ended.status for attempt in disturbed.attempts] == expected
    assert expected.count(-signal.SIGKILL) == NUM_KILLS
    assert disturbed.last.status == 0, disturbed.last.err


def test_ctrl_c_says_that_the_same_command_continues(disturbed: Disturbed) -> None:
    (attempt,) = [attempt for attempt in disturbed.attempts if attempt.by == signal.SIGINT]
    assert "mmforget: interrupted; the same command continues where it stopped" in attempt.ended.err
    assert "Traceback" not in attempt.ended.err


def test_the_leaderboard_is_the_same(calm: Runner, disturbed: Disturbed) -> None:
    assert {row["name"] for row in board(calm)} == set(NAMES)
    assert board(disturbed.runner) == board(calm)


@pytest.mark.parametrize("name", NAMES)
def test_record_and_samples_are_the_same(name: str, calm: Runner, disturbed: Disturbed) -> None:
    before, after = (record(made, f"fiubench_forget1/{name}") for made in (calm, disturbed.runner))
    assert [key for key in before if after[key] != before[key]] == []


def test_trained_weights_are_the_same_to_the_last_bit(calm: Runner, disturbed: Disturbed) -> None:
    before, after = weights(calm), weights(disturbed.runner)
    assert len(before) == len(NAMES)
    assert after.keys() == before.keys()
    assert {place: differing_weights(before[place], after[place]) for place in before} == dict.fromkeys(before, [])


@pytest.mark.parametrize("method", METHODS)
def test_the_log_of_a_training_has_every_step_once(method: str, calm: Runner, disturbed: Disturbed) -> None:
    place = Path("fiubench_forget1", method, "training", "train_log.jsonl")
    before, after = (log(made.output / place) for made in (calm, disturbed.runner))
    assert [line["step"] for line in after] == [1, 2, 3, 4, 5, 6]
    assert after == before


def test_no_checkpoints_are_left(disturbed: Disturbed) -> None:
    assert list(disturbed.runner.home.rglob("checkpoint-*")) == []


@pytest.mark.parametrize("again", [2, 3])
@pytest.mark.parametrize("unwritten", ["write_samples", "write_config"])
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
