"""A disk that is full while weights are written: one line that says so, and whatever was whole before stays whole.

The operating system refuses to let files grow (RLIMIT_FSIZE), so the libraries really fail in the middle of a file.
"""

from __future__ import annotations

import errno
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from mmforget.errors import UserError
from mmforget.model.load import ModelSpec, load_model, save_merged
from mmforget.model.loaded import LoadedModel, save_model
from mmforget.model.lora import LoraSettings, attach, save_adapter
from mmforget.results.files import writing
from mmforget.training.settings import TrainSettings
from mmforget.training.stage_one import finetune
from mmforget.types import Example

REFUSED = "cannot write .*File too large"


@contextmanager
def files_up_to(num_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_line_says_that_the_disk_is_full(tmp_path: Path, number: int) -> None:
    from safetensors import SafetensorError

    for error in (OSError(number, "no"), SafetensorError(f"I/O error: No space left on device (os error {number})")):
        with pytest.raises(UserError, match="cannot write .*the disk is full; free some space"), writing(tmp_path):
            raise error


def test_the_writer_of_torch_does_not_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with files_up_to(1000), pytest.raises(UserError, match="cannot write .*inline_container"), writing(tmp_path):
        torch.save(torch.zeros(10_000), tmp_path / "optimizer.pt")
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
    with files_up_to(1000), pytest.raises(UserError, match="the disk is full"), writing(tmp_path / "not" / "there"):
        torch.save(torch.zeros(10_000), tmp_path / "optimizer.pt")


def test_what_is_no_matter_of_disks_goes_through(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shape"), writing(tmp_path):
        raise RuntimeError("shape")


def test_a_model(llava: LoadedModel, tmp_path: Path) -> None:
    with files_up_to(50_000), pytest.raises(UserError, match=REFUSED):
        save_model(llava, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    with files_up_to(50_000), pytest.raises(UserError, match=REFUSED):
        save_model(llava, kept)
    assert (kept / "mine.txt").read_text() == "mine"


def test_an_adapter_keeps_the_one_before(llava: LoadedModel, tmp_path: Path) -> None:
    loaded = attach(llava, LoraSettings(r=8))
    folder = save_adapter(loaded, tmp_path / "adapter")
    before = (folder / "adapter_model.safetensors").read_bytes()
    with torch.no_grad():
        next(iter(loaded.trainable().values())).add_(1)
    with files_up_to(10_000), pytest.raises(UserError, match=REFUSED):
        save_adapter(loaded, folder)
    assert (folder / "adapter_model.safetensors").read_bytes() == before
    assert not list(folder.glob(".*"))


def test_a_merged_model(llava_folder: Path, llava: LoadedModel, tmp_path: Path) -> None:
    adapter = save_adapter(attach(llava, LoraSettings(r=2)), tmp_path / "adapter")
    spec = ModelSpec(str(llava_folder), peft=str(adapter), merge_peft=True)
    with files_up_to(50_000), pytest.raises(UserError, match=REFUSED):
        save_merged(spec, tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_training_goes_on_from_its_last_whole_checkpoint(
    llava_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    settings = TrainSettings(lr=1e-2, max_steps=4, save_steps=1, batch_size=4, lora=LoraSettings(r=2))
    folder = tmp_path / "training"

    def train(place: Path, **more: Any) -> bytes:
        loaded = load_model(ModelSpec(str(llava_folder)))
        report = finetune(loaded, examples[:8], settings=settings, folder=place, **more)
        return (report.output / "model.safetensors").read_bytes()

    limits: list[Any] = []

    def fill_disk(done: int, total: int, label: str) -> None:
        if done == 2:
            limits.append(files_up_to(20_000))
            limits[0].__enter__()

    try:
        with pytest.raises(UserError, match="cannot write .*checkpoint-2"):
            train(folder, progress=fill_disk)
    finally:
        limits[0].__exit__(None, None, None)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["checkpoint-1"]
    assert train(folder) == train(tmp_path / "undisturbed")
