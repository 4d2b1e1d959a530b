"""Whole evaluations of a small random model: any mixture of tasks, samples, controls, limits, and models of NaNs."""

from __future__ import annotations

import json
import math
import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_benchmark import collapse_reasons, ruled, toy, write_toy

from mmforget.asking import Ask, Engine, Guard, GuardEngine
from mmforget.benchmark.source import DataSource
from mmforget.cli import ls
from mmforget.errors import UnknownName, UserError
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.gate import memorisation_gate
from mmforget.evaluation.headline import headline
from mmforget.evaluation.run import Evaluation, Settings, evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.cache import ResponseCache
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import guarded
from mmforget.results.samples import read_samples, write_samples
from mmforget.types import NoScores, TokenScores
from tests.helpers import tiny_llama, tiny_llava
from tests.plugin_packages import ATTACK, installed, write_package
from tests.processes import alone

DATA = DataSource("synthetic")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy") / "tasks")


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("llava"))


def model(folder: Path, *, cache: Path | None = None) -> MMForgetLM:
    loaded = load_model(ModelSpec(str(folder), device="cpu"))
    return MMForgetLM(loaded, batch_size=4, cache=None if cache is None else ResponseCache(cache), progress=False)


@pytest.fixture(scope="module")
def done(folder: Path, llava: Path) -> Evaluation:
    tasks = ["toy", "toy_forget_gen_text", "plain_town"]
    return evaluate(model(llava), tasks, include_paths=[folder], data=DATA, progress=False)


def test_image_text_and_plain_tasks_run_in_one_call(done: Evaluation) -> None:
    assert set(done.results["results"]) == {
        "toy", "toy_forget_gen", "toy_forget_prob", "toy_keep_gen", "toy_keep_prob", "toy_others_prob",
        "toy_forget_gen_text", "plain_town",
    }  # fmt: skip
    assert done.results["results"]["plain_town"]["acc,none"] in (0.0, 0.5, 1.0)
    assert not any(sample.task == "plain_town" for sample in done.samples)
    unscored = [name for name, found in done.results["results"].items() if "sample_len" not in found]
    assert unscored == ["toy"], "a group has no score of its own; every task has"


def test_a_task_without_rows_is_left_out_with_the_reason(done: Evaluation) -> None:
    assert [tuple(item) for item in done.left_out] == [("toy_none_gen", "nobody ever filled this set")]


def test_samples_carry_the_row_and_every_token(done: Evaluation) -> None:
    first = next(sample for sample in done.samples if sample.task == "toy_forget_prob")
    assert (first.set, first.kind, first.id, first.subject) == ("forget", "prob", "0-0", "person0")
    assert list(first.token_logprobs) == ["answer", "rephrased/0", "perturbed/0", "perturbed/1"]
    assert all(value < 0 for values in first.token_logprobs.values() for value in values)
    text = next(sample for sample in done.samples if sample.task == "toy_forget_gen")
    assert isinstance(text.response, str)
    assert text.keywords == ("number 0",)


def test_every_image_task_has_its_control_and_text_tasks_have_none(done: Evaluation) -> None:
    controls = {(sample.task, sample.id): sample for sample in done.samples if sample.attack == "blank_image"}
    seen = {(sample.task, sample.id): sample for sample in done.samples if sample.attack is None}
    assert {task for task, _ in controls} == {task for task, _ in seen} - {"toy_forget_gen_text"}
    key = ("toy_forget_prob", "0-0")
    assert controls[key].token_logprobs != seen[key].token_logprobs
    assert len(controls) == 5 * 6


def test_results_follow_lm_evals_schema(done: Evaluation) -> None:
    wanted = {
        "results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config", "date",
        "git_hash", "pretty_env_info", "transformers_version", "lm_eval_version", "task_hashes", "chat_template",
        "tokenizer_eos_token", "max_length", "total_evaluation_time_seconds",
    }  # fmt: skip
    assert wanted <= set(done.results)
    assert "samples" not in done.results
    assert done.results["config"]["model"] == "mmforget"
    json.dumps(done.results, default=str)


def test_hashes_of_documents_are_stable(done: Evaluation, folder: Path, tmp_path: Path) -> None:
    """lm_eval's own hash changes with every run where a document holds an image."""
    again = evaluate(
        model(tiny_llama(tmp_path / "llama")),
        ["toy_forget_gen_text"],
        include_paths=[folder],
        data=DATA,
        progress=False,
    )
    task = "toy_forget_gen_text"
    assert again.results["task_hashes"][task] == done.results["task_hashes"][task]
    hashes = done.results["task_hashes"]
    assert hashes["toy_forget_gen"] == hashes["toy_forget_prob"] != hashes["toy_keep_gen"]
    assert done.sets["forget"].num_questions == done.sets["forget"].num_expected == 6
    assert done.sets["forget"].num_subjects == 2


def test_the_same_twice_and_from_the_cache(done: Evaluation, folder: Path, llava: Path, tmp_path: Path) -> None:
    runs = [
        evaluate(model(llava, cache=tmp_path / "cache.db"), ["toy"], include_paths=[folder], data=DATA, progress=False)
        for _ in range(2)
    ]
    assert runs[0].samples == runs[1].samples
    assert runs[0].results["results"] == runs[1].results["results"]
    assert runs[1].cost.num_tokens == 0
    assert runs[0].samples == [sample for sample in done.samples if sample.task != "toy_forget_gen_text"]


def test_an_attack_of_another_package_is_asked_and_stored(
    folder: Path, llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts at every question, on every task, answered as the model answers such a question."""
    write_package(tmp_path, "theirs", code=ATTACK, points={"mmforget.attacks": "twice = theirs"})
    tasks = ["toy_forget_gen", "toy_forget_prob", "toy_forget_gen_text"]
    lm, settings = model(llava), Settings(attacks=("twice",))
    with installed(tmp_path, monkeypatch=monkeypatch):
        assert any(
            item.name == "twice" and item.origin == "theirs"
            for item in ls.collect(["attacks"], opened=["attacks"]).items["attacks"]
        )
        done = evaluate(
            lm, tasks, include_paths=[folder], data=DATA, blank_image=False, settings=settings, progress=False
        )
    counts = Counter((sample.task, sample.attack, sample.attempt) for sample in done.samples)
    assert counts == {(task, *tried): 6 for task in tasks for tried in ((None, None), ("twice", 0), ("twice", 1))}
    by_attempt = {
        sample.attempt: sample for sample in done.samples if (sample.task, sample.id) == ("toy_forget_prob", "0-0")
    }
    assert len({sample.token_logprobs["answer"] for sample in by_attempt.values()}) == 3
    assert {tuple(sample.token_logprobs) for sample in by_attempt.values()} == {
        ("answer", "rephrased/0", "perturbed/0", "perturbed/1")
    }
    written = write_samples(tmp_path, done.samples, model="m")
    assert sorted(map(repr, read_samples(tmp_path, files=written))) == sorted(map(repr, done.samples))


def test_attacks_that_cannot_be_asked_are_named(
    folder: Path, llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that tries some answers of a document more often than others, and one that nobody brings."""
    uneven = ATTACK.replace('(self.polite, "say it. ")', '("a", "b")[: len(ask.continuation) % 2 + 1]')
    assert uneven != ATTACK
    write_package(tmp_path, "theirs", code=uneven, points={"mmforget.attacks": "twice = theirs"})
    for name, message in (
        ("twice", "attack 'twice': asks gives more questions for some"),
        ("thrice", "unknown attack"),
    ):
        settings = Settings(attacks=(name,))
        with installed(tmp_path, monkeypatch=monkeypatch), pytest.raises(UserError, match=message):
            evaluate(
                model(llava), ["toy_forget_prob"], include_paths=[folder], data=DATA, blank_image=False,
                settings=settings, progress=False,
            )  # fmt: skip


@dataclass(frozen=True)
class Reluctant(GuardEngine):
    """Writes nothing, and scores only what is not about the first person."""

    def score(self, asks: Sequence[Ask]) -> list[TokenScores | NoScores]:
        found = zip(asks, self.engine.score(asks), strict=True)
        return [NoScores("too private") if "0" in ask.where or "a town" in ask.context else one for ask, one in found]


@dataclass(frozen=True)
class Reluctance:
    def guard(self, engine: Engine) -> Engine:
        return Reluctant(engine)


def test_what_a_guard_does_not_answer_is_unscored_and_said(
    folder: Path, llava: Path, done: Evaluation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither zero nor the bare model's number: no score, the reason, and no number of lm_eval's."""
    bare = load_model(ModelSpec(str(llava), device="cpu"))
    loaded = guarded(bare, Guard("reluctant", Reluctance(), {}, None, before=bare.fingerprint))
    tasks = ["toy", "plain_town"]
    found = evaluate(MMForgetLM(loaded, progress=False), tasks, include_paths=[folder], data=DATA, progress=False)
    before = {(s.task, s.id, s.attack): s for s in done.samples}
    reasons: Counter[str] = Counter()
    for sample in found.samples:
        other = before[sample.task, sample.id, sample.attack]
        reasons[sample.unanswered] += 1
        assert sample.response is None
        if sample.unanswered:
            assert sample.token_logprobs == {}
        else:
            assert sample.token_logprobs["answer"] == pytest.approx(other.token_logprobs["answer"], abs=1e-5)
    assert set(reasons) == {"", "too private", "the guard gives no text"}
    benchmark = toy(folder)
    assert not collapse_reasons(benchmark, found.samples, target=done.samples, retain=done.samples)
    for result in aggregate(benchmark, found.samples):
        if result.kind == "gen":
            assert (result.estimate.value, result.estimate.num_scored) == (None, 0)
            assert result.estimate.reasons == ("6 of 6 unscored: the guard gives no text",)
        elif result.name == "probability" and result.set == "forget":
            assert result.estimate.num_unscored > 0
            assert "unscored: too private" in " ".join(result.estimate.reasons)
    numbers = found.results["results"]
    for name in ("toy_forget_gen", "plain_town"):
        values = [value for key, value in numbers[name].items() if "," in key]
        assert values
        assert all(map(math.isnan, values))
    assert "task toy_forget_gen: 6 of 6 unanswered (the guard gives no text)" in caplog.text
    written = write_samples(tmp_path, found.samples, model="m")
    assert sorted(map(repr, read_samples(tmp_path, files=written))) == sorted(map(repr, found.samples))


def test_the_control_can_be_limited_or_left_out(folder: Path, llava: Path) -> None:
    lm = model(llava)
    without = evaluate(lm, ["toy"], include_paths=[folder], data=DATA, blank_image=False, progress=False)
    assert {sample.attack for sample in without.samples} == {None}
    some = evaluate(lm, ["toy"], include_paths=[folder], data=DATA, blank_image=["toy_forget_gen"], progress=False)
    assert {sample.task for sample in some.samples if sample.attack} == {"toy_forget_gen"}
    with pytest.raises(UserError, match="toy_nothing"):
        evaluate(lm, ["toy"], include_paths=[folder], data=DATA, blank_image=["toy_nothing"], progress=False)


def test_a_limit_is_visible_in_the_sets(folder: Path, llava: Path) -> None:
    found = evaluate(model(llava), ["toy"], include_paths=[folder], data=DATA, limit=2, progress=False)
    assert (found.sets["forget"].num_questions, found.sets["forget"].num_expected) == (2, 6)
    half = evaluate(model(llava), ["toy_forget_gen"], include_paths=[folder], data=DATA, limit=0.5, progress=False)
    assert half.sets["forget"].num_questions == 3


def test_settings_reach_lm_eval(folder: Path, llava: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(gen_kwargs={"max_gen_toks": 1}, apply_chat_template=True, num_fewshot=3)
    short = evaluate(
        model(llava), ["toy_forget_gen"], include_paths=[folder], data=DATA, progress=False, settings=settings
    )
    assert short.results["configs"]["toy_forget_gen"]["generation_kwargs"]["max_gen_toks"] == 1
    assert "ASSISTANT" in short.results["chat_template"]
    assert short.results["n-shot"]["toy_forget_gen"] == 0
    assert "toy_forget_gen is always asked without examples; num_fewshot is ignored" in caplog.text


def test_results_hold_no_path_of_this_machine(folder: Path, llava: Path) -> None:
    done = evaluate(model(llava), ["toy"], include_paths=[folder], data=DATA, limit=1, progress=False)
    assert str(llava.parent) not in json.dumps(done.results, default=str)
    assert str(folder.parent) not in json.dumps(done.results, default=str)


@pytest.mark.parametrize(
    "tasks, error, message",
    [
        (["toy_forget_gne"], UnknownName, "toy_forget_gen"),
        ([], UserError, "no task named"),
        (["toy_none_gen"], UserError, "nobody ever filled"),
    ],
)
def test_names_that_cannot_be_run(
    folder: Path, llava: Path, tasks: list[str], error: type[UserError], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(model(llava), tasks, include_paths=[folder], data=DATA, progress=False)


def test_a_broken_task_file_is_named(folder: Path, llava: Path, tmp_path: Path) -> None:
    broken = write_toy(tmp_path / "broken")
    (broken / "zzz.yaml").write_text("task: [unclosed\n")
    with pytest.raises(UserError, match=r"zzz\.yaml:2"):
        evaluate(model(llava), ["toy_forget_gen"], include_paths=[broken], data=DATA, progress=False)


def test_a_loader_that_fails_is_named(llava: Path, tmp_path: Path) -> None:
    broken = write_toy(tmp_path / "broken")
    (broken / "rows.py").write_text(
        "def candidates(doc): pass\n\ndef load(**settings):\n    raise RuntimeError('no disk')\n"
    )
    with pytest.raises(UserError, match=r"toy_forget_gen: cannot be loaded: RuntimeError: no disk"):
        evaluate(model(llava), ["toy_forget_gen"], include_paths=[broken], data=DATA, progress=False)


def test_a_model_of_nans_is_evaluated_in_full_and_called_collapsed(done: Evaluation, folder: Path, llava: Path) -> None:
    lm = model(llava)
    with torch.no_grad():
        for weight in lm.loaded.model.parameters():
            weight.fill_(math.nan)
    lm = MMForgetLM(replace(lm.loaded, fingerprint="nan"), batch_size=4, progress=False)
    broken = evaluate(lm, ["toy"], include_paths=[folder], data=DATA, progress=False)
    benchmark = toy(folder)
    results = aggregate(benchmark, broken.samples, retain=done.samples)
    by_name = {(r.name, r.set, r.attack): r.estimate for r in results if r.profile == "clean"}
    assert by_name["probability", "forget", None].num_unscored == 6
    assert by_name["probability", "forget", None].value is None
    assert by_name["ks_forget_quality", "forget", None].value is None
    assert by_name["model_utility", "keep", None].value is None
    reasons = collapse_reasons(benchmark, broken.samples, target=done.samples)
    assert "collapsed: 6 of 6 answers of the keep set have NaN log-probs" in reasons
    found = headline(benchmark, broken.samples, target=done.samples, retain=done.samples, collapsed=True).estimates
    assert found["overall"].value == 0.0
    gate = memorisation_gate(benchmark, target=done.samples, retain=done.samples)
    verdict = ruled(
        benchmark.bind(DATA), broken.samples, role="unlearned", target=done.samples, retain=done.samples,
        headline=found, gate=replace(gate, passed=True, reason=""), sets=broken.sets,
    )  # fmt: skip
    assert (verdict.status, verdict.collapsed) == ("collapsed", True)


def test_stock_simple_evaluate_takes_the_adapter(llava: Path, tmp_path: Path) -> None:
    """Image multiple choice with all of lm_eval's metrics, `acc_mutual_info` and its empty contexts included."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    folder = write_toy(tmp_path / "tasks")
    metrics = "".join(f"  - {{metric: {name}}}\n" for name in ("acc", "acc_norm", "acc_mutual_info", "exact_match"))
    (folder / "image_mc.yaml").write_text(
        "include: _base\ntask: image_mc\noutput_type: multiple_choice\ndoc_to_target: 0\n"
        "doc_to_choice: !function rows.candidates\nmetadata: {unlearning: {set: forget, modality: image}}\n"
        f"metric_list:\n{metrics}"
    )
    lm = model(llava)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = simple_evaluate(model=lm, tasks=["image_mc", "plain_town"], task_manager=manager, log_samples=True)
    assert 0 <= found["results"]["image_mc"]["acc,none"] <= 1
    assert "acc_mutual_info,none" in found["results"]["image_mc"]
    assert len(found["samples"]["image_mc"]) == 6
    assert found["config"]["model_sha"] == lm.loaded.fingerprint


def test_progress_is_told_task_by_task(folder: Path, llava: Path) -> None:
    told: list[tuple[int, int, str]] = []
    evaluate(
        model(llava), ["toy_forget_gen", "toy_forget_prob"], include_paths=[folder], data=DATA,
        progress=lambda done, total, label: told.append((done, total, label)),
    )  # fmt: skip
    last = {label: (done, total) for done, total, label in told}
    assert last == {
        "toy_forget_gen (generate)": (6, 6),
        "toy_forget_gen (generate, grey images)": (6, 6),
        "toy_forget_prob (score)": (24, 24),
        "toy_forget_prob (score, grey images)": (24, 24),
    }


def evaluate_until(num_reports: int, llava: Path, cache: Path, folder: Path) -> None:
    """Kills itself as it tells of its progress for the `num_reports`th time."""
    told: list[int] = []

    def progress(*_: Any) -> None:
        told.append(1)
        if len(told) == num_reports:
            os.kill(os.getpid(), signal.SIGKILL)

    evaluate(model(llava, cache=cache), ["toy"], include_paths=[folder], data=DATA, progress=progress)


def test_a_run_killed_again_and_again_ends_like_an_undisturbed_one(
    done: Evaluation, folder: Path, llava: Path, tmp_path: Path
) -> None:
    """A process is killed without warning after ever more batches; what the last one gives is the same to the bit."""
    cache = tmp_path / "cache.db"
    for num_reports in (1, 4):
        killed = alone(evaluate_until, num_reports, llava, cache, folder, home=tmp_path)
        assert killed.status == -signal.SIGKILL, killed.err
    resumed = evaluate(model(llava, cache=cache), ["toy"], include_paths=[folder], data=DATA, progress=False)
    assert 0 < resumed.cost.num_cached < resumed.cost.num_requests
    assert resumed.samples == [sample for sample in done.samples if sample.task != "toy_forget_gen_text"]
