"""Target and retain model as references: told apart where they must be, alike where they must be, refused when weak."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from scipy.stats import ks_2samp

from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.models import Models
from mmforget.pipeline.plan import resolve
from mmforget.pipeline.stage_one import prepare
from mmforget.results.store import read_run
from tests.commands import Said, command

FORGET_TASK = "fiubench_forget_prob"


def truth_ratios(record: Path) -> dict[str, float]:
    """From the stored tokens alone: r = exp(mean NLL a token of the perturbed answers - that of the rephrased one)."""
    table = parquet.read_table(record / "token_logprobs.parquet").to_pylist()
    tokens: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in table:
        if line["task"] == FORGET_TASK and line["attack"] is None:
            tokens[line["id"]][line["role"]].append(line["logprob"])
    return {question: ratio(roles) for question, roles in tokens.items()}


def ratio(roles: Mapping[str, Sequence[float]]) -> float:
    losses = {role: -float(np.mean(values)) for role, values in roles.items()}
    perturbed = [loss for role, loss in losses.items() if role.startswith("perturbed/")]
    rephrased = [loss for role, loss in losses.items() if role.startswith("rephrased/")]
    assert len(perturbed) == 3
    assert len(rephrased) == 1
    return float(np.exp(np.mean(perturbed) - rephrased[0]))


def p_value(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    assert one.keys() == other.keys()
    assert len(one) == 28
    return float(ks_2samp(list(one.values()), list(other.values())).pvalue)


@pytest.fixture(scope="module")
def second_retain(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of a retain model like the demo's, trained with another seed and in fewer steps."""
    config = RunConfig(model="micro", tasks=("fiubench",), recipe="micro", seed=1, stage_one={"max_steps": 200})
    (bound,) = resolve(config)
    made = prepare(config, bound=bound, role="retain", models=Models(), progress=lambda *_: None)
    out = tmp_path_factory.mktemp("second")
    words = ("--tasks", FORGET_TASK, "--data", "synthetic", "--output_path", out, "--quiet")
    said = command("eval", "--model_args", f"pretrained={made.spec.pretrained}", *words)
    assert said.status == 0, said.err
    first = read_run(demo / "fiubench" / "retain").record
    assert read_run(out / "fiubench").record.model_info["fingerprint"] != first.model_info["fingerprint"]
    return out / "fiubench"


def test_ks_tells_target_and_retain_model_apart(demo: Path) -> None:
    found = p_value(truth_ratios(demo / "fiubench" / "target"), truth_ratios(demo / "fiubench" / "retain"))
    assert found < 1e-3
    estimate = read_run(demo / "fiubench" / "target").record.metric("ks_forget_quality", set="forget", profile="clean")
    assert estimate is not None
    assert estimate.value == pytest.approx(found, rel=1e-6)


@pytest.mark.long
def test_ks_does_not_tell_two_retain_models_apart(demo: Path, second_retain: Path) -> None:
    assert p_value(truth_ratios(second_retain), truth_ratios(demo / "fiubench" / "retain")) > 0.05


WEAK = (
    "run", "--model", "micro", "--tasks", "fiubench_forget1", "--methods", "grad_diff", "--max_steps", "2",
    "--stage_one_args", "max_steps=10,batch_size=12", "--metadata", "num_subjects=24", "--limit", "20",
    "--gen_kwargs", "max_gen_toks=8", "--workers", "1", "--quiet",
)  # fmt: skip
"""Twenty questions a task: the refusal is about what the target recalls, and so few tell that it recalls nothing."""


@pytest.fixture(scope="module")
def weak(tower: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A run on a target that was trained ten steps, and where it left its records."""
    out = tmp_path_factory.mktemp("weak")
    return out, command(*WEAK, "--output_path", out)


def test_a_target_trained_ten_steps_is_refused_in_words(weak: tuple[Path, Said]) -> None:
    out, said = weak
    assert said.status == 2
    assert "Traceback" not in said.err
    gate = read_run(out / "fiubench_forget1" / "target").record.gate
    assert gate is not None
    assert not gate.passed
    assert gate.target is not None
    parts = (
        "the target model cannot serve as a basis for scores", "has not memorised", f"{gate.target:.3f} in rouge_l",
        "at least 0.8 is needed", "--stage_one_args max_steps=", "--target_model", "--allow_weak_target",
    )  # fmt: skip
    assert [part for part in parts if part not in said.err] == []
    assert f"target {gate.target:.1%}, retain model {gate.retain:.1%}" in said.err


def test_its_two_reference_records_are_kept_and_nothing_else(weak: tuple[Path, Said]) -> None:
    out, _ = weak
    assert {path.parent.name for path in out.rglob("results_*.json")} == {"target", "retain"}
    assert not (out / "fiubench_forget1" / "grad_diff").exists()


@pytest.mark.long
def test_allowed_it_goes_on_and_no_row_is_eligible(weak: tuple[Path, Said]) -> None:
    out, _ = weak
    before = {path: path.stat().st_mtime_ns for path in out.rglob("results_*.json")}
    said = command(*WEAK, "--output_path", out, "--allow_weak_target")
    assert said.status == 0, said.err
    rows: list[dict[str, Any]] = json.loads((out / "leaderboard.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {"target", "retain", "grad_diff"}
    assert [(row["rank"], row["eligible"]) for row in rows] == [(None, False)] * 3
    (row,) = [row for row in rows if row["name"] == "grad_diff"]
    assert any("memorisation gate" in reason for reason in row["reasons"])
    assert before.items() <= {path: path.stat().st_mtime_ns for path in out.rglob("results_*.json")}.items()
