"""Boards in the formats of other programs, read back by these programs' own readers."""

from __future__ import annotations

import csv
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_runs import family, record, stored

from mmforget.errors import UnknownName
from mmforget.leaderboard.board import Board, boards
from mmforget.leaderboard.formats.base import Written, placed
from mmforget.leaderboard.formats.every import FORMATS, formats_of, write
from mmforget.results.schema import RunRecord

HUB = {"source": "hub", "repo": "org/benchmark", "commit": "c" * 40, "notes": []}
EVIL = '=cmd("a")|$_{\\input{x}} & 100%\n[y](z)'
TIME = "2026-11-30T04:00:00+00:00"


def of_hub(item: RunRecord) -> RunRecord:
    return item.replace(data=HUB)


@pytest.fixture(scope="module")
def shown() -> list[Board]:
    return boards(stored([*map(of_hub, family()), of_hub(record(EVIL, forget=0.5))]))


def made(shown: list[Board], folder: Path, name: str) -> Written:
    return write(shown, folder=folder, formats=[name], generated=TIME)


def test_names_of_formats() -> None:
    assert formats_of("csv, latex,csv") == ["csv", "latex"]
    assert formats_of("csv,all") == list(FORMATS)
    with pytest.raises(UnknownName, match="unknown format 'cvs'; did you mean 'csv'"):
        formats_of("cvs")


def test_csv_is_read_back_and_holds_no_formula(shown: list[Board], tmp_path: Path) -> None:
    paths = made(shown, tmp_path, "csv").paths
    models, metrics = (list(csv.DictReader(path.open(newline=""))) for path in paths)
    assert [path.name for path in paths] == ["leaderboard.csv", "metrics.csv"]
    npo = next(line for line in models if line["model"] == "npo")
    assert (float(npo["overall"]), npo["rank"], npo["eligible"], npo["num_seeds"]) == (
        shown[0].ranked[1].headline("overall").value, "2", "true", "3",
    )  # fmt: skip
    part = next(line for line in models if line["model"] == "npo_quick")
    assert (part["rank"], part["reasons"]) == ("", "only 5 of 28 questions of the forget set were asked")
    names = {line["model"] for line in models}
    assert '\'=cmd("a")|$_{\\input{x}} & 100% [y](z)' in names
    assert not any(name.startswith("=") for name in names)
    one = next(line for line in metrics if (line["model"], line["metric"]) == ("npo", "ks_forget_quality"))
    assert (float(one["value"]), one["low"], one["higher_is_better"], one["num_scored"]) == (3e-5, "", "", "28")


def test_latex_runs_no_command_of_a_name(shown: list[Board], tmp_path: Path) -> None:
    (path,) = made(shown, tmp_path, "latex").paths
    text = path.read_text()
    assert "\\input" not in text
    assert r"=cmd(\textquotedbl{}a\textquotedbl{})\textbar{}\$\_\{\textbackslash{}input\{x\}\} \& 100\%" in text
    assert r"2 & npo & 0.909 {\scriptsize [0.879, 0.939]} & 0.880" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


def test_eval_results_are_read_back_by_the_hub_library(shown: list[Board], tmp_path: Path) -> None:
    from huggingface_hub import parse_eval_result_entries

    written = made(shown, tmp_path, "eval_results")
    npo = next(path for path in written.paths if path.parts[-3].endswith("-npo"))
    assert npo.relative_to(tmp_path).parts[-2:] == (".eval_results", "fiubench_forget5_clean.yaml")
    entries = {one.task_id: one for one in parse_eval_result_entries(yaml.safe_load(npo.read_text()))}
    assert set(entries) == {
        f"fiubench_forget5_clean_{name}" for name in ("overall", "forget_score", "utility", "utility_ratio")
    }
    one = entries["fiubench_forget5_clean_overall"]
    assert (one.dataset_id, one.dataset_revision) == ("org/benchmark", "c" * 40)
    assert one.value == shown[0].ranked[1].headline("overall").value
    assert "method npo" in one.notes
    assert "higher is better; 95 % interval [0.879011, 0.939011]; 28 scored, 0 unscored" in one.notes
    assert written.notes == ["eval_results: 3 rows left out: not ranked"]
    other = write(boards(stored(family())), folder=tmp_path, formats=["eval_results"])
    assert other == Written([], [*written.notes, "eval_results: 5 rows left out: not on data of the Hub"])


def test_model_index_is_read_back_by_the_hub_library(shown: list[Board], tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    paths = made(shown, tmp_path, "model_index").paths
    part = next(path for path in paths if path.parent.name.endswith("-npo_quick"))
    card = ModelCard.load(part)
    found = {one.metric_type: one for one in card.data.eval_results}
    row = shown[0].refused[0]
    assert card.data.model_name == "npo_quick"
    assert found["overall"].metric_value == row.headline("overall").value
    assert (found["overall"].dataset_type, found["overall"].task_type) == ("org/benchmark", "image-text-to-text")
    args = found["overall"].metric_args
    assert (args["higher_is_better"], args["low"], args["num_scored"]) == (True, row.headline("overall").low, 28)
    assert (args["eligible"], args["reasons"]) == (False, list(row.eligibility.reasons))


def test_every_eval_ever_keeps_what_its_schema_asks_for(shown: list[Board], tmp_path: Path) -> None:
    """Of version 0.3.0; the schema itself is asked in the next test."""
    written = made(shown, tmp_path, "every_eval_ever")
    path = next(path for path in written.paths if path.parent.name.endswith("-npo"))
    document = json.loads(path.read_text())
    assert path.relative_to(tmp_path).parts[:5] == ("every_eval_ever", "data", "mmforget", "micro", path.parent.name)
    assert path.stem[14] == "4", "a uuid of version 4"
    by_name = {one["evaluation_name"]: one for one in document["evaluation_results"]}
    recall = by_name["fiubench_forget_gen exact_match clean"]
    assert recall["metric_config"]["lower_is_better"] is True
    assert (recall["metric_config"]["min_score"], recall["metric_config"]["max_score"]) == (0.0, 1.0)
    overall = by_name["fiubench_forget5_clean overall"]["score_details"]
    assert overall["uncertainty"]["confidence_interval"]["confidence_level"] == 0.95
    assert all(isinstance(value, str) for value in document["model_info"]["additional_details"].values())
    assert not any("ks_forget_quality" in name for name in by_name)
    assert written.notes == [
        "every_eval_ever: 9 numbers left out: near the retain model is better, which it cannot say"
    ]


def eval_schema() -> dict[str, Any]:
    """The schema of the package every-eval-ever, which is not imported: it needs older libraries than ours."""
    spec = importlib.util.find_spec("every_eval_ever")
    if spec is None or spec.origin is None:
        pytest.skip("the package every-eval-ever is not installed (pip install --no-deps --ignore-requires-python)")
    found: dict[str, Any] = json.loads((Path(spec.origin).parent / "schemas" / "eval.schema.json").read_text())
    return found


def test_every_eval_ever_is_accepted_by_its_own_schema(shown: list[Board], tmp_path: Path) -> None:
    schema = eval_schema()
    jsonschema = pytest.importorskip("jsonschema", reason="the package jsonschema is not installed")
    assert schema["version"] == "0.3.0"
    for path in made(shown, tmp_path, "every_eval_ever").paths:
        jsonschema.Draft7Validator(schema).validate(json.loads(path.read_text()))


def test_an_inspect_log_is_read_back_by_inspect(shown: list[Board], tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai", reason="the package inspect_ai is not installed (the extra formats)")
    from inspect_ai.log import read_eval_log

    paths = made(shown, tmp_path, "inspect").paths
    log = read_eval_log(str(next(path for path in paths if path.stem.endswith("-npo"))))
    assert (log.version, log.status, log.eval.task) == (2, "success", "fiubench_forget5_clean")
    scores = {one.name: one for one in log.results.scores}
    overall = scores["overall"]
    assert overall.metrics["value"].value == shown[0].ranked[1].headline("overall").value
    assert (overall.scored_samples, overall.unscored_samples) == (28, 0)
    assert scores["fiubench_forget_gen/exact_match_clean"].metrics["value"].metadata["higher_is_better"] is False
    assert all(read_eval_log(str(path)).results is not None for path in paths)


def test_an_inspect_log_keeps_the_form_of_version_2(shown: list[Board], tmp_path: Path) -> None:
    """What the log's reader asks for, where it is not there to be asked."""
    unmeasured = of_hub(record("npo")).replace(
        headline={"overall": replace(record("x").headline["overall"], value=None)}
    )
    paths = made(boards(stored([unmeasured])), tmp_path, "inspect").paths
    (log,) = [json.loads(path.read_text()) for path in paths]
    assert (log["version"], log["status"]) == (2, "success")
    assert {"created", "task", "dataset", "model", "config"} <= log["eval"].keys()
    assert log["results"]["scores"][0]["metrics"] == {}, "no number, and none made up"


@pytest.mark.slow
def test_lm_eval_makes_its_table_of_its_results(shown: list[Board], tmp_path: Path) -> None:
    from lm_eval.utils import make_table

    paths = made(shown, tmp_path, "lm_eval").paths
    document = json.loads(next(path for path in paths if path.parent.name.endswith("-npo")).read_text())
    table = make_table(document)
    assert "fiubench_forget_gen" in table
    line = next(line for line in table.splitlines() if "exact_match_clean " in line and "0.02" in line)
    assert "↓" in line, "lower is better"
    assert document["n-samples"]["fiubench_forget_gen"] == {"original": 28, "effective": 28}


def test_no_two_models_share_a_file_whatever_they_are_called() -> None:
    found = boards(stored([record(name) for name in ("a b", "a-b", "a-b-2", "A.b")]))
    stems = [one.stem.lower() for one in placed(found)]
    assert len(set(stems)) == len(stems) == 4


def test_a_time_that_is_none_is_no_date(tmp_path: Path) -> None:
    item = record("npo")
    item = item.replace(provenance=replace(item.provenance, started="yesterday"))
    (path,) = made(boards(stored([item])), tmp_path, "lm_eval").paths
    assert json.loads(path.read_text())["date"] is None
