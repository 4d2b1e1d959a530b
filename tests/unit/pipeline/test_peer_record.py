"""A peer's log as a run record: its numbers as they were computed, shown beside ours, never ranked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmforget.cli.main import main
from mmforget.pipeline.peer_record import record_of
from mmforget.pipeline.peers import score_log
from mmforget.results.consistency import contradictions
from mmforget.results.peers.formats import read_log
from mmforget.results.provenance import begin
from mmforget.results.schema import RunRecord
from mmforget.results.store import read_run
from tests.peer_files import openunlearning_log, tofu_log, written


def command(*words: object) -> int:
    return main([str(word) for word in ("rescore", *words)])


@pytest.fixture
def stored(tmp_path: Path) -> RunRecord:
    log = written(tmp_path / "npo" / "eval_log_aggregated.json", tofu_log(seed=1))
    retain = written(tmp_path / "retain" / "eval_log_aggregated.json", tofu_log(seed=2, shift=0.5))
    words = ("--from", "tofu", "--log", log, "--reference", retain, "--output_path", tmp_path / "out", "--name", "npo")
    assert command(*words) == 0
    return read_run(tmp_path / "out").record


def test_every_number_of_the_table_is_in_the_record(stored: RunRecord, tmp_path: Path) -> None:
    log, retain = (read_log(tmp_path / name / "eval_log_aggregated.json", peer="tofu") for name in ("npo", "retain"))
    found = score_log(log, reference=retain)
    values = {(one.name, one.set): one.estimate.value for one in stored.metrics}
    for name, cells in found.cells.items():
        for key, estimate in cells.items():
            assert values[key, name] == estimate.value
    assert found.quality is not None
    assert values["model_utility", "utility"] == found.utility["geometric"].value
    assert values["model_utility(mean=arithmetic)", "utility"] == found.utility["arithmetic"].value
    assert values["ks_forget_quality", "forget"] == found.quality.p
    assert values["ks_log10_p", "forget"] == found.quality.log10_p
    assert {one.profile for one in stored.metrics} == {"tofu_paper"}
    assert contradictions(stored) == []


def test_it_says_where_it_comes_from(stored: RunRecord, tmp_path: Path) -> None:
    assert (stored.name, stored.benchmark.name, stored.benchmark.setting) == ("npo", "tofu", "tofu_forget01")
    assert stored.model_info["pretrained"] == str(tmp_path / "npo" / "eval_log_aggregated.json")
    assert set(stored.references) == {"retain"}
    assert stored.sets["forget"].num_questions == 40


def test_boards_show_it_and_do_not_rank_it(
    stored: RunRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["leaderboard", str(tmp_path / "out"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["name"], row["rank"], row["eligible"]) == (stored.name, None, False)
    assert any("neither its target nor its retain model was asked here" in reason for reason in row["reasons"])


def test_openunlearnings_log_under_its_folders_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(tmp_path / "simnpo" / "TOFU_EVAL.json", openunlearning_log(seed=3, num_forget=200))
    assert command("--from", "openunlearning", "--log", log, "--output_path", tmp_path / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    found = read_run(Path(told["results"])).record
    assert (found.name, found.benchmark.setting, found.references) == ("simnpo", "tofu_forget05", {})


def test_a_part_of_the_rows_is_said_to_be_a_part(tmp_path: Path) -> None:
    """TOFU's own code takes 300 rows of 400."""
    log = read_log(written(tmp_path / "log.json", openunlearning_log(num_forget=400)), peer="openunlearning")
    found = record_of(score_log(log, profile="tofu_paper"), name="one", whole=log, begun=begin())
    assert (found.sets["forget"].num_questions, found.sets["forget"].num_expected) == (300, 400)
    assert found.benchmark.setting == "tofu_forget10"


def test_a_name_without_a_log_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--name", "npo") == 2
    assert "--name goes with a peer's log" in capsys.readouterr().err
