"""What training leaves on disk: checkpoints that count only when whole, a log without holes, a report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmforget.errors import UserError
from mmforget.training import report
from mmforget.training.checkpoints import MARKER, mark_complete, newest_complete
from mmforget.training.log import TrainLog, read_log
from mmforget.training.report import TrainReport


def checkpoint(folder: Path, step: int, *, complete: bool = True) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "weights").write_bytes(b"x" * step)
    if complete:
        mark_complete(made)
    return made


def test_the_newest_whole_checkpoint_counts_and_the_rest_goes(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path, 20)
    checkpoint(tmp_path, 100, complete=False)
    assert newest_complete(tmp_path) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-20"]


def test_a_marked_checkpoint_with_a_file_cut_short_does_not_count(tmp_path: Path) -> None:
    (checkpoint(tmp_path, 20) / "weights").write_bytes(b"x" * 19)
    assert newest_complete(tmp_path) is None


def test_a_marker_cut_short_does_not_count(tmp_path: Path) -> None:
    (checkpoint(tmp_path, 20) / MARKER).write_text('{"wei')
    assert newest_complete(tmp_path) is None


def test_older_checkpoints_go_only_when_the_newer_one_is_whole(tmp_path: Path) -> None:
    checkpoint(tmp_path, 20)
    newer = checkpoint(tmp_path, 40, complete=False)
    assert len(list(tmp_path.iterdir())) == 2
    mark_complete(newer)
    assert list(tmp_path.iterdir()) == [newer]


def test_no_folder_means_no_checkpoint(tmp_path: Path) -> None:
    assert newest_complete(tmp_path / "none") is None


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "train_log.jsonl"
    log = TrainLog(path)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": float(step)})
    log.close()
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in read_log(path)] == [1, 2, 3]
    resumed = TrainLog(path, resume_step=2)
    before = resumed.wall_s
    resumed.write({"step": 3, "loss": float("nan")})
    resumed.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[2]["loss"] is None
    assert before >= lines[1]["wall_s"]


def make_report(folder: Path) -> TrainReport:
    return TrainReport(
        label="ga",
        output=folder / "adapter",
        num_steps=3,
        num_planned=4,
        wall_s=1.5,
        peak_memory_bytes=10,
        peak_memory_kind="process_rss",
        num_trainable=7,
        num_parameters=70,
        final_parts={"forget": -1.0},
        stopped="stop_loss",
    )


PLAN = {"label": "ga", "settings": {"lr": 1e-4, "lora": None}}


def test_a_finished_training_is_read_back_and_may_be_moved(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    report.begin(here, plan=PLAN)
    assert report.finished(here, plan=PLAN) is None
    made = report.finish(here, make_report(here))
    made.output.mkdir()
    assert report.finished(here, plan=PLAN) == made
    here.rename(there)
    assert report.finished(there, plan=PLAN) == replace(made, output=there / "adapter")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_result_that_was_changed_is_no_result(tmp_path: Path, name: str) -> None:
    """Edited, cut short or taken away: it would be measured as what the training made."""
    made = make_report(tmp_path)
    made.output.mkdir()
    for file in ("adapter_model.safetensors", "adapter_config.json", "README.md"):
        (made.output / file).write_text("as it was")
    report.begin(tmp_path, plan=PLAN)
    report.finish(tmp_path, made)
    (made.output / "README.md").write_text("a word of mine")
    assert report.finished(tmp_path, plan=PLAN) == made
    (made.output / name).write_text("as it is")
    with pytest.raises(UserError, match=f"{name} is not what the training saved there"):
        report.finished(tmp_path, plan=PLAN)
    (made.output / name).unlink()
    with pytest.raises(UserError, match=f"{name} is not what the training saved there"):
        report.finished(tmp_path, plan=PLAN)


def test_a_finished_training_without_its_weights_is_made_again(tmp_path: Path) -> None:
    report.begin(tmp_path, plan=PLAN)
    report.finish(tmp_path, make_report(tmp_path))
    assert report.finished(tmp_path, plan=PLAN) is None


def test_a_damaged_report_says_what_to_do(tmp_path: Path) -> None:
    report.begin(tmp_path, plan=PLAN)
    (tmp_path / "done.json").write_text('{"output": "adapter", "label": "ga"}')
    with pytest.raises(UserError, match="delete .* to train again"):
        report.finished(tmp_path, plan=PLAN)


def test_another_training_in_the_folder_is_refused_with_what_differs(tmp_path: Path) -> None:
    report.begin(tmp_path, plan=PLAN)
    report.finish(tmp_path, make_report(tmp_path))
    with pytest.raises(UserError, match=r"settings\.lr: 0\.0001 there, 0\.1 now"):
        report.finished(tmp_path, plan={"label": "ga", "settings": {"lr": 0.1, "lora": None}})


def test_an_unfinished_training_without_checkpoint_makes_room(tmp_path: Path) -> None:
    report.begin(tmp_path, plan=PLAN)
    assert report.finished(tmp_path, plan={"label": "po"}) is None
    checkpoint(tmp_path / "checkpoints", 5)
    with pytest.raises(UserError, match="holds another training"):
        report.finished(tmp_path, plan={"label": "po"})


def test_the_adapter_is_the_output_of_a_lora_training(tmp_path: Path) -> None:
    made = make_report(tmp_path)
    assert made.adapter == tmp_path / "adapter"
    assert replace(made, output=tmp_path / "model").adapter is None
    assert made.as_dict()["output"] == "adapter"
