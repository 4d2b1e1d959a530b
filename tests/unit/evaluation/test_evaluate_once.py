"""Every score and every comparison is computed once a model, however many records ask for it."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fakes import board as fakes_board
from fakes.board import board_of
from fakes.world import world_of
from mmforget.benchmark.source import DataSource
from mmforget.evaluation.answers import Answers
from mmforget.metrics.base import METRICS, ReferenceMetric, SampleMetric
from mmforget.types import Sample

Calls = Counter[tuple[object, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """How often each metric scored a sample, or compared two groups of them, by profile."""
    found: Calls = Counter()
    alive: list[Any] = []

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: object, given: Any, *others: Any, profile: str = "clean") -> Any:
            groups = [[given] if isinstance(given, Sample) else given, *others]
            # Without them an id could be that of another sample, later.
            alive.extend(groups)
            key = tuple(tuple(map(id, group)) for group in groups)
            found[name, repr(self), profile, key] += 1
            return original(self, given, *others, profile=profile)

        return call

    for name in METRICS.names():
        metric = METRICS.get(name)
        for shape, method in ((SampleMetric, "score"), (ReferenceMetric, "compare")):
            if isinstance(metric, shape):
                kind = type(metric)
                monkeypatch.setattr(kind, method, counted(name, getattr(kind, method)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("group", ["fiubench_text", "medforget"])
def test_each_score_once_over_all_records_of_a_board(calls: Calls, monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    """Target and retain model, and a dozen that are judged by them."""
    several: list[Answers] = []
    made = fakes_board.answers_of
    monkeypatch.setattr(fakes_board, "answers_of", lambda *given: several.append(made(*given)) or several[-1])
    board = board_of(world_of(group, data=DataSource("synthetic"), max_rows=4))
    assert len(board.rows) > 8
    assert [key[:3] for key, count in calls.items() if count > 1] == []
    # Nothing was answered twice either, so that a sample stands for a question put to a model.
    assert len({id(sample) for answers in several for sample in answers}) == sum(map(len, several))
    assert sum(calls.values()) > 1000


def test_equal_answers_are_equal_and_keep_their_own_scores() -> None:
    sample = Sample("toy", "forget", "gen", "a/1", "a", "q", "a b", response="a b")
    first, second = Answers([sample]), Answers([sample])
    assert first == second
    assert first != Answers([])
    assert Answers.of(first) is first
    assert first.once(lambda: 1, "key") == first.once(lambda: 2, "key") == 1
    assert second.once(lambda: 3, "key") == 3


def test_answers_go_to_other_processes_without_what_was_computed() -> None:
    answers = Answers([Sample("toy", "forget", "gen", "a/1", "a", "q", "a b", response="a b")])
    answers.once(lambda: object, "key")
    there = pickle.loads(pickle.dumps(answers))  # noqa: S301
    assert there == answers
    assert there.once(lambda: 7, "key") == 7
