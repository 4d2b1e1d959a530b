"""UnLOK-VQA's scores by hand: probabilities of whole answers before and after an edit, right answers lost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.document import MetricUse
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import METRICS, ReferenceMetric
from mmforget.types import Estimate, Sample

ROLES = {"answer": "answer", "empty": "perturbed/0", "false": "perturbed/1"}
PLAIN = {"number": 0, "empty": "perturbed/0", "false": "perturbed/1"}


def scored(
    name: str, *, subject: str = "0", set_name: str = "forget", extra: Mapping[str, Any] = PLAIN, **probs: float
) -> Sample:
    """A row with a probability for each candidate, told in two tokens."""
    logprobs = {ROLES[key]: (math.log(p) - 0.25, 0.25) if p else (-math.inf, 0.0) for key, p in probs.items()}
    return Sample(
        task=f"unlok_vqa_{set_name}_prob",
        set=set_name,
        kind="prob",
        id=name,
        subject=subject,
        question="?",
        answer="Lab",
        token_logprobs=logprobs,
        extra={**PLAIN, **extra},
    )


def said(name: str, response: str | None, *, answer: str = "Lab", **extra: Any) -> Sample:
    return Sample(
        task="unlok_vqa_random_gen", set="random", kind="gen", id=name, subject=name, question="?", answer=answer,
        response=response, extra=extra,
    )  # fmt: skip


def compared(metric: str, now: list[Sample], before: list[Sample], *, profile: str = "clean", **args: Any) -> Estimate:
    found = metric_of(MetricUse(metric, "forget", "higher", args=args))
    assert isinstance(found, ReferenceMetric)
    return found.compare(now, before, profile=profile)


@pytest.mark.parametrize("profile", ["clean", "released"])
def test_rewrite_score_is_the_share_of_probability_that_is_gone(profile: str) -> None:
    """0.8 to 0.2: 0.75. 0.5 to 0.6, which became likelier: 0. 0.4 to 0: 1."""
    before = [scored("a", answer=0.8), scored("b", answer=0.5), scored("c", answer=0.4)]
    now = [scored("a", answer=0.2), scored("b", answer=0.6), scored("c", answer=0.0)]
    found = compared("rewrite_score", now, before, profile=profile)
    assert found.value == pytest.approx((0.75 + 0.0 + 1.0) / 3)
    assert found.num_scored == 3


def test_rewrite_score_of_a_new_answer_is_what_it_has_won() -> None:
    """0.2 to 0.6: 1 - 0.4 / 0.8 = 0.5; from 0.5 to 0.1 it is at least 0, as released at least 2e-8."""
    before, now = [scored("a", answer=0.5, empty=0.2, false=0.5)], [scored("a", answer=0.5, empty=0.6, false=0.1)]
    for profile, least in (("clean", 0.0), ("released", 2e-8)):
        assert compared("rewrite_score", now, before, profile=profile, answer="empty").value == pytest.approx(0.5)
        assert compared("rewrite_score", now, before, profile=profile, answer="false").value == least


def test_rows_that_have_nothing_to_score_take_no_part() -> None:
    """No false answer, and an answer that the model held for impossible; a row nobody asked before is unscored."""
    now = [scored("a", answer=0.0), scored("b", answer=0.5)]
    found = compared("rewrite_score", now, [scored("a", answer=0.0)])
    assert (found.value, found.num_lacking, found.num_unscored) == (None, 1, 1)
    bare = [scored("a", answer=0.5, extra={"false": None})]
    assert compared("rewrite_score", bare, bare, answer="false").num_lacking == 1


def test_paraphrase_score_takes_the_first_wording_or_all() -> None:
    """0.5 to 0.25 and 0.5 to 0.5: 0.5 alone, and 0.25 on average."""
    before = [scored(f"a{number}", answer=0.5, extra={"number": number}) for number in range(2)]
    now = [scored(f"a{n}", answer=p, extra={"number": n}) for n, p in enumerate((0.25, 0.5))]
    released = compared("paraphrase_score", now, before, profile="released")
    assert (released.value, released.num_lacking) == (pytest.approx(0.5), 1)
    assert compared("paraphrase_score", now, before).value == pytest.approx(0.25)


def test_neighbourhood_score_is_how_little_moved() -> None:
    """Clean, the neighbour's own answer: 0.8 to 0.4 of at most 0.8: 0.5. Released, the deleted one: 0.1 to 0.01 of at
    most 0.9: 0.9.
    """
    extra = {"deleted": "perturbed/0"}
    before, now = [scored("a", answer=0.8, empty=0.1, extra=extra)], [scored("a", answer=0.4, empty=0.01, extra=extra)]
    assert compared("neighbourhood_score", now, before).value == pytest.approx(0.5)
    assert compared("neighbourhood_score", now, before, profile="released").value == pytest.approx(0.9)


def test_neighbourhood_score_as_released_takes_the_first_question_alone() -> None:
    rows = [scored(f"a{number}", answer=0.5, empty=0.5, extra={"number": number}) for number in range(3)]
    assert compared("neighbourhood_score", rows, rows, profile="released").num_scored == 1
    assert compared("neighbourhood_score", rows, rows).num_scored == 3


def test_delta_accuracy_is_right_before_minus_right_now() -> None:
    """Lost, won, and right both times: 1 - 1 + 0 over three."""
    before = [said("a", "Lab."), said("b", "Cat"), said("c", "a lab")]
    now = [said("a", "Dog"), said("b", "Lab"), said("c", "LAB")]
    assert compared("delta_accuracy", now, before).value == pytest.approx(0.0)
    assert compared("delta_accuracy", now[:1], before[:1]).value == 1.0


def test_what_counts_as_right() -> None:
    """`Labrador` holds `Lab`, as released; the first word of a longer label is enough there."""
    before, now = [said("a", "Labrador")], [said("a", "Cat")]
    assert compared("delta_accuracy", now, before, profile="released").value == 1.0
    assert compared("delta_accuracy", now, before).value == 0.0
    before, now = ([said("b", text, answer="Brown dog", released_label="Brown")] for text in ("brown", "no"))
    assert compared("delta_accuracy", now, before, profile="released").value == 1.0
    assert compared("delta_accuracy", now, before).value == 0.0


def test_target_score_is_the_harmonic_mean_with_an_interval_over_instances() -> None:
    """Rewrite 0.75, paraphrase 0.5 and neighbourhood 0.8 of every instance: 3 / (4 / 3 + 2 + 5 / 4)."""
    benchmark = find("unlok_vqa")
    places = {"forget": (0.8, 0.2), "rephrase": (0.8, 0.4), "neighbour": (0.5, 0.4)}
    now, before = [], []
    for subject in map(str, range(8)):
        for name, probs in places.items():
            for found, p in zip((before, now), probs, strict=True):
                found.append(scored(f"{subject}/{name}", subject=subject, set_name=name, answer=p))
    measured = Measurements(benchmark, now, None, before)
    metric = METRICS.get("target_score")
    found = measured.composite(metric, profile="clean")  # type: ignore[arg-type]
    assert found.value == pytest.approx(3 / (1 / 0.75 + 1 / 0.5 + 1 / 0.8))
    assert found.num_subjects == 8
    assert found.low is not None
    assert found.low <= found.value <= (found.high or 0.0)


def test_without_the_model_before_there_is_no_score() -> None:
    measured = Measurements(find("unlok_vqa"), [scored("0/forget/0", answer=0.5)], None, None)
    found = measured.composite(METRICS.get("target_score"), profile="clean")  # type: ignore[arg-type]
    assert found.value is None
    assert any("no target model to compare with" in reason for reason in found.reasons)


def test_every_metric_that_the_document_names_finds_its_rows() -> None:
    bound = find("unlok_vqa").bind(DataSource("synthetic"))
    asked = {(task.set, task.kind) for task in bound.benchmark.tasks}
    for use in bound.benchmark.metrics:
        kind = getattr(metric_of(use), "kind", None)
        assert kind is None or (use.set, kind) in asked
