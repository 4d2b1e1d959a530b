"""Requests forgotten one after another: each from the model before, killed and continued, on one model in memory."""

from __future__ import annotations

import gc
import json
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from mmforget.benchmark.find import find
from mmforget.benchmark.source import DataSource
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec
from mmforget.pipeline import models as models_module
from mmforget.results.sequence import SequenceResult
from mmforget.results.store import read_run
from mmforget.training.settings import settings_from
from mmforget.training.unlearn import unlearn
from tests.commands import Said, command
from tests.equal_runs import differences
from tests.helpers import tiny_llava
from tests.killing import Runner
from tests.processes import command as in_process
from tests.processes import launch, one_thread

GROUP = "fiubench_forget10"
PEOPLE = ("--data", "synthetic", "--metadata", "num_subjects=12", "--gen_kwargs", "max_gen_toks=8")
TRAINING = ("--recipe", "micro", "--max_steps", "2", "--train_batch_size", "4", "--lr", "1e-2", "--save_steps", "1")
LINE = -1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def words(model: Path, *more: str, limit: str = "42", group: str = GROUP) -> list[str]:
    given = ["run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model)]
    given += ["--retain_model", str(model), "--device", "cpu", *PEOPLE, *TRAINING, "--limit", limit, "--methods", "npo"]
    given += ["--tasks", group, "--quiet", "--json", "--allow_weak_target", *more]
    return given


def run(model: Path, out: Path, *more: str, **settings: Any) -> Said:
    return command(*words(model, *more, **settings), "--output_path", out)


def sequence(home: Path) -> SequenceResult:
    found = read_run(home).record.sequence
    assert found is not None
    return found


def without_cost(found: SequenceResult) -> SequenceResult:
    """What a sequence came to; what its trainings took depends on how often it was killed."""
    return replace(found, requests=tuple(replace(one, training={}) for one in found.requests))


@pytest.fixture(scope="module")
def two(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two requests of one person each."""
    out = tmp_path_factory.mktemp("two")
    said = run(model, out, "--requests", "2", limit="14", group="fiubench_forget1")
    assert said.status == 0, said.err
    return out


def test_the_record_has_the_matrix_and_the_table_shows_it(two: Path) -> None:
    home = two / "fiubench_forget1" / "npo"
    record, found = read_run(home).record, sequence(home)
    assert record.name == "npo, 2 requests"
    assert record.method is not None
    assert (record.method.args["requests"], record.method.args["between"]) == (2, "merged")
    assert [len(one.subjects) for one in found.requests] == [1, 1]
    assert len(found.recall) == len(found.utility) == 3
    assert {(one.after, one.request) for one in found.cells if one.set == "forget"} >= {
        (j, k) for j in range(3) for k in (1, 2)
    }
    assert {one.request for one in found.cells if one.set == "retain5"} == {None}
    assert record.training["num_steps"] == 4
    rows = {row["name"]: row for row in json.loads((two / "leaderboard.json").read_text())["rows"]}
    assert len(rows["npo, 2 requests"]["sequence"]["recall"]) == 3
    for name in ("index.html", "leaderboard.md"):
        text = (two / name).read_text()
        assert "after request 2" in text, name
        assert "adapter is merged into the weights before the next" in text, name


def test_the_second_request_starts_from_what_the_first_has_left(two: Path, model: Path, tmp_path: Path) -> None:
    """By hand: each person unlearned in a training of its own, the second from the first one's merged adapter."""
    home = two / "fiubench_forget1" / "npo"
    bound = find("fiubench_forget1", ()).bind(DataSource("synthetic", metadata={"num_subjects": 12}))
    recipe = {name: value for name, value in bound.benchmark.recipes["micro"]["unlearn"].items() if name != "methods"}
    settings = settings_from(recipe, {"max_steps": 2, "batch_size": 4, "lr": 1e-2})
    spec = ModelSpec(str(model), device="cpu", dtype="float32")
    for one in sequence(home).requests:
        material = Material(forget=bound.examples("forget", subjects=one.subjects), retain=bound.examples("retain"))
        place = tmp_path / str(one.number)
        report = unlearn(load_model(spec), material, method=build("npo", {}), settings=settings, folder=place)
        name = "adapter/adapter_model.safetensors"
        mine, theirs = load_file(home / one.place / "training" / name), load_file(place / name)
        assert mine.keys() == theirs.keys()
        for key, tensor in mine.items():
            torch.testing.assert_close(tensor, theirs[key], atol=1e-6, rtol=1e-4)
        spec = replace(spec, peft=str(report.output), merge_peft=True)
    assert len(sequence(home).requests) == 2


@pytest.mark.long
def test_stacked_comes_to_the_same_as_merged(two: Path, model: Path, tmp_path: Path) -> None:
    """Within the last digits; the adapter after the second request has the ranks of both, and loads by itself."""
    said = run(model, tmp_path, "--requests", "2", "--between", "stacked", limit="14", group="fiubench_forget1")
    assert said.status == 0, said.err
    home, other = (out / "fiubench_forget1" / "npo" for out in (tmp_path, two))
    assert sequence(home).between == "stacked"
    old = {(s.task, s.id, s.attack): s for s in read_run(other).samples()}
    for sample in read_run(home).samples():
        for role, values in sample.token_logprobs.items():
            before = old[sample.task, sample.id, sample.attack].token_logprobs[role]
            assert values == pytest.approx(before, abs=2e-3)
    config = json.loads((home / "requests" / "02" / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == 32
    assert not list(home.rglob("model.safetensors"))


def test_numbers_are_computed_again_from_the_samples(two: Path) -> None:
    assert command("rescore", two, "--json").status == 0
    assert command("leaderboard", two, "--verify", "--json").status == 0


def test_the_plan_has_every_request(model: Path, tmp_path: Path) -> None:
    (planned,) = json.loads(run(model, tmp_path, "--requests", "4", "--dry-run").out)
    assert [(one["number"], one["num_subjects"]) for one in planned["requests"]] == [(1, 2), (2, 2), (3, 1), (4, 1)]


def test_merging_into_packed_weights_is_refused(model: Path, tmp_path: Path) -> None:
    said = run(model, tmp_path, "--requests", "2", "--target_model", f"pretrained={model},load_in_4bit=True")
    assert said.status == 2
    assert "where small changes round to none; give --between stacked" in said.err.splitlines()[LINE]


@pytest.mark.long
@pytest.mark.parametrize("between", ["merged", "stacked"])
def test_five_requests_killed_in_the_third_end_equal(between: str, model: Path, tmp_path: Path) -> None:
    """Once in its training, once while the model is asked after it."""
    given = words(model, "--requests", "5", "--between", between)
    calm, disturbed = (Runner(tmp_path / name) for name in ("calm", "disturbed"))
    for made in (calm, disturbed):
        made.cache.mkdir(parents=True)
    assert calm.run(given).status == 0
    for moment in ("npo, request 3 of 5: 2 of 2", f"{GROUP}: ask npo, request 3 of 5: 1 of 1"):
        assert moment in calm.moments()
        assert disturbed.run(given, moment=moment).status == -signal.SIGKILL
    done = disturbed.output / GROUP / "npo" / "requests"
    before = {path: path.stat().st_mtime_ns for path in done.glob("0[12]/done.json")}
    assert len(before) == 2
    ended = disturbed.run(given)
    assert ended.status == 0, ended.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert differences(calm, disturbed) == []
    old, new = (without_cost(sequence(made.output / GROUP / "npo")) for made in (calm, disturbed))
    assert new == old
    assert len(new.requests) == 5


@pytest.mark.long
@pytest.mark.parametrize("between", ["merged", "stacked"])
def test_one_model_is_in_memory(between: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacked, the target is loaded once for all requests; merged, each request's model takes the place of the last."""
    loads: list[str] = []
    most: list[int] = []

    def counted(spec: ModelSpec) -> LoadedModel:
        loads.append(Path(spec.pretrained).name)
        gc.collect()
        most.append(
            len([one for one in gc.get_objects() if isinstance(one, PreTrainedModel) and hasattr(one, "lm_head")])
        )
        return load_model(spec)

    monkeypatch.setattr(models_module, "load_model", counted)
    held = [one for one in gc.get_objects() if isinstance(one, PreTrainedModel) and hasattr(one, "lm_head")]
    retain = tiny_llava(tmp_path / "retain", seed=5)
    more = ("--retain_model", str(retain), "--requests", "3", "--between", between)
    assert run(model, tmp_path / "out", *more, limit="2").status == 0
    assert loads == ["retain", model.name, *(["model"] * 3 if between == "merged" else [])]
    assert max(most) <= len(held)


@pytest.mark.long
def test_two_processes_give_the_numbers_of_one(model: Path, tmp_path: Path) -> None:
    given = words(model, "--requests", "2", limit="14", group="fiubench_forget1")
    with one_thread():
        assert command(*given, "--output_path", tmp_path / "one").status == 0
    ended = launch(in_process, [*given, "--output_path", str(tmp_path / "both")], home=tmp_path)
    assert [one.status for one in ended] == [0, 0], ended[0].err
    one, both = (sequence(tmp_path / name / "fiubench_forget1" / "npo") for name in ("one", "both"))
    for old, new in zip(one.cells, both.cells, strict=True):
        assert_near(new.values, old.values)
    for old_row, new_row in zip(one.recall, both.recall, strict=True):
        assert new_row == pytest.approx(old_row, abs=1e-4)


def assert_near(new: Mapping[str, float | None], old: Mapping[str, float | None]) -> None:
    assert new.keys() == old.keys()
    for name, value in old.items():
        assert new[name] == (None if value is None else pytest.approx(value, abs=1e-4)), name
