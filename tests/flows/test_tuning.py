"""Every method has the same number of trials, on people that no record tells of, and goes on with the best."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from mmforget.pipeline.tuning import FOLDER
from mmforget.results.schema import RunRecord
from mmforget.results.store import read_run
from tests.commands import Said, command
from tests.equal_runs import differences
from tests.helpers import tiny_llava
from tests.killing import Runner

GROUP = "fiubench_forget10"
TRAINING = (
    "--data", "synthetic", "--metadata", "num_subjects=12", "--recipe", "micro", "--train_batch_size", "4",
    "--max_steps", "2", "--device", "cpu", "--quiet", "--gen_kwargs", "max_gen_toks=8", "--limit", "4",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def words(model: Path, *more: str) -> list[str]:
    given = ["run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model)]
    given += ["--retain_model", str(model), *TRAINING, "--tasks", GROUP, "--json", "--allow_weak_target"]
    return [*given, *(() if "--methods" in more else ("--methods", "npo")), *more]


def run(model: Path, out: Path, *more: str) -> Said:
    return command(*words(model, *more), "--output_path", out)


@pytest.fixture(scope="module")
def tuned(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned")
    said = run(model, out, "--tune", "3", "--seeds", "4,5")
    assert said.status == 0, said.err
    return out


def record(out: Path, *folders: str) -> RunRecord:
    return read_run(out.joinpath(GROUP, *folders)).record


def test_all_trials_stand_in_every_record(tuned: Path) -> None:
    first, second = (record(tuned, "npo", f"seed_{seed}") for seed in (4, 5))
    told = first.training["tuning"]
    assert told == second.training["tuning"]
    assert (told["budget"], told["num_trials"], told["seed"]) == (3, 3, 4)
    assert [one["number"] for one in told["trials"]] == [1, 2, 3]
    assert told["trials"][0]["settings"] == {"lr": 2.5e-4, "beta": 0.1, "retain_weight": 1.0}
    assert len({json.dumps(one["settings"]) for one in told["trials"]}) == 3
    assert "max_steps" not in told["grid"], "--max_steps says how long all train"
    best = told["trials"][told["chosen"] - 1]["settings"]
    for one, seed in ((first, 4), (second, 5)):
        assert one.method is not None
        assert (one.method.args["tune"], one.method.seed) == (3, seed)
        assert one.method.args["beta"] == best["beta"]
        assert one.method.args["training.lr"] == best["lr"]
    assert told["is_own_grid"] is True


def test_no_number_of_any_model_is_of_the_people_trials_were_compared_on(tuned: Path) -> None:
    told = record(tuned, "target").data["validation"]
    assert told["subjects"]["forget"] == {"validation": 2, "test": 4}
    for folders in (("target",), ("npo", "seed_5")):
        found = read_run(tuned.joinpath(GROUP, *folders))
        assert len({sample.subject for sample in found.samples() if sample.set == "forget"}) <= 4
        assert found.record.sets["forget"].num_expected == 28, "of 42 questions about six people"


def test_budget_and_trials_are_in_the_exported_row_and_on_the_page(tuned: Path) -> None:
    rows = json.loads((tuned / "leaderboard.json").read_text())["rows"]
    (row,) = [row for row in rows if row["name"] == "npo"]
    assert row["config"]["method_args"]["tune"] == 3
    assert len(row["training"]["tuning"]["trials"]) == 3
    page = (tuned / "index.html").read_text()
    assert "best of 3 settings" in page
    assert "How settings were chosen" in page


def test_nothing_but_what_came_of_it_is_left_of_a_trial(tuned: Path) -> None:
    folders = list((tuned / GROUP / "npo" / FOLDER).iterdir())
    assert len(folders) == 3
    assert {path.name for folder in folders for path in folder.iterdir()} == {"done.json"}


@pytest.mark.long
@pytest.mark.parametrize("moment", ["npo, trial 1 of 2: 2 of 2", "fiubench_forget10: measure npo: 0 of 1"])
def test_killed_it_ends_as_if_never_disturbed(moment: str, model: Path, tmp_path: Path) -> None:
    given = words(model, "--methods", "npo", "--tune", "2")
    calm, disturbed = (Runner(tmp_path / name) for name in ("calm", "disturbed"))
    for made in (calm, disturbed):
        made.cache.mkdir(parents=True)
    assert calm.run(given).status == 0
    assert disturbed.run(given, moment=moment).status == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in disturbed.output.rglob(f"{FOLDER}/*/done.json")}
    ended = disturbed.run(given)
    assert ended.status == 0, ended.err
    assert differences(calm, disturbed) == []
    assert all(path.stat().st_mtime_ns == at for path, at in before.items()), "finished trials are found again"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--tune", "0"), "argument --tune: '0' is not a whole number of at least 1"),
        (("--tune", "many"), "argument --tune: 'many' is not a whole number of at least 1"),
        (("--tune", "2", "--requests", "2"), "--tune 2 chooses the settings of one training, and --requests 2 makes"),
        (("--tune", "2", "--one_at_a_time"), "--tune 2 chooses the settings of one training for all subjects"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(more: tuple[str, ...], said: str, model: Path, tmp_path: Path) -> None:
    found = run(model, tmp_path, "--dry-run", *more)
    assert (found.status, found.out) == (2, "")
    assert said in found.err.splitlines()[-1]


def test_a_benchmark_whose_sets_have_one_subject_is_refused(tmp_path: Path) -> None:
    given = ("run", "--model", "micro", "--tasks", "mmubench", "--methods", "ga", "--tune", "2", "--dry-run")
    found = command(*given, "--output_path", tmp_path)
    assert (found.status, found.out) == (2, "")
    assert "mmubench: --tune 2 needs subjects for validation and others for the test" in found.err.splitlines()[-1]


def test_the_plan_says_every_trial(model: Path, tmp_path: Path) -> None:
    words = ("--methods", "ga,npo", "--tune", "99", "--dry-run")
    (planned,) = json.loads(run(model, tmp_path, *words).out)
    told: dict[str, Any] = planned["tune"]
    assert {name: len(one["trials"]) for name, one in told.items()} == {"ga": 3, "npo": 3 * 3 * 2}
    assert told["ga"]["trials"][0] == {"number": 1, "settings": {"lr": 5e-4}}
    assert {one["settings"]["lr"] for one in told["ga"]["trials"]} == {2.5e-4, 5e-4, 1e-3}
    assert "rows" in planned["validation"]
