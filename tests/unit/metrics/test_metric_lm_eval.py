"""The hooks that stock lm_eval calls, with and without token log-probs, and one real run of each kind."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from mmforget.metrics import lm_eval as hooks
from mmforget.types import TokenScores

DOC = {
    "id": "ann/0",
    "subject": "ann",
    "question": "where does she live?",
    "answer": "she lives in oslo.",
    "keywords": ["oslo"],
    "answer_rephrased": ["oslo is her home."],
    "answer_perturbed": ["she lives in rome.", "she lives in bern."],
}
HALF, EIGHTH = math.log(1 / 2), math.log(1 / 8)


def test_generation_scores() -> None:
    """she is in oslo.: ROUGE-L recall 3/4, not exact, the one keyword said, not degenerate."""
    found = hooks.process_gen(DOC, ["she is in oslo."])
    assert found == {"rouge_l": 0.75, "exact_match": 0.0, "keyword_em": 1.0, "degenerate": 0.0}


def test_several_responses_count_the_first() -> None:
    assert hooks.process_gen(DOC, [["she lives in oslo.", "rome."]])["exact_match"] == 1.0


def test_a_row_without_keywords_is_nan_not_zero() -> None:
    assert math.isnan(hooks.process_gen(DOC | {"keywords": []}, ["oslo."])["keyword_em"])


def test_candidate_scores() -> None:
    """One token each: answer 1/2, rephrased 1/2, perturbed 1/8 and 1/2: r = 2 as in the unit tests of the metrics."""
    results = [TokenScores((value,), True) for value in (HALF, HALF, EIGHTH, HALF)]
    found = hooks.process_prob(DOC, results)
    assert found.pop("probability_normalised") == pytest.approx(0.5 / (0.5 + 0.125 + 0.5))
    assert math.isnan(found.pop("min_k"))
    assert found == pytest.approx({"probability": 0.5, "truth_ratio": 0.5, "truth_ratio_retain": 0.5})


def test_a_model_without_token_log_probs_gives_nan_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    hooks._say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            found = hooks.process_prob(DOC, [(-1.0, True)] * 4)
    assert set(found) == set(hooks.PROB_METRICS)
    assert all(math.isnan(value) for value in found.values())
    assert [record.message.split(",")[0] for record in caplog.records] == ["this model returns no token log-probs"]


def test_a_wrong_number_of_candidates_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        hooks.process_prob(DOC, [(-1.0, True)] * 3)


def test_mean_of_what_was_scored() -> None:
    assert hooks.mean_scored([1.0, math.nan, 0.0]) == 0.5
    assert math.isnan(hooks.mean_scored([math.nan]))
    assert math.isnan(hooks.mean_scored([]))


class FixedModel:
    """Answers of a fixed model; a mixin, since lm_eval is imported inside the test."""

    def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
        return ["she is in oslo." for _ in requests]

    def loglikelihood(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        return [TokenScores((HALF, HALF), True) for _ in requests]

    def loglikelihood_rolling(self, requests: list[Any], **_: Any) -> list[float]:
        return [0.0 for _ in requests]


@pytest.mark.parametrize(
    "hook, settings, wanted",
    [
        (
            hooks.process_gen,
            {"output_type": "generate_until"},
            {"rouge_l": 0.75, "exact_match": 0.0, "keyword_em": 1.0},
        ),
        (
            hooks.process_prob,
            {"output_type": "multiple_choice", "doc_to_choice": ["a", "b", "c", "d"]},
            {"probability": 0.5, "probability_normalised": 1 / 3, "truth_ratio": 1.0, "truth_ratio_retain": 0.0},
        ),
    ],
)
def test_stock_lm_eval_prints_these_metrics(hook: Any, settings: dict[str, Any], wanted: dict[str, float]) -> None:
    from datasets import Dataset
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    model = type("Fixed", (FixedModel, LM), {})()
    names = hooks.GEN_METRICS if hook is hooks.process_gen else hooks.PROB_METRICS
    config = {
        "task": "toy",
        "custom_dataset": lambda **_: {"test": Dataset.from_list([DOC, DOC])},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": 0 if "doc_to_choice" in settings else "{{answer}}",
        "process_results": hook,
        "metric_list": [{"metric": name, "aggregation": hooks.mean_scored, "higher_is_better": True} for name in names],
        **settings,
    }
    done = simple_evaluate(
        model=model,
        tasks=[ConfigurableTask(config=config)],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
    )
    found = done["results"]["toy"]
    assert {name: found[f"{name},none"] for name in wanted} == pytest.approx(wanted)
