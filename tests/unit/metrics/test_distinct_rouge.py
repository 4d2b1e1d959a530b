"""ROUGE-L of PyPI's `rouge`: by hand, and as version 1.0.1 of the package computed it."""

from __future__ import annotations

import pytest

from mmforget.metrics.distinct_rouge import EPSILON, distinct_rouge_l
from mmforget.metrics.rouge_l import RougeL
from mmforget.types import Sample


@pytest.mark.parametrize(
    ("reference", "response", "recall", "precision"),
    [
        ("Stephen King", "Stephen King", 1.0, 1.0),
        ("Stephen King", "stephen King", 0.5, 0.5),
        ("Stephen King", "It is King, Stephen", 0.5, 0.25),
        ("the cat on the mat", "the the the", 0.25, 1.0),
        # Both sentences of the response count: "a b" and "a c" have three of the four words.
        ("a b c d", "a b. a c", 0.75, 1.0),
        ("in Rome. in Oslo", "in Oslo", 2 / 3, 1.0),
        ("NOANSWER", "  ", 1.0, 1.0),
        ("Rome", "", 0.0, 0.0),
        ("Rome", ".", 0.0, 0.0),
        ("", "Rome", 0.0, 0.0),
        # Of two longest ones, that which is found from the end.
        ("a b", "b a", 0.5, 0.5),
        ("U.S. army", "the U.S. army", 1.0, 0.75),
    ],
)
def test_distinct_words_of_all_sentences(reference: str, response: str, recall: float, precision: float) -> None:
    found = distinct_rouge_l(reference, response)
    assert (found.recall, found.precision) == pytest.approx((recall, precision))
    assert found.f1 == pytest.approx(2 * recall * precision / (recall + precision + EPSILON))


COMPUTED = (
    ("He wrote The Shining in 1977.", "Answer: The Shining. It was written in 1977", 2 / 3, 0.5),
    ("a b c a b c d", "c b a. d c b a", 0.5, 0.5),
    ("on the mat . on", " the. mat the on on", 1.0, 1.0),
)
"""What `Rouge().get_scores(hyps, refs)` of the package gives for `rouge-l`: recall and precision."""


@pytest.mark.parametrize(("reference", "response", "recall", "precision"), COMPUTED)
def test_as_the_package_computes_it(reference: str, response: str, recall: float, precision: float) -> None:
    found = distinct_rouge_l(reference, response)
    assert (found.recall, found.precision) == pytest.approx((recall, precision))


def test_it_is_the_profile_rwku_paper_of_rouge_l() -> None:
    sample = Sample("t", "s", "gen", "1", "x", "who?", "Stephen King", response="Stephen. Stephen")
    assert RougeL().score(sample, profile="rwku_paper").value == 0.5
    assert RougeL(part="precision").score(sample, profile="rwku_paper").value == 1.0
