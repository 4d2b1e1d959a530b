"""What MedForget's metrics share: which kind a question is of, its options, and ROUGE-L F1.

A question says its kind in `extra["task"]`: `classification` and `cloze` are closed, `generation` is open. Without it a
question counts as both, so that these metrics can be used on any benchmark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from mmforget.metrics.base import Declared
from mmforget.metrics.estimate import mean_estimate, no_estimate
from mmforget.metrics.responses import answer_part, normalised
from mmforget.types import Estimate, Sample, Score

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

OPEN, CLOSED = "generation", ("classification", "cloze")
BLANK = "[blank]"
IS_OPEN, IS_CLOSED = "an open question", "a closed question"
NOT_JUDGED = "no judge; choose one with --judge, e.g. hf:MODEL"
_CLOSING = " .!?"
_OPTION = re.compile(r"(?<!\w)\(?([A-Z])\)\s*(.*?)\s*(?=(?<!\w)\(?[A-Z]\)|$)", re.DOTALL)
_LETTER = re.compile(r"\(?([A-Za-z])\)|([A-Za-z])(?=[.:]?\s*$)|([A-Z])(?=[.:])")


def task_of(sample: Sample) -> str:
    """The kind of question, empty where the row does not say."""
    return str(sample.extra.get("task") or "")


def mean_of_kind(metric: Declared, scores: Sequence[Score]) -> Estimate:
    """Mean over the questions of the kind that a metric is of, with its 95 % interval by subject.

    Those of the other kind do not count as unscored; nor do any where nobody judged at all.
    """
    asked = [score for score in scores if score.reason not in (IS_OPEN, IS_CLOSED)]
    if scores and not asked:
        return no_estimate(metric, reasons=("no question of this kind",))
    if asked and all(score.reason == NOT_JUDGED for score in asked):
        return no_estimate(metric, reasons=(NOT_JUDGED,))
    return mean_estimate(metric, asked)


def rouge_l_f1(answer: str, response: str) -> float | None:
    """F1 of the longest common subsequence of Porter-stemmed words, in [0, 1]; None where the answer has no words."""
    scorer = _scorer()
    if not scorer._tokenizer.tokenize(answer):
        return None
    return float(scorer.score(answer, response)["rougeL"].fmeasure)


def rouge_l_f1_released(answer: str, response: str) -> float:
    """The same as the official code has it: 0 where the answer has no words, e.g. in another script."""
    return float(_scorer().score(answer, response)["rougeL"].fmeasure)


def is_right(sample: Sample, response: str) -> bool:
    """Whether a closed question is answered right, however the answer is written.

    Of a question with options: the letter counts, `B` as well as `B) nodule` or `(b)`, and without one the option's
    text. Of any other: the answer itself, or the whole sentence with its blank filled.
    """
    said = answer_part(response, reference=sample.answer)
    options = options_of(sample.question)
    wanted = chosen(sample.answer, options=options)
    if options and wanted is not None:
        return chosen(said, options=options) == wanted
    filled = sample.question.replace(BLANK, sample.answer)
    return bare(said) in {bare(sample.answer), bare(filled)}


def options_of(question: str) -> dict[str, str]:
    """The options of a question such as `Which? A) cat B) dog`, by letter; empty for one with fewer than two."""
    found: dict[str, str] = dict(_OPTION.findall(question))
    return found if len(found) > 1 else {}


def chosen(text: str, *, options: dict[str, str]) -> str | None:
    """The letter that a text opens with, else that of the option whose text it is, else None."""
    match = _LETTER.match(text.strip())
    letter = next(filter(None, match.groups())).upper() if match else ""
    if letter in options:
        return letter
    return next((known for known, option in options.items() if bare(option) == bare(text)), None)


def bare(text: str) -> str:
    """A text in normalised form without closing punctuation."""
    return normalised(text).rstrip(_CLOSING)


@lru_cache(maxsize=1)
def _scorer() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)
