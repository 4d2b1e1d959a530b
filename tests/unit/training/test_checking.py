"""Every training is checked: terms reach weights, these have moved in the end, and no other was written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from mmforget.errors import RunFailed, UserError
from mmforget.methods.base import Request, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.training.checking import Reach, term_norms
from mmforget.training.log import read_log
from mmforget.training.many import unlearn_many
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


@dataclass(frozen=True)
class Still:
    """Weighs its only term by 0."""

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET,)

    def loss(self, step: Step) -> dict[str, Tensor]:
        return {"forget": 0.0 * token_mean_nll(step[FORGET])}


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


HIGHEST = LoraSettings(r=2, alpha=4, target_modules=r".*layers\.1\.mlp\.down_proj")


def log_of(folder: Path) -> list[dict[str, Any]]:
    return read_log(folder / "train_log.jsonl")


def test_the_norm_of_each_terms_gradient_stands_in_the_first_line(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Of a difference of two terms the whole gradient is no longer than both together, nor shorter than the rest."""
    settings = TrainSettings(lr=1e-2, max_steps=2, batch_size=4, schedule="constant", lora=LORA)
    rows = Material(forget=examples[:4], retain=examples[8:12])
    unlearn(llava, rows, method=build("grad_diff"), settings=settings, folder=tmp_path / "two")
    first, second = log_of(tmp_path / "two")
    norms = first["grad_norms"]
    assert set(norms) == {"forget", "retain"}
    assert abs(norms["forget"] - norms["retain"]) <= first["grad_norm"] <= norms["forget"] + norms["retain"]
    assert "grad_norms" not in second
    unlearn(llava, rows, method=build("ga"), settings=settings, folder=tmp_path / "one")
    first, _ = log_of(tmp_path / "one")
    assert first["grad_norms"] == {"forget": first["grad_norm"]}
    assert first["grad_norm"] == pytest.approx(norms["forget"], rel=1e-5)


def test_of_a_weight_with_a_mask_what_trains_counts() -> None:
    """3 w1 + 4 w2 of which w1 trains, and 2 w1: 3 and 2; a term without a gradient is known where all is looked at."""
    weight = torch.ones(2, requires_grad=True)
    terms = {"forget": (torch.tensor([3.0, 4.0]) * weight).sum(), "keep": 2 * weight[0], "none": torch.zeros(())}
    mask = {"w": torch.tensor([True, False])}
    assert term_norms(terms, weights={"w": weight}, masks={}, is_whole=True) == {"forget": 5, "keep": 2, "none": 0}
    assert term_norms(terms, weights={"w": weight}, masks=mask, is_whole=False) == {"forget": 3, "keep": 2}


def test_a_term_that_no_weight_reaches_is_refused(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    """States of the first layer lie below the adapter, which is on the second alone."""
    settings = TrainSettings(lr=1e-2, max_steps=2, batch_size=4, train_projector=False, lora=HIGHEST)
    rows = Material(forget=examples[:4], retain=examples[8:12])
    with pytest.raises(UserError, match="the term 'forget' of this method depends on none of the 2 weights that train"):
        unlearn(llava, rows, method=build("rmu", "layer=0"), settings=settings, folder=tmp_path)


@pytest.mark.parametrize("together", [False, True])
def test_it_is_refused_where_a_loss_is_computed_in_parts_or_many_are_trained(
    together: bool, llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    settings = TrainSettings(lr=1e-2, max_steps=2, batch_size=4, train_projector=False, lora=HIGHEST)
    rows = Material(forget=examples[:4], retain=examples[8:12])
    method = build("rmu+sam", "layer=0")

    def train() -> None:
        if together:
            unlearn_many(llava, {"one": rows, "two": rows}, method=method, settings=settings).__enter__()
        else:
            unlearn(llava, rows, method=method, settings=settings, folder=tmp_path)

    with pytest.raises(UserError, match=r"the term 'rmu\.forget' of this method depends on none of the \d+ weights"):
        train()


def test_a_term_reached_in_one_part_is_enough() -> None:
    """Of a part that was never differentiated nothing is known; a term that is 0 may reach nothing."""
    weight, constant = torch.ones((), requires_grad=True), torch.ones(())
    reach = Reach()
    reach.see({"forget": constant, "keep": weight * 2, "none": 0 * constant, "lost": constant}, part="keep")
    reach.require(num_weights=1)
    reach.see({"forget": weight * 3, "keep": constant, "none": 0 * constant, "lost": constant}, part="forget")
    assert reach.terms == {"forget": True, "keep": True, "none": True, "lost": False}
    with pytest.raises(UserError, match="the term 'lost' of this method depends on none of the 1 weights that train"):
        reach.require(num_weights=1)


def test_a_loss_that_moves_nothing_at_first_is_warned_of(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Weight decay alone moves something afterwards."""
    settings = TrainSettings(lr=1e-2, max_steps=2, batch_size=4, schedule="constant", lora=LORA)
    rows = Material(forget=examples[:4], retain=examples[8:12])
    unlearn(llava, rows, method=Still(), settings=settings, folder=tmp_path)
    assert "no term of the loss (forget) has a gradient at the first update" in caplog.text
