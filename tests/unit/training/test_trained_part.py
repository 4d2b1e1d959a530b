"""Methods that train only some elements of weights: which they are, and that all others stay bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Concept, Material
from mmforget.methods.mmunlearner import told_in_words
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.spec import ModelSpec
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.toy_steps import loss, scored, step
from tests.unit.training.test_training_preferences import plain_logits

SETTINGS = TrainSettings(lr=1e-2, max_steps=3, batch_size=2, weight_decay=0.1, lora=LoraSettings(r=2, alpha=4))


def test_salient_is_what_forgetting_needs_more() -> None:
    """Against both 1 and 2, whichever is more; equal is enough, and 0 is never."""
    squares = {"forget": torch.tensor([3.0, 2.0, 1.5, 0.0]), "retain": torch.tensor([1.0, 2.0, 1.0, 0.0])}
    method = build("mmunlearner", "words=true")
    assert method.trained_part(squares | {"words": torch.full((4,), 2.0)}).tolist() == [True, True, False, False]
    assert build("mmunlearner", "threshold=2").trained_part(squares).tolist() == [True, False, False, False]


def test_the_loss_by_hand() -> None:
    made = step(forget=scored([-1.0, -2.0]), retain=scored([-0.5]))
    assert loss(build("mmunlearner", "retain_weight=2"), made).terms == {"forget": -1.5, "retain": 1.0}


def test_words_are_the_facts_of_concepts(examples: list[Example]) -> None:
    concept = Concept(name="person 0", facts=(("what is the town?", "bern."),))
    (row,) = told_in_words(Material(forget=examples[:4], concepts=[concept]))
    assert (row.context, row.answer, row.images) == ("what is the town?", " bern.", ())
    with pytest.raises(UserError, match="lists no facts of them; leave words out"):
        told_in_words(Material(forget=examples[:4]))


def made(loaded: LoadedModel, examples: list[Example], *, has_adapters: bool, args: str = "") -> Unlearn:
    material = Material(forget=examples[:4], retain=examples[8:12])
    method = build("mmunlearner", args)
    sources = make_sources(loaded, material, method=method, name="mmunlearner", append_eos=False)
    return Unlearn(Scoring(loaded), method, sources.rows, has_adapters=has_adapters)


def plain_squares(loaded: LoadedModel, objective: Unlearn, weight: Tensor) -> dict[str, Tensor]:
    """Of Hugging Face's forward, weighed by tokens."""
    found = {}
    for source in ("forget", "retain"):
        total, num_tokens = torch.zeros_like(weight), 0
        for item in objective.rows[source].encoded:
            target = torch.tensor(item.ids[item.num_context :])
            logits = plain_logits(loaded, item)[item.num_context - 1 :]
            (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, target), weight)
            total, num_tokens = total + len(target) * gradient.square(), num_tokens + len(target)
        found[source] = total / num_tokens
    return found


def test_of_fresh_adapters_the_factor_without_gradients_is_not_salient(
    llava: LoadedModel, examples: list[Example]
) -> None:
    """Where the other one is 0, it has none, whatever is forgotten; that other one is as plain gradients say."""
    loaded = attach(llava, LoraSettings(r=2, alpha=4))
    objective = made(loaded, examples, has_adapters=True)
    objective.prepare(batch_size=2)
    down = [mask for name, mask in objective.masks.items() if "lora_A" in name]
    assert down
    assert not any(bool(mask.any()) for mask in down)
    name, weight = next((name, one) for name, one in loaded.trainable().items() if "lora_B" in name)
    squares = plain_squares(loaded, objective, weight)
    wanted = (squares["forget"] >= squares["retain"]) & (squares["forget"] > 0)
    assert 0 < int(wanted.sum()) < wanted.numel()
    assert torch.equal(objective.masks[name], wanted)


@pytest.mark.parametrize("kind", ["lora", "full", "4bit", "text"])
def test_what_is_not_salient_stays_bit_by_bit(
    kind: str, llava_folder: Path, llama_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    """After three updates with decay and clipping; what is salient has moved."""
    rows = [replace(row, context=row.context.removeprefix("<image>\n"), images=()) for row in examples]
    rows = rows if kind == "text" else examples
    folder = llama_folder if kind == "text" else llava_folder
    loaded = load_model(ModelSpec(pretrained=str(folder), device="cpu", load_in_4bit=kind == "4bit"))
    settings = replace(SETTINGS, lora=None) if kind == "full" else SETTINGS
    method = build("mmunlearner")
    seen: dict[str, list[Tensor]] = {}
    masks: dict[str, Tensor] = {}
    original = Unlearn.gradients

    def watched(self: Unlearn, once: object, **more: Any) -> Tensor:
        masks.update(self.masks)
        for name, weight in self.score.loaded.trainable().items():
            seen.setdefault(name, []).append(weight.detach().clone())
        return original(self, once, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Unlearn, "gradients", watched)
        report = unlearn(
            loaded, Material(forget=rows[:4], retain=rows[8:12]), method=method, settings=settings, folder=tmp_path
        )
    assert report.num_steps == 3
    moved = {name: one[0] != one[-1] for name, one in seen.items()}
    assert moved.keys() == masks.keys()
    assert not any(bool((moved[name] & ~mask).any()) for name, mask in masks.items())
    share = sum(int(moved[name].sum()) for name in masks) / sum(int(mask.sum()) for mask in masks.values())
    assert share > 0.9


def test_where_nothing_is_salient_it_says_so(llava: LoadedModel, examples: list[Example]) -> None:
    objective = made(attach(llava, LoraSettings(r=2, alpha=4)), examples, has_adapters=True, args="threshold=1e30")
    with pytest.raises(UserError, match="trains only some of the weights, and found none"):
        objective.prepare(batch_size=2)
