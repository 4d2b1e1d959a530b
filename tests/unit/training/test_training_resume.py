"""A training killed at any moment and started again ends with the very same bits as one left alone."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.training import checkpoints
from mmforget.training.hf_trainer import UnlearningTrainer
from mmforget.training.log import read_log
from mmforget.training.settings import TrainSettings
from mmforget.training.stage_one import finetune
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import fresh
from tests.killing import PRELOADED
from tests.unit.training.conftest import make_examples

# Dropout, accumulation, warm-up, shuffling and refusals: everything that a resumed run could get wrong.
SETTINGS = TrainSettings(
    lr=1e-2,
    max_steps=7,
    batch_size=3,
    grad_accumulation=2,
    warmup_ratio=0.3,
    lora=LoraSettings(r=2, alpha=4, dropout=0.2),
    order="rows",
    seed=5,
    save_steps=2,
)


class Killed(BaseException):
    """Stands in for a kill: nothing in the code under test may catch it."""


def run(
    loaded: LoadedModel, examples: list[Example], folder: Path, *, method: str = "po", progress: Any = None, **more: Any
) -> bytes:
    report = unlearn(
        loaded,
        Material(
            forget=examples[:8],
            retain=examples[8:],
            refusals=("i do not know.", "no idea.", "that is nothing i can say."),
        ),
        method=build(*method.split(":")),
        settings=replace(SETTINGS, **more),
        folder=folder,
        progress=progress,
    )
    return (report.output / "adapter_model.safetensors").read_bytes()


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, attribute: str, *, call: int) -> None:
    """The `call`-th call (1-based) of a function raises, before it does anything."""
    original: Callable[..., Any] = getattr(owner, attribute)
    counter = iter(range(1, 10**6))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(counter) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, attribute, wrapped)


def without_time(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "wall_s"} for line in read_log(folder / "train_log.jsonl")]


@pytest.fixture(scope="module")
def undisturbed(llava_folder: Path, examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing interrupts."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(load_model(ModelSpec(pretrained=str(llava_folder), device="cpu")), examples, folder)
    return folder


@pytest.mark.parametrize(
    ("owner", "attribute", "call"),
    [
        (UnlearningTrainer, "compute_loss", 1),
        (UnlearningTrainer, "compute_loss", 6),
        (UnlearningTrainer, "compute_loss", 7),
        (UnlearningTrainer, "end_update", 5),
        (UnlearningTrainer, "_save_optimizer_and_scheduler", 2),
        (UnlearningTrainer, "_save_rng_state", 1),
        (checkpoints, "write_json", 2),
        (checkpoints, "_remove", 1),
        (UnlearningTrainer, "_save_checkpoint", 4),
        ("mmforget.training.session", "_save", 1),
        ("mmforget.training.report", "write_json", 2),
    ],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
def test_killed_anywhere_and_resumed_is_as_undisturbed(
    owner: Any,
    attribute: str,
    call: int,
    llava: LoadedModel,
    examples: list[Example],
    tmp_path: Path,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = (undisturbed / "adapter" / "adapter_model.safetensors").read_bytes()
    owner = sys.modules[owner] if isinstance(owner, str) else owner
    with monkeypatch.context() as patch:
        kill_at(patch, owner, attribute, call=call)
        with pytest.raises(Killed):
            run(llava, examples, tmp_path)
    assert run(fresh(llava.spec), examples, tmp_path) == expected
    assert without_time(tmp_path) == without_time(undisturbed)


@pytest.mark.parametrize(
    "name",
    [
        "npo",
        "rmu:adaptive=True",
        "pdu:warmup_epochs=0,multiplier=1",
        "scrub",
        pytest.param("loku", marks=pytest.mark.long),
        pytest.param("imu", marks=pytest.mark.long),
        pytest.param("dto", marks=pytest.mark.long),
        pytest.param("mmunlearner", marks=pytest.mark.long),
        pytest.param("kl", marks=pytest.mark.long),
        pytest.param("grad_diff", marks=pytest.mark.long),
    ],
)
def test_references_and_partners_survive_a_kill(
    name: str, llava: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"order": "subjects", "train_projector": True}
    expected = run(llava, examples, tmp_path / "undisturbed", method=name, **more)
    with monkeypatch.context() as patch:
        kill_at(patch, UnlearningTrainer, "compute_loss", call=9)
        with pytest.raises(Killed):
            run(llava, examples, tmp_path / "killed", method=name, **more)
    assert run(llava, examples, tmp_path / "killed", method=name, **more) == expected


def test_a_full_fine_tune_survives_kills(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, lora=None, schedule="onecycle", lr=1e-3, order="subjects")

    def one(folder: Path) -> bytes:
        report = finetune(fresh(llava.spec), examples, settings=settings, folder=folder)
        return (report.output / "model.safetensors").read_bytes()

    expected = one(tmp_path / "undisturbed")
    for call in (5, 3, 1):
        with monkeypatch.context() as patch:
            kill_at(patch, UnlearningTrainer, "end_update", call=call)
            with pytest.raises(Killed):
                one(tmp_path / "killed")
    assert one(tmp_path / "killed") == expected


def test_a_resumed_run_says_so_and_adds_up_its_time(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill_at(patch, UnlearningTrainer, "end_update", call=6)
        with pytest.raises(Killed):
            run(llava, examples, tmp_path)
    before = read_log(tmp_path / "train_log.jsonl")
    run(llava, examples, tmp_path)
    log = read_log(tmp_path / "train_log.jsonl")
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6, 7]
    assert log[:4] == before[:4]
    assert log[4]["wall_s"] > log[3]["wall_s"]


def test_other_settings_do_not_continue_a_killed_run(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill_at(patch, UnlearningTrainer, "end_update", call=3)
        with pytest.raises(Killed):
            run(llava, examples, tmp_path)
    with pytest.raises(UserError, match=r"settings\.lr"):
        run(llava, examples, tmp_path, lr=0.5)


def train_and_tell(model: Path, folder: Path, wire: Connection) -> None:
    """What each process does: 14 updates, a checkpoint after every one, a message about each."""
    torch.set_num_threads(1)
    llava = load_model(ModelSpec(pretrained=str(model), device="cpu"))
    run(llava, make_examples(), folder, max_steps=14, save_steps=1, progress=lambda done, total, label: wire.send(done))
    wire.send("done")


@pytest.mark.long
def test_kill_9_in_the_middle_of_whatever_it_is_doing(llava_folder: Path, tmp_path: Path) -> None:
    """Processes get SIGKILL just after some update, so while a log line, a checkpoint or the next update is under way;
    the last one ends as one left alone.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)

    def start(name: str, *, until: int | str) -> int | None:
        wire, other = context.Pipe(duplex=False)
        process = context.Process(target=train_and_tell, args=(llava_folder, tmp_path / name, other))
        process.start()
        other.close()
        while wire.recv() != until:
            pass
        if until != "done":
            process.kill()
        process.join()
        return process.exitcode

    for update in (1, 5, 9, 14):
        assert start("killed", until=update) == -signal.SIGKILL
        assert not (tmp_path / "killed" / "done.json").exists()
    assert start("killed", until="done") == start("alone", until="done") == 0
    weights = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("alone", "killed")]
    assert weights[0] == weights[1]
    assert without_time(tmp_path / "alone") == without_time(tmp_path / "killed")
