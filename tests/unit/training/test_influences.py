"""Influences of rows: against plain gradients of Hugging Face's forward, and what imu and inpo make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods.base import Influence, Request, Step
from mmforget.methods.build import build
from mmforget.methods.imu import WEIGHTS, guided
from mmforget.methods.inpo import ByRemoval
from mmforget.methods.material import Material
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.spec import ModelSpec
from mmforget.training.batches import Batch
from mmforget.training.many import obstacle
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example, Scored
from tests.helpers import fresh
from tests.toy_steps import loss, scored
from tests.unit.training.conftest import make_examples
from tests.unit.training.test_training_preferences import answer_sums, assert_same, gradients, plain_logits

BATCH = Batch(rows=(2, 0), partners={"retain": (3, 2)})
SETTINGS = TrainSettings(lr=1e-2, max_steps=2, batch_size=2, lora=LoraSettings(r=2, alpha=4))


def test_imu_weighs_by_roots_that_are_cut() -> None:
    """Of -4, -1, 1, -9: 2, 1, 0 and 3, of which the 93rd percentile is 3 - 0.21 = 2.79; over the mean 5.79 / 4."""
    found = guided(torch.tensor([-4.0, -1.0, 1.0, -9.0]))
    cut = float(np.percentile([2.0, 1.0, 0.0, 3.0], 93))
    assert cut == pytest.approx(2.79)
    assert found.tolist() == pytest.approx([value * 4 / 5.79 for value in (2, 1, 0, 2.79)])


def test_imu_of_few_rows_that_count_cuts_nothing() -> None:
    influences = torch.zeros(40)
    influences[3] = -4.0
    assert guided(influences)[3].item() == pytest.approx(40)


def test_imu_needs_a_row_that_counts() -> None:
    with pytest.raises(UserError, match="no row to forget has an influence below 0"):
        guided(torch.tensor([0.0, 2.0]))


def test_imu_by_hand() -> None:
    """Mean log-probs -1 and -3 of weights 0.5 and 1.5: (-0.5 - 4.5) / 2."""
    made: dict[Request, Any] = {
        build("imu").requests[0]: scored([-0.5, -1.5], [-3.0]),
        WEIGHTS: torch.tensor([0.5, 1.5]),
    }
    assert loss(build("imu"), Step(made)).terms == {"forget": pytest.approx(-2.5)}


def test_inpo_weighs_by_removal() -> None:
    """-3, 1 and 0 lie 3, 0 and 0 below 0, in multiples of the mean 3, 0, 0; half of a weight goes by that."""
    assert ByRemoval(0.5)(torch.tensor([-3.0, 1.0, 0.0])).tolist() == pytest.approx([2.0, 0.5, 0.5])
    assert ByRemoval(0.0)(torch.tensor([-3.0, 1.0])).tolist() == [1.0, 1.0]
    assert ByRemoval(1.0)(torch.tensor([3.0, 1.0])).tolist() == [1.0, 1.0]


def test_inpo_by_hand() -> None:
    """At the reference an answer is 2 / beta log 2; weights 0.5 and 1.5 of two answers leave that as it is."""
    method = build("inpo", "retain_weight=0")
    answers = scored([-1.0, -2.0], [-3.0])
    made: dict[Request, Any] = dict(
        zip(method.requests, (answers, answers.token_logprobs, torch.tensor([0.5, 1.5])), strict=True)
    )
    assert loss(method, Step(made)).terms == {"forget": pytest.approx(20 * np.log(2))}
    moved = Scored(answers.token_logprobs - torch.tensor([[0.0, 0.0], [10.0, 0.0]]), answers.mask, answers.is_greedy)
    made[method.requests[0]] = moved
    wanted = 20 * (0.5 * np.log(2) + 1.5 * np.log1p(np.exp(-1.0))) / 2
    assert loss(method, Step(made)).terms == {"forget": pytest.approx(wanted)}


@pytest.mark.parametrize("share", ["-0.1", "1.5"])
def test_inpo_refuses_what_is_no_share(share: str) -> None:
    with pytest.raises(UserError, match="a share from 0 to 1"):
        build("inpo", f"influence={share}")


def made(loaded: LoadedModel, examples: list[Example], name: str, args: str = "") -> Unlearn:
    material = Material(forget=examples[:4], retain=examples[8:12])
    sources = make_sources(loaded, material, method=build(name, args), name=name, append_eos=False)
    return Unlearn(Scoring(loaded), build(name, args), sources.rows, has_adapters=True)


def plain_influences(loaded: LoadedModel, objective: Unlearn) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Gradients of all rows side by side [N, P], in float64."""
    last = loaded.core.get_decoder().layers[-1].self_attn
    weights = [getattr(last, f"{side}_proj") for side in "qkvo"]
    weights = [getattr(one, "base_layer", one).weight for one in weights]
    rows = []
    for item in objective.rows["forget"].encoded:
        for weight in weights:
            weight.requires_grad_(True)
        logits, target = plain_logits(loaded, item)[item.num_context - 1 :], torch.tensor(item.ids[item.num_context :])
        found = torch.autograd.grad(functional.cross_entropy(logits, target), weights)
        rows.append(torch.cat([one.flatten() for one in found]).double().numpy())
        for weight in weights:
            weight.requires_grad_(False)
    every = np.stack(rows)
    return -(every / ((every**2).mean(0) + 0.01)) @ every.mean(0)


@pytest.mark.parametrize("has_adapter", [True, False])
def test_influences_are_those_of_plain_gradients(
    llava: LoadedModel, examples: list[Example], has_adapter: bool
) -> None:
    """Two layers, of which the last third is the second; weights below adapters or the model's own."""
    loaded = attach(llava, LoraSettings(r=2, alpha=4)) if has_adapter else llava
    trainable = loaded.trainable().keys()
    objective = made(loaded, examples, "imu")
    objective = replace(objective, has_adapters=has_adapter)
    objective.prepare(batch_size=2)
    wanted = guided(torch.from_numpy(plain_influences(loaded, objective)).float())
    torch.testing.assert_close(objective.row_weights[WEIGHTS], wanted, rtol=1e-4, atol=1e-4)
    if has_adapter:
        assert loaded.trainable().keys() == trainable
        torch.testing.assert_close(objective.step(BATCH)[WEIGHTS], wanted[[2, 0]])


def test_the_loss_is_that_of_plain_forwards(adapted: LoadedModel, examples: list[Example]) -> None:
    objective = made(adapted, examples, "imu")
    objective.prepare(batch_size=2)
    rows = objective.rows["forget"].of(BATCH)
    for key, weight in adapted.model.named_parameters():
        weight.requires_grad_("lora_" in key)
    lengths = torch.tensor([float(item.num_answer) for item in rows])
    wanted = (objective.row_weights[WEIGHTS][[2, 0]] * answer_sums(adapted, rows) / lengths).mean()
    found = objective.loss(BATCH).total
    assert found.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert_same(gradients(adapted, found), gradients(adapted, wanted))


def test_without_influence_it_is_npo(adapted: LoadedModel, examples: list[Example]) -> None:
    one, other = made(adapted, examples, "inpo", "influence=0"), made(adapted, examples, "npo")
    for objective in (one, other):
        objective.prepare(batch_size=2)
    assert one.loss(BATCH).parts == other.loss(BATCH).parts


@pytest.mark.parametrize("name", ["imu", "inpo"])
def test_text_rows_and_whole_models(name: str, llama_folder: Path, tmp_path: Path) -> None:
    loaded = fresh(ModelSpec(pretrained=str(llama_folder), device="cpu"))
    rows = make_examples(with_images=False)
    settings = replace(SETTINGS, lora=None)
    report = unlearn(
        loaded, Material(forget=rows[:4], retain=rows[8:12]), method=build(name), settings=settings, folder=tmp_path
    )
    assert report.num_steps == 2
    assert not report.diverged


def test_quantised_weights_have_none(llava_folder: Path, examples: list[Example]) -> None:
    loaded = load_model(ModelSpec(pretrained=str(llava_folder), device="cpu", load_in_4bit=True))
    objective = made(attach(loaded, LoraSettings(r=2, alpha=4)), examples, "imu")
    with pytest.raises(UserError, match="quantised ones .* have none; load the model without"):
        objective.prepare(batch_size=2)


def test_edits_many_at_a_time_are_refused(llava: LoadedModel) -> None:
    assert "make them one by one" in (obstacle(llava, method=build("imu"), settings=SETTINGS) or "")
    assert isinstance(WEIGHTS, Influence)
