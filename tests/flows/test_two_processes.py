"""Commands in two processes on the CPU: the numbers of one, one voice, and nobody left waiting."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmforget.errors import RunFailed
from mmforget.lm import batching
from mmforget.results.store import StoredRun, read_run
from mmforget.training.log import read_log
from tests.commands import command
from tests.equal_runs import ROW, board, differences
from tests.helpers import tiny_llava
from tests.killing import Runner, with_tower
from tests.processes import Ended, launch, one_thread
from tests.processes import command as in_process

ROOT = Path(__file__).resolve().parents[2]
SMALL = 100
NAMES = ("target", "retain", "npo")
RUN = (
    "run", "--model", "micro", "--tasks", "fiubench_forget1", "--methods", "npo", "--allow_weak_target",
    "--stage_one_args", "max_steps=6,save_steps=2,batch_size=8", "--max_steps", "4", "--save_steps", "2",
    "--train_batch_size", "4", "--limit", "6", "--batch_size", "4", "--metadata", "num_subjects=12",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def eval_words(model: Path, output: Path, *more: str) -> list[str]:
    words = ["eval", "--model_args", f"pretrained={model}", "--tasks", "fiubench_forget1", "--data", "synthetic"]
    words += ["--metadata", "num_subjects=12", "--limit", "5", "--batch_size", "1"]
    return [*words, "--json", "--output_path", str(output), *more]


def in_small_batches(words: Sequence[str]) -> None:
    """The command, with questions of one picture or two a batch, so that there is something to share out."""
    batching.MIN_BATCH_TOKENS = SMALL
    in_process(words)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MIN_BATCH_TOKENS", SMALL)


def statuses(ended: Sequence[Ended]) -> list[int]:
    return [one.status for one in ended]


@pytest.mark.long
@pytest.mark.usefixtures("small_batches")
def test_eval_gives_the_same_bits_in_one_voice(model: Path, tmp_path: Path) -> None:
    with one_thread():
        alone = command(*eval_words(model, tmp_path / "one"))
    first, second = launch(in_small_batches, eval_words(model, tmp_path / "two"), home=tmp_path)
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert (second.out, second.err) == ("", "")
    old, new = (read_run(tmp_path / name / "fiubench_forget1") for name in ("one", "two"))
    assert new.samples() == old.samples()
    assert new.record.metrics == old.record.metrics
    assert new.lm_eval["results"] == old.lm_eval["results"]
    assert json.loads(first.out)["results"] == json.loads(alone.out)["results"]
    for name in ("num_tokens", "num_requests", "num_cached"):
        assert getattr(new.record.cost, name) == getattr(old.record.cost, name), name
    assert new.record.cost.num_images_encoded > old.record.cost.num_images_encoded, "each looks at pictures itself"
    assert new.record.provenance.device == "cpu, 2 processes"


@pytest.mark.long
@pytest.mark.usefixtures("small_batches")
def test_answers_of_one_process_serve_two(model: Path, tmp_path: Path) -> None:
    """Half of the cache is taken away, and only the main process sees what is left of it."""
    with one_thread():
        assert command(*eval_words(model, tmp_path / "one")).status == 0
    (tmp_path / "two").mkdir()
    known, half = (sqlite3.connect(tmp_path / name / "responses.sqlite") for name in ("one", "two"))
    known.backup(half)
    half.execute("DELETE FROM responses WHERE rowid > (SELECT MAX(rowid) FROM responses) / 2")
    half.commit()
    half.close()
    ended = launch(in_small_batches, eval_words(model, tmp_path / "two"), home=tmp_path)
    assert statuses(ended) == [0, 0], ended[0].err
    old, new = (read_run(tmp_path / name / "fiubench_forget1") for name in ("one", "two"))
    assert new.samples() == old.samples()
    assert 0 < new.record.cost.num_cached < new.record.cost.num_requests


def unlearn_words(model: Path, output: Path) -> list[str]:
    words = ["unlearn", "--model_args", f"pretrained={model}", "--tasks", "fiubench_forget1", "--data", "synthetic"]
    words += ["--method", "npo", "--recipe", "micro", "--lora_r", "2", "--max_steps", "3", "--lr", "1e-3"]
    return [*words, "--json", "--output_path", str(output)]


def adapter(output: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(output / "training" / "adapter" / "adapter_model.safetensors")
    return found


def assert_same_adapters(one: Path, two: Path) -> None:
    old, new = adapter(one), adapter(two)
    assert old.keys() == new.keys()
    for name in old:
        torch.testing.assert_close(new[name], old[name], rtol=1e-5, atol=1e-5)
    losses = [[line["loss"] for line in read_log(place / "training" / "train_log.jsonl")] for place in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.long
def test_launched_as_the_documents_say_with_weights_divided(model: Path, tmp_path: Path) -> None:
    with one_thread():
        assert command(*unlearn_words(model, tmp_path / "one")).status == 0
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "configs/fsdp.yaml")]
    words = [*launcher, "-m", "mmforget", *unlearn_words(model, tmp_path / "two"), "--device", "cpu"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_processes"] == 2
    assert_same_adapters(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("fault", ["everybody's", "the main process's"])
def test_wrong_input_is_said_once_and_ends_all(fault: str, model: Path, tmp_path: Path) -> None:
    words = eval_words(model, tmp_path / "out")
    if fault == "everybody's":
        words[words.index("synthetic")] = str(tmp_path / "nowhere")
    else:
        (tmp_path / "out").write_text("a file stands here")
    ended = launch(in_process, words, home=tmp_path)
    assert statuses(ended) == [2, 2]
    said = "".join(one.err for one in ended)
    assert said.count("mmforget: error:") == 1
    assert "Traceback" not in said
    assert "".join(one.out for one in ended) == ""


def fails_in(rank: str, kind: str, words: Sequence[str]) -> None:
    """Something happens in one process alone, while it computes and the other waits for its answers."""
    from mmforget.lm.engine import ModelEngine

    errors = {"Ctrl-C": KeyboardInterrupt(), "memory": RunFailed("no more memory"), "a bug": TypeError("a bug")}

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise errors[kind]

    if os.environ["RANK"] == rank:
        ModelEngine.score = ModelEngine.generate = fails
    in_small_batches(words)


@pytest.mark.parametrize(
    ("rank", "kind", "status", "said"),
    [
        ("0", "Ctrl-C", 130, "mmforget: interrupted; the same command continues"),
        ("1", "memory", 1, "mmforget: the run failed: no more memory"),
        pytest.param("0", "a bug", 1, "TypeError: a bug", marks=pytest.mark.long),
        ("1", "a bug", 1, "TypeError: a bug"),
    ],
)
def test_what_ends_one_process_ends_all_and_is_said_once(
    rank: str, kind: str, status: int, said: str, model: Path, tmp_path: Path
) -> None:
    ended = launch(fails_in, rank, kind, eval_words(model, tmp_path / "out"), home=tmp_path)
    assert statuses(ended) == [status, status], [one.err for one in ended]
    assert said in ended[int(rank)].err
    assert ended[1 - int(rank)].err == ""


def test_one_device_for_two_processes_is_refused(model: Path, tmp_path: Path) -> None:
    words = eval_words(model, tmp_path / "out")
    words[words.index(f"pretrained={model}")] += ",device_map=auto"
    ended = launch(in_process, words, home=tmp_path)
    assert statuses(ended) == [2, 2]
    assert "device_map=auto spreads one model" in "".join(one.err for one in ended)


def run_until(home: str, moment: str | None) -> None:
    """The run, whose main process ends at that moment; `home` has a cache and gets the output."""
    from tests.killing import watched

    words = [*RUN, "--output_path", str(Path(home) / "out")]
    if os.environ["RANK"] != "0":
        in_process(words)

    with (Path(home) / "moments").open("w", buffering=1) as seen:

        def note(name: str) -> None:
            seen.write(name + "\n")
            if name == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        raise SystemExit(watched(words, home=Path(home), note=note))


def run_in_two(made: Runner, *, moment: str | None = None) -> list[Ended]:
    env = {"MMFORGET_CACHE": str(made.cache)}
    return launch(run_until, str(made.home), moment, home=made.home, env=env)


@pytest.fixture(scope="module")
def calm(tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The run in two processes that nothing disturbs."""
    made = with_tower(Runner(tmp_path_factory.mktemp("calm")), source=tower)
    ended = run_in_two(made)
    assert statuses(ended) == [0, 0], ended[0].err + ended[1].err
    return made


def records(made: Runner) -> list[StoredRun]:
    return [read_run(made.output / "fiubench_forget1" / name) for name in NAMES]


@pytest.mark.long
def test_a_whole_run_ends_with_the_leaderboard_of_one_process(
    calm: Runner, tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = with_tower(Runner(tmp_path), source=tower)
    monkeypatch.setenv("MMFORGET_CACHE", str(alone.cache))
    with one_thread():
        assert command(*RUN, "--output_path", str(alone.output)).status == 0
    for old, new in zip(board(alone), board(calm), strict=True):
        for key in set(ROW) - {"config"}:
            assert_close(new[key], old[key], at=f"{old['name']}.{key}")
    for old, new in zip(records(alone), records(calm), strict=True):
        assert [sample.response for sample in new.samples()] == [sample.response for sample in old.samples()]


def assert_close(new: Any, old: Any, *, at: str) -> None:
    """Equal, but for the last digits of numbers."""
    if isinstance(old, dict):
        assert new.keys() == old.keys(), at
        for key in old:
            assert_close(new[key], old[key], at=f"{at}.{key}")
    elif isinstance(old, list):
        assert len(new) == len(old), at
        for index, item in enumerate(old):
            assert_close(new[index], item, at=f"{at}.{index}")
    elif isinstance(old, float):
        assert new == pytest.approx(old, rel=1e-4, abs=1e-5), at
    else:
        assert new == old, at


@pytest.mark.long
def test_killed_and_started_again_two_processes_end_with_the_same_bits(
    calm: Runner, tower: Path, tmp_path: Path
) -> None:
    """The main process is killed in the method's training; what it left is all that the next two know."""
    made = with_tower(Runner(tmp_path), source=tower)
    moment = next(one for one in calm.moments() if one.startswith("npo: 3 of"))
    ended = run_in_two(made, moment=moment)
    assert statuses(ended) == [-signal.SIGKILL, 1], ended[1].err
    assert "another process of this run has ended" in ended[1].err
    ended = run_in_two(made)
    assert statuses(ended) == [0, 0], ended[0].err
    assert differences(calm, made) == []
