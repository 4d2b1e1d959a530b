"""What every benchmark in `tasks/` keeps to: it loads in lm_eval as it is, validates clean, and its parts agree."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from mmforget.benchmark import Benchmark, DataSource, catalogue, find
from mmforget.benchmark.find import task_folders
from mmforget.benchmark.rows import candidate_roles, candidates, row_features, row_from_doc
from mmforget.cli import validate
from mmforget.metrics import lm_eval as hooks
from mmforget.metrics.base import METRICS
from mmforget.training.settings import settings_from
from mmforget.types import TokenScores

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "tasks"
DATA = DataSource("synthetic")
GROUPS = [entry.name for entry in catalogue().entries if entry.kind == "group" and entry.origin == "mmforget"]
NAMES = sorted({entry.benchmark for entry in catalogue().entries if entry.origin == "mmforget"})


@pytest.fixture(params=GROUPS)
def benchmark(request: pytest.FixtureRequest) -> Benchmark:
    return find(request.param)


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
def test_names_follow_the_rule(name: str) -> None:
    for entry in catalogue().entries:
        if entry.benchmark != name:
            continue
        assert entry.name == name or entry.name.startswith(f"{name}_")
        if entry.kind == "task":
            label = tasks()[entry.name].config.metadata["unlearning"]
            assert entry.name.removesuffix("_text").endswith(f"_{label['kind']}")
            assert entry.name.endswith("_text") == (label["modality"] == "text")


def test_stock_lm_eval_loads_every_task() -> None:
    """With nothing but the folder, and every document renders with one `<image>` for each image it shows."""
    names = [entry.name for entry in catalogue().entries if entry.kind == "task" and entry.origin == "mmforget"]
    assert sorted(tasks()) == sorted(names)
    for task in tasks().values():
        doc = task.eval_docs[0]
        context = task.fewshot_context(doc, 0)
        shown = task.doc_to_image(doc) or []
        assert context.count("<image>") == len(shown)
        assert task.config.metadata["unlearning"]["modality"] == ("image" if shown else "text")


def test_it_validates_clean_on_the_twin(benchmark: Benchmark) -> None:
    """Rows, templates, recipes, every metric on a row, every task through lm_eval."""
    report = validate.check(benchmark.group, data=DATA, include_paths=[])
    assert report.faults == []
    assert set(report.counts) == set(benchmark.set_names)
    assert all(report.counts.values())


def test_rows_are_of_the_common_form(benchmark: Benchmark) -> None:
    for name in benchmark.set_names:
        rows = benchmark.rows(name, data=DATA)
        assert rows.features == row_features()
        assert len(set(rows["id"])) == len(rows)
        row = row_from_doc(rows[0])
        assert (row.subject, bool(row.images)) == (row.path[-1], benchmark.modality == "image")
        assert all(image.mode == "RGB" for image in row.images)


def test_who_is_forgotten_is_in_no_other_set(benchmark: Benchmark) -> None:
    people = {name: set(benchmark.rows(name, data=DATA)["subject"]) for name in benchmark.set_names}
    forgotten = people[benchmark.forget_set]
    for name in (benchmark.retain_set, benchmark.utility_set, benchmark.stage_one["retain"]):
        assert not forgotten & people[name], name
    assert forgotten | people[benchmark.utility_set] <= people[benchmark.stage_one["target"]]
    if benchmark.holdout_set:
        assert not people[benchmark.holdout_set] & people[benchmark.stage_one["target"]]


def test_candidates_and_roles_are_consistent(benchmark: Benchmark) -> None:
    """What lm_eval scores is one answer a role, the true one first, and `process_results` can read all of them."""
    for spec in benchmark.tasks:
        if spec.kind != "prob":
            continue
        for doc in list(tasks()[spec.name].eval_docs)[:5]:
            choices = tasks()[spec.name].doc_to_choice(doc)
            assert choices == candidates(doc)
            assert len(choices) == len(candidate_roles(doc))
            scores = hooks.process_prob(doc, [TokenScores((-1.0, -2.0), is_greedy=True)] * len(choices))
            assert not any(math.isnan(value) for value in scores.values())
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
    for recipe in benchmark.recipes.values():
        common = {key: value for key, value in recipe["unlearn"].items() if key != "methods"}
        assert settings_from(recipe["stage_one"]).lr > 0
        assert settings_from(common).lora is not None


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
