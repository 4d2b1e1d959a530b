"""The kinds of answers that three models gave, by task and attack: what a record has beside the success of attacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.answers import Answers
from mmforget.metrics.answer_states import state_of
from mmforget.results.answer_states import STATES, AnswerStates, StateCounts
from mmforget.types import Sample


def answer_states(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
    refusals: Sequence[str] = (),
) -> list[AnswerStates]:
    """One line for the plain questions of every task that is answered in words, and one for each attack on it.

    Attacks that look into the model get no answers, so they have none.

    Args:
        refusals: texts that are refusals beside those that are worded like one.
    """
    own = Answers.of(samples)
    others = [None if one is None else Answers.of(one) for one in (target, retain)]
    found = []
    for task in (one for one in benchmark.tasks if one.kind == "gen"):
        for attack in (None, *own.attacks_on(task.name)):
            counts = _counts(own, task=task.name, attack=attack, refusals=refusals)
            if counts is not None:
                beside = (_counts(one, task=task.name, attack=attack, refusals=refusals) for one in others)
                found.append(AnswerStates(task.name, task.set, attack, counts, *beside))
    return found


def _counts(answers: Answers | None, *, task: str, attack: str | None, refusals: Sequence[str]) -> StateCounts | None:
    """None where nothing was answered in words."""
    if answers is None:
        return None

    def count() -> StateCounts | None:
        asked = [one for one in answers.of_task(task, attack=attack) if not one.lacking]
        states = Counter(state_of(one, refusals=refusals) for one in asked if one.response is not None)
        numbers = {state: states[state] for state in STATES}
        return StateCounts(**numbers, unanswered=len(asked) - states.total()) if states else None

    return answers.once(count, "answer states", task, attack, tuple(refusals))
