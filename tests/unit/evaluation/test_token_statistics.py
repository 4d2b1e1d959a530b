"""Token statistics are asked of tasks whose metrics read them, and of the holdout set that one compares with."""

from __future__ import annotations

from pathlib import Path

from toy_benchmark import write_toy

from mmforget.benchmark.document import TaskLabel
from mmforget.benchmark.find import find
from mmforget.benchmark.source import DataSource
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.evaluation.token_statistics import wanted_statistics

USE = "      - {metric: mia_auc, set: forget, direction: retain_model}\n"


def wanted(folder: Path, *, metric: str) -> dict[str, tuple[str, ...]]:
    write_toy(folder)
    for path in folder.rglob("*.yaml"):
        text = path.read_text()
        path.write_text(text.replace(USE, USE.replace("mia_auc", metric)))
    bound = find("toy", [folder]).bind(DataSource("synthetic"))
    labels = {task.name: TaskLabel("toy", task.set, task.kind, task.modality) for task in bound.benchmark.tasks}
    return wanted_statistics(LoadedTasks({}, {}, labels, owners=dict.fromkeys(labels, bound)))


def test_only_tasks_whose_metrics_read_them_are_asked(tmp_path: Path) -> None:
    both = ("entropy", "variance")
    assert wanted(tmp_path, metric="mia_auc_min_k_pp") == {"toy_forget_prob": both, "toy_others_prob": both}


def test_metrics_that_read_none_ask_nothing(tmp_path: Path) -> None:
    assert wanted(tmp_path, metric="mia_auc_zlib") == {}


def test_an_argument_may_decide(tmp_path: Path) -> None:
    metric = "mia_tpr, args: {score: min_k_pp}"
    assert set(wanted(tmp_path, metric=metric)) == {"toy_forget_prob", "toy_others_prob"}
