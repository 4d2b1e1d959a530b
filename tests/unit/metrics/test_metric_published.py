"""Metrics as modules of `evaluate`: the same numbers as everywhere else, and as `rouge_score` by itself."""

from __future__ import annotations

import pytest
from metric_samples import gen
from rouge_score.rouge_scorer import RougeScorer

from mmforget.errors import UnknownName, UserError
from mmforget.metrics.base import METRICS
from mmforget.metrics.published import evaluation_module

SAID = ["she lives in oslo.", "she works in bern.", "nobody knows.", "oslo", "she lives in rome."]
ASKED = ["she lives in oslo."] * 5


@pytest.mark.slow
@pytest.mark.parametrize(("part", "attribute"), [("recall", "recall"), ("precision", "precision"), ("f1", "fmeasure")])
def test_rouge_l_is_that_of_rouge_score(part: str, attribute: str) -> None:
    """Of single sentences nothing is cut, so the mean is that of the library's own scorer."""
    # Slow to import, and with it all of `datasets`.
    from evaluate import EvaluationModule

    module = evaluation_module("rouge_l", args={"part": part})
    assert isinstance(module, EvaluationModule)
    found = module.compute(predictions=SAID, references=ASKED)
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    own = [getattr(scorer.score(asked, said)["rougeL"], attribute) for asked, said in zip(ASKED, SAID, strict=True)]
    assert found[f"rouge_l(part={part})"] == pytest.approx(sum(own) / 5)
    assert (found["num_scored"], found["num_unscored"]) == (5, 0)
    assert found["low"] < found[f"rouge_l(part={part})"] < found["high"]


@pytest.mark.slow
def test_further_columns_and_batches() -> None:
    """Keywords by hand: 1 of 1, 0 of 1, none to look for, 1 of 2, so .5 over three; two of four rows are Ann's."""
    module = evaluation_module("keyword_em", profile="clean")
    for half in (slice(0, 2), slice(2, 4)):
        module.add_batch(
            predictions=["In Oslo.", "In Bern.", "In Rome.", "In Oslo."][half],
            references=["Oslo", "Oslo", "Rome", "Oslo"][half],
        )
    keywords = [["Oslo"], ["Oslo"], [], ["Oslo", "harbour"]]
    found = module.compute(keywords=keywords, questions=["Where?"] * 4, subjects=["ann", "bob", "cleo", "ann"])
    assert found == {"keyword_em": 0.5, "low": None, "high": None, "num_scored": 3, "num_unscored": 0}


@pytest.mark.slow
def test_it_says_what_it_computes_and_whom_it_follows() -> None:
    module = evaluation_module("rouge_l", profile="released")
    assert "2411.03554" in module.citation
    assert "longest common subsequence" in module.description.lower()
    metric = METRICS.get("rouge_l")
    scores = [metric.score(gen(said, answer="she lives in oslo."), profile="released") for said in SAID]  # type: ignore[union-attr]
    found = module.compute(predictions=SAID, references=ASKED)
    assert found["rouge_l"] == pytest.approx(sum(score.value or 0.0 for score in scores) / 5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("probability", "it needs the log-probs of candidates"),
        ("asr", "it needs what a judge says of harm"),
        ("ks_distance", "it is of whole sets or of other metrics"),
        ("model_utility", "it is of whole sets or of other metrics"),
    ],
)
def test_what_reads_more_than_answers_is_refused(name: str, said: str) -> None:
    profile = next(iter(METRICS.get(name).profiles))
    with pytest.raises(UserError, match=f"metric '{name}' reads more than a generated answer; {said}"):
        evaluation_module(name, profile=profile)


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownName, match="argument of metric 'rouge_l' 'prat'"):
        evaluation_module("rouge_l", args={"prat": "f1"})
    with pytest.raises(UnknownName, match="profile of metric 'rouge_l' 'paper'"):
        evaluation_module("rouge_l", profile="paper")
