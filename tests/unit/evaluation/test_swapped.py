"""Answers behind another subject's pictures: what a model knows by the picture is told from what the question says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from toy_benchmark import write_toy

from mmforget.asking import Ask, Engine, Guard, GuardEngine
from mmforget.benchmark.find import find
from mmforget.benchmark.source import DataSource
from mmforget.evaluation.measurements import Measurements
from mmforget.evaluation.run import evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.base import METRICS
from mmforget.metrics.mia_auc import MiaAuc
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, guarded
from mmforget.results.fingerprint import hash_image
from mmforget.types import TokenScores
from tests.helpers import tiny_llava

TASKS = ("toy_forget_prob", "toy_others_prob")
OWN, ANOTHERS = math.log(0.5), math.log(0.125)


@dataclass(frozen=True)
class Knows:
    """In place of the model: it knows the pictures of some sets, whose answers are likelier behind them."""

    known: tuple[str, ...]

    def guard(self, engine: Engine) -> Engine:
        return Knowing(engine, self.known)


@dataclass(frozen=True)
class Knowing(GuardEngine):
    known: tuple[str, ...]

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores]:
        return [TokenScores((OWN if self._is_known(ask) else ANOTHERS,) * 2, False) for ask in asks]

    def _is_known(self, ask: Ask) -> bool:
        assert ask.row is not None
        own = tuple(hash_image(Image.open(BytesIO(one["bytes"])).convert("RGB")) for one in ask.row["images"])
        return ask.task.split("_")[1] in self.known and ask.image_keys == own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_toy(tmp_path_factory.mktemp("swapped") / "tasks")
    document = next(one for one in folder.rglob("*.yaml") if "metric: mia_auc" in one.read_text())
    named = "metric: mia_auc, args: {score: image_swap}"
    document.write_text(document.read_text().replace("metric: mia_auc", named))
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tiny_llava(tmp_path_factory.mktemp("models") / "llava", num_layers=1)
    return load_model(ModelSpec(str(folder), device="cpu"))


@pytest.mark.parametrize(("known", "expected"), [(("forget",), 1.0), ((), 0.5), (("forget", "others"), 0.5)])
def test_what_is_known_by_its_picture_is_found(
    folder: Path, bare: LoadedModel, known: tuple[str, ...], expected: float
) -> None:
    lm = MMForgetLM(guarded(bare, Guard("knows", Knows(known), {}, None, before=bare.fingerprint)), progress=False)
    done = evaluate(lm, TASKS, include_paths=[folder], data=DataSource("synthetic"), blank_image=False, progress=False)
    own = ANOTHERS if "forget" not in known else OWN
    for sample in done.samples:
        if sample.set == "forget":
            assert sample.token_logprobs["answer"] == (own, own)
            assert sample.token_logprobs["swapped/answer"] == (ANOTHERS, ANOTHERS)
    benchmark = find("toy", [folder])
    (task,) = [one for one in benchmark.tasks if one.name == TASKS[0]]
    measured = Measurements(benchmark, done.samples)
    found = measured.estimate(MiaAuc(score="image_swap"), task=task, profile="clean")
    assert (found.value, found.num_unscored) == (expected, 0)


def test_without_that_pass_there_is_no_number_and_why(bare: LoadedModel, tmp_path: Path) -> None:
    lm = MMForgetLM(bare, progress=False)
    plain = write_toy(tmp_path / "plain")
    done = evaluate(lm, TASKS, include_paths=[plain], data=DataSource("synthetic"), blank_image=False, progress=False)
    assert not any(role.startswith("swapped") for one in done.samples for role in one.token_logprobs)
    groups = [[one for one in done.samples if one.task == task] for task in TASKS]
    found = MiaAuc(score="image_swap").compare(groups[0], groups[1])
    assert found.value is None
    assert any("another subject's pictures" in reason for reason in found.reasons)
    assert METRICS.get("mia_auc").compare(groups[0], groups[1]).value is not None  # type: ignore[union-attr]
