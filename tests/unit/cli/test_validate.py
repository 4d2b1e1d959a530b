"""`mmforget validate`: benchmarks, task files, plugins and runs; rows, recipes, metrics and lm_eval all tried out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark import DataSource
from mmforget.benchmark.find import find
from mmforget.cli import checks, validate
from mmforget.errors import UserError
from tests.toy_tasks import DOCUMENT, GEN, write_toy

pytestmark = pytest.mark.slow

DATA = DataSource("synthetic")


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    validate.add_arguments(parser)
    return validate.execute(parser.parse_args(arguments))


def test_the_twin_is_sound_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fiubench", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"]
    assert document["data"]["source"] == "synthetic"
    assert (document["counts"]["forget"], document["faults"], document["notes"]) == (28, [], [])


def test_text_twin_and_task_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fiubench_text") == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fiubnech") == 2
    shown = capsys.readouterr()
    assert "mmforget: error: unknown task 'fiubnech'; did you mean 'fiubench'" in shown.err
    assert "1 fault, see above" in shown.out


def test_data_that_cannot_be() -> None:
    with pytest.raises(UserError, match="--data absent: no such file or folder"):
        run("fiubench", "--data", "absent")
    with pytest.raises(UserError, match="--metadata is not valid JSON"):
        run("fiubench", "--metadata", "{")


@pytest.mark.parametrize("name", ["npo", "rouge_l"])
def test_a_plugin_by_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name) == 0
    assert name in capsys.readouterr().out


def faults(folder: Path, name: str = "toy") -> list[str]:
    report = validate.check(name, data=DATA, include_paths=[str(folder)])
    return report.faults


def test_a_sound_benchmark_of_another_author(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    report = validate.check("toy", data=DATA, include_paths=[str(folder)])
    assert report.faults == []
    assert report.notes == [
        "the set 'holdout' is empty with this data; left out: toy_holdout_gen",
        "no model can ever be ranked: 'metrics' name no composite (such as model_utility) on the utility set 'keep'",
    ]
    assert validate.check(str(folder), data=DATA, include_paths=[], run_code=True).faults == []


def test_a_strangers_program_is_not_run_unasked(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    mark = tmp_path / "ran"
    (folder / "rows.py").write_text(f"open({str(mark)!r}, 'w')\n" + (folder / "rows.py").read_text())
    for name in (folder, folder / "toy_keep_gen.yaml"):
        (fault,) = validate.check(str(name), data=DATA, include_paths=[]).faults
        assert fault.startswith(f"not run, for it is a program: {folder}; look at it")
    assert not mark.exists()
    assert validate.check(str(folder), data=DATA, include_paths=[str(folder)]).faults == []
    assert mark.exists()


def test_what_is_forgotten_must_not_be_kept(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    text = (folder / "rows.py").read_text()
    (folder / "rows.py").write_text(text.replace('("c", "d")', '("b", "d")'))
    assert faults(folder) == [
        "toy: the retain model's training ('keep') holds what is to be forgotten: b",
    ]


def test_a_direction_that_is_wrong_and_a_metric_that_nobody_asks(tmp_path: Path) -> None:
    metrics = [
        {"metric": "rouge_l", "set": "keep", "direction": "lower"},
        {"metric": "degenerate", "set": "keep", "direction": "higher"},
        {"metric": "probability", "set": "forget", "direction": "lower"},
    ]
    folder = write_toy(tmp_path, metrics=metrics)
    report = validate.check("toy", data=DATA, include_paths=[str(folder)])
    assert [fault.split("; ")[1] for fault in report.faults] == ["'higher' is better there", "'lower' is better there"]
    assert "probability on forget is never measured: toy has no task of kind prob for it" in report.notes


def test_rows_whose_ids_change_from_one_reading_to_the_next(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    text = (folder / "rows.py").read_text()
    changed = text.replace('"id": f"{who}/', '"id": f"{next(COUNT)}/{who}/').replace(
        "def load", "COUNT = count()\n\ndef load"
    )
    (folder / "rows.py").write_text("from itertools import count\n" + changed)
    assert "task toy_forget_gen: its rows have other ids than the set 'forget' has in training" in faults(folder)


def test_recipes_metrics_and_tasks_are_tried_and_all_reported(tmp_path: Path) -> None:
    recipes: dict[str, Any] = {
        "released": {
            "stage_one": {"lr": 1e-3, "epoches": 2},
            "unlearn": {"lr": -1, "methods": {"npo": {"beta": "high"}, "npoo": {}}},
        }
    }
    metrics = [
        {"metric": "rouge", "set": "forget", "direction": "lower"},
        {"metric": "exact_match", "set": "forget", "direction": "lower", "profiles": ["released"]},
        {"metric": "ks_forget_quality", "set": "forget", "direction": "higher"},
    ]
    folder = write_toy(tmp_path, recipes=recipes, metrics=metrics)
    lines = GEN.splitlines()
    (folder / "_gen").write_text("\n".join(line for line in lines if "degenerate" not in line))
    found = faults(folder)
    for part in (
        "recipe released, stage_one: unknown training setting 'epoches'; did you mean 'epochs'",
        "recipe released, unlearn: ",
        "recipe released, method npo: ",
        "recipe released, method npoo: unknown method 'npoo'; did you mean 'npo'",
        "metric rouge: unknown metric 'rouge'; did you mean 'rouge_l'",
        "metric exact_match: unknown profile of metric 'exact_match' 'released'",
        "task toy_forget_gen: process_results returns degenerate, which metric_list does not list",
    ):
        assert any(fault.startswith(part) for fault in found), (part, found)


def test_what_a_metric_misses_is_a_note(tmp_path: Path) -> None:
    metrics = [*DOCUMENT["metrics"], {"metric": "keyword_em", "set": "forget", "direction": "lower"}]
    folder = write_toy(tmp_path, metrics=metrics)
    report = validate.check("toy", data=DATA, include_paths=[str(folder)])
    assert report.faults == []
    assert "unscored with this data, no keywords: keyword_em on forget" in report.notes


def test_a_loader_that_crashes_is_a_fault(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    text = (folder / "rows.py").read_text()
    (folder / "rows.py").write_text(text.replace("docs = [", "docs = 1 / 0 or ["))
    found = faults(folder)
    assert found
    assert all("ZeroDivisionError: division by zero" in fault for fault in found)


def test_checks_alone_find_nothing_in_fiubench() -> None:
    report = checks.check_everything(find("fiubench_forget1").bind(DATA))
    assert (report.faults, report.notes) == ([], [])


def test_a_folder_that_is_no_run_and_a_broken_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text("model: micro\n")
    assert run(str(tmp_path)) == 2
    (tmp_path / "results_2026.json").write_text("{")
    assert run(str(tmp_path)) == 2
    assert "results_2026.json" in capsys.readouterr().err
