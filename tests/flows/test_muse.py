"""MUSE from benchmark to board on the text-only micro model: documents are forgotten, questions and documents asked."""

from __future__ import annotations

import json
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
    said = command("run", "--model", "micro", "--tasks", "muse", "--methods", "npo", *FEW, "--output_path", tmp_path)
    assert said.status == 0, said.err
    rows = json.loads((tmp_path / "leaderboard.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {"target", "retain", "npo"}
    record = read_run(tmp_path / "muse_news" / "npo").record
    assert {name: use.num_expected for name, use in record.sets.items()} == {
        "knowmem_forget": 60, "knowmem_retain": 144, "verbmem": 10, "privleak_forget": 10, "holdout": 12,
    }  # fmt: skip
    for profile in ("clean", "muse_paper", "openunlearning"):
        leak = record.metric("privleak", set="privleak_forget", profile=profile)
        assert leak is not None
        assert leak.value is not None
