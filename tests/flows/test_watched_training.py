"""Methods looked at while they train: on people that no record tells of, ended and kept by rules, and continued."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from mmforget.results.schema import RunRecord
from mmforget.results.store import read_run
from tests.commands import Said, command
from tests.equal_runs import differences
from tests.helpers import tiny_llava
from tests.killing import Runner
from tests.processes import command as in_process
from tests.processes import launch, one_thread

GROUP = "fiubench_forget10"
TRAINING = (
    "--data", "synthetic", "--metadata", "num_subjects=12", "--recipe", "micro", "--train_batch_size", "4",
    "--lr", "5e-3", "--device", "cpu", "--quiet", "--gen_kwargs", "max_gen_toks=8",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def words(model: Path, *more: str, steps: int = 6) -> list[str]:
    given = ["run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model)]
    given += ["--retain_model", str(model), *TRAINING, "--methods", "ga", "--tasks", GROUP, "--limit", "4", "--json"]
    return [*given, "--max_steps", str(steps), "--allow_weak_target", *more]


def run(model: Path, out: Path, *more: str, **settings: Any) -> Said:
    return command(*words(model, *more, **settings), "--output_path", out)


@pytest.fixture(scope="module")
def watched(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("watched")
    said = run(model, out, "--eval_steps", "2", "--keep", "best:forget", "--stop", "patience=9")
    assert said.status == 0, said.err
    return out


def record(out: Path) -> RunRecord:
    return read_run(out / GROUP / "ga").record


@pytest.mark.long
def test_validation_people_are_in_no_number_of_any_model(watched: Path) -> None:
    told = record(watched).data["validation"]
    assert (told["by"], told["share"], told["seed"]) == ("subject", 0.2, 0)
    assert told["subjects"]["forget"] == {"validation": 2, "test": 4}
    for name in ("target", "retain", "ga"):
        run_of = read_run(watched / GROUP / name)
        asked = {sample.subject for sample in run_of.samples() if sample.set == "forget"}
        assert 0 < len(asked) <= 4
        assert run_of.record.data["validation"] == told
        assert run_of.record.sets["forget"].num_expected == 28, "of 42 questions about six people"


def test_the_curve_is_in_the_record_and_on_the_page(watched: Path) -> None:
    training = record(watched).training
    assert [point["step"] for point in training["curve"]] == [0, 2, 4, 6]
    best = min(training["curve"], key=lambda point: point["forget"])
    assert training["kept_step"] == best["step"]
    method = record(watched).method
    assert method is not None
    assert (method.args["training.keep"], method.args["training.stop"]) == ("best:forget", "patience=9")
    assert "While they were trained" in (watched / "index.html").read_text()


def test_a_rule_ends_the_training(model: Path, tmp_path: Path) -> None:
    assert run(model, tmp_path, "--eval_steps", "2", "--stop", "utility<0.1*start,forget<2").status == 0
    training = record(tmp_path).training
    assert (training["num_steps"], training["num_planned"]) == (2, 6)
    assert training["stopped"] in ("forget<2", "utility<0.1*start")


@pytest.mark.long
@pytest.mark.parametrize("moment", ["ga: 3 of 6", "ga: 5 of 6", "ga: 6 of 6"])
def test_killed_it_ends_as_if_never_disturbed(moment: str, model: Path, tmp_path: Path) -> None:
    given = words(model, "--eval_steps", "1", "--save_steps", "2", "--keep", "best:forget", "--stop", "patience=9")
    calm, disturbed = (Runner(tmp_path / name) for name in ("calm", "disturbed"))
    for made in (calm, disturbed):
        made.cache.mkdir(parents=True)
    assert calm.run(given).status == 0
    assert disturbed.run(given, moment=moment).status == -signal.SIGKILL
    ended = disturbed.run(given)
    assert ended.status == 0, ended.err
    assert differences(calm, disturbed) == []
    assert not list(disturbed.output.rglob("best"))
    curves = [record(made.output).training["curve"] for made in (calm, disturbed)]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 7


@pytest.mark.long
def test_two_processes_watch_the_same_curve(model: Path, tmp_path: Path) -> None:
    """Stopped at the same step by the same rule, and the same step kept."""
    given = words(model, "--eval_steps", "2", "--keep", "best:forget", "--stop", "patience=2")
    with one_thread():
        assert command(*given, "--output_path", tmp_path / "one").status == 0
    ended = launch(in_process, [*given, "--output_path", str(tmp_path / "both")], home=tmp_path)
    assert [one.status for one in ended] == [0, 0], ended[0].err
    one, both = (record(tmp_path / name).training for name in ("one", "both"))
    for name in ("kept_step", "num_steps", "stopped"):
        assert both[name] == one[name]
    assert [point["step"] for point in both["curve"]] == [point["step"] for point in one["curve"]]
    for old, new in zip(one["curve"], both["curve"], strict=True):
        assert new == pytest.approx(old, abs=1e-4)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ("--stop", "forget<0.3"),
            "--stop forget<0.3 reads the validation part, which is never looked at; add --eval_steps",
        ),
        (("--keep", "best:forget"), "--keep best:forget reads the validation part"),
        (("--eval_steps", "2", "--stop", "forgot<1"), "--stop: 'forgot<1' is no rule; give rules such as forget<0.3"),
        (("--eval_steps", "2", "--keep", "best:rouge"), "--keep: 'best:rouge' is not allowed; give last, best:forget"),
        (("--eval_steps", "0"), "argument --eval_steps: '0' is not a whole number of at least 1"),
        (("--eval_steps", "2", "--requests", "2"), "of which each of --requests 2 forgets a part"),
        (
            ("--eval_steps", "2", "--one_at_a_time"),
            "--eval_steps looks at one training, and subjects that are forgotten",
        ),
        (("--stage_one_args", "eval_steps=2"), "--stage_one_args eval_steps=2: only methods are looked at"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(more: tuple[str, ...], said: str, model: Path, tmp_path: Path) -> None:
    found = run(model, tmp_path, "--dry-run", *more)
    assert (found.status, found.out) == (2, "")
    assert said in found.err.splitlines()[-1]


def test_the_plan_says_which_rows(model: Path, tmp_path: Path) -> None:
    (planned,) = json.loads(run(model, tmp_path, "--eval_steps", "2", "--dry-run").out)
    told = planned["validation"]
    assert told["every"] == 2
    assert set(told["rows"]) == {"validation", "test"}
    assert told["subjects"]["forget"] == {"validation": 2, "test": 4}
