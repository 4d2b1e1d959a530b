"""The subjects that are edited one by one, and everything that is asked under each edit, as UnLOK-VQA does it.

Seven attacks: three look at hidden states of one forward pass, one fine-tunes the edit on an unrelated row and looks
again, three sample behind rephrased questions, a rephrased picture, and both. Beside these the metrics: greedy answers
to retained and neighbouring questions, sampled ones about neighbouring pictures. Random weights end no text by
themselves, so that each is as long as the official code allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.context import Context
from benchmarks.world import make_image, make_words
from mmforget.methods.material import Material
from mmforget.types import Example

DEFENCES = {
    "error_injection": ("fact_erasure", "empty_response", "error_injection"),
    "head_projection": ("head_projection", "max_entropy"),
    "input_rephrasing": ("input_rephrasing",),
}
"""Defences that are timed, each with those that it is counted for: they read as much."""
NUM_DEFENCES = sum(map(len, DEFENCES.values()))
ATTACKS = (
    "logit_lens",
    "probability_delta",
    "second_difference",
    "fine_tuning",
    "question_rephrase",
    "image_rephrase",
    "multimodal_rephrase",
)
LR, ATTACK_LR = 1e-2, 9e-6


@dataclass(frozen=True)
class Size:
    """How much is done for every edit.

    Attributes:
        instances: subjects, each edited alone.
        edit_steps, attack_steps: weight updates of an edit, and of the attack on its weights.
        new_tokens: of every text.
        rephrased: questions; each is sampled `samples` times about either picture.
        image_samples: texts behind the question about the rephrased picture, and about neighbouring ones.
        retained, neighbours: questions that are answered greedily, about other pictures and about this one.
        retain_pool: pictures that retained questions are drawn from.
    """

    instances: int = 16
    edit_steps: int = 5
    attack_steps: int = 10
    new_tokens: int = 36
    rephrased: int = 4
    samples: int = 5
    image_samples: int = 20
    retained: int = 10
    neighbours: int = 8
    retain_pool: int = 40


QUICK = Size(2, 2, 2, 3, 2, 2, 2, 2, 2, 3)


class Prompt(NamedTuple):
    """A question about a picture, how many texts are wanted behind it, and for what; one greedy text where none is
    sampled."""

    purpose: str
    context: str
    image: Image.Image
    num_sampled: int = 0


@dataclass(frozen=True)
class Instance:
    """A subject: the fact that is edited away, and everything that is asked."""

    name: str
    row: Example
    prompts: tuple[Prompt, ...]

    @property
    def material(self) -> Material:
        return Material(forget=[self.row])


def size_of(context: Context) -> Size:
    return QUICK if context.quick else Size()


def make_instances(size: Size, *, side: int) -> list[Instance]:
    """All from seeds."""
    rng, words = np.random.default_rng(0), make_words()
    pool = [(_question(rng, words), make_image(90_000 + at, side=side)) for at in range(size.retain_pool)]
    return [_instance(at, size, pool, side=side, rng=rng, words=words) for at in range(size.instances)]


def unrelated_row(size: Size, *, side: int) -> Example:
    """What the attack on the weights trains on, for every subject the same."""
    return Example("unrelated", "unrelated", "<image>\nName the river.", " bafita.", images=(make_image(7, side=side),))


def _instance(
    at: int,
    size: Size,
    pool: list[tuple[str, Image.Image]],
    *,
    side: int,
    rng: np.random.Generator,
    words: list[str],
) -> Instance:
    own, rephrased, *near = (make_image(1000 * (at + 1) + number, side=side) for number in range(4))
    question, answers = _question(rng, words), [f" {word}." for word in rng.choice(words, size=2, replace=False)]
    asked = [_question(rng, words) for _ in range(size.rephrased + size.neighbours)]
    prompts = [
        *(Prompt("question_rephrase", text, own, size.samples) for text in asked[: size.rephrased]),
        Prompt("image_rephrase", question, rephrased, size.image_samples),
        *(Prompt("multimodal_rephrase", text, rephrased, size.samples) for text in asked[: size.rephrased]),
        *(Prompt("metrics", text, own) for text in asked[size.rephrased :]),
        *(Prompt("metrics", question, image, size.image_samples // 2) for image in near),
        *(Prompt("metrics", *pool[place]) for place in rng.choice(len(pool), size=size.retained, replace=False)),
    ]
    extra = {"alternatives": [answers[1].strip()]}
    return Instance(
        f"subject {at}", Example(f"{at}", f"subject {at}", question, answers[0], images=(own,), extra=extra),
        tuple(prompts),
    )  # fmt: skip


def _question(rng: np.random.Generator, words: list[str]) -> str:
    return f"<image>\nQuestion: {' '.join(rng.choice(words, size=6))}?"


def texts_of(instance: Instance) -> Iterator[tuple[int, Prompt]]:
    """Each text that is wanted, with its number."""
    every = [prompt for prompt in instance.prompts for _ in range(max(prompt.num_sampled, 1))]
    yield from enumerate(every)
