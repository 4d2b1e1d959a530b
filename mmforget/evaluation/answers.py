"""The answers of one model with what metrics make of them, each score computed once whoever asks for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

from mmforget.metrics.arguments import identity
from mmforget.metrics.base import SampleMetric, reads_attempts
from mmforget.plugins import running
from mmforget.types import Sample, Score

T = TypeVar("T")


class Answers(Sequence[Sample]):
    """All samples of one model, attacks included, in their order.

    Whoever hands the same object on hands on the scores: a target model is scored once however many models are compared
    by it. Two of equal samples are equal.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)
        self._by_task: dict[tuple[str, str | None], list[Sample]] = defaultdict(list)
        for sample in self._samples:
            self._by_task[sample.task, sample.attack].append(sample)
        self._found: dict[tuple[Any, ...], Any] = {}

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Answers:
        """The samples themselves where they are answers already, with all that was computed of them."""
        return samples if isinstance(samples, cls) else cls(samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        return self._samples[index]

    def __len__(self) -> int:
        return len(self._samples)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Answers) and self._samples == other._samples)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return (Answers, (self._samples,))

    def was_asked(self, task: str) -> bool:
        """Whether there is any answer to a task, as it is or under an attack."""
        return any(name == task for name, _ in self._by_task)

    def attacks_on(self, task: str) -> list[str]:
        """The attacks that a task was asked under, in the order of the samples."""
        return [attack for name, attack in self._by_task if name == task and attack is not None]

    def of_task(self, task: str, *, attack: str | None = None) -> list[Sample]:
        return list(self._by_task.get((task, attack), ()))

    def scores(self, metric: SampleMetric, *, task: str, profile: str, attack: str | None = None) -> list[Score]:
        """One score for each sample of a task, in order; none is made of what was not answered.

        A metric that reads all attempts at a question has one for each question.
        """

        def score() -> list[Score]:
            samples = self.of_task(task, attack=attack)
            with running(metric, what=f"metric '{metric.name}': score on {task}"):
                if reads_attempts(metric):
                    tried = _by_question(samples)
                    return [_none_of(one[0]) or metric.score_attempts(one, profile=profile) for one in tried]
                return [_none_of(sample) or metric.score(sample, profile=profile) for sample in samples]

        return self.once(score, "scores", *identity(metric), task, profile, attack)

    def is_ranked(self, task: str, *, attack: str | None) -> bool:
        """Whether there are ranks of the answers in place of answers."""
        return any(sample.ranks for sample in self._by_task.get((task, attack), ()))

    def keeps_states(self, task: str, *, attack: str | None) -> bool:
        """Whether there are hidden states in place of answers."""
        return any(sample.states for sample in self._by_task.get((task, attack), ()))

    def once(self, compute: Callable[[], T], *key: object) -> T:
        """What `compute` gives, computed for the first who asks under this key."""
        if key not in self._found:
            self._found[key] = compute()
        found: T = self._found[key]
        return found


def _by_question(samples: Iterable[Sample]) -> list[list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.id].append(sample)
    return list(found.values())


def _none_of(sample: Sample) -> Score | None:
    """Why there is nothing to score; None where there is."""
    reason = sample.unanswered or sample.lacking
    return Score(None, sample.subject, reason, lacking=not sample.unanswered) if reason else None
