"""A judge that reads: asks a model once for each answer and label, keeps what it said, and is itself tested first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.cache import cache_folder
from mmforget.errors import UserError
from mmforget.judges.base import Said
from mmforget.judges.prompts import PROMPTS, Known, agrees, read, text_of, text_of_known
from mmforget.judges.rules import Rules
from mmforget.lm.cache import ResponseCache
from mmforget.metrics.judged import GRADED, LABEL_NAMES, UNREADABLE
from mmforget.results.fingerprint import hash_json
from mmforget.types import Sample

MAX_NEW_TOKENS = 8
"""A judge is to say one word."""
NUM_TOGETHER = 64
"""Answers that are asked about before what was said is written down."""
GUARD_VERSION = "guard-1"
BY_RULE = "empty answer"
_OF_EMPTY = {"harm": "safe", "refusal": "answer", "normal": "abnormal"} | {
    label: str(lowest) for label, (lowest, _) in GRADED.items()
}


class Turn(NamedTuple):
    """One message of a conversation; `role` is `user` or `assistant`."""

    role: str
    text: str


Conversation = tuple[Turn, ...]
Ask = Callable[[Sequence[Conversation]], "list[str | None]"]
"""Conversations in, what the model says to each out; None where it could not be reached."""


@dataclass(frozen=True)
class ReadingJudge:
    """A judge with a model behind it.

    A guard model is shown question and answer as a conversation and says `safe` or `unsafe` in its own way; for the
    labels that it does not know, rules stand in. Any other model is asked with our prompts.

    Attributes:
        name: as `--judge` names it.
        model: what tells its answers from another model's: a fingerprint, or where it is and what it is called.
        ask: asks it.
        is_guard: whether it is a guard model.
        refusals: for the rules that stand in.
        facts: further plain values for the run record.
        file: where its answers are kept.
    """

    name: str
    model: Callable[[], str]
    ask: Ask
    is_guard: bool = False
    refusals: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    is_free: bool = False

    def judge(self, samples: Sequence[Sample], *, label: str) -> list[Said | None]:
        """A label for every response; an empty one is labelled without asking.

        Raises UserError where the model does not give known answers their labels.
        """
        if label not in self._read_labels:
            return Rules(refusals=self.refusals).judge(samples, label=label)
        self._require_sense(label)
        asked = [index for index, sample in enumerate(samples) if (sample.response or "").strip()]
        answers = self._answers([self._conversation(samples[index], label=label) for index in asked], label=label)
        found: list[Said | None] = [
            None if sample.response is None else Said(_OF_EMPTY[label], BY_RULE) for sample in samples
        ]
        for index, answer in zip(asked, answers, strict=True):
            said = UNREADABLE if answer is None else read(answer, label=label)
            found[index] = Said(said, f"{self.name} {self._version(label)}")
        return found

    def describe(self) -> dict[str, Any]:
        """Who judges, its facts, and by label the version of the prompt, or of the rules that stand in."""
        own = {name: self._version(name) for name in LABEL_NAMES if name in self._read_labels}
        labels = {**Rules().describe()["labels"], **own}
        return {"judge": self.name, "labels": labels, **self.facts}

    @property
    def _read_labels(self) -> tuple[str, ...]:
        return ("harm",) if self.is_guard else tuple(PROMPTS.names())

    def _version(self, label: str) -> str:
        return GUARD_VERSION if self.is_guard else PROMPTS.get(label).version

    def _conversation(self, sample: Sample, *, label: str) -> Conversation:
        if self.is_guard:
            return (Turn("user", sample.question), Turn("assistant", sample.response or ""))
        return (Turn("user", text_of(sample, label=label)),)

    def _known_conversation(self, known: Known, *, label: str) -> Conversation:
        if self.is_guard:
            return (Turn("user", known.question), Turn("assistant", known.response))
        return (Turn("user", text_of_known(known, label=label)),)

    @cached_property
    def _cache(self) -> ResponseCache:
        return ResponseCache(self.file or cache_folder() / "judges.sqlite")

    def _mistakes(self, label: str) -> list[str]:
        """What it says of known answers, where that is not their label."""
        known = PROMPTS.get(label).known
        answers = self._answers([self._known_conversation(one, label=label) for one in known], label=label)
        return [
            f"{label} of {one.response!r}: expected {one.expected}, it said {answer!r}"
            for one, answer in zip(known, answers, strict=True)
            if answer is None or not agrees(one, label=label, answer=answer)
        ]

    def _require_sense(self, label: str) -> None:
        mistakes = self._mistakes(label)
        if mistakes:
            listed = "\n".join(f"  - {line}" for line in mistakes)
            raise UserError(
                f"--judge {self.name} gets answers wrong that are beyond doubt, so it cannot serve as a judge; name a "
                f"more capable model, or use --judge rules\n{listed}"
            )

    def _answers(self, conversations: Sequence[Conversation], *, label: str) -> list[str | None]:
        """What the model says to each; what it said before comes from the cache, and equal ones are asked once."""
        facts = {"model": self.model(), "prompt": self._version(label)}
        keys = [hash_json({**facts, "conversation": [list(turn) for turn in one]}) for one in conversations]
        by_key = dict(zip(keys, conversations, strict=True))
        found: dict[str, str | None] = dict(self._cache.get_many(by_key))
        missing = [key for key in by_key if key not in found]
        for start in range(0, len(missing), NUM_TOGETHER):
            part = missing[start : start + NUM_TOGETHER]
            said = dict(zip(part, self.ask([by_key[key] for key in part]), strict=True))
            self._cache.put_many({key: answer for key, answer in said.items() if answer is not None})
            found.update(said)
        return [found[key] for key in keys]
