"""TOFU from benchmark to board on the text-only micro model: the twin, and the real rows where they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mmforget.errors import UserError
from mmforget.results.store import read_run
from mmforget.types import Example
from tests.commands import command
from tests.helpers import tiny_llama

FEW = (
    "--stage_one_args", "max_steps=4,batch_size=8", "--max_steps", "2", "--train_batch_size", "4",
    "--allow_weak_target", "--limit", "6", "--workers", "1", "--gen_kwargs", "max_gen_toks=8", "--quiet",
)  # fmt: skip
UTILITY = "tofu_utility"
SIX = ("ga", "grad_diff", "npo", "simnpo", "rmu", "idk_dpo")


def run(out: Path, *words: str | Path) -> dict[str, Any]:
    said = command("run", "--model", "micro", *words, *FEW, "--output_path", out)
    assert said.status == 0, said.err
    found: dict[str, Any] = json.loads((out / "leaderboard.json").read_text())
    return found


def test_the_twin_runs_from_benchmark_to_board(model_cache: Path, tmp_path: Path) -> None:
    found = run(tmp_path, "--tasks", "tofu_forget10", "--methods", "npo")
    assert {row["name"] for row in found["rows"]} == {"target", "retain", "npo"}
    record = read_run(tmp_path / "tofu_forget10" / "npo").record
    assert record.benchmark.modality == "text"
    assert {name: use.num_expected for name, use in record.sets.items()} == {
        "forget": 48, "rephrase": 48, "retain_perturbed": 64, "real_authors": 16, "world_facts": 16, "holdout": 64,
    }  # fmt: skip
    utilities = {one.profile for one in record.metrics if one.name == UTILITY}
    assert utilities == {"clean", "tofu_paper", "openunlearning"}
    quality = record.metric("ks_forget_quality", set="forget")
    assert quality is not None
    assert quality.value is not None


@pytest.mark.long
def test_the_job_on_real_rows_in_small(real: Path, model_cache: Path, tmp_path: Path) -> None:
    """The command of docs/tofu_real.md with six authors, two seeds, and trainings of two updates."""
    words = ("--tasks", "tofu_forget01", "--data", real / "tofu", "--metadata", '{"num_subjects": 6}')
    found = run(tmp_path, *words, "--recipe", "micro_real", "--methods", ",".join(SIX), "--seeds", "0,1")
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == {"target", "retain", *SIX}
    assert {len(rows[name]["seeds"]) for name in SIX} == {2}
    record = read_run(tmp_path / "tofu_forget01" / "npo" / "seed_1").record
    assert record.data["num_authors"] == {"full": 6, "forget": 2, "retain": 4}
    assert record.data["protocol"] == "subset: forget01 and the first 4 of the other authors"
    expected = {name: use.num_expected for name, use in record.sets.items()}
    assert expected == {
        "forget": 40, "rephrase": 40, "retain_perturbed": 80, "real_authors": 100, "world_facts": 117,
    }  # fmt: skip
    asked = {sample.question for sample in read_run(tmp_path / "tofu_forget01" / "npo" / "seed_1").samples()}
    assert "Who wrote the play 'Romeo and Juliet'?" in asked


@pytest.mark.parametrize("name", ["tofu", "tofu_forget10"])
def test_the_benchmarks_own_name_means_its_main_group(name: str, tmp_path: Path) -> None:
    words = ("--tasks", name, "--methods", "npo", "--output_path", tmp_path, "--dry-run")
    said = command("run", "--model", "micro", *words)
    assert said.status == 0, said.err
    assert "tofu_forget10" in said.out


@pytest.mark.parametrize(("kind", "num"), [("micro", 48 * 8 * 8 + 32 * 8), ("hf", 48 * 8 * 8)])
def test_only_the_micro_model_is_taught_what_everybody_knows(
    kind: str, num: int, model_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[int] = []

    def stop(loaded: object, examples: Sequence[Example], **settings: object) -> None:
        taught.append(len(examples))
        raise UserError("enough")

    monkeypatch.setattr("mmforget.pipeline.stage_one.finetune", stop)
    named = ("--model_args", f"pretrained={tiny_llama(tmp_path / 'model', seed=0)}") if kind == "hf" else ()
    words = ("--model", kind, *named, "--tasks", "tofu", "--data", "synthetic", "--workers", "1", "--quiet")
    said = command("target", *words, "--output_path", tmp_path / "out")
    assert (said.status, taught) == (2, [num]), said.err
