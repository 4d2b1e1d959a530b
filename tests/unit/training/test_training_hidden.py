"""Hidden states that a method asks for, against `output_hidden_states` of plain forwards, one question at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.base import Divergence, Hidden, Request, Scores, Source, Step
from mmforget.methods.contract import check_method, toy_step
from mmforget.methods.material import Material
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.training.batches import Batch
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import settings_from
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example

BATCH = Batch(rows=(0, 1, 5), partners={"retain": (3, 2, 7)})
FORGET, ALL = Hidden("forget", (0,)), Hidden("forget", (0,), positions="all")
NOW, BEFORE = Hidden("retain", (-2, 0)), Hidden("retain", (0,), before=True)


@dataclass(frozen=True)
class Steers:
    """Pulls the forget answers' states of one layer to a constant, and keeps the retain answers'."""

    layer: int = 0
    size: float = 2.0

    @property
    def requests(self) -> tuple[Request, ...]:
        now = [Hidden(source, (self.layer,)) for source in ("forget", "retain")]
        return (Scores("forget"), *now, Hidden("retain", (self.layer,), before=True))

    def loss(self, step: Step) -> dict[str, Tensor]:
        forget, now, before = (step[request] for request in self.requests[1:])
        mask = step[Scores("forget")].mask
        return {
            "forget": (forget[0] - self.size)[mask].square().mean(),
            "retain": (now - before).square().mean(),
        }


@dataclass(frozen=True)
class Asks:
    requests: tuple[Request, ...]
    sources: tuple[Source, ...] = ()

    def loss(self, step: Step) -> dict[str, Tensor]:
        raise AssertionError


def objective(loaded: LoadedModel, examples: Sequence[Example], method: Any, **settings: Any) -> Unlearn:
    material = Material(forget=examples[:8], retain=examples[8:])
    sources = make_sources(loaded, material, method=method, name="mine", append_eos=False)
    made = Unlearn(Scoring(loaded, **settings), method, sources.rows, has_adapters=True)
    made.prepare(batch_size=3)
    return made


def plain_states(loaded: LoadedModel, item: Encoded, *, layer: int, positions: str = "answer") -> Tensor:
    """What the layer puts out [T, H] where the model's own forward predicts these tokens."""
    ids = torch.tensor([item.ids])
    pixels = loaded.processor.image_processor(list(item.images), return_tensors="pt").pixel_values  # type: ignore[union-attr]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    states: Tensor = loaded.core(**inputs, output_hidden_states=True).hidden_states[layer + 1][0]
    return states[item.num_context - 1 : -1] if positions == "answer" else states[:-1]


def same(found: Tensor, wanted: Sequence[Tensor]) -> bool:
    """Of padded states [B, T, H]."""
    for row, one in zip(found, wanted, strict=True):
        torch.testing.assert_close(row[: len(one)], one, atol=1e-5, rtol=1e-4)
        assert not row[len(one) :].any()
    return True


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("beside", [(), (Scores("forget"), Divergence("retain"))])
def test_states_are_those_of_plain_forwards(
    adapted: LoadedModel, examples: list[Example], beside: tuple[Request, ...], packed: bool
) -> None:
    """Whatever else is asked of the same rows."""
    made = objective(adapted, examples, Asks((*beside, FORGET, ALL, NOW, BEFORE)), packed=packed)
    step = made.step(BATCH)
    forget, retain = (made.rows[name].of(BATCH) for name in ("forget", "retain"))
    with torch.no_grad():
        now = [plain_states(adapted, one, layer=0) for one in retain]
        with adapted.model.disable_adapter():
            before = [plain_states(adapted, one, layer=0) for one in retain]
    assert float((now[0] - before[0]).abs().max()) > 1e-3
    assert same(step[BEFORE][0], before)
    assert not step[BEFORE].requires_grad
    assert same(step[NOW].detach()[0], now)
    assert torch.equal(step[NOW][0], step[NOW][1])
    for request in (FORGET, ALL):
        found = [plain_states(adapted, one, layer=0, positions=request.positions).detach() for one in forget]
        assert same(step[request].detach()[0], found)
        assert step[request].dtype == torch.float32
    if beside:
        assert float(step[Divergence("retain")].token_kl.detach().max()) > 1e-4
    assert step.found.keys() == {*beside, FORGET, ALL, NOW, BEFORE}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_plain_forwards(
    adapted: LoadedModel, examples: list[Example], checkpointing: bool
) -> None:
    made = objective(adapted, examples, Asks((FORGET,)))
    adapted.model.train()
    if checkpointing:
        adapted.core.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    step = made.step(BATCH)
    step[FORGET].square().sum().backward()
    found = {name: weight.grad for name, weight in adapted.trainable().items() if weight.grad is not None}
    adapted.model.zero_grad()
    for one in made.rows["forget"].of(BATCH):
        plain_states(adapted, one, layer=0).square().sum().backward()
    reached = {name for name, weight in adapted.trainable().items() if weight.grad is not None and weight.grad.any()}
    assert reached == {name for name, grad in found.items() if grad.any()}
    assert any("layers.0" in name for name in reached)
    assert not any("layers.1" in name for name in reached)
    for name in reached:
        wanted = adapted.trainable()[name].grad
        assert wanted is not None
        assert float((found[name] - wanted).norm() / wanted.norm()) < 1e-5, name


def test_rows_of_a_released_alignment_have_states_at_their_answers(
    adapted: LoadedModel, examples: list[Example]
) -> None:
    """There the model is looked at everywhere, and what is no answer is 0, as it is in the scores."""
    source = Source(name="mine", draw="random", rows=lambda material: material.forget[:3], alignment="released")
    wanted = Hidden("mine", (0,))
    made = objective(adapted, examples, Asks((Divergence("mine"), Scores("mine"), wanted), (source,)))
    batch = Batch(rows=(0, 1), partners={"mine": (2, 0), "retain": (3, 2)})
    step = made.step(batch)
    mask = step[Scores("mine")].mask
    for row, one in enumerate(made.rows["mine"].of(batch)):
        with torch.no_grad():
            plain = plain_states(adapted, one, layer=0)
        torch.testing.assert_close(step[wanted][0, row][mask[row]].detach(), plain, atol=1e-5, rtol=1e-4)
    assert not step[wanted][0][~mask].any()


def test_a_method_that_steers_states_is_trained(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    """The states come nearer to what the loss wants, and the method passes the contract's toy step."""
    method = Steers()
    check_method(method, name="steers")
    settings = settings_from({"max_steps": 30, "lr": 0.02, "lora_r": 4, "lora_alpha": 8, "batch_size": 4}, {})
    material = Material(forget=examples[:8], retain=examples[8:])
    report = unlearn(llava, material, method=method, settings=settings, folder=tmp_path / "out", label="steers")
    lines = [json.loads(line) for line in (tmp_path / "out" / "train_log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert report.num_steps == 30
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("layer", [2, -3])
def test_a_layer_that_is_not_there_is_named(adapted: LoadedModel, examples: list[Example], layer: int) -> None:
    with pytest.raises(UserError, match=rf"layer {layer} is asked about, and the model has 2: 0 to 1"):
        objective(adapted, examples, Asks((Hidden("forget", (0, layer)),)))


def test_without_adapters_there_is_no_model_before(llava: LoadedModel, examples: list[Example]) -> None:
    method = Asks((Hidden("retain", (0,), before=True),))
    sources = make_sources(
        llava, Material(forget=examples[:8], retain=examples[8:]), method=method, name="mine", append_eos=False
    )
    with pytest.raises(UserError, match="train with LoRA"):
        Unlearn(Scoring(llava), method, sources.rows, has_adapters=False).prepare(batch_size=3)


def test_toy_states_have_their_shape_and_a_gradient() -> None:
    logits = torch.zeros(3, 4, 5, requires_grad=True)
    step = toy_step((NOW, BEFORE), logits={"retain": logits})
    assert step[NOW].shape == (2, 3, 4, 8)
    assert step[NOW].requires_grad
    assert not step[BEFORE].requires_grad
