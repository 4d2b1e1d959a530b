"""Training steps, scoring and generation of an NF4 model with LoRA on one device, with and without sharing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.flops import Tree, tree_of, work_of
from benchmarks.generation import NEW_TOKENS
from benchmarks.measuring import Watch, alternate, memory, ratios, reset_peak, say
from benchmarks.training import forgetful
from benchmarks.world import Shape, encode_answers, encode_prompts, make_questions
from mmforget.methods.base import Divergence
from mmforget.methods.build import build
from mmforget.model.encode import Encoded
from mmforget.model.generation import generate
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.scoring import score
from mmforget.model.vision import FeatureCache
from mmforget.training.batches import Batch
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.sources import SourceRows

METHODS = ("ga", "grad_diff", "npo", "kl")
PLAIN_ROWS = 4
"""Questions a forward pass where nothing is shared, as the official scripts have it."""
LEARNING_RATE = 1e-5


@dataclass(frozen=True)
class Setup:
    """What all measurements on a device share."""

    loaded: LoadedModel
    shape: Shape
    repeats: int
    attainable_flops: float
    rank: int = 16

    def questions(self, seed: int) -> Any:
        side = self.loaded.core.config.vision_config.image_size
        return make_questions(Shape(1, self.shape.questions, self.shape.candidates), side=side, seed=seed)


def train(setup: Setup, methods: Sequence[str]) -> dict[str, Any]:
    """One update of each method over all questions about one image, and as many about another to keep."""
    prepared = attach(setup.loaded, LoraSettings(r=setup.rank, alpha=2 * setup.rank))
    forget, retain = (encode_answers(prepared, _one_answer(setup.questions(seed))) for seed in (0, 1))
    return {name: _method(setup, prepared, name, forget=forget, retain=retain) for name in methods}


def _one_answer(questions: Any) -> Any:
    return [replace(one, answers=one.answers[:1]) for one in questions]


def _method(
    setup: Setup, prepared: LoadedModel, name: str, *, forget: list[Encoded], retain: list[Encoded]
) -> dict[str, Any]:
    say(f"training with {name}: {len(forget)} questions about one image")
    steps = {
        "ours": _update(prepared, name, forget=forget, retain=retain, packed=True, rows=len(forget)),
        "plain": _update(prepared, name, forget=forget, retain=retain, packed=False, rows=PLAIN_ROWS),
    }
    counted = {key: _counted(prepared, step) for key, step in steps.items()}
    timings = alternate(steps, repeats=setup.repeats)
    tokens, flops = _needed(prepared, name, forget=forget, retain=retain)
    seconds = timings["ours"].best
    return {
        **{key: timing.as_dict() | counted[key] for key, timing in timings.items()},
        "distinct_tokens": tokens,
        **ratios(timings["plain"], timings["ours"]),
        "questions_a_second": len(forget) / seconds,
        "distinct_tokens_a_second": tokens / seconds,
        "achieved_flops": flops / seconds,
        "share_of_attainable": flops / seconds / setup.attainable_flops,
    }


def _update(
    prepared: LoadedModel, name: str, *, forget: list[Encoded], retain: list[Encoded], packed: bool, rows: int
) -> Callable[[], None]:
    """One weight update over all rows, `rows` a forward pass, images encoded anew each time."""
    bf16 = prepared.device.type == "cuda"
    scoring = Scoring(prepared, packed=packed, bf16=bf16, features=FeatureCache())
    pools = {"forget": SourceRows("forget", forget, is_epoch=True), "retain": SourceRows("retain", retain)}
    objective = Unlearn(scoring, build(name), pools, has_adapters=True)
    objective.prepare(batch_size=rows)
    optimiser = torch.optim.AdamW(prepared.trainable().values(), lr=LEARNING_RATE)
    starts = range(0, len(forget), rows)
    batches = [tuple(range(start, min(start + rows, len(forget)))) for start in starts]

    def work() -> None:
        prepared.model.train()
        fresh = forgetful(objective)
        for batch in batches:
            (fresh.loss(Batch(batch, {"retain": batch})).total * (len(batch) / len(forget))).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return work


def _counted(loaded: LoadedModel, work: Callable[[], object]) -> dict[str, Any]:
    """What one run computes and the memory that it takes; it is the warm-up, too."""
    work()
    reset_peak()
    before = memory().now
    with Watch(loaded.core) as watch:
        work()
    peak = memory().peak
    return {
        "tokens_computed": watch.num_tokens,
        "images_encoded": watch.num_images,
        "memory_before_bytes": before,
        "peak_memory_bytes": peak,
    }


def _needed(prepared: LoadedModel, name: str, *, forget: list[Encoded], retain: list[Encoded]) -> tuple[int, float]:
    """Distinct tokens of a step and the operations they need; those of a KL reference are another forward pass."""
    asked = {request for request in build(name).requests if request.source == "retain"}
    num_lora = sum(weight.numel() for weight in prepared.trainable().values())
    tree = tree_of(forget)
    tokens, flops = tree.num_tokens, work_of(prepared.core, tree, num_lora=num_lora).lora_training
    if asked:
        kept: Tree = tree_of(retain)
        work = work_of(prepared.core, kept, num_lora=num_lora)
        tokens, flops = tokens + kept.num_tokens, flops + work.lora_training
        if any(isinstance(request, Divergence) for request in asked):
            tokens, flops = tokens + kept.num_tokens, flops + work.forward
    return tokens, flops


def score_answers(setup: Setup) -> dict[str, Any]:
    """All candidate answers to all questions about one image."""
    loaded = setup.loaded
    encoded = encode_answers(loaded, setup.questions(2))
    say(f"scoring: {len(encoded)} answers about one image")

    def scorer(packed: bool) -> Callable[[], torch.Tensor]:
        def work() -> torch.Tensor:
            with torch.no_grad():
                return score(loaded, encoded, packed=packed, features=FeatureCache()).token_logprobs

        return work

    works = {"ours": scorer(True), "plain": scorer(False)}
    counted = {name: _counted(loaded, work) for name, work in works.items()}
    difference = float((works["ours"]() - works["plain"]()).abs().max())
    timings = alternate(works, repeats=setup.repeats)
    tree = tree_of(encoded)
    achieved = work_of(loaded.core, tree).forward / timings["ours"].best
    return {
        "sequences": len(encoded),
        "distinct_tokens": tree.num_tokens,
        **{name: timing.as_dict() | counted[name] for name, timing in timings.items()},
        **ratios(timings["plain"], timings["ours"]),
        "largest_difference": difference,
        "achieved_flops": achieved,
        "share_of_attainable": achieved / setup.attainable_flops,
    }


def write_answers(setup: Setup) -> dict[str, Any]:
    """Greedy text for all questions about one image."""
    loaded = setup.loaded
    prompts = encode_prompts(loaded, setup.questions(3))
    say(f"generation: {len(prompts)} prompts, {NEW_TOKENS} new tokens")

    def writer(packed: bool) -> Callable[[], list[str]]:
        return lambda: generate(loaded, prompts, max_new_tokens=NEW_TOKENS, features=FeatureCache(), packed=packed)

    works = {"ours": writer(True), "plain": writer(False)}
    counted = {name: _counted(loaded, work) for name, work in works.items()}
    same = sum(one == other for one, other in zip(works["ours"](), works["plain"](), strict=True))
    timings = alternate(works, repeats=setup.repeats)
    return {
        "prompts": len(prompts),
        "new_tokens": NEW_TOKENS,
        **{name: timing.as_dict() | counted[name] for name, timing in timings.items()},
        **ratios(timings["plain"], timings["ours"]),
        "prompts_with_the_same_text": same,
    }
