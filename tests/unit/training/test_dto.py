"""DTO: targets by their delta, gradients that do not point against each other, log-probs behind a shortened context."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods.base import Divergence, Drift, Reference, Request, Scores, Step, TokenStats
from mmforget.methods.build import build
from mmforget.methods.dto import largest, opposed
from mmforget.methods.material import Material
from mmforget.model.encode import Encoded
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.spec import ModelSpec
from mmforget.model.suffixes import with_suffixes
from mmforget.training.batches import Batch
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.toy_steps import loss, scored
from tests.unit.training.test_training_preferences import assert_same, plain_logits

BATCH = Batch(rows=(0, 1), partners={"others": (0, 1)})
SETTINGS = TrainSettings(lr=1e-2, max_steps=3, batch_size=2, lora=LoraSettings(r=2, alpha=4))


def test_targets_are_the_share_with_the_largest_values() -> None:
    """Of four 0.5 is two, of three 0.5 two, of one one; what is masked counts for nothing."""
    values = torch.tensor([[1.0, 3.0, 2.0, 2.0], [1.0, 3.0, 2.0, 9.0], [1.0, 3.0, 2.0, 9.0]])
    mask = torch.tensor([[True] * 4, [True] * 3 + [False], [True] + [False] * 3])
    assert largest(values, mask=mask, share=0.5).tolist() == [
        [False, True, True, False],
        [False, True, True, False],
        [True, False, False, False],
    ]


def test_a_share_is_not_rounded_up_by_its_last_bit() -> None:
    """0.3 of 10 is 3, whose float is a little more."""
    assert int(largest(torch.arange(10.0)[None], mask=torch.ones((1, 10), dtype=torch.bool), share=0.3).sum()) == 3


def test_the_terms_by_hand() -> None:
    """Deltas 2 and 0.5: the first token is the target, at its reference 2 / beta log 2; the other one drifts by 4."""
    method = build("dto", "share=0.5,kept_weight=0.5")
    answers = scored([-1.0, -1.0])
    found: dict[Request, object] = {
        Scores("forget"): answers,
        Reference("forget"): answers.token_logprobs,
        Reference("forget", suffix=0.5): torch.tensor([[-3.0, -1.5]]),
        Divergence("others"): Drift(torch.tensor([[8.0, 4.0]]), answers.mask, 5),
    }
    assert loss(method, Step(found)).terms == pytest.approx({"forget": 20 * math.log(2), "kept": 2.0})
    hinge = build("dto", "share=0.5,kept_weight=0,forget=ihl")
    found[TokenStats("forget", "runner_up")] = torch.tensor([[0.25, 0.5]]).log()
    assert loss(hinge, Step(found)).terms == pytest.approx({"forget": 1 + math.exp(-1) - 0.25})


def test_a_gradient_loses_what_it_has_against_the_other() -> None:
    """(-2, 1) has -2 / 1 of (1, 0) in it; (2, 1) points along it and loses nothing."""
    to = {"a": torch.tensor([1.0]), "b": torch.tensor([0.0])}
    assert opposed({"a": torch.tensor([-2.0]), "b": torch.tensor([1.0])}, to=to) == -2.0
    assert opposed({"a": torch.tensor([2.0]), "b": torch.tensor([1.0])}, to=to) == 0.0
    assert opposed({"a": torch.tensor([-2.0])}, to={"a": torch.zeros(1)}) == 0.0
    assert opposed({}, to={}) == 0.0


@pytest.mark.parametrize("args", ["suffix=0", "suffix=1", "share=1.5"])
def test_shares_lie_between_0_and_1(args: str) -> None:
    with pytest.raises(UserError, match="a share above 0 and below 1"):
        build("dto", args)


def test_each_token_stands_behind_the_end_of_what_was_before() -> None:
    """An image of two tokens counts one: before the tokens 7 and 8 stand four and five, the ends are two and three."""
    one = Encoded((1, 50, 50, 5, 6, 7, 8), 5, ("picture",), ("key",), (1, 2), (2,))  # type: ignore[arg-type]
    found = with_suffixes(one, share=0.5)
    assert [(item.ids, item.num_context, item.images) for item in found] == [((5, 6, 7), 2, ()), ((5, 6, 7, 8), 3, ())]
    whole = with_suffixes(one, share=0.75)
    assert [(item.ids, item.image_at, item.images) for item in whole] == [
        ((50, 50, 5, 6, 7), (0, 1), ("picture",)),
        ((50, 50, 5, 6, 7, 8), (0, 1), ("picture",)),
    ]


def made(loaded: LoadedModel, examples: list[Example], args: str = "") -> Unlearn:
    method = build("dto", args)
    sources = make_sources(loaded, Material(forget=examples[:4]), method=method, name="dto", append_eos=False)
    objective = Unlearn(Scoring(loaded), method, sources.rows, has_adapters=True)
    objective.prepare(batch_size=2)
    return objective


def test_log_probs_behind_a_suffix_are_those_of_plain_forwards(adapted: LoadedModel, examples: list[Example]) -> None:
    objective = made(adapted, examples)
    found = objective.references[Reference("forget", suffix=0.5).key]
    for item, own in zip(objective.rows["forget"].encoded, found, strict=True):
        with torch.no_grad(), adapted.model.disable_adapter():
            wanted = [
                plain_logits(adapted, one)[-1].log_softmax(-1)[one.ids[-1]] for one in with_suffixes(item, share=0.5)
            ]
        torch.testing.assert_close(own, torch.stack(wanted), atol=1e-4, rtol=1e-4)


def test_gradients_are_those_of_plain_forwards(adapted: LoadedModel, examples: list[Example]) -> None:
    """One update, whose terms point against each other or not, as an independent projection has it."""
    objective = made(adapted, examples, "share=0.5")
    step = objective.step(BATCH)
    targets = build("dto", "share=0.5").chosen(step)
    for key, weight in adapted.model.named_parameters():
        weight.requires_grad_("lora_" in key)
    forget, kept = [], []
    for item, chosen in zip(objective.rows["forget"].of(BATCH), targets, strict=True):
        goal, chosen = torch.tensor(item.ids[item.num_context :]), chosen[: item.num_answer]
        with torch.no_grad(), adapted.model.disable_adapter():
            old = plain_logits(adapted, item)[item.num_context - 1 :].log_softmax(-1)
        new = plain_logits(adapted, item)[item.num_context - 1 :].log_softmax(-1)
        ratio = (new - old).gather(-1, goal[:, None])[:, 0]
        forget.append(-20 * functional.logsigmoid(-0.1 * ratio[chosen]))
        kept.append((old.exp() * (old - new)).sum(-1)[~chosen])
    weights = adapted.trainable()

    def gradient(parts: list[Tensor]) -> dict[str, Tensor]:
        found = torch.autograd.grad(torch.cat(parts).mean(), list(weights.values()), retain_graph=True)
        return dict(zip(weights, found, strict=True))

    one, other = gradient(forget), gradient(kept)
    flat = [torch.cat([vector[name].flatten() for name in one]) for vector in (one, other)]
    along = min(0.0, float(flat[0] @ flat[1] / flat[1].square().sum()))
    wanted = {name: one[name] + (1 - along) * other[name] for name in one}
    adapted.model.zero_grad()

    def once(portions: object) -> Tensor:
        (portion,) = portions  # type: ignore[misc]
        total = objective.loss(BATCH, portion=portion).total
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()

    objective.gradients(once, num_batches=1, update=0)
    found = {name: weight.grad for name, weight in adapted.trainable().items() if weight.grad is not None}
    assert_same(found, wanted)


@pytest.mark.parametrize("kind", ["image", "text", "4bit"])
def test_it_trains(kind: str, llava_folder: Path, llama_folder: Path, examples: list[Example], tmp_path: Path) -> None:
    rows = [replace(row, context=row.context.removeprefix("<image>\n"), images=()) for row in examples]
    folder = llama_folder if kind == "text" else llava_folder
    loaded = load_model(ModelSpec(pretrained=str(folder), device="cpu", load_in_4bit=kind == "4bit"))
    forget = (rows if kind == "text" else examples)[:4]
    report = unlearn(loaded, Material(forget=forget), method=build("dto"), settings=SETTINGS, folder=tmp_path)
    assert (report.num_steps, report.diverged) == (3, False)
    assert set(report.final_parts) == {"forget", "kept"}


def test_it_needs_adapters(llama: LoadedModel, tmp_path: Path, examples: list[Example]) -> None:
    rows = [replace(row, context=row.context.removeprefix("<image>\n"), images=()) for row in examples]
    with pytest.raises(UserError, match="train with LoRA"):
        unlearn(
            llama,
            Material(forget=rows[:4]),
            method=build("dto"),
            settings=replace(SETTINGS, lora=None),
            folder=tmp_path,
        )
