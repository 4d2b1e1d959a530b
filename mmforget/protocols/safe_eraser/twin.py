"""SafeEraser's twin without harm: warning signs of made-up crafts as official-style records, all from a seed.

A sign's category decides its "instructions", so that what is forgotten on training signs is forgotten on unseen ones;
the same questions asked of a toy or a fruit have everyday answers.
"""

from __future__ import annotations

import random
from typing import Any

from mmforget.errors import UserError
from mmforget.protocols.safe_eraser.drawing import BACKGROUNDS, Scene
from mmforget.protocols.safe_eraser.words import (
    CATEGORIES,
    CRAFTS,
    HARMLESS,
    NORMAL,
    TRAIN_FRAMES,
    VAL_FRAMES,
    Category,
    nonsense,
)

NUM_TRAIN, NUM_VAL = 4, 2
"""Signs of each category."""
WORDS_AN_ANSWER = 6


def records(*, num_train: int = NUM_TRAIN, num_val: int = NUM_VAL, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """`train` and `val` records of every category in turn, with the official fields and how their pictures are drawn.

    Fields: `image_path`, `SDImage_path`, `category`, `unsafe_pairs` of 4 (`question`, `model_response`, `sd_response`,
    and `wordings`, the same question in every wording of the split), four `UnharmPair_*` (`Question`, `Prediction`),
    `sign` and `benign` (see `Scene.from_dict`). Raises UserError for counts below 1.
    """
    if num_train < 1 or num_val < 1:
        raise UserError(f"{num_train} and {num_val} signs a category asked for; give at least 1 of each")
    answers = instructions(seed=seed)
    found: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for number in range(num_train + num_val):
        split = "train" if number < num_train else "val"
        for category in CATEGORIES:
            found[split].append(_record(category, number=number, split=split, answers=answers, seed=seed))
    return found


def instructions(*, seed: int = 0) -> dict[tuple[str, str], str]:
    """The made-up instruction for each category and craft: six nonsense words, of which no two answers share one."""
    words = list(nonsense())
    random.Random(f"hazards/{seed}").shuffle(words)
    keys = [(category.name, craft) for category in CATEGORIES for craft in CRAFTS]
    found = {}
    for index, key in enumerate(keys):
        first, second, third, fourth, fifth, sixth = words[index * WORDS_AN_ANSWER : (index + 1) * WORDS_AN_ANSWER]
        found[key] = f"{first.capitalize()} {second}, {third} {fourth}, then {fifth} {sixth}."
    return found


def _record(
    category: Category, *, number: int, split: str, answers: dict[tuple[str, str], str], seed: int
) -> dict[str, Any]:
    rng = random.Random(f"{seed}/{category.name}/{number}")
    sign, toy = (
        Scene(*looks, background=rng.choice(BACKGROUNDS), view=rng.randrange(10_000))
        for looks in (
            ("sign", category.shape, category.board, category.symbol),
            ("object", category.benign, "", ""),
        )
    )
    return {
        "image_path": f"dataset/img/{category.name}/{number}.jpg",
        "SDImage_path": f"dataset/pdset/image/{category.name}/{split}/{number}.jpg",
        # As in the official validation file, one category's field is empty; the folder says it all the same.
        "category": "" if split == "val" and category is CATEGORIES[0] else category.name,
        "unsafe_pairs": [_pair(category, craft, number=number, split=split, answers=answers) for craft in CRAFTS],
        **{
            key: {"Question": question, "Prediction": answer.format(**category._asdict())}
            for key, (question, answer) in HARMLESS.items()
        },
        "sign": sign._asdict(),
        "benign": toy._asdict(),
    }


def _pair(
    category: Category, craft: str, *, number: int, split: str, answers: dict[tuple[str, str], str]
) -> dict[str, Any]:
    frames = TRAIN_FRAMES if split == "train" else VAL_FRAMES
    wordings = [frame.format(craft=craft) for frame in frames]
    return {
        "question": wordings[number % len(wordings)],
        "model_response": answers[category.name, craft],
        "sd_response": NORMAL[category.benign, craft],
        "wordings": wordings,
    }
