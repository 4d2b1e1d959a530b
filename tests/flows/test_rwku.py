"""RWKU from benchmark to board on the text-only micro model."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmforget.results.store import read_run
from tests.commands import command

FEW = (
    "--stage_one_args", "max_steps=4,batch_size=8", "--max_steps", "2", "--train_batch_size", "4",
    "--allow_weak_target", "--limit", "6", "--workers", "1", "--gen_kwargs", "max_gen_toks=8", "--quiet",
)  # fmt: skip


@pytest.mark.long
def test_the_twin_runs_from_benchmark_to_board(model_cache: Path, tmp_path: Path) -> None:
    """Questions, choices and documents of one target; its record has the published numbers, and no retain model."""
    said = command("run", "--model", "micro", "--tasks", "rwku", "--methods", "npo", *FEW, "--output_path", tmp_path)
    assert said.status == 0, said.err
    run = read_run(tmp_path / "rwku" / "npo")
    assert {name: use.num_expected for name, use in run.record.sets.items()} == {
        "forget_level1": 6, "forget_level2": 6, "forget_level3": 54, "neighbour_level1": 18, "neighbour_level2": 18,
        "mia_forget": 2, "mia_retain": 6, "general": 12, "reason": 12, "truthfulness": 6, "factuality": 10,
        "fluency": 4,
    }  # fmt: skip
    assert set(run.record.references) == {"target"}
    profiles = {one.profile for one in run.record.metrics if one.name == "probe_recall"}
    assert profiles == {"rwku_paper", "clean"}
    loss = {
        one.profile: one.estimate.value
        for one in run.record.metrics
        if one.name == "text_loss" and one.set == "mia_forget"
    }
    assert loss["clean"] is not None
    assert loss["rwku_paper"] == 100 * loss["clean"]
    kinds = {sample.set: sample.kind for sample in run.samples()}
    assert (kinds["mia_forget"], kinds["general"], kinds["forget_level1"]) == ("roll", "mc", "gen")
