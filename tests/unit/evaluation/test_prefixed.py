"""ReCaLL: answers scored once more behind rows of the holdout set, exactly as if one had written these in front."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mmforget.benchmark import DataSource
from mmforget.benchmark.document import TaskLabel
from mmforget.benchmark.find import find
from mmforget.evaluation import prefixed
from mmforget.evaluation.prefixed import Prefixed, wanted_prefixes
from mmforget.evaluation.run import Settings, evaluate
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model
from tests.helpers import tiny_llama

FORGET, HOLDOUT = "tofu_forget01_prob", "tofu_holdout01_prob"
DATA = DataSource("synthetic")


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> MMForgetLM:
    folder = tiny_llama(tmp_path_factory.mktemp("models") / "llama")
    return MMForgetLM(load_model(ModelSpec(str(folder))), progress=False)


def request(context: str, answer: str) -> Any:
    return SimpleNamespace(args=(context, answer), doc={}, doc_id=0, idx=0, task_name="toy")


def test_answers_are_scored_behind_the_first_rows_of_the_holdout_set(
    lm: MMForgetLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefixed, "wanted_prefixes", lambda loaded: [Prefixed(FORGET, HOLDOUT, 2)])
    samples = evaluate(lm, [FORGET, HOLDOUT], data=DATA, limit=3, progress=False).samples
    forget, unseen = ([one for one in samples if one.task == name] for name in (FORGET, HOLDOUT))
    front = "".join(f"{one.question} {one.answer}\n\n" for one in unseen[:2])
    for sample in forget:
        (expected,) = lm.loglikelihood([request(front + sample.question, f" {sample.answer}")])
        assert sample.token_logprobs["prefixed/2/answer"] == pytest.approx(expected.token_logprobs, abs=1e-4)
        assert sample.token_logprobs["answer"] != sample.token_logprobs["prefixed/2/answer"]
    assert not any("prefixed/2/answer" in one.token_logprobs for one in unseen)


def test_rows_for_which_there_is_no_room_are_not_asked(lm: MMForgetLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixed, "wanted_prefixes", lambda loaded: [Prefixed(FORGET, HOLDOUT, 64)])
    samples = evaluate(lm, [FORGET, HOLDOUT], data=DATA, progress=False).samples
    assert not any(role.startswith("prefixed") for one in samples for role in one.token_logprobs)


def test_nothing_is_asked_in_a_chat_template(lm: MMForgetLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(loaded: object) -> list[Prefixed]:
        raise AssertionError("asked")

    monkeypatch.setattr(prefixed, "wanted_prefixes", none)
    settings = Settings(apply_chat_template=True)
    assert evaluate(lm, [FORGET, HOLDOUT], data=DATA, limit=1, progress=False, settings=settings).samples


def test_only_tasks_whose_metrics_read_them_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = find("tofu_forget01").bind(DATA)
    tasks = {task.name: None for task in bound.benchmark.tasks}
    labels = {task.name: TaskLabel("tofu", task.set, task.kind, task.modality) for task in bound.benchmark.tasks}
    loaded = LoadedTasks(tasks, {}, labels, owners=dict.fromkeys(tasks, bound))
    assert wanted_prefixes(loaded) == []
    monkeypatch.setattr(prefixed, "prefix_read", lambda metric: 4 if metric.name == "mia_auc" else 0)
    assert set(wanted_prefixes(loaded)) == {Prefixed(FORGET, HOLDOUT, 4), Prefixed(HOLDOUT, HOLDOUT, 4)}
