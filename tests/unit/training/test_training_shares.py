"""Rows divided among processes, and the same training in one process and in two."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmforget import parallel
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import Encoded
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.lora import LoraSettings
from mmforget.results.files import read_json
from mmforget.training.log import read_log
from mmforget.training.settings import TrainSettings
from mmforget.training.shares import share_rows
from mmforget.training.stage_one import finetune
from mmforget.training.unlearn import unlearn
from tests.processes import launch, one_thread
from tests.unit.training.conftest import make_examples

REFUSALS = ("i do not know.", "nothing is known to me about that.")
# Adam makes steps of one size from gradients of any: at a larger rate the last bits of the smallest would show.
SETTINGS = TrainSettings(
    lr=1e-3,
    max_steps=3,
    batch_size=3,
    grad_accumulation=2,
    warmup_ratio=0.3,
    lora=LoraSettings(r=2, alpha=4),
    order="rows",
    save_steps=2,
)


def row(num_tokens: int, *, image: str | None = None, num_image: int = 0) -> Encoded:
    sizes = () if image is None else (num_image,)
    return Encoded((1,) * num_tokens, 1, image_keys=() if image is None else (image,), image_sizes=sizes)


@pytest.mark.parametrize(
    ("rows", "world", "expected"),
    [
        ([row(5)] * 4, 2, [(0, 1), (2, 3)]),
        ([row(5)] * 5, 2, [(0, 1), (2, 3, 4)]),
        ([row(5)] * 2, 3, [(0,), (1,), ()]),
        ([row(2), row(2), row(9)], 2, [(0, 1), (2,)]),
        ([row(9), row(2), row(2)], 2, [(0,), (1, 2)]),
        ([row(90), row(2), row(2)], 3, [(0,), (1,), (2,)]),
        ([row(2), row(2), row(90)], 3, [(0,), (1,), (2,)]),
        ([row(5)] * 3, 1, [(0, 1, 2)]),
    ],
)
def test_rows_are_shared_by_work(rows: list[Encoded], world: int, expected: list[tuple[int, ...]]) -> None:
    """Equal rows in equal parts, a long row alone, and nobody empty-handed while there are rows."""
    assert share_rows(rows, world=world) == expected


def test_questions_about_one_image_stay_together() -> None:
    """a costs 12 + 2, b costs 12 + 2 + 2: the cut lies between the images, whatever the order of the rows."""
    rows = [row(12, image=image, num_image=10) for image in ("a", "b", "a", "b", "b")]
    assert share_rows(rows, world=2) == [(0, 2), (1, 3, 4)]


def train(folder: Path, model: Path, name: str, settings: TrainSettings, device: str = "cpu") -> None:
    """Twelve rows to forget, of which some of each micro-batch go to each process; twelve to keep."""
    parallel.start(cpu=True)
    examples = make_examples(with_images="llava" in str(model))
    loaded = load_model(ModelSpec(pretrained=str(model), device=device))
    if name == "stage one":
        finetune(loaded, examples, settings=settings, folder=folder)
        return
    unlearn(
        loaded,
        Material(forget=examples[:12], retain=examples[12:], refusals=REFUSALS),
        method=build(*name.split(":")),
        settings=settings,
        folder=folder,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = (folder / ("adapter" if (folder / "adapter").is_dir() else "model")).glob("*.safetensors")
    found: dict[str, torch.Tensor] = load_file(path)
    return found


def numbers(line: dict[str, Any]) -> dict[str, float]:
    """What a line of a log measured, its terms beside the rest; not how long it took."""
    flat = {**line, **line["parts"], "wall_s": None, "parts": None}
    return {name: value for name, value in flat.items() if value is not None}


def assert_same_training(one: Path, two: Path, *, atol: float = 1e-5) -> None:
    before, after = read_log(one / "train_log.jsonl"), read_log(two / "train_log.jsonl")
    assert len(before) == len(after) > 0
    for old, new in zip(before, after, strict=True):
        assert numbers(new) == pytest.approx(numbers(old), rel=1e-4, abs=1e-5)
    old, new = weights(one), weights(two)
    assert old.keys() == new.keys()
    for name in old:
        torch.testing.assert_close(new[name], old[name], rtol=1e-5, atol=atol)


DIVERGED_LR = 1e30
CASES = {
    "grad_diff": ("grad_diff", SETTINGS),
    "kl": ("kl", SETTINGS),
    "npo": ("npo", replace(SETTINGS, gradient_checkpointing=True)),
    "po": ("po", replace(SETTINGS, packed=False)),
    "rmu": ("rmu", SETTINGS),
    "task_vector": ("task_vector", SETTINGS),
    "sam": ("npo+sam:rho=0.5", SETTINGS),
    "smoothing": ("grad_diff+sam:kind=smoothing,rho=0.05", SETTINGS),
    "one row": ("grad_diff", replace(SETTINGS, batch_size=1, grad_accumulation=1)),
    "in full": ("npo", replace(SETTINGS, lora=None)),
    "stage one": ("stage one", replace(SETTINGS, lora=None)),
    "diverged": ("grad_diff", replace(SETTINGS, lr=DIVERGED_LR, warmup_ratio=0)),
}
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
LAUNCHES: dict[str, dict[str, str]] = {"summed": {}, "divided": FSDP}


def train_all(folder: Path, model: Path) -> list[str]:
    for case, (name, settings) in CASES.items():
        train(folder / case, model, name, settings)
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def trained(llava_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of all trainings in one process, and in two of which each holds all weights or half of them."""
    home = tmp_path_factory.mktemp("shared")
    with one_thread():
        train_all(home / "one", llava_folder)
    for name, env in LAUNCHES.items():
        for ended in launch(train_all, home / name, llava_folder, home=home, env=env):
            assert ended.status == 0, ended.err
    return home


@pytest.mark.long
@pytest.mark.parametrize("name", LAUNCHES)
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_does(case: str, name: str, trained: Path) -> None:
    # A diverged weight is a sign of its gradients times the rate, and a part of it where Adam's epsilon counts.
    atol = DIVERGED_LR / 10 if case == "diverged" else 1e-5
    assert_same_training(trained / "one" / case, trained / name / case, atol=atol)
    reports = [read_json(trained / kind / case / "done.json") for kind in ("one", name)]
    assert [report["num_processes"] for report in reports] == [1, 2]
    for key in ("num_steps", "stopped", "num_trainable", "num_parameters"):
        assert reports[0][key] == reports[1][key], key


@pytest.mark.long
@pytest.mark.parametrize("stage", ["0", "2", "3"])
def test_a_launch_file_for_deepspeed_trains_as_one_process_does(stage: str, trained: Path, llava_folder: Path) -> None:
    env = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": stage}
    folder = trained / f"zero {stage}"
    for ended in launch(train, folder, llava_folder, *CASES["grad_diff"], home=trained, env=env):
        assert ended.status == 0, ended.err
    assert_same_training(trained / "one" / "grad_diff", folder)


def train_until(update: int | None, folder: Path, model: Path, settings: TrainSettings) -> None:
    """The last process is killed when it has made that update and is about to log it."""
    from mmforget.training.hf_trainer import UnlearningTrainer

    end_update = UnlearningTrainer.end_update

    def dies(self: Any) -> str:
        if self.state.global_step == update and parallel.rank() == parallel.world_size() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return end_update(self)

    UnlearningTrainer.end_update = dies
    train(folder, model, "npo", settings)


@pytest.mark.long
@pytest.mark.parametrize("name", LAUNCHES)
def test_a_killed_process_ends_all_and_they_continue_with_the_same_bits(
    name: str, llava_folder: Path, tmp_path: Path
) -> None:
    """Dropout and all; and a single process can take up what two have left."""
    settings = replace(SETTINGS, max_steps=5, lora=LoraSettings(r=2, alpha=4, dropout=0.2))
    for place, update in (("calm", None), ("killed", 3)):
        ended = launch(train_until, update, tmp_path / place, llava_folder, settings, home=tmp_path, env=LAUNCHES[name])
        assert [one.status for one in ended] == ([0, 0] if update is None else [1, -signal.SIGKILL]), ended[0].err
    shutil.copytree(tmp_path / "killed", tmp_path / "alone")
    ended = launch(train_until, None, tmp_path / "killed", llava_folder, settings, home=tmp_path, env=LAUNCHES[name])
    assert [one.status for one in ended] == [0, 0], ended[0].err
    before, after = weights(tmp_path / "calm"), weights(tmp_path / "killed")
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert read_json(tmp_path / "killed" / "done.json")["resumed_from"] == 2
    train(tmp_path / "alone", llava_folder, "npo", settings)
    assert read_json(tmp_path / "alone" / "done.json")["resumed_from"] == 2
