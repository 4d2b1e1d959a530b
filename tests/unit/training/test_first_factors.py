"""LoKU's adapters: they begin at a part of the weights that is taken away again, by FILA's formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.fila import first_factors, row_importance
from mmforget.methods.material import Material
from mmforget.model.load import load_model
from mmforget.model.loaded import ADAPTER, LoadedModel
from mmforget.model.lora import LoraSettings, adapters_off, attach, detach, load_adapter, save_adapter
from mmforget.model.spec import ModelSpec
from mmforget.training.batches import Batch
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.unit.training.test_training_preferences import plain_logits

BATCH = Batch(rows=(0, 1), partners={"retain": (3, 2)})
SETTINGS = TrainSettings(lr=1e-2, max_steps=2, batch_size=2, weight_decay=0.1, lora=LoraSettings(r=2, alpha=4))


def test_rows_count_by_what_forgetting_asks_of_them() -> None:
    """4 / 1 + 12 / 1 = 16 and 0 + 9 / 1: 4 and 3, since the retain gradients are 1 less 1e-5."""
    forget = torch.tensor([[4.0, 12.0], [0.0, 9.0]])
    assert row_importance(forget, retain=torch.full((2, 2), 1 - 1e-5)).tolist() == pytest.approx([4.0, 3.0])


def test_the_first_factors_are_the_best_of_their_rank_in_weighted_rows() -> None:
    """Against numpy: no matrix of rank 2 is nearer to diag(rho) W, and B A times the scaling is that without rho."""
    weight = torch.randn((5, 4), generator=torch.Generator().manual_seed(0))
    importance = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
    down, up = first_factors(weight, importance=importance, rank=2, scaling=2.0)
    left, values, right = np.linalg.svd((importance[:, None] * weight).double().numpy(), full_matrices=False)
    best = (left[:, :2] * values[:2]) @ right[:2] / (importance[:, None].numpy() + 1e-5)
    np.testing.assert_allclose(2.0 * (up @ down).numpy(), best, atol=1e-5)
    # Both factors carry the same share of each singular value.
    torch.testing.assert_close(down.norm(dim=1), (torch.from_numpy(values[:2]).float() / 2).sqrt())


def made(loaded: LoadedModel, examples: list[Example]) -> Unlearn:
    method = build("loku")
    material = Material(forget=examples[:4], retain=examples[8:12])
    sources = make_sources(loaded, material, method=method, name="loku", append_eos=False)
    return Unlearn(Scoring(loaded), method, sources.rows, has_adapters=True)


def logits_of(loaded: LoadedModel, objective: Unlearn) -> Tensor:
    with torch.no_grad():
        return torch.cat([plain_logits(loaded, item) for item in objective.rows["forget"].of(BATCH)])


def layers_of(loaded: LoadedModel) -> dict[str, LoraLayer]:
    return {name: one for name, one in loaded.core.named_modules() if isinstance(one, LoraLayer)}


def test_at_first_the_model_is_what_it_was(llava: LoadedModel, examples: list[Example]) -> None:
    """W = (W - s B0 A0) + s B A with B A = B0 A0, and with adapters off it is W."""
    loaded = attach(llava, LoraSettings(r=4, alpha=8, train_projector=True))
    objective = made(loaded, examples)
    before, trainable = logits_of(loaded, objective), loaded.trainable().keys()
    objective.prepare(batch_size=2)
    torch.testing.assert_close(logits_of(loaded, objective), before, atol=2e-5, rtol=1e-4)
    with adapters_off(loaded):
        torch.testing.assert_close(logits_of(loaded, objective), before, atol=0, rtol=0)
    assert loaded.trainable().keys() == trainable
    assert any("modules_to_save" in name for name in trainable)
    for layer in layers_of(loaded).values():
        product = layer.lora_B[ADAPTER].weight @ layer.lora_A[ADAPTER].weight
        assert float(product.detach().abs().max()) > 0


def test_the_squares_are_those_of_plain_gradients(llava: LoadedModel, examples: list[Example]) -> None:
    """An answer's own gradient, squared, weighed by its tokens; of one layer, by Hugging Face's forward."""
    loaded = attach(llava, LoraSettings(r=4, alpha=8))
    objective = made(loaded, examples)
    name, layer = next(iter(layers_of(loaded).items()))
    weight = layer.get_base_layer().weight
    squares = {}
    for source in ("forget", "retain"):
        total, num_tokens = torch.zeros_like(weight), 0
        for item in objective.rows[source].encoded:
            weight.requires_grad_(True)
            target = torch.tensor(item.ids[item.num_context :])
            logits = plain_logits(loaded, item)[item.num_context - 1 :]
            (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, target), weight)
            total, num_tokens = total + len(target) * gradient.square(), num_tokens + len(target)
        squares[source] = total / num_tokens
    weight.requires_grad_(False)
    importance = row_importance(squares["forget"], retain=squares["retain"])
    down, up = first_factors(weight, importance=importance, rank=4, scaling=2.0)
    objective.prepare(batch_size=2)
    found = layers_of(loaded)[name]
    product = found.lora_B[ADAPTER].weight @ found.lora_A[ADAPTER].weight
    torch.testing.assert_close(product, up @ down, atol=1e-5, rtol=1e-3)


def test_the_saved_adapter_goes_on_the_same_base(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    """With what is taken away, as one of twice the rank: after some change the model says the same when loaded."""
    loaded = attach(llava, LoraSettings(r=2, alpha=4))
    objective = made(loaded, examples)
    objective.prepare(batch_size=2)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in loaded.trainable().values():
            weight += 0.05 * torch.randn_like(weight)
    wanted = logits_of(loaded, objective)
    folder = save_adapter(loaded, tmp_path / "adapter")
    again = load_adapter(detach(loaded), folder)
    config = again.model.peft_config[ADAPTER]
    assert (config.r, config.lora_alpha) == (4, 8)
    torch.testing.assert_close(logits_of(again, objective), wanted, atol=2e-5, rtol=1e-4)


def test_what_is_taken_away_neither_trains_nor_decays(
    llava: LoadedModel, examples: list[Example], llava_folder: Path, tmp_path: Path
) -> None:
    """After one update and after two it is the same, and the rest is not."""
    report = unlearn(
        llava, Material(forget=examples[:4], retain=examples[8:12]), method=build("loku"), settings=SETTINGS,
        folder=tmp_path / "one",
    )  # fmt: skip
    whole = load_model(ModelSpec(pretrained=str(llava_folder), device="cpu", peft=str(report.output)))
    short = unlearn(
        llava, Material(forget=examples[:4], retain=examples[8:12]), method=build("loku"),
        settings=replace(SETTINGS, max_steps=1), folder=tmp_path / "two",
    )  # fmt: skip
    other = load_model(ModelSpec(pretrained=str(llava_folder), device="cpu", peft=str(short.output)))
    for one, two in zip(layers_of(whole).values(), layers_of(other).values(), strict=True):
        torch.testing.assert_close(one.lora_A[ADAPTER].weight[2:], two.lora_A[ADAPTER].weight[2:], atol=0, rtol=0)
        assert not torch.equal(one.lora_A[ADAPTER].weight[:2], two.lora_A[ADAPTER].weight[:2])


def test_it_needs_adapters(llava: LoadedModel, examples: list[Example]) -> None:
    objective = replace(made(llava, examples), has_adapters=False)
    with pytest.raises(UserError, match="train with LoRA"):
        objective.prepare(batch_size=2)
