"""Relearning after unlearning, and forgetting in words alone: stages of a run, each with its records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark import Benchmark, DataSource, find
from mmforget.methods.build import build
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.recipes import MethodPlan
from mmforget.pipeline.relearning import relearn_settings
from mmforget.pipeline.unlearning import material_for
from mmforget.results.store import StoredRun, read_run
from mmforget.training.settings import TrainSettings
from tests.commands import Said, command
from tests.helpers import tiny_llava

WORDS = (
    "--device", "cpu", "--data", "synthetic", "--recipe", "micro", "--max_steps", "2", "--train_batch_size", "2",
    "--limit", "2", "--quiet", "--allow_weak_target", "--batch_size", "32", "--gen_kwargs", "max_gen_toks=8",
)  # fmt: skip
pytestmark = pytest.mark.slow
HOME, NUM_STEPS = "offside_corrective", 2


@pytest.fixture(scope="module", autouse=True)
def briefly() -> Iterator[None]:
    """Inside, a model relearns in two steps: what is looked at here is not how well."""

    def brief(config: RunConfig, *, benchmark: Benchmark, seed: int | None = None) -> TrainSettings:
        return replace(relearn_settings(config, benchmark=benchmark, seed=seed), max_steps=NUM_STEPS, batch_size=3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmforget.pipeline.relearning.relearn_settings", brief)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def run(model: Path, out: Path, *words: str) -> Said:
    given = ("run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model))
    return command(*given, "--retain_model", str(model), *WORDS, "--output_path", out, *words)


@pytest.fixture(scope="module")
def done(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    said = run(model, out, "--tasks", HOME, "--methods", "npo,kl")
    assert said.status == 0, said.err
    return out


def record(folder: Path) -> StoredRun:
    return read_run(folder)


def test_every_model_relearns_and_has_a_record_of_it(done: Path) -> None:
    found = {path.parent.relative_to(done / HOME) for path in (done / HOME).glob("**/results_*.json")}
    names = {"target", "npo", "kl"}
    assert found == {Path(name) for name in names | {"retain"}} | {Path("relearned", name) for name in names}
    for name in names:
        one = record(done / HOME / "relearned" / name).record
        assert (one.role, one.name, one.method) == ("relearned", f"{name} relearned", None)
        assert one.training["relearned"] == "relearn"
        assert one.training["num_steps"] == NUM_STEPS
        before = record(done / HOME / name).record
        assert one.model_info["fingerprint"] != before.model_info["fingerprint"]
        assert set(one.sets) == set(before.sets)
        assert one.references["target"] == record(done / HOME / "target").record.model_info["fingerprint"]


def test_what_is_relearnt_is_the_unlearned_model(done: Path) -> None:
    """Its training started from the adapter merged, so each ends elsewhere."""
    prints = {name: record(done / HOME / "relearned" / name).record.model_info["fingerprint"] for name in ("npo", "kl")}
    assert len(set(prints.values())) == 2
    for name in prints:
        assert (done / HOME / "relearned" / name / "start" / "config.json").is_file()


@pytest.mark.long
def test_a_finished_run_does_nothing_again_and_a_lost_record_comes_back_equal(done: Path, model: Path) -> None:
    path = next((done / HOME / "relearned" / "npo").glob("results_*.json"))
    first = json.loads(path.read_text())["unlearning"]["metrics"]
    others = sorted(p for p in (done / HOME).glob("**/results_*.json") if p != path)
    path.unlink()
    assert run(model, done, "--tasks", HOME, "--methods", "npo,kl").status == 0
    (again,) = (done / HOME / "relearned" / "npo").glob("results_*.json")
    assert json.loads(again.read_text())["unlearning"]["metrics"] == first
    assert sorted(p for p in (done / HOME).glob("**/results_*.json") if p != again) == others


def test_the_board_shows_them_and_ranks_none(done: Path) -> None:
    shown = {row["name"]: row for row in json.loads((done / "leaderboard.json").read_text())["rows"]}
    for name in ("target relearned", "npo relearned", "kl relearned"):
        assert (shown[name]["role"], shown[name]["rank"]) == ("relearned", None)
    assert command("validate", done).status == 0


def test_the_plan_names_them(model: Path, tmp_path: Path) -> None:
    (planned,) = json.loads(run(model, tmp_path, "--tasks", HOME, "--methods", "npo", "--dry-run", "--json").out)
    models = list(dict.fromkeys(step["model"] for step in planned["steps"]))
    assert models == ["target", "retain", "npo", "target relearned", "npo relearned"]


def test_without_a_recipe_for_it_nothing_begins(model: Path) -> None:
    bound = find(HOME).bind(DataSource("synthetic"))
    config = RunConfig("micro", (HOME,), recipe="micro")
    assert relearn_settings(config, benchmark=bound.benchmark).max_steps == 40
    assert relearn_settings(RunConfig("hf", (HOME,), seed=7), benchmark=bound.benchmark).seed == 7
    assert find("offside").relearn_set is None


@pytest.mark.long
def test_words_alone_are_what_is_trained_on_and_pictures_what_is_measured(model: Path, tmp_path: Path) -> None:
    benchmark = find("offside_unimodal")
    assert dict(benchmark.trained_sets) == {"forget": "forget_text", "retain": "retain_text"}
    assert benchmark.forget_set == "forget"
    said = run(model, tmp_path, "--tasks", "offside_unimodal", "--methods", "npo", "--seed", "3")
    assert said.status == 0, said.err
    found = record(tmp_path / "offside_unimodal" / "npo")
    asked = {sample.task: sample for sample in found.samples()}
    assert {"offside_forget_gen_text", "offside_unimodal_forget_gen"} <= set(asked)
    assert not any(s.attack for s in found.samples() if s.task == "offside_forget_gen_text")


def test_no_row_of_words_alone_has_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """As methods get them."""
    bound = find("offside_unimodal").bind(DataSource("synthetic"))

    def as_they_are(rows: list[Any], **how: Any) -> list[Any]:
        return rows

    monkeypatch.setattr("mmforget.pipeline.unlearning.render", as_they_are)
    plan = MethodPlan("ga", build("ga"), TrainSettings())
    config = RunConfig("micro", ("offside_unimodal",))
    material = material_for(plan, loaded=None, config=config, bound=bound)  # type: ignore[arg-type]
    assert len(material.forget) == 78
    assert not any(row.images or "<image>" in row.context for row in (*material.forget, *material.retain))
