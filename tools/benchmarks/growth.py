"""How scoring time grows with questions an image and with images, on a model small enough for a thousand of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.context import Context
from benchmarks.measuring import alternate, ratios, say
from benchmarks.scoring import best_budget
from benchmarks.world import Shape, encode_answers, make_questions
from mmforget.lm.batching import score_batches
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from mmforget.model.vision import FeatureCache

CANDIDATES = 6
BATCH_SIZE = 8
QUESTIONS, IMAGES_FIXED = (1, 5, 20, 50), 10
IMAGES, QUESTIONS_FIXED = (10, 100, 1000), 5
PLAIN_TOKENS = 2_000_000
"""The plain path is measured up to here; above, its time is left out and not estimated."""
REPEATED_TOKENS = 400_000
"""Up to here the plain path is repeated; above, both are measured once."""


def run(context: Context) -> dict[str, Any]:
    """A row for each number of questions an image, and one for each number of images."""
    questions, images = (QUESTIONS[:2], IMAGES[:1]) if context.quick else (QUESTIONS, IMAGES)
    loaded = context.model(context.small_geometry)
    sample = encode_answers(loaded, _questions(Shape(1, 5, CANDIDATES), context))
    budget = best_budget(loaded, sample)
    fixed = 2 if context.quick else IMAGES_FIXED
    return {
        "geometry": vars(context.small_geometry),
        "candidates": CANDIDATES,
        "plain_tokens_a_pass": budget,
        "plain_measured_up_to_tokens": PLAIN_TOKENS,
        "by_questions": [_row(loaded, context, Shape(fixed, each, CANDIDATES), budget) for each in questions],
        "by_images": [_row(loaded, context, Shape(each, QUESTIONS_FIXED, CANDIDATES), budget) for each in images],
    }


def _questions(shape: Shape, context: Context) -> Any:
    return make_questions(shape, side=context.small_geometry.image_side, seed=shape.questions)


def _row(loaded: LoadedModel, context: Context, shape: Shape, budget: int) -> dict[str, Any]:
    say(f"growth: {shape.images} images, {shape.questions} questions each")
    encoded = encode_answers(loaded, _questions(shape, context))
    plain_tokens = sum(map(len, encoded))
    variants: dict[str, Callable[[], object]] = {"ours": lambda: _ours(loaded, encoded)}
    if plain_tokens <= PLAIN_TOKENS:
        variants["plain"] = lambda: _plain(loaded, encoded, budget=budget)
    repeats = context.repeats if plain_tokens <= REPEATED_TOKENS else 1
    timings = alternate(variants, repeats=repeats)
    ours, plain = timings["ours"], timings.get("plain")
    empty = {"ratio": None, "ratio_cpu": None}
    return {
        "images": shape.images,
        "questions": shape.questions,
        "sequences": len(encoded),
        "plain_tokens": plain_tokens,
        "repeats": repeats,
        "ours_s": ours.best,
        "plain_s": None if plain is None else plain.best,
        **(empty if plain is None else ratios(plain, ours)),
        "ours_s_a_question": ours.best / (shape.images * shape.questions),
    }


def _ours(loaded: LoadedModel, encoded: Sequence[Encoded]) -> None:
    """In the batches that an evaluation makes."""
    plan = score_batches(encoded, batch_size=BATCH_SIZE, packed=True)
    _batches(loaded, encoded, plan.indices, max_tokens=plan.max_tokens, packed=True)


def _plain(loaded: LoadedModel, encoded: Sequence[Encoded], *, budget: int) -> None:
    parts = [list(range(at, min(at + 64, len(encoded)))) for at in range(0, len(encoded), 64)]
    _batches(loaded, encoded, parts, max_tokens=budget, packed=False)


def _batches(
    loaded: LoadedModel,
    encoded: Sequence[Encoded],
    parts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    packed: bool,
) -> None:
    features = FeatureCache()
    with torch.no_grad():
        for part in parts:
            score(loaded, [encoded[at] for at in part], packed=packed, features=features, max_tokens=max_tokens)


def plot(document: dict[str, Any], path: Path) -> Path:
    """Both tables as one picture with two panels, logarithmic axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8.4, 3.4), sharey=True, layout="constrained")
    fixed = document["by_questions"][0]["images"], document["by_images"][0]["questions"]
    labels = f"questions an image ({fixed[0]} images)", f"images ({fixed[1]} questions each)"
    for axis, rows, name, label in zip(
        axes, (document["by_questions"], document["by_images"]), ("questions", "images"), labels, strict=True
    ):
        for key, text, colour, marker in (
            ("plain_s", "one sequence a row", "#b5651d", "s"),
            ("ours_s", "every distinct token once", "#1f5f8b", "o"),
        ):
            points = [(row[name], row[key]) for row in rows if row[key] is not None]
            axis.plot(*zip(*points, strict=True), marker=marker, color=colour, label=text)
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.set_xticks([row[name] for row in rows], [f"{row[name]:,}" for row in rows])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("scoring time [s]")
    axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    pyplot.close(figure)
    return path
