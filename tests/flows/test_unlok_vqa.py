"""UnLOK-VQA end to end on official files and a tiny model: what the data lack is left out by name, and counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mmforget.results.store import StoredRun, read_run
from tests.commands import Said, command
from tests.helpers import tiny_llava

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "protocols"))

from unlok_files import record, records, write_official  # noqa: E402

pytestmark = pytest.mark.slow

ARGS = (
    "--device", "cpu", "--recipe", "micro", "--max_steps", "2", "--allow_weak_target", "--limit", "1", "--json",
    "--tasks", "unlok_vqa", "--gen_kwargs", "max_gen_toks=4",
)  # fmt: skip
KEYS = ["0", "1", "2", "3", "4", "6"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def run(model: Path, data: Path, out: Path, *words: str) -> Said:
    given = ("run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model))
    return command(*given, *ARGS, "--data", data, "--output_path", out, *words)


@pytest.fixture(scope="module")
def ran(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Said, Path]:
    data = write_official(tmp_path_factory.mktemp("data"), records())
    out = tmp_path_factory.mktemp("out")
    return run(model, data, out, "--methods", "error_injection,head_projection"), out


def found(ran: tuple[Said, Path], name: str) -> StoredRun:
    assert ran[0].status == 0, ran[0].err
    return read_run(ran[1] / "unlok_vqa" / name)


def test_each_instance_is_deleted_alone_and_scored_against_the_model_before(ran: tuple[Said, Path]) -> None:
    """Of rows without a picture nothing is asked. Two paraphrases of four instances, one of which `--limit` leaves."""
    run_of = found(ran, "head_projection")
    assert [one.name for one in run_of.record.instances] == KEYS
    asked = {(sample.set, sample.subject) for sample in run_of.samples() if sample.attack is None}
    assert {subject for name, subject in asked if name == "rephrase"} == {"0", "2", "3", "6"}
    scores = {(one.name, one.set): one.estimate for one in run_of.record.metrics if one.profile == "clean"}
    for name in ("rewrite_score", "paraphrase_score", "neighbourhood_score", "target_score", "delta_accuracy"):
        assert any(key[0] == name and one.value is not None for key, one in scores.items()), name
    assert scores["rewrite_score", "forget"].num_subjects == 6


def test_an_instance_without_a_false_answer_is_left_out_by_name(ran: tuple[Said, Path]) -> None:
    """Record 4 offers only what the neighbouring picture shows, in two spellings: none that could stand for it."""
    record_of = found(ran, "error_injection").record
    assert [one.name for one in record_of.instances] == ["0", "2", "3", "6"]
    reason = "row '{0}/forget/0': no false answer is given for 'Lab'"
    assert record_of.training["left_out"] == {key: reason.format(key) for key in ("1", "4")}
    assert "left_out" not in found(ran, "head_projection").record.training


def test_a_method_that_can_delete_nothing_is_one_line(model: Path, tmp_path: Path) -> None:
    data = write_official(tmp_path / "data", [record(0, alt_ans=..., neigh_idx=...)])
    said = run(model, data, tmp_path / "out", "--methods", "error_injection")
    assert said.status != 0
    assert "method 'error_injection' can unlearn none of the 1 subjects" in said.err
    assert "Traceback" not in said.err


def test_the_model_before_is_on_the_board_of_those_that_were_asked_the_same(ran: tuple[Said, Path]) -> None:
    """However a set is asked, in one go or in parts; error_injection was asked fewer questions."""
    boards = {row["name"]: row["board"] for row in json.loads((ran[1] / "leaderboard.json").read_text())["rows"]}
    assert boards["head_projection"] == boards["target"] != boards["error_injection"]
    assert found(ran, "head_projection").record.data["key"] == "id"
