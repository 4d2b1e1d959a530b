"""The twin's plants, games, dyes and towns: sizes, right answers among the options, and texts that say them."""

from __future__ import annotations

from collections import Counter

from mmforget.benchmark import DataSource, find
from mmforget.protocols.wmdp import twin

DATA = DataSource("synthetic")


def test_sizes() -> None:
    """8, 8, 6 and 12 things with four questions in four wordings; a text of all but the dyes, taught four times."""
    found = find("wmdp").bind(DATA)
    assert {name: found.num_rows(name) for name in found.benchmark.set_names} == {
        "pretrain": 34 * 4 * 4 + 28 * 4, "forget": 64, "other": 24, "mmlu": 48, "corpus_forget": 16,
        "corpus_retain": 12,
    }  # fmt: skip


def test_texts_hold_the_right_answers_of_their_topic() -> None:
    corpus = twin.corpus(0)
    for topic in ("bio", "cyber"):
        told = " ".join(corpus.texts[topic])
        for one in corpus.questions[topic]:
            assert len(set(one.options)) == 4
            assert f"of {one.subject} is {one.options[one.gold]}." in told


def test_no_letter_is_the_right_one_too_often() -> None:
    golds = Counter(one.gold for one in twin.corpus(0).questions["bio"] + twin.corpus(0).questions["cyber"])
    assert max(golds.values()) < 64 / 2


def test_twins_depend_on_the_seed() -> None:
    assert twin.corpus(0) == twin.corpus(0)
    assert twin.corpus(0).questions != twin.corpus(1).questions
