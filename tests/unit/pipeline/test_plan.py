"""Flags become typed things once, and a run carries out the very plan that --dry-run prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmforget.results.store import read_run
from tests.commands import Said, command
from tests.helpers import tiny_llava

WORDS = (
    "--device", "cpu", "--tasks", "fiubench_forget1", "--data", "synthetic", "--metadata", "num_subjects=12",
    "--recipe", "micro", "--max_steps", "1", "--train_batch_size", "2", "--quiet", "--json",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def run(model: Path, out: Path, *words: str) -> Said:
    given = ("run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model))
    return command(*given, "--retain_model", str(model), *WORDS, "--output_path", out, *words)


def test_a_run_does_what_its_dry_run_prints(model: Path, tmp_path: Path) -> None:
    """Each model that is named is measured, with as many questions of each task; methods train as it says."""
    words = (
        "--methods", "ga,npo", "--seeds", "3,4", "--limit", "3", "--method_args", "beta=0.2", "--lr", "1e-3",
        "--gen_kwargs", "max_gen_toks=8",
    )  # fmt: skip
    (planned,) = json.loads(run(model, tmp_path, *words, "--dry-run").out)
    assert not (tmp_path / "run.yaml").exists()
    assert run(model, tmp_path, *words, "--allow_weak_target").status == 0
    found = {path.parent: read_run(path.parent) for path in (tmp_path / "fiubench_forget1").glob("**/results_*.json")}
    names = {
        f"{one.record.name}{', seed 3' * (p.name == 'seed_3')}{', seed 4' * (p.name == 'seed_4')}"
        for p, one in found.items()
    }
    assert names == {step["model"] for step in planned["steps"]}
    asked = {(step["task"], step["attack"]): step["num_rows"] for step in planned["steps"]}
    for one in found.values():
        counted: dict[tuple[str, str | None], int] = {}
        for sample in one.samples():
            counted[sample.task, sample.attack] = counted.get((sample.task, sample.attack), 0) + 1
        assert counted == asked
    methods = {(one["name"], one["settings"]["seed"]): one for one in planned["methods"]}
    assert set(methods) == {("ga", 3), ("ga", 4), ("npo", 3), ("npo", 4)}
    for one in found.values():
        if one.record.method is not None:
            plan = methods[one.record.method.name, one.record.method.seed]
            assert plan["args"].items() <= one.record.method.args.items()
            assert one.record.method.args["training.lr"] == plan["settings"]["lr"] == 1e-3
    assert methods["npo", 3]["args"]["beta"] == 0.2


def test_the_plan_of_one_training(model: Path, tmp_path: Path) -> None:
    words = ("unlearn", "--model", "hf", "--model_args", f"pretrained={model}", *WORDS, "--method", "ga")
    (planned,) = json.loads(command(*words, "--dry-run", "--output_path", tmp_path / "out").out)
    assert planned["model"] == model.name
    done = json.loads(command(*words, "--output_path", tmp_path / "out").out)
    assert done["num_steps"] == planned["methods"][0]["settings"]["max_steps"] == 1
    assert planned["rows"]["forget"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gen_kwargs", "max_gen_toks"), "--gen_kwargs: 'max_gen_toks' has no value"),
        (("--method_args", "beta"), "--method_args: 'beta' has no value; write NAME=VALUE"),
        (("--method_args", "bta=1"), "unknown --method_args argument 'bta'"),
        (("--target_model", "pretrained=x,dtyp=float32"), "unknown model argument 'dtyp'"),
        (("--tasks", "fiubench_forget1,medforget", "--methods", "gaa"), "unknown method 'gaa'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(
    words: tuple[str, ...], said: str, model: Path, tmp_path: Path
) -> None:
    for dry in ((), ("--dry-run",)):
        found = run(model, tmp_path / "out", "--methods", "ga", *words, *dry)
        assert found.status == 2
        assert said in found.err
        assert not (tmp_path / "out").exists()
