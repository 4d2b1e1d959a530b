"""A graded label: which numbers are read from a judge's answer, and who can give one."""

from __future__ import annotations

import pytest

from mmforget.judges.base import label_samples
from mmforget.judges.prompts import PROMPTS, agrees, read, text_of
from mmforget.judges.rules import Rules
from mmforget.metrics.judged import UNREADABLE
from mmforget.types import Sample


def sample(**changes: object) -> Sample:
    given = {"task": "t", "set": "forget", "kind": "gen", "id": "1", "subject": "s", "question": "what?"}
    return Sample(**{**given, "answer": "a rib {response}", "response": "a lung", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "grade"),
    [
        ("7", "7"),
        ("Score: 10", "10"),
        ("8.", "8"),
        ("0", UNREADABLE),
        ("11", UNREADABLE),
        ("7.5", UNREADABLE),
        ("3 or 4", UNREADABLE),
        ("good", UNREADABLE),
        ("8/10", "8"),
        ("Score: 8 / 10", "8"),
        ("**8 out of 10**", "8"),
        ("10/10", "10"),
        ("8.0", "8"),
        ("From 1 to 10: 8", "8"),
        ("0/10", UNREADABLE),
        ("12/10", UNREADABLE),
        ("80/100", UNREADABLE),
        ("7.5/10", UNREADABLE),
        ("8-9", UNREADABLE),
    ],
)
def test_a_grade_is_the_only_whole_number_within_range(answer: str, grade: str) -> None:
    assert read(answer, label="factuality") == grade


def test_what_is_beyond_doubt_must_be_graded_high_and_low() -> None:
    """At least 7 for the reference itself, at most 4 for something else."""
    right, wrong = PROMPTS.get("factuality").known
    assert agrees(right, label="factuality", answer="9")
    assert not agrees(right, label="factuality", answer="6")
    assert agrees(wrong, label="factuality", answer="1")
    assert not agrees(wrong, label="factuality", answer="5")
    assert not agrees(wrong, label="factuality", answer="none")


def test_the_judge_sees_question_reference_and_answer_as_they_are() -> None:
    text = text_of(sample(), label="factuality")
    assert "Question: what?" in text
    assert "Reference: a rib {response}" in text
    assert "Answer: a lung" in text


def test_rules_grade_nothing_and_closed_questions_are_not_asked_about() -> None:
    class Asked(Rules):
        def judge(self, samples: object, *, label: str) -> list[None]:  # type: ignore[override]
            seen.extend(samples)  # type: ignore[arg-type]
            return [None] * len(samples)  # type: ignore[arg-type]

    seen: list[Sample] = []
    open_one, closed = sample(extra={"task": "generation"}), sample(extra={"task": "cloze"})
    assert [one.labels for one in label_samples([open_one], labels=["factuality"], judge=Rules())] == [{}]
    label_samples([open_one, closed], labels=["factuality"], judge=Asked())
    assert seen == [open_one]
