"""Attacks as they are typed: planned, made on every model, stored, told; and one line for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mmforget
from mmforget.benchmark.source import DataSource
from mmforget.evaluation.attack import AttackResult
from mmforget.results.samples import read_samples
from mmforget.results.store import read_run
from tests.commands import Said, command
from tests.helpers import tiny_llava

TASK = "fiubench_forget_gen"
EASY = "question_rephrase(level=easy,budget=3,max_new_tokens=2)"
KEY = "question_rephrase(budget=3,level=easy,max_new_tokens=2)"
NEEDS = (("logit_lens", "hidden states"), ("quantisation", "weights"))
DATA = ("--device", "cpu", "--data", "synthetic", "--metadata", "num_subjects=12", "--limit", "2", "--quiet")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava", num_layers=3)


def run(model: Path, out: Path, *words: str) -> Said:
    given = ("run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--recipe", "micro")
    given += ("--target_model", str(model), "--retain_model", str(model), "--train_batch_size", "2", "--max_steps", "1")
    return command(*given, *DATA, "--tasks", TASK, "--output_path", out, *words)


def attack(model: Path, *words: str) -> Said:
    return command("attack", "--model", "hf", "--model_args", f"pretrained={model}", *DATA, *words)


def test_a_run_attacks_every_model_and_its_records_say_how_far_that_got(model: Path, tmp_path: Path) -> None:
    words = ("--methods", "ga", "--attacks", "logit_lens", EASY, "image_rephrase", "--json")
    (planned,) = json.loads(run(model, tmp_path, *words, "--dry-run").out)
    steps = [(step["model"], step["task"], step["attack"]) for step in planned["steps"]]
    names = (None, "blank_image", "logit_lens", KEY, "image_rephrase")
    assert steps == [(name, TASK, attack) for name in ("target", "retain", "ga") for attack in names]
    assert run(model, tmp_path, *words, "--allow_weak_target").status == 0
    found = {path.parent: read_run(path.parent) for path in tmp_path.glob("*/**/results_*.json")}
    assert {one.record.role for one in found.values()} == {"target", "retain", "unlearned"}
    for one in found.values():
        record = one.record
        assert {sample.attack for sample in one.samples()} == set(names)
        for name, attack_name in (("attack_success", "logit_lens"), ("attack_success(budget=3)", KEY)):
            estimate = record.metric(name, set="forget", profile="clean", attack=attack_name)
            assert estimate is not None
            assert (estimate.num_scored, estimate.higher_is_better) == (2, False)
            area = record.metric(name.replace("success", "success_area"), set="forget", attack=attack_name)
            assert area is not None
        lacking = record.metric("attack_success", set="forget", attack="image_rephrase")
        assert lacking is not None
        assert (lacking.value, lacking.num_lacking) == (None, 2)
        assert lacking.reasons == ("2 of 2 rows take no part: no picture of level hard",)
    again = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/**/results_*.json")}
    assert run(model, tmp_path, *words, "--allow_weak_target").status == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/**/results_*.json")} == again


def test_any_model_is_attacked_beside_the_one_before(model: Path, tmp_path: Path) -> None:
    words = ("--target_model", str(model), "--tasks", "fiubench", "--attacks", f"logit_lens,{EASY}")
    said = attack(model, *words, "--output_path", str(tmp_path), "--json")
    found: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(said.out)
    assert list(found["fiubench"]) == ["model", "target"]
    first, second = found["fiubench"].values()
    assert first == second
    assert [(one["attack"], one["access"], one["budget"], len(one["curve"])) for one in first] == [
        (None, "black_box", 1, 1),
        ("logit_lens", "hidden", 20, 20),
        (KEY, "black_box", 3, 3),
    ]
    for one in first:
        assert one["success"]["value"] == one["curve"][-1]
        assert one["area"]["value"] == pytest.approx(sum(one["curve"]) / one["budget"])
    (stored,) = (tmp_path / "fiubench").glob("attacks_*.json")
    document = json.loads(stored.read_text())
    assert document["attacks"] == found["fiubench"]
    samples = read_samples(tmp_path / "fiubench" / "model", files=document["files"]["model"])
    assert {sample.attack for sample in samples} == {None, "logit_lens", KEY}
    lines = attack(model, *words).out.splitlines()
    assert lines[0] == "fiubench"
    assert [line.split()[0] for line in lines[1:]] == ["attack", "(asked", "logit_lens", KEY]
    assert "success of target" in lines[1]
    loaded = mmforget.load_model(mmforget.ModelSpec(str(model), device="cpu"))
    data = DataSource("synthetic", metadata={"num_subjects": 12})
    outcome = mmforget.attack(loaded, ["fiubench"], attacks=["logit_lens", EASY], data=data, limit=2, progress=False)
    assert [(one.attack, list(one.curve)) for one in outcome.results] == [
        (one["attack"], one["curve"]) for one in first
    ]
    assert all(isinstance(one, AttackResult) for one in outcome.results)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--attacks", "unlok8"), "unknown attack 'unlok8'; did you mean 'unlok7'?"),
        (("--attacks", "logit_lens(budget=0)"), "attack 'logit_lens': budget=0 is not allowed; give a number above 0"),
        (("--attacks", "question_rephrase(level=eazy)"), "did you mean 'easy'?"),
        (("--attacks", ","), "no attack is named; see 'mmforget ls attacks'"),
        (("--attacks", "logit_lens(layers=[4])"), "layer 4 is asked about, and the model has 1 to 3"),
        (("--attacks", "probability_delta(budget=1)"), "lists share a budget of 1, so that none has a candidate"),
    ],
)
def test_what_cannot_be_made_is_one_line(model: Path, words: tuple[str, ...], said: str) -> None:
    found = attack(model, "--tasks", TASK, *words)
    assert found.status == 2
    assert said in found.err
    assert len([line for line in found.err.splitlines() if "error" in line]) == 1


def test_tasks_that_no_attack_is_made_on_are_named(model: Path) -> None:
    found = attack(model, "--tasks", "fiubench_retain_gen", "--attacks", "logit_lens")
    assert found.status == 2
    assert "no attack applies to the tasks that are named" in found.err


def test_guards_alone_are_named_before_any_work(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.plugin_packages import GUARD, installed, write_package

    write_package(tmp_path / "site", "theirs", code=GUARD, points={"mmforget.methods": "hushed = theirs"})
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        found = run(model, tmp_path / "out", "--methods", "hushed", "--attacks", "unlok7")
        assert run(model, tmp_path / "out", "--methods", "hushed", "--attacks", EASY, "--dry-run").status == 0
    assert found.status == 2
    assert (
        "attack 'logit_lens' needs a model's hidden states, and method 'hushed' puts a guard before the model"
        in found.err
    )
    assert not (tmp_path / "out").exists()


def test_behind_a_guard_only_attacks_by_questions_are_made_and_the_others_are_said(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.plugin_packages import GUARD, installed, write_package

    write_package(tmp_path / "site", "theirs", code=GUARD, points={"mmforget.methods": "hushed = theirs"})
    words = ("--methods", "ga,hushed", "--attacks", "logit_lens", EASY, "quantisation", "--json")
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        (planned,) = json.loads(run(model, tmp_path / "out", *words, "--dry-run").out)
        assert run(model, tmp_path / "out", *words, "--allow_weak_target").status == 0
    attacks = {(step["model"], step["attack"]) for step in planned["steps"]}
    assert ("hushed", "logit_lens") not in attacks
    assert {("hushed", KEY), ("ga", "logit_lens"), ("ga", "quantisation"), ("target", "quantisation")} < attacks
    runs = [read_run(path.parent) for path in (tmp_path / "out").glob("*/**/results_*.json")]
    by_name = {one.record.method.name: one for one in runs if one.record.method is not None}
    assert {sample.attack for sample in by_name["hushed"].samples()} == {None, "blank_image", KEY}
    assert {"logit_lens", "quantisation", KEY} < {sample.attack for sample in by_name["ga"].samples()}
    why = [f"attack {name}: needs a model's {what}, and a guard stands before this one" for name, what in NEEDS]
    assert by_name["hushed"].record.data["left_out"] == why
    assert [(one["task"], one["reason"]) for one in planned["left_out"]] == [
        (f"attack {name} on hushed", text.split(": ", 1)[1]) for (name, _), text in zip(NEEDS, why, strict=True)
    ]


@pytest.mark.long
def test_behind_guards_that_are_put_up_one_at_a_time_it_is_said_too(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.plugin_packages import GUARD, installed, write_package

    write_package(tmp_path / "site", "theirs", code=GUARD, points={"mmforget.methods": "hushed = theirs"})
    words = ("--methods", "ga,hushed", "--attacks", "logit_lens", "--one_at_a_time", "--allow_weak_target")
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        assert run(model, tmp_path / "out", *words).status == 0
    (folder,) = {path.parent for path in (tmp_path / "out").glob("*/hushed/**/results_*.json")}
    made = read_run(folder)
    assert {sample.attack for sample in made.samples()} == {None, "blank_image"}
    assert made.record.data["left_out"] == [
        "attack logit_lens: needs a model's hidden states, and a guard stands before this one"
    ]
