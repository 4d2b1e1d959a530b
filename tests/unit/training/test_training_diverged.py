"""A loss or gradient that is not finite ends the training: recorded, not raised, and the last good weights are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from mmforget.methods.base import Method, Request, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.training.log import read_log
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example

SETTINGS = TrainSettings(lr=1e-2, max_steps=5, batch_size=4, lora=LoraSettings(r=2, alpha=4), schedule="constant")


@dataclass
class Exploding:
    """Gradient ascent that goes wrong at its `at`-th call: in the loss, or in the gradient of a finite loss."""

    how: str
    at: int
    calls: int = 0

    @property
    def requests(self) -> tuple[Request, ...]:
        return (Scores("forget"),)

    def loss(self, step: Step) -> dict[str, torch.Tensor]:
        self.calls += 1
        total = -token_mean_nll(step[Scores("forget")])
        if self.calls == self.at:
            # The square root's slope at 0 is infinite, and 0 times it is not a number.
            total = total * torch.inf if self.how == "loss" else total + ((total - total.detach()) * 0.0).sqrt()
        return {"forget": total}


def run(loaded: LoadedModel, examples: list[Example], folder: Path, method: Method, **more: int) -> bytes:
    report = unlearn(
        loaded,
        Material(forget=examples[:8], retain=examples[8:]),
        method=method,
        settings=replace(SETTINGS, **more),
        folder=folder,
        label="ga",
    )
    return (report.output / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("how", ["loss", "gradient"])
@pytest.mark.parametrize("num_accumulated", [1, 2])
def test_weights_are_those_before_the_bad_update(
    how: str, num_accumulated: int, llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """The third update is bad: adapter and log are those of a training of two updates."""
    more = {"grad_accumulation": num_accumulated}
    bad = Exploding(how, at=3 * num_accumulated)
    found = run(llava, examples, tmp_path / "bad", bad, **more)
    assert found == run(llava, examples, tmp_path / "good", build("ga"), max_steps=2, **more)
    report = json.loads((tmp_path / "bad" / "done.json").read_text())
    assert (report["diverged"], report["stopped"], report["num_steps"], report["num_planned"]) == (
        True,
        "diverged",
        2,
        5,
    )
    lines = [read_log(tmp_path / name / "train_log.jsonl") for name in ("bad", "good")]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]


def test_the_first_update_may_be_bad_too(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    report = unlearn(
        llava, Material(forget=examples), method=Exploding("loss", at=1), settings=SETTINGS, folder=tmp_path
    )
    assert (report.diverged, report.num_steps, report.final_parts) == (True, 0, {})
    assert report.adapter is not None


def test_a_diverged_training_is_done(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    first = unlearn(
        llava, Material(forget=examples), method=Exploding("loss", at=2), settings=SETTINGS, folder=tmp_path, label="x"
    )
    again = Exploding("loss", at=2)
    assert (
        unlearn(llava, Material(forget=examples), method=again, settings=SETTINGS, folder=tmp_path, label="x") == first
    )
    assert again.calls == 0


def test_gradient_ascent_may_run_far_without_crashing(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    report = unlearn(
        llava,
        Material(forget=examples),
        method=build("ga"),
        settings=replace(SETTINGS, lr=1.0, max_steps=8, max_grad_norm=0.0),
        folder=tmp_path,
    )
    assert report.final_parts["forget"] is not None
    assert report.final_parts["forget"] < -5
