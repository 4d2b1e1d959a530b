"""Representation misdirection against `output_hidden_states` of plain forwards, and its state in checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import Encoded, encode
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.training.batches import Batch
from mmforget.training.log import read_log
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example

BATCH = Batch(rows=(0, 1, 5), partners={"retain": (3, 2, 7), "expert": (0, 0, 0), "novice": (0, 0, 0)})


def plain_states(loaded: LoadedModel, item: Encoded, *, layer: int) -> Tensor:
    """What the layer puts out [T, H] where the model's own forward predicts these tokens."""
    ids = torch.tensor([item.ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if item.images:
        inputs["pixel_values"] = loaded.processor.image_processor(list(item.images), return_tensors="pt").pixel_values
    states: Tensor = loaded.core(**inputs, output_hidden_states=True).hidden_states[layer + 1][0]
    return states[item.num_context - 1 : -1]


def objective(loaded: LoadedModel, examples: Sequence[Example], args: str) -> Unlearn:
    method = build("rmu", args)
    material = Material(forget=examples[:8], retain=examples[8:])
    sources = make_sources(loaded, material, method=method, name="rmu", append_eos=False)
    made = Unlearn(Scoring(loaded), method, sources.rows, has_adapters=True, seed=3)
    made.prepare(batch_size=3)
    return made


def distance(states: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    pairs = zip(states, targets, strict=True)
    return torch.stack([(one - target).pow(2).mean() for one, target in pairs]).mean()


def expected(loaded: LoadedModel, made: Unlearn, *, target: Any) -> Tensor:
    """Both terms with a retain weight of 2, from states one question at a time; `target` of old forget states."""
    rows = {name: made.rows[name].of(BATCH) for name in ("forget", "retain")}
    with torch.no_grad(), loaded.model.disable_adapter():
        before = {name: [plain_states(loaded, one, layer=0) for one in own] for name, own in rows.items()}
    for key, weight in loaded.model.named_parameters():
        weight.requires_grad_("lora_" in key)
    now = {name: [plain_states(loaded, one, layer=0) for one in own] for name, own in rows.items()}
    steered = [target(one) for one in before["forget"]]
    return distance(now["forget"], steered) + 2 * distance(now["retain"], before["retain"])


def test_the_loss_and_its_gradient_are_those_of_plain_forwards(adapted: LoadedModel, examples: list[Example]) -> None:
    made = objective(adapted, examples, "coefficient=3,retain_weight=2")
    drawn = torch.rand(adapted.core.config.get_text_config().hidden_size, generator=torch.Generator().manual_seed(3))
    wanted = expected(adapted, made, target=lambda old: (3 * drawn / drawn.norm()).expand_as(old))
    found = made.loss(BATCH).total
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    weights = {name: one for name, one in adapted.trainable().items() if "layers.0." in name}
    ours, theirs = (torch.autograd.grad(one, [*weights.values()]) for one in (found, wanted))
    for name, one, other in zip(weights, ours, theirs, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-4, name


def test_a_concept_is_a_direction_between_two_prompts(adapted: LoadedModel, examples: list[Example]) -> None:
    made = objective(adapted, examples, "coefficient=3,retain_weight=2,target=concept,topic=chess")
    prompts = ("You are a world-class expert in chess", "You are a novice at chess")
    with torch.no_grad(), adapted.model.disable_adapter():
        expert, novice = (plain_states(adapted, encode(adapted, one, "."), layer=0)[0] for one in prompts)
    away = (novice - expert) / (novice - expert).norm()
    wanted = expected(adapted, made, target=lambda old: old + 3 * away)
    assert made.loss(BATCH).total.item() == pytest.approx(wanted.item(), rel=1e-4)


@pytest.mark.parametrize("kind", ["llava", "llama"])
def test_the_first_update_reaches_adapters_up_to_the_layer(
    kind: str, examples: list[Example], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """And no others: nothing above the layer, and of an image-text model neither tower nor projector."""
    loaded: LoadedModel = request.getfixturevalue(kind)
    if kind == "llama":
        examples = [Example(one.id, one.subject, "who is this?", one.answer) for one in examples]
    settings = TrainSettings(
        lr=1e-2, max_steps=1, batch_size=4, lora=LoraSettings(r=2, alpha=4), train_projector=False, weight_decay=0.0
    )
    material = Material(forget=examples[:8], retain=examples[8:])
    report = unlearn(loaded, material, method=build("rmu", "layer=0"), settings=settings, folder=tmp_path)
    tensors = load_file(report.output / "adapter_model.safetensors")
    moved = {name for name, one in tensors.items() if "lora_B" in name and bool(one.any())}
    assert moved == {name for name in tensors if "lora_B" in name and "layers.0." in name}
    assert not any("vision" in name for name in tensors)


def test_direction_and_norm_lie_in_the_checkpoint_and_the_log(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    settings = TrainSettings(lr=1e-2, max_steps=5, batch_size=4, lora=LoraSettings(r=2, alpha=4), save_steps=2, seed=3)
    kept: dict[str, Tensor] = {}

    def progress(done: int, _total: int, _label: str) -> None:
        for path in tmp_path.glob("checkpoints/*/method_state.safetensors"):
            kept.update(load_file(path))

    method = build("rmu", "adaptive=True")
    unlearn(llava, Material(forget=examples[:8], retain=examples[8:]), method=method, settings=settings,
            folder=tmp_path, progress=progress)  # fmt: skip
    drawn = torch.rand(len(kept["direction"]), generator=torch.Generator().manual_seed(3))
    assert torch.allclose(kept["direction"], drawn / drawn.norm())
    norms = {line["state"]["norm"] for line in read_log(tmp_path / "train_log.jsonl")}
    assert norms == {kept["norm"].item()}
    assert kept["norm"].item() > 0


def test_a_layer_that_is_not_there_is_named(adapted: LoadedModel, examples: list[Example]) -> None:
    with pytest.raises(UserError, match="layer 7 is asked about, and the model has 2: 0 to 1"):
        objective(adapted, examples, "layer=7")
