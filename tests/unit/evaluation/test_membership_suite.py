"""The suite of membership detectors: it scores what the benchmark's own tasks score, and looks in both directions."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from toy_benchmark import write_toy

from mmforget.benchmark.find import find
from mmforget.benchmark.rows import undecoded
from mmforget.benchmark.source import DataSource
from mmforget.evaluation.membership import Answered, Membership, membership, scored_answers
from mmforget.evaluation.run import evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.detectors import NAMES
from mmforget.metrics.mia_auc import MiaAuc
from mmforget.metrics.mia_tpr import MiaTPR
from mmforget.model.load import ModelSpec, load_model
from mmforget.types import Sample
from tests.helpers import tiny_llava

SETS = ("forget", "others")


class Case(NamedTuple):
    """What tasks score and what the suite scores of a model, and what it scores of another one."""

    tasks: Answered
    own: Answered
    other: Answered


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("membership")
    tasks = write_toy(folder / "tasks")
    lms = [
        MMForgetLM(
            load_model(ModelSpec(str(tiny_llava(folder / str(seed), seed=seed, num_layers=1)), device="cpu")),
            progress=False,
        )
        for seed in range(2)
    ]
    data = DataSource("synthetic")
    done = evaluate(
        lms[0], [f"toy_{one}_prob" for one in SETS], include_paths=[tasks], data=data, blank_image=False, progress=False
    )
    bound = find("toy", [tasks]).bind(data)

    def scored(lm: MMForgetLM, name: str) -> list[Sample]:
        docs = {str(doc["id"]): doc for doc in undecoded(bound.rows(name))}
        return scored_answers(lm, docs, bound.examples(name), set_name=name)

    plain = Answered(*([one for one in done.samples if one.set == name] for name in SETS))
    return Case(plain, *(Answered(*(scored(lm, name) for name in SETS)) for lm in lms))


def test_scores_are_those_of_the_tasks(case: Case) -> None:
    for name in range(2):
        for one, other in zip(case.tasks[name], case.own[name], strict=True):
            assert (one.id, one.subject, one.answer) == (other.id, other.subject, other.answer)
            for role in ("answer", "rephrased/0"):
                assert other.token_logprobs[role] == pytest.approx(one.token_logprobs[role], abs=1e-4)
            assert other.token_logprobs["swapped/answer"] != other.token_logprobs["answer"]
            assert set(other.token_values) == {"is_best", "entropy", "variance"}


def test_every_detector_looks_both_ways_beside_the_retain_model(case: Case) -> None:
    plain, other = case.tasks, case.other
    result = membership(case.own, other, how=Membership(fpr=0.2))
    assert list(result.detectors) == [*NAMES, "image_swap"]
    assert len(result.detectors) >= 12
    for name in ("loss", "confidence", "zlib", "min_k", "neighbour"):
        rates = result.detectors[name]
        assert rates.auc.value == MiaAuc(name).compare(*plain).value
        assert rates.tpr_high.value == MiaTPR(0.2, name).compare(*plain).value
        assert rates.tpr_low.value == MiaTPR(0.2, name, end="low").compare(*plain).value
    assert all(one.auc.value is not None for name, one in result.detectors.items() if "learned" not in name)
    itself = membership(other, other, how=Membership())
    assert itself.detectors["reference"].auc.value == 0.5


def test_without_a_retain_model_detectors_that_read_one_say_so(case: Case) -> None:
    result = membership(case.own, None, how=Membership())
    assert result.detectors["lira"].auc.reasons == ("no retain model to compare with",)
    assert result.detectors["loss"].auc.value is not None
