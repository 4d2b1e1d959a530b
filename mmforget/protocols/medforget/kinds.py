"""What MedForget's metrics share: which kind a question is of, and whether a closed one is answered right.

A question says its kind in `extra["task"]`: `classification` and `cloze` are closed, `generation` is open. Without it a
question counts as both, so that these metrics can be used on any benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmforget.metrics.base import Declared
from mmforget.metrics.choices import chosen, options_of
from mmforget.metrics.estimate import mean_estimate, no_estimate
from mmforget.metrics.responses import answer_part, bare
from mmforget.types import Estimate, Sample, Score

OPEN = "generation"
BLANK = "[blank]"
IS_OPEN, IS_CLOSED = "an open question", "a closed question"
NOT_JUDGED = "no judge; choose one with --judge, e.g. hf:MODEL"


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
    # Where a judge was asked, an answer that it left out is not the row's fault.
    return mean_estimate(metric, [one._replace(lacking=one.lacking and one.reason != NOT_JUDGED) for one in asked])


def is_right(sample: Sample, response: str) -> bool:
    """Whether a closed question is answered right, however the answer is written.

    Of a question with options: its letter or its text, however it is announced (`choices.chosen`). Of any other: the
    answer itself, or the whole sentence with its blank filled.
    """
    said = answer_part(response, reference=sample.answer)
    if bare(said) == bare(sample.answer):
        return True
    options = options_of(sample.question)
    wanted = chosen(sample.answer, options=options)
    if options and wanted is not None:
        named = chosen(said, options=options) or chosen(" ".join(response.split()), options=options)
        return named == wanted
    return bare(said) == bare(sample.question.replace(BLANK, sample.answer))
