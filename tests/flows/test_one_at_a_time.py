"""Subjects forgotten one at a time: each edit is that of a run that forgets nothing else, and a killed run goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmforget.methods.base import METHODS
from mmforget.pipeline import instances
from mmforget.results.store import StoredRun, read_run
from tests.commands import Said, command
from tests.helpers import tiny_llava

GROUP = "fiubench_forget1"
PEOPLE = ("--data", "synthetic", "--metadata", "num_subjects=20")
WORDS = (
    "--device", "cpu", *PEOPLE, "--recipe", "micro", "--max_steps", "2", "--train_batch_size", "4", "--lr", "1e-2",
    "--limit", "3", "--methods", "ga", "--quiet", "--json", "--allow_weak_target",
    "--gen_kwargs", "max_gen_toks=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def run(model: Path, out: Path, *words: str) -> Said:
    given = ("run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model))
    return command(*given, "--retain_model", str(model), *WORDS, "--tasks", GROUP, "--output_path", out, *words)


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    assert run(model, out, "--one_at_a_time").status == 0
    return out / GROUP


def record(home: Path) -> StoredRun:
    return read_run(home / "ga")


def test_every_subject_has_a_row_and_means_are_over_them(alone: Path) -> None:
    found = record(alone).record
    samples = record(alone).samples()
    references = [read_run(alone / name).record for name in ("target", "retain")]
    assert [one.benchmark for one in references] == [found.benchmark] * 2
    assert found.benchmark.one_at_a_time
    assert [one.name for one in found.instances] == list(dict.fromkeys(sample.subject for sample in samples))
    assert len(found.instances) == 2
    assert found.training["num_instances"] == 2
    recalled = [one.values["forget/exact_match"] for one in found.instances]
    (mean,) = [
        m.estimate
        for m in found.metrics
        if (m.name, m.set, m.profile, m.attack) == ("exact_match", "forget", "clean", None)
    ][:1]
    assert mean.value == pytest.approx(sum(v for v in recalled if v is not None) / 2)
    assert mean.num_subjects == 2


def test_rows_that_belong_to_nobody_are_asked_for_each(alone: Path) -> None:
    found = [s for s in record(alone).samples() if s.set == "retain5" and s.attack is None and s.kind == "gen"]
    assert {s.subject for s in found} == {one.name for one in record(alone).record.instances}
    ids = [[s.id for s in found if s.subject == name] for name in dict.fromkeys(s.subject for s in found)]
    assert len(ids) == 2
    assert ids[0] == ids[1]
    assert record(alone).record.sets["retain5"].num_questions == 6


def test_each_edit_is_that_of_a_run_which_forgets_this_subject_alone(alone: Path, model: Path, tmp_path: Path) -> None:
    last = record(alone).record.instances[-1].name
    assert run(model, tmp_path, "--forget_path", last).status == 0
    theirs = {(s.task, s.id, s.attack): s for s in read_run(tmp_path / GROUP / "ga").samples() if s.set == "forget"}
    mine = [s for s in record(alone).samples() if s.set == "forget" and s.subject == last]
    assert mine
    for sample in mine:
        other = theirs[sample.task, sample.id, sample.attack]
        assert sample.response == other.response
        for role, values in sample.token_logprobs.items():
            assert values == pytest.approx(other.token_logprobs[role], rel=1e-5, abs=1e-5)


def test_every_edit_is_left_as_an_adapter_that_loads_alone(alone: Path, model: Path) -> None:
    """Its log-probs of the subject's answers, through the plain adapter, are those of the record."""
    last = record(alone).record.instances[-1].name
    (adapter,) = (alone / "ga").glob(f"instances/*/adapters/{last}")
    words = (
        "eval",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={model},dtype=float32,peft={adapter}",
        "--device",
        "cpu",
    )
    out = alone.parent / "eval"
    tasks = ("--tasks", f"{GROUP}_prob", *PEOPLE, "--limit", "40", "--quiet", "--output_path", out)
    assert command(*words, *tasks).status == 0
    theirs = {s.id: s for s in read_run(out / GROUP).samples() if s.attack is None}
    mine = [s for s in record(alone).samples() if s.kind == "prob" and s.set == "forget" and s.subject == last]
    assert len([s for s in mine if s.attack is None]) == 3
    for sample in mine:
        if sample.attack is None:
            assert sample.token_logprobs["answer"] == pytest.approx(
                theirs[sample.id].token_logprobs["answer"], rel=1e-5, abs=1e-5
            )


@pytest.mark.long
def test_a_run_that_was_stopped_goes_on_where_it_was(alone: Path, model: Path, tmp_path: Path) -> None:
    """As after a kill among the second edits: neither their answers nor a record are there yet."""
    out = tmp_path / "again"
    monkey = pytest.MonkeyPatch()
    monkey.setattr(instances, "INSTANCES_AT_ONCE", 1)
    assert run(model, out, "--one_at_a_time").status == 0
    home = out / GROUP / "ga"
    first, second = sorted((home / "instances").iterdir())
    shutil.rmtree(second)
    for name in ("run.yaml", *(path.name for path in home.glob("results_*.json"))):
        (home / name).unlink()
    before = (first / "done.json").stat().st_mtime_ns
    assert run(model, out, "--one_at_a_time").status == 0
    monkey.undo()
    assert (first / "done.json").stat().st_mtime_ns == before
    for mine, theirs in zip(record(out / GROUP).samples(), record(alone).samples(), strict=True):
        assert (mine.task, mine.id, mine.subject, mine.response) == (
            theirs.task,
            theirs.id,
            theirs.subject,
            theirs.response,
        )
        for role, values in mine.token_logprobs.items():
            assert values == pytest.approx(theirs.token_logprobs[role], rel=1e-5, abs=1e-5)


def test_an_edit_of_a_packed_layer_is_refused(model: Path, tmp_path: Path) -> None:
    said = run(model, tmp_path, "--one_at_a_time", "--target_model", f"pretrained={model},load_in_4bit=True")
    assert said.status == 2
    assert "is quantised (Linear4bit), and edits are made in full precision" in said.err.splitlines()[-1]


def test_the_plan_says_how_many(model: Path, tmp_path: Path) -> None:
    (planned,) = json.loads(run(model, tmp_path, "--one_at_a_time", "--dry-run").out)
    assert planned["one_at_a_time"] == 2


def test_a_method_that_needs_all_subjects_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METHODS.get("ga"), "needs_all_subjects", True, raising=False)
    said = run(model, tmp_path, "--one_at_a_time")
    assert (said.status, said.out) == (2, "")
    assert said.err.splitlines() == [
        "mmforget: error: method 'ga' needs all subjects at once; leave --one_at_a_time out, or choose another method"
    ]
    assert not (tmp_path / "run.yaml").exists()
