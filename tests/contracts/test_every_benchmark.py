"""What every benchmark in `tasks/` keeps to: it loads in lm_eval as it is, validates clean, and its parts agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from mmforget.benchmark import Benchmark, DataSource, catalogue, find, find_all, loader
from mmforget.benchmark.find import task_folders
from mmforget.benchmark.rows import (
    COLUMNS,
    OPTIONAL,
    candidate_roles,
    candidates,
    check_rows,
    row_features,
    row_from_doc,
)
from mmforget.benchmark.task_files import load_module
from mmforget.cli import validate
from mmforget.errors import UserError
from mmforget.metrics.base import METRICS
from mmforget.results.fingerprint import hash_image
from mmforget.training.settings import settings_from
from mmforget.types import TokenScores

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "tasks"
DATA = DataSource("synthetic")
GROUPS = [entry.name for entry in catalogue().entries if entry.kind == "group" and entry.origin == "mmforget"]
TRAINED_WHOLE = {"tofu", "muse", "rwku"}
"""Benchmarks whose published settings train all weights; those of others train adapters."""
OF_OTHER_PARTS = {
    "fiubench_forget1", "fiubench_forget10", "tofu_forget01", "tofu_forget05", "muse_news_scal3", "muse_news_scal4",
    "muse_news_sust3", "muse_news_sust4", "wmdp_forget_bio", "wmdp_forget_cyber", "medforget_institution",
    "medforget_section",
}  # fmt: skip
"""Groups that ask what another asks, or part of it, and train on other rows of the same kind."""
NAMES = sorted({entry.benchmark for entry in catalogue().entries if entry.origin == "mmforget"})


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.long] * (name in OF_OTHER_PARTS)) for name in GROUPS])
def benchmark(request: pytest.FixtureRequest) -> Benchmark:
    return found(request.param)


@cache
def found(name: str) -> Benchmark:
    return find(name)


@lru_cache(maxsize=1)
def tasks() -> dict[str, Any]:
    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata={"data": "synthetic"})
    return dict(manager.load(manager.all_subtasks)["tasks"])


def test_task_files_are_all_sound() -> None:
    assert task_folders() == [TASKS]
    assert catalogue().faults == ()
    assert GROUPS


@pytest.mark.parametrize("name", NAMES)
def test_each_has_one_data_card_with_every_section(name: str) -> None:
    template = (ROOT / "data_cards" / "TEMPLATE.md").read_text()
    card = (ROOT / "data_cards" / f"{name}.md").read_text()
    sections = [line for line in template.splitlines() if line.startswith("## ")]
    assert [line for line in card.splitlines() if line.startswith("## ")] == sections
    assert (TASKS / name / "rows.py").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_package_of_protocols_that_its_task_folder_names(name: str) -> None:
    """`rows.py` is a few imports; what it offers is the package's."""
    module = load_module(find(name).loader)
    assert module.load.__self__.name == name
    told = [getattr(module, hook, None) for hook in ("notes", "refusals", "describe", "concepts")]
    assert {hook.__module__ for hook in told if hook} == {f"mmforget.protocols.{name}.loader"}
    assert len((TASKS / name / "rows.py").read_text().splitlines()) <= 10


@pytest.mark.long
def test_no_rows_are_made_twice_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """By training, by lm_eval's tasks, for a plan or for a record: all main groups in one process."""
    made: list[str] = []

    def counted(docs: Sequence[Mapping[str, Any]], *, source: str) -> None:
        made.append(source)
        check_rows(docs, source=source)

    loader._dataset.cache_clear()
    monkeypatch.setattr(loader, "check_rows", counted)
    wanted = set()
    for bound in [find(name).bind(DATA) for name in NAMES] * 2:
        wanted |= {f"{bound.benchmark.name} {name} (synthetic)" for name in bound.benchmark.set_names}
        for name in bound.benchmark.set_names:
            assert bound.num_rows(name) == len(bound.examples(name))
        names = [task.name for task in bound.benchmark.tasks]
        TaskManager(include_path=str(TASKS), include_defaults=False, metadata=bound.data.as_metadata()).load(names)
    assert sorted(made) == sorted(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_names_follow_the_rule(name: str) -> None:
    for entry in catalogue().entries:
        if entry.benchmark != name:
            continue
        assert entry.name == name or entry.name.startswith(f"{name}_")
        if entry.kind == "task":
            label = tasks()[entry.name].config.metadata["unlearning"]
            assert entry.name.removesuffix("_text").endswith(f"_{label['kind']}")
            # A benchmark in text alone has no twins of its tasks.
            is_twin = label["modality"] == "text" and find(name).document.modality != "text"
            assert entry.name.endswith("_text") == is_twin


def test_stock_lm_eval_loads_every_task() -> None:
    """With nothing but the folder, and every document renders with one `<image>` for each image it shows."""
    names = [entry.name for entry in catalogue().entries if entry.kind == "task" and entry.origin == "mmforget"]
    assert sorted(tasks()) == sorted(names)
    for task in tasks().values():
        doc = task.eval_docs[0]
        context = task.fewshot_context(doc, 0)
        shown = task.doc_to_image(doc) or []
        assert context.count("<image>") == len(shown)
        assert task.config.metadata["unlearning"]["modality"] == ("image" if shown else "text"), task.task_name


def test_it_validates_clean_on_the_twin(benchmark: Benchmark) -> None:
    """Rows, templates, recipes, every metric on a row, every task through lm_eval."""
    report = validate.check(benchmark.group, data=DATA, include_paths=[])
    assert report.faults == []
    assert set(report.counts) == set(benchmark.set_names)
    assert all(report.counts.values())


def test_rows_are_of_the_common_form(benchmark: Benchmark) -> None:
    for name in benchmark.set_names:
        rows = benchmark.bind(DATA).rows(name)
        used = (*COLUMNS, *(column for column in OPTIONAL if column in rows.features))
        assert rows.features == row_features(used)
        assert len(set(rows["id"][:])) == len(rows)
        row = row_from_doc(rows[0])
        assert row.subject
        assert len(row.path) <= max(1, len(benchmark.document.levels))
        assert all(image.mode == "RGB" for image in row.images)
        if benchmark.modality == "text":
            assert not row.images


def test_what_is_forgotten_is_in_no_other_set(benchmark: Benchmark) -> None:
    """No question to forget is among those to keep or those of the retain model; the target model has learnt it."""
    asked = {name: _asked(benchmark, name) for name in benchmark.set_names}
    forgotten = asked[benchmark.forget_set]
    kept = [benchmark.retain_set, benchmark.utility_set]
    kept += [benchmark.stage_one["retain"]] if benchmark.has_retain_model else []
    for name in kept:
        assert not forgotten & asked[name], name
    if not benchmark.document.pretrained:
        assert forgotten | asked[benchmark.utility_set] <= asked[benchmark.stage_one["target"]]
    if benchmark.holdout_set:
        assert not asked[benchmark.holdout_set] & asked[benchmark.stage_one["target"]]


def _asked(benchmark: Benchmark, name: str) -> set[tuple[str, str, str, str]]:
    """What makes a question one of its own: whom it is about, its words, its answer and its picture."""
    return {
        (one.subject, one.context, one.answer, "".join(map(hash_image, one.images)))
        for one in benchmark.bind(DATA).examples(name)
    }


def test_a_subtree_that_is_not_there_is_refused(benchmark: Benchmark) -> None:
    """Also where rows have no path, and so no subtrees."""
    bound = benchmark.bind(DataSource("synthetic", metadata={"forget_path": "no such/part"}))
    with pytest.raises(UserError, match="forget_path"):
        bound.rows(benchmark.forget_set)


@pytest.mark.parametrize("name", [one.group for one in find_all(GROUPS) if one.document.levels])
def test_a_subtree_can_be_forgotten_at_every_level(name: str) -> None:
    """`--forget_path` takes every row below it to the forget set, and every other one to the retain set."""
    benchmark = found(name)
    path = max(benchmark.bind(DATA).column(benchmark.stage_one["target"], "path"), key=len)
    for depth in range(1, len(path) + 1):
        bound = benchmark.bind(DataSource("synthetic", metadata={"forget_path": "/".join(path[:depth])}))
        forget, retain = (bound.rows(role) for role in (benchmark.forget_set, benchmark.retain_set))
        assert len(forget)
        assert all(row[:depth] == path[:depth] for row in forget["path"][:])
        assert not any(row[:depth] == path[:depth] for row in retain["path"][:])
        assert bound.level == depth - 1


def test_candidates_and_roles_are_consistent(benchmark: Benchmark) -> None:
    """What lm_eval scores is one answer a role, the true one first, and `process_results` can read all of them."""
    for spec in benchmark.tasks:
        if spec.kind != "prob":
            continue
        for doc in list(tasks()[spec.name].eval_docs)[:5]:
            choices = tasks()[spec.name].doc_to_choice(doc)
            assert choices == candidates(doc)
            assert len(choices) == len(candidate_roles(doc))
            scores = tasks()[spec.name].process_results(doc, [TokenScores((-1.0, -2.0), is_greedy=True)] * len(choices))
            used = {use.metric for use in benchmark.metrics if use.set == spec.set}
            assert not any(math.isnan(value) for name, value in scores.items() if name in used)
            assert choices[tasks()[spec.name].doc_to_target(doc)] == doc["answer"]


def test_metrics_exist_and_face_the_way_their_tasks_do(benchmark: Benchmark) -> None:
    for use in benchmark.metrics:
        metric = METRICS.get(use.metric)
        assert set(use.profiles or ()) <= set(metric.profiles)
        for spec in benchmark.tasks:
            direction = tasks()[spec.name].higher_is_better().get(use.metric) if spec.set == use.set else None
            if direction is not None and use.higher_is_better is not None:
                assert direction == use.higher_is_better, (spec.name, use)
    assert benchmark.gate.profile in METRICS.get(benchmark.gate.metric).profiles


def test_recipes_are_complete(benchmark: Benchmark) -> None:
    assert {"released", "micro"} <= set(benchmark.recipes)
    for name, recipe in benchmark.recipes.items():
        common = {key: value for key, value in recipe["unlearn"].items() if key != "methods"}
        assert settings_from(recipe["stage_one"]).lr > 0
        if name == "micro" or benchmark.name not in TRAINED_WHOLE:
            assert settings_from(common).lora is not None, benchmark.group


def test_fiubench_trains_as_released() -> None:
    """The published hyper-parameters: LoRA 128/256/.05 and projector, 5 epochs of 4 x 16, warm-up .06, lr by method."""
    recipe = find("fiubench").recipes["released"]
    common = dict(recipe["unlearn"])
    rates = {name: settings["lr"] for name, settings in common.pop("methods").items()}
    assert rates == {"ga": 1e-4, "grad_diff": 1e-4, "kl": 1e-4, "po": 3e-4, "npo": 1e-4}
    settings = settings_from(common)
    assert settings.lora is not None
    assert (settings.lora.r, settings.lora.alpha, settings.lora.dropout) == (128, 256, 0.05)
    assert (settings.epochs, settings.batch_size, settings.grad_accumulation) == (5, 4, 16)
    assert (settings.warmup_ratio, settings.weight_decay, settings.max_grad_norm) == (0.06, 0.01, 1.0)
    assert (settings.schedule, settings.order, settings.append_eos, settings.seed) == ("cosine", "file", False, 233)
    first = settings_from(recipe["stage_one"])
    assert (first.lora, first.lr, first.epochs, first.order, first.train_projector) == (None, 2e-5, 10, "file", True)
