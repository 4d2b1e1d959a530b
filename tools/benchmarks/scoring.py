"""Scoring: candidate answers about shared images, and questions that share nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.context import Context
from benchmarks.flops import tree_of, work_of
from benchmarks.measuring import Watch, alternate, clock, ratios, say
from benchmarks.world import Question, Shape, encode_answers, make_questions
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from mmforget.model.vision import FeatureCache
from mmforget.types import Scored

PLAIN_BUDGETS = (2500, 16384)
"""Tokens a forward pass among which the plain path gets its best."""
SAMPLE = 18
"""Sequences on which that is tried."""


def run(context: Context) -> dict[str, Any]:
    """Shared and unshared scoring, with everything that is counted on the way."""
    loaded = context.model()
    shared = _shared(loaded, context)
    return {"shared": shared, "unshared": _unshared(loaded, context, budget=shared["plain"]["tokens_a_pass"])}


def scorer(loaded: LoadedModel, encoded: Sequence[Encoded], **settings: Any) -> Callable[[], Scored]:
    """Scores all of it; every image is new each time."""

    def work() -> Scored:
        with torch.no_grad():
            return score(loaded, encoded, features=FeatureCache(), **settings)

    return work


def best_budget(loaded: LoadedModel, encoded: Sequence[Encoded]) -> int:
    """The tokens a forward pass at which the plain path is fastest."""
    found = {size: clock(scorer(loaded, encoded, packed=False, max_tokens=size)).wall for size in PLAIN_BUDGETS}
    return min(found, key=found.__getitem__)


def _shared(loaded: LoadedModel, context: Context) -> dict[str, Any]:
    shape = context.shape
    questions = make_questions(shape, side=context.geometry.image_side)
    encoded = encode_answers(loaded, questions)
    budget = best_budget(loaded, encoded[:SAMPLE])
    say(f"scoring: {len(encoded)} answers about {shape.images} images; plain path at {budget} tokens a pass")
    variants = {"ours": scorer(loaded, encoded), "plain": scorer(loaded, encoded, packed=False, max_tokens=budget)}
    ours = min((_Counted(loaded, variants["ours"]) for _ in range(2)), key=lambda one: one.share_outside)
    plain = _Counted(loaded, variants["plain"])
    timings = alternate(variants, repeats=context.repeats, before={"plain": plain.seconds})
    tree, attainable = tree_of(encoded), context.attainable_flops()
    achieved = work_of(loaded.core, tree).forward / timings["ours"].best
    reference = hugging_face_logprobs(context, questions[:: max(1, len(questions) // 10)])
    return {
        "shape": vars(shape) | {"sequences": len(encoded), "tokens": sum(map(len, encoded))},
        "distinct_tokens": tree.num_tokens,
        "distinct_images": tree.num_images,
        "ours": timings["ours"].as_dict() | ours.numbers,
        "plain": timings["plain"].as_dict() | plain.numbers | {"tokens_a_pass": budget},
        **ratios(timings["plain"], timings["ours"]),
        "tokens_computed_over_distinct": ours.numbers["tokens_computed"] / tree.num_tokens,
        "largest_difference": largest_difference(ours.logprobs, plain.logprobs),
        "largest_difference_to_hugging_face": _against(reference, ours.logprobs, questions, shape),
        "achieved_flops": achieved,
        "attainable_flops": attainable,
        "share_of_attainable": achieved / attainable,
    }


class _Counted:
    """One run under watch: its time, its log-probs and its numbers."""

    def __init__(self, loaded: LoadedModel, work: Callable[[], Scored]) -> None:
        self.logprobs = torch.empty(0)
        with Watch(loaded.core) as watch:
            self.seconds = clock(lambda: setattr(self, "logprobs", work().token_logprobs))
        self.share_outside = 1 - watch.inside_s / self.seconds.wall
        self.numbers = {
            "tokens_computed": watch.num_tokens,
            "images_encoded": watch.num_images,
            "share_outside_model": self.share_outside,
        }


def largest_difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def hugging_face_logprobs(context: Context, questions: Sequence[Question]) -> dict[tuple[str, str], Tensor]:
    """Log-probs of the first answer of some questions by a stock model, its processor and nothing of mmforget."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = str(context.model_folder())
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    found = {}
    for one in questions:
        front = processor(text=one.context, images=one.image, return_tensors="pt")["input_ids"].shape[1]
        inputs = processor(text=one.context + one.answers[0], images=one.image, return_tensors="pt")
        with torch.no_grad():
            logprobs = model(**inputs).logits[0, front - 1 : -1].float().log_softmax(-1)
        target = inputs["input_ids"][0, front:, None]
        found[one.context, one.answers[0]] = logprobs.gather(1, target)[:, 0]
    return found


def _against(
    reference: dict[tuple[str, str], Tensor], logprobs: Tensor, questions: Sequence[Question], shape: Shape
) -> float:
    rows = {(one.context, one.answers[0]): at * shape.candidates for at, one in enumerate(questions)}
    return max(largest_difference(logprobs[rows[key]][: len(value)], value) for key, value in reference.items())


def _unshared(loaded: LoadedModel, context: Context, *, budget: int) -> dict[str, Any]:
    """One question and one answer an image: what sharing costs where there is nothing to share."""
    shape = Shape(4, 1, 1)
    encoded = encode_answers(loaded, make_questions(shape, side=context.geometry.image_side, seed=1))
    say(f"scoring without sharing: {len(encoded)} images, {budget} tokens a pass")
    variants = {
        "ours": scorer(loaded, encoded, max_tokens=budget),
        "plain": scorer(loaded, encoded, packed=False, max_tokens=budget),
    }
    results = {name: work().token_logprobs for name, work in variants.items()}
    timings = alternate(variants, repeats=context.repeats)
    return {
        "shape": vars(shape),
        **{name: timing.as_dict() for name, timing in timings.items()},
        "tokens_a_pass": budget,
        **ratios(timings["ours"], timings["plain"], name="time_over_plain"),
        "largest_difference": largest_difference(results["ours"], results["plain"]),
    }
