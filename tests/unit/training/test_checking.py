"""Every training is checked: weights that train have moved in the end, and no other was written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from mmforget.errors import RunFailed
from mmforget.methods.base import Request, Scores, Step
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example

FORGET = Scores("forget")
LORA = LoraSettings(r=2, alpha=4)


@dataclass(frozen=True)
class Touching:
    """Ascends, and writes to a tensor that it has got hold of, what is there already."""

    tensor: ClassVar[Tensor]

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET,)

    def loss(self, step: Step) -> dict[str, Tensor]:
        with torch.no_grad():
            self.tensor.add_(0.0)
        return {"forget": -token_mean_nll(step[FORGET])}


def forget(loaded: LoadedModel, examples: list[Example], folder: Path, *, tensor: Tensor, lr: float = 1e-2) -> None:
    settings = TrainSettings(lr=lr, max_steps=2, batch_size=4, schedule="constant", lora=LORA)
    rows = Material(forget=examples[:4])
    Touching.tensor = tensor
    unlearn(loaded, rows, method=Touching(), settings=settings, folder=folder, label="touching")


def frozen(loaded: LoadedModel) -> nn.Parameter:
    """One that no gradient goes through, or PyTorch itself would say so."""
    return next(weight for name, weight in loaded.model.named_parameters() if "vision_tower" in name)


def test_nothing_is_said_of_a_training_in_order(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    forget(llava, examples, tmp_path, tensor=torch.zeros(1))


def test_a_method_that_writes_to_frozen_weights_is_stopped(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(RunFailed, match=r"changed 1 weights that do not train \(\S*vision_tower\S*\); the method"):
        forget(llava, examples, tmp_path, tensor=frozen(llava))


def test_steps_that_are_too_small_to_move_a_weight_are_told(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(RunFailed, match="no weight has changed: its steps are too small for float32, .* raise --lr"):
        forget(llava, examples, tmp_path, tensor=torch.zeros(1), lr=1e-60)
