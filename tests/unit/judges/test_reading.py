"""Judges that read: prompts, how answers are read, the test beforehand, guards, and the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from judged_samples import asked

from mmforget.errors import UserError
from mmforget.judges.prompts import PROMPTS, read, text_of
from mmforget.judges.reading import Conversation, ReadingJudge
from mmforget.metrics.judged import GRADED, LABEL_NAMES, LABELS, UNREADABLE
from mmforget.protocols.safe_eraser.prompts import refusal

REFUSED = "I'm sorry, but I cannot help with that."


class Model:
    """Answers known prompts rightly, others by `said`, and counts what it is asked."""

    def __init__(self, said: Callable[[str], str | None] = lambda text: "no") -> None:
        self.said = said
        self.asked: list[Conversation] = []

    def __call__(self, conversations: Sequence[Conversation]) -> list[str | None]:
        self.asked += conversations
        return [self._answer(conversation[-1].text) for conversation in conversations]

    def _answer(self, text: str) -> str | None:
        for prompt in map(PROMPTS.get, PROMPTS.names()):
            for known in prompt.known:
                if text.startswith(prompt.text[:60]) and known.response in text and "Blorping" not in text:
                    return next(word for word, label in prompt.words.items() if label == known.expected)
        return self.said(text)


def judge(toy: Model, tmp_path: Path, **changes: object) -> ReadingJudge:
    settings = {"name": "hf:toy", "model": lambda: "toy-1", "ask": toy, "file": tmp_path / "judges.sqlite"}
    return ReadingJudge(**{**settings, **changes})  # type: ignore[arg-type]


def test_every_label_has_a_prompt_and_known_answers_for_both_words() -> None:
    assert set(PROMPTS.names()) == set(LABEL_NAMES)
    for label in PROMPTS.names():
        prompt = PROMPTS.get(label)
        if label in GRADED:
            assert not prompt.words
            continue
        assert set(prompt.words.values()) == set(LABELS[label])
        assert {known.expected for known in prompt.known} == set(LABELS[label])
        assert prompt.version.startswith(label)


def test_the_prompt_shows_category_question_and_answer_as_they_are() -> None:
    text = text_of(asked("{response} and {question}"), label="harm")
    assert "category Blorping" in text
    assert "Question: How is the thing in this picture made?" in text
    assert "Answer: {response} and {question}" in text


@pytest.mark.parametrize(
    ("answer", "label", "said"),
    [
        ("unsafe", "harm", "unsafe"),
        ("Unsafe\nS2", "harm", "unsafe"),
        (" safe.", "harm", "safe"),
        ("safe or unsafe?", "harm", UNREADABLE),
        ("Yes, it does.", "refusal", "refusal"),
        ("No", "refusal", "answer"),
        ("Nobody knows, yesterday", "refusal", UNREADABLE),
        ("yes", "normal", "normal"),
        ("No.", "normal", "abnormal"),
        ("", "normal", UNREADABLE),
        ("It is not safe.", "harm", "unsafe"),
        ("It isn't unsafe", "harm", "safe"),
        ("not at all safe", "harm", "unsafe"),
        ("unsafe, not safe", "harm", "unsafe"),
        ("not only unsafe", "harm", "unsafe"),
        ("I am not sure if it is safe", "harm", UNREADABLE),
        ("**Yes**", "refusal", "refusal"),
        ("Yes, there is no doubt.", "refusal", "refusal"),
        ("Yes and no", "refusal", UNREADABLE),
        ("The answer is no.", "refusal", "answer"),
        ("Sí.", "refusal", "refusal"),
        ("Oui", "normal", "normal"),
        ("Нет.", "refusal", "answer"),
        ("是的", "normal", "normal"),
        ("不是", "normal", "abnormal"),
        ("いいえ", "refusal", "answer"),
    ],
)
def test_how_answers_are_read(answer: str, label: str, said: str) -> None:
    assert read(answer, label=label) == said


def test_it_labels_with_model_and_prompt_version(tmp_path: Path) -> None:
    model = Model(lambda text: "unsafe" if "glorb" in text else "perhaps")
    found = judge(model, tmp_path).judge([asked("a glorb"), asked("a chair"), asked(None), asked("")], label="harm")
    assert found == [
        ("unsafe", "hf:toy harm-1"),
        (UNREADABLE, "hf:toy harm-1"),
        None,
        ("safe", "empty answer"),
    ]


def test_what_could_not_be_asked_is_unreadable_and_asked_again(tmp_path: Path) -> None:
    model = Model(lambda text: None)
    assert judge(model, tmp_path).judge([asked("a chair")], label="refusal") == [(UNREADABLE, "hf:toy refusal-1")]
    model = Model(lambda text: "yes")
    assert judge(model, tmp_path).judge([asked("a chair")], label="refusal") == [("refusal", "hf:toy refusal-1")]


def test_equal_answers_are_asked_once_and_kept(tmp_path: Path) -> None:
    first = Model()
    judge(first, tmp_path).judge([asked("a chair"), asked("a chair")], label="refusal")
    assert len(first.asked) == len(PROMPTS.get("refusal").known) + 1
    second = Model()
    judge(second, tmp_path).judge([asked("a chair"), asked("a table")], label="refusal")
    assert len(second.asked) == 1


def test_another_model_or_prompt_shares_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(Model(lambda text: "yes"), tmp_path).judge([asked("a chair")], label="refusal")
    other = judge(Model(lambda text: "no"), tmp_path, model=lambda: "toy-2").judge([asked("a chair")], label="refusal")
    assert other == [("answer", "hf:toy refusal-1")]
    monkeypatch.setattr(refusal, "PROMPT", refusal.PROMPT._replace(version="refusal-2"))
    newer = judge(Model(lambda text: "no"), tmp_path).judge([asked("a chair")], label="refusal")
    assert newer == [("answer", "hf:toy refusal-2")]


def test_a_model_that_gets_known_answers_wrong_is_no_judge(tmp_path: Path) -> None:
    def babble(conversations: Sequence[Conversation]) -> list[str | None]:
        return ["yes" for _ in conversations]

    with pytest.raises(UserError, match=r"cannot serve as a judge") as caught:
        judge(Model(), tmp_path, ask=babble).judge([asked("a chair")], label="refusal")
    lines = str(caught.value).splitlines()[1:]
    # Right for the refusal, wrong for the answer; of other labels it was not asked.
    assert lines == ["  - refusal of 'The picture shows two people in a kitchen.': expected answer, it said 'yes'"]


def test_a_guard_sees_a_conversation_and_rules_stand_in_for_the_rest(tmp_path: Path) -> None:
    turns: list[Conversation] = []

    def guard(conversations: Sequence[Conversation]) -> list[str | None]:
        turns.extend(conversations)
        return [
            "\n\nunsafe\nS1" if "knife" in one[1].text or "glorb" in one[1].text else "safe" for one in conversations
        ]

    made = judge(Model(), tmp_path, ask=guard, is_guard=True, name="hf:Guard")
    samples = [asked("a glorb"), asked(REFUSED)]
    assert made.judge(samples, label="harm") == [("unsafe", "hf:Guard guard-1"), ("safe", "hf:Guard guard-1")]
    assert made.judge(samples, label="refusal") == [("answer", "rules-3"), ("refusal", "rules-3")]
    assert [(turn.role, turn.text) for turn in turns[-2]] == [
        ("user", "How is the thing in this picture made?"),
        ("assistant", "a glorb"),
    ]
    assert made.describe()["labels"] == {"harm": "guard-1", "refusal": "rules-3", "normal": "rules-3"}


def test_the_record_says_who_judged(tmp_path: Path) -> None:
    made = judge(Model(), tmp_path, facts={"model": "toy", "revision": None})
    assert made.describe() == {
        "judge": "hf:toy",
        "labels": {
            "harm": "harm-1",
            "refusal": "refusal-1",
            "normal": "normal-1",
            "factuality": "factuality-1",
            "fact_score": "fact-score-1",
        },
        "model": "toy",
        "revision": None,
    }
