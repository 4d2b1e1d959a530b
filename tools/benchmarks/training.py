"""A training step: 20 questions about one image, ours in one shared row, against the official one question a row."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.context import Context
from benchmarks.flops import tree_of, work_of
from benchmarks.measuring import (
    Seconds,
    Timing,
    Watch,
    clock,
    is_enough,
    num_parameters_alive,
    ratios,
    relative_difference,
    say,
)
from benchmarks.official import BATCH_SIZE, BETA, Official
from benchmarks.world import Question, Shape, encode_answers, make_questions
from mmforget.methods.build import build
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.vision import FeatureCache
from mmforget.training.batches import Batch
from mmforget.training.objective import Memorise, Objective, Scoring, Unlearn
from mmforget.training.sources import SourceRows

RANK, ALPHA = 16, 32.0
LOSSES = ("nll", "npo")


@dataclass(frozen=True)
class Step:
    """What one variant computes for one update: a function that leaves gradients, under an optional watch."""

    cores: list[Any]
    update: Callable[[Watch | None], tuple[Seconds, dict[str, Tensor]]]


def run(context: Context) -> dict[str, Any]:
    """Time, gradients and counts of both losses, every variant in turn."""
    return {"lora_rank": RANK, "official_batch_size": BATCH_SIZE, **{name: _loss(context, name) for name in LOSSES}}


def questions_of(context: Context) -> list[Question]:
    """The questions about one image, one answer each: one update."""
    shape = Shape(1, context.shape.questions)
    return make_questions(shape, side=context.geometry.image_side)


def adapted(context: Context) -> LoadedModel:
    """The model with adapters that do something already, as after some steps, so that every gradient counts."""
    loaded = attach(context.model(), LoraSettings(r=RANK, alpha=ALPHA))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in sorted(loaded.trainable().items()):
            if "lora_B" in name:
                weight.normal_(0.0, 0.02, generator=generator)
    return loaded


def our_step(loaded: LoadedModel, encoded: list[Encoded], *, loss: str) -> Step:
    """One update of mmforget's own objective over all questions; reference log-probs are there already."""
    objective = _objective(loaded, encoded, loss=loss)
    batch = Batch(tuple(range(len(encoded))))

    def update(watch: Watch | None) -> tuple[Seconds, dict[str, Tensor]]:
        loaded.model.train()
        loaded.model.zero_grad(set_to_none=True)
        fresh = forgetful(objective)
        seconds = clock(lambda: _backward(fresh.loss(batch, update=0).total, watch))
        return seconds, {name: weight.grad.clone() for name, weight in loaded.trainable().items()}

    return Step([loaded.core], update)


def forgetful(objective: Any) -> Any:
    """The same objective without image features of earlier steps, which it would keep: every step pays for them."""
    return replace(objective, score=replace(objective.score, features=FeatureCache()))


def _backward(loss: Tensor, watch: Watch | None) -> None:
    if watch is None:
        loss.backward()
        return
    with watch.computing():
        loss.backward()


def _objective(loaded: LoadedModel, encoded: list[Encoded], *, loss: str) -> Any:
    scoring = Scoring(loaded, features=FeatureCache())
    if loss == "nll":
        return Memorise(scoring, encoded)
    method = build("npo", {"beta": BETA, "retain_weight": 0.0})
    rows = {"forget": SourceRows("forget", encoded, is_epoch=True)}
    objective: Objective = Unlearn(scoring, method, rows, has_adapters=True)
    objective.prepare(batch_size=len(encoded))
    return objective


def official_step(context: Context, questions: list[Question], *, loss: str, lora: dict[str, Tensor]) -> Step:
    """One update of the official kind over all questions."""
    official = Official(context.model_folder(), rank=RANK, alpha=ALPHA, lora=lora, npo=loss == "npo")
    make = partial(official.update, questions, output=context.folder / "trainer")
    return Step(official.cores, lambda watch: tuple(make(watch=watch)))


def _loss(context: Context, loss: str) -> dict[str, Any]:
    questions, loaded = questions_of(context), adapted(context)
    encoded, before = encode_answers(loaded, questions), num_parameters_alive()
    ours = our_step(loaded, encoded, loss=loss)
    second_model = num_parameters_alive() - before
    lora = {name: weight.detach().clone() for name, weight in loaded.trainable().items()}
    steps = {
        "ours": ours,
        "official": official_step(context, questions, loss=loss, lora=lora),
    }
    say(f"training with {loss}: {len(encoded)} questions a step, LoRA rank {RANK}")
    updates: dict[str, list[Update]] = {name: [] for name in steps}
    for _ in range(context.repeats):
        for name, step in steps.items():
            if not is_enough([one.seconds for one in updates[name]], repeats=context.repeats):
                updates[name].append(_watched(step))
    timings = {name: Timing([one.seconds for one in found]) for name, found in updates.items()}
    gradients = {name: found[-1].gradients for name, found in updates.items()}
    counted = {name: _counted(found) for name, found in updates.items()}
    tree, num_lora = tree_of(encoded), sum(weight.numel() for weight in lora.values())
    achieved, attainable = work_of(loaded.core, tree, num_lora=num_lora).lora_training, context.attainable_flops()
    achieved /= timings["ours"].best
    return {
        "shape": {"questions": len(encoded), "distinct_tokens": tree.num_tokens},
        **{name: timing.as_dict() | counted[name] for name, timing in timings.items()},
        **ratios(timings["official"], timings["ours"], name="ratio_to_official"),
        "gradient_difference_to_official": _difference(gradients["ours"], gradients["official"]),
        "parameters_added_for_reference": second_model,
        "achieved_flops": achieved,
        "attainable_flops": attainable,
        "share_of_attainable": achieved / attainable,
    }


class Update(NamedTuple):
    """One update: what it took, its gradients, what passed through the model, and the share of time outside."""

    seconds: Seconds
    gradients: dict[str, Tensor]
    num_tokens: int
    num_images: int
    share_outside: float


def _watched(step: Step) -> Update:
    with Watch(*step.cores) as watch:
        seconds, gradients = step.update(watch)
    return Update(seconds, gradients, watch.num_tokens, watch.num_images, 1 - watch.inside_s / seconds.wall)


def _counted(updates: list[Update]) -> dict[str, Any]:
    """Counts of one update; the share outside is the smallest of all, and their median."""
    shares = [one.share_outside for one in updates]
    return {
        "tokens_computed": updates[-1].num_tokens,
        "images_encoded": updates[-1].num_images,
        "share_outside_model": min(shares),
        "share_outside_model_median": statistics.median(shares),
    }


def _difference(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Relative L2 difference over all adapters. Raises RuntimeError where they are not the same ones."""
    if found.keys() != wanted.keys():
        raise RuntimeError(f"gradients of different parameters: {sorted(found.keys() ^ wanted.keys())[:3]}")
    return relative_difference(list(found.values()), [wanted[name] for name in found])
