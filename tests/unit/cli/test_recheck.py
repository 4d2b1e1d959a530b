"""Records against their samples: `validate RUN` and `leaderboard --verify` compute every number again."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_rescore import MODELS

from mmforget.benchmark.source import DataSource
from mmforget.cli import leaderboard, rescore, validate
from mmforget.cli.recheck import differences
from mmforget.results.answer_states import AnswerStates, StateCounts
from mmforget.results.schema import LevelResult, SetUse
from mmforget.results.store import KEY, write_run
from tests.unit.leaderboard.fake_runs import record

pytestmark = pytest.mark.slow

SETS = {"forget": SetUse(6, 6, 3, "a" * 64), "retain5": SetUse(6, 6, 3, "b" * 64)}
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def rescored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three records whose numbers are those of their samples."""
    home = tmp_path_factory.mktemp("runs")
    for name, samples in MODELS.items():
        role = name if name in ("target", "retain") else "unlearned"
        known = {"target": {"retain": "retain" * 8}, "retain": {}}.get(name)
        changes: dict[str, Any] = {} if known is None else {"references": known}
        write_run(home / name, record(name, role=role, sets=SETS, **changes), samples=samples)
    rescore.rescore([home])
    return home


@pytest.fixture
def honest(rescored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rescored, tmp_path / "runs"))


def edit(folder: Path, change: Edit) -> Path:
    path = max(folder.glob("results_*.json"))
    document = json.loads(path.read_text())
    change(document[KEY])
    path.write_text(json.dumps(document))
    return path


def faults(path: Path) -> list[str]:
    return validate.check(str(path), data=DataSource("synthetic"), include_paths=[]).faults


def test_honest_records_have_nothing_wrong(honest: Path) -> None:
    report = validate.check(str(honest), data=DataSource("synthetic"), include_paths=[])
    assert report.faults == []
    assert report.counts == {"npo: samples": 24, "retain: samples": 24, "target: samples": 24}


def first_metric(name: str, **changes: Any) -> Edit:
    def change(document: dict[str, Any]) -> None:
        found = next(one for one in document["metrics"] if (one["name"], one["set"]) == (name, "forget"))
        found["estimate"].update(changes)

    return change


def headline(**changes: Any) -> Edit:
    """An edit of the utility that does not contradict itself."""

    def change(document: dict[str, Any]) -> None:
        document["headline"]["utility"].update(changes)
        document["replicates"]["utility"].update(value=changes["value"], least=None, most=None)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (first_metric("exact_match", value=0.4, low=None, high=None), "on the forget set is 0.4, its samples give 0"),
        (first_metric("exact_match", num_scored=5), "counts 5 scored and 0 unscored, its samples 6 and 0"),
        (first_metric("exact_match", higher_is_better=True), "has higher_is_better True, its samples False"),
        (first_metric("exact_match", num_subjects=30), "has num_subjects 30, its samples 3"),
        (first_metric("exact_match", low=None, high=0.9), "interval [nothing, 0.9], its samples give"),
        (headline(value=0.8, low=None, high=None), "utility is 0.8, its"),
        (lambda record: [record[part].pop("utility") for part in ("headline", "replicates")], "utility is left out"),
        (lambda record: record["metrics"].pop(0), "1 metrics are left out"),
        (lambda record: record["gate"].update(target=0.95), "gate.target is 0.95, the samples give 1"),
        (lambda record: record["gate"].update(minimum=0.1), "gate.minimum is 0.1"),
        (lambda record: record["verdict"].update(status="refused"), "verdict.status is refused, its samples give unde"),
        (lambda record: record["sets"]["forget"].update(num_questions=5), "5 questions, 6 samples of fiubench_forget"),
        (
            lambda record: record["training"].update(num_steps=0, num_planned=0),
            "npo trains, and the record says that no",
        ),
        (lambda record: record["sets"]["forget"].update(num_subjects=1), "1 subjects, 3 in the samples"),
    ],
)
def test_an_edited_number_is_named(honest: Path, change: Edit, words: str) -> None:
    path = edit(honest / "npo", change)
    found = faults(honest)
    assert all(fault.startswith(f"{path}: ") for fault in found)
    assert any(words in fault for fault in found), found


NODE = LevelResult("patient", ("a", "p1"), "inside", "rouge_l", "", 3, 0.5, 1.0, 0.2)


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((replace(NODE, value=0.1),), "levels a/p1 is not what its samples give"),
        ((replace(NODE, target=None),), "levels a/p1 is not what its samples give"),
        ((replace(NODE, num=30),), "levels a/p1 counts 30 questions, its samples 3"),
        ((NODE, replace(NODE, path=("b",))), "levels b is no node of this benchmark"),
        ((), "1 nodes of the levels are left out"),
        ((NODE,), ""),
    ],
)
def test_levels_are_compared(levels: tuple[LevelResult, ...], words: str) -> None:
    again = record("npo", sets=SETS, levels=(NODE,))
    assert differences(record("npo", sets=SETS, levels=levels), again) == ([words] if words else [])


STATES = AnswerStates("t", "forget", None, StateCounts(1, 0, 5, 0), None, None)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((replace(STATES, own=StateCounts(0, 1, 5, 0)),), "answer_states of t under no attack are not those"),
        ((STATES, replace(STATES, attack="cloze")), "answer_states of t under cloze are not those"),
        ((STATES,), ""),
        ((), ""),
    ],
)
def test_kinds_of_answers_are_compared_where_a_record_has_them(lines: tuple[AnswerStates, ...], words: str) -> None:
    again = record("npo", sets=SETS, answer_states=(STATES,))
    found = differences(record("npo", sets=SETS, answer_states=lines), again)
    assert found == ([f"{words} that its samples give"] if words else [])


def replicates(change: Edit) -> Edit:
    return lambda record: change(record["replicates"]["overall"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda found: found["shifts"].update(dict.fromkeys(found["shifts"], 0.001)),
            "not those that its samples give",
        ),
        (lambda found: found.update(floor=0.0), "not those that its samples give"),
        (lambda found: found.update(shifts={}, degrees={}), "of other subjects than its samples"),
        (lambda found: found.update(num_subjects=40), "of other subjects than its samples"),
    ],
)
def test_narrower_replicates_are_named(honest: Path, change: Edit, words: str) -> None:
    """The interval of a row over seeds is made of them, so a record may not choose them."""
    edit(honest / "npo", replicates(change))
    assert any(f"replicates.overall are {words}" in fault for fault in faults(honest))


def test_verify_passes_over_what_its_samples_deny(honest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By itself the record is sound: the metric lies in its range."""
    edit(honest / "npo", first_metric("exact_match", value=0.4, low=None, high=None))
    parser = argparse.ArgumentParser()
    leaderboard.add_arguments(parser)
    assert leaderboard.execute(parser.parse_args([str(honest), "--json"])) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["target", "retain", "npo"]
    assert leaderboard.execute(parser.parse_args([str(honest), "--json", "--verify"])) == 2
    shown = capsys.readouterr()
    assert [row["name"] for row in json.loads(shown.out)["rows"]] == ["target", "retain"]
    assert "its samples deny it: exact_match (clean) on the forget set is 0.4, its samples give 0" in shown.err


@pytest.mark.parametrize("how", ["deleted", "a link"])
def test_verify_passes_over_what_has_no_samples(honest: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a liar would delete them. Unasked, the record stays on the board and is marked unverified."""
    path = honest / "npo" / "samples_fiubench_forget_gen.jsonl"
    moved = path.rename(honest / "elsewhere.jsonl")
    if how == "a link":
        path.symlink_to(moved)
    parser = argparse.ArgumentParser()
    leaderboard.add_arguments(parser)
    assert leaderboard.execute(parser.parse_args([str(honest), "--json"])) == 0
    assert "npo" in [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]]
    assert leaderboard.execute(parser.parse_args([str(honest), "--json", "--verify"])) == 2
    shown = capsys.readouterr()
    assert [row["name"] for row in json.loads(shown.out)["rows"]] == ["target", "retain"]
    assert "cannot be computed again: samples_fiubench_forget_gen.jsonl is " in shown.err


def test_a_record_whose_references_nobody_has_is_noted(honest: Path) -> None:
    for path in (honest / "retain").iterdir():
        path.unlink()
    report = validate.check(str(honest), data=DataSource("synthetic"), include_paths=[])
    assert any("npo: there is no record of the retain model" in note for note in report.notes)


def test_an_export_is_checked_against_the_samples_of_its_records(
    honest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jsonschema", reason="the package jsonschema is not installed")
    parser = argparse.ArgumentParser()
    leaderboard.add_arguments(parser)
    assert leaderboard.execute(parser.parse_args([str(honest), "--json", "--output_path", str(tmp_path)])) == 0
    path = tmp_path / "leaderboard.json"
    report = validate.check(str(path), data=DataSource("synthetic"), include_paths=[])
    assert (report.faults, report.notes, report.counts) == ([], [], {"rows": 3, "computed again": 3})
    document = json.loads(path.read_text())
    row = next(one for one in document["rows"] if one["name"] == "npo")
    row["metrics"][0].update(value=0.5, low=None, high=None)
    row["results"][row["metrics"][0]["task"]][f"{row['metrics'][0]['metric']}_{row['metrics'][0]['profile']}"] = 0.5
    path.write_text(json.dumps(document))
    capsys.readouterr()
    assert leaderboard.execute(parser.parse_args(["validate", str(path)])) == 2
    shown = capsys.readouterr()
    assert "(npo): its record says otherwise: " in shown.err
    assert "its samples give" in shown.err
    assert "1 fault, see above" in shown.out
    for samples in (honest / "npo").glob("samples_*"):
        samples.unlink()
    report = validate.check(str(path), data=DataSource("synthetic"), include_paths=[])
    assert ["its record says otherwise" in fault for fault in report.faults] == [True]
    assert any("its numbers were not computed again" in note for note in report.notes), "and its record denies it"
