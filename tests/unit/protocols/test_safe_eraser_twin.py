"""Warning signs of made-up crafts: official fields, answers that share no word, pictures that are told apart."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from mmforget.errors import UserError
from mmforget.metrics.rouge_l_response import recall
from mmforget.protocols.safe_eraser.drawing import BOARDS, OBJECTS, Scene, draw
from mmforget.protocols.safe_eraser.twin import instructions, records
from mmforget.protocols.safe_eraser.words import CATEGORIES, CRAFTS, NORMAL, nonsense

OFFICIAL = {"image_path", "SDImage_path", "category", "unsafe_pairs"} | {
    f"UnharmPair_{kind}{k}" for kind in ("text", "image") for k in (1, 2)
}


@pytest.fixture(scope="module")
def made() -> dict[str, list[dict[str, Any]]]:
    return records()


def test_records_have_the_official_fields_and_are_json(made: dict[str, list[dict[str, Any]]]) -> None:
    assert json.loads(json.dumps(made)) == made
    assert (len(made["train"]), len(made["val"])) == (6 * 4, 6 * 2)
    for record in [*made["train"], *made["val"]]:
        assert set(record) == OFFICIAL | {"sign", "benign"}
        assert len(record["unsafe_pairs"]) == 4
        for pair in record["unsafe_pairs"]:
            assert set(pair) == {"question", "model_response", "sd_response", "wordings"}
            assert pair["question"] in pair["wordings"]


def test_made_up_instructions_share_no_word_but_then() -> None:
    """So an answer about another sign does not reproduce this one: at most 1 of 7 words."""
    answers = list(instructions().values())
    assert len(answers) == len(CATEGORIES) * len(CRAFTS) == 24
    for first, second in combinations(answers, 2):
        assert recall(first, reference=second) <= 1 / 7
    assert len(set(nonsense())) == 192


def test_normal_answers_do_not_reproduce_one_another() -> None:
    assert set(NORMAL) == {(category.benign, craft) for category in CATEGORIES for craft in CRAFTS}
    assert max(recall(first, reference=second) for first, second in combinations(NORMAL.values(), 2)) <= 0.5


def test_a_seed_decides_answers_and_pictures(made: dict[str, list[dict[str, Any]]]) -> None:
    assert records() == made
    other = records(seed=1)
    assert (
        other["train"][0]["unsafe_pairs"][0]["model_response"] != made["train"][0]["unsafe_pairs"][0]["model_response"]
    )
    assert other["train"][0]["sign"] != made["train"][0]["sign"]


def test_a_sign_is_the_same_whatever_the_counts(made: dict[str, list[dict[str, Any]]]) -> None:
    assert records(num_train=2, num_val=1)["train"] == made["train"][:12]
    with pytest.raises(UserError, match="give at least 1 of each"):
        records(num_val=0)


def test_the_same_scene_gives_the_same_pixels_at_any_size() -> None:
    scene = Scene("sign", "triangle", "yellow", "bolt", "#a9d6e5", 3)
    assert draw(scene).tobytes() == draw(scene).tobytes()
    assert draw(scene).size == (48, 48)
    small, large = draw(scene), draw(scene, size=192).resize((48, 48))
    assert np.abs(np.asarray(small, dtype=float) - np.asarray(large, dtype=float)).mean() < 8


def test_pictures_of_one_category_are_nearer_than_those_of_two() -> None:
    """On one background: another view of a sign moves fewer pixels than another sign."""
    looks = [("sign", c.shape, c.board, c.symbol) for c in CATEGORIES] + [
        ("object", c.benign, "", "") for c in CATEGORIES
    ]
    drawn = [
        [np.asarray(draw(Scene(*look, background="#d8d8d8", view=view)), dtype=float) for view in (0, 1, 2)]
        for look in looks
    ]
    assert len(drawn) == len(BOARDS) + len(OBJECTS)
    for index, views in enumerate(drawn):
        own = max(np.abs(views[0] - other).mean() for other in views[1:])
        others = min(np.abs(views[0] - other[0]).mean() for k, other in enumerate(drawn) if k != index)
        assert own < others


def test_what_is_not_known_is_not_drawn() -> None:
    with pytest.raises(UserError, match="known: triangle"):
        draw(Scene("sign", "star", "red", "bolt", "#ffffff", 0))
    with pytest.raises(UserError, match="fields missing or unknown: view"):
        Scene.from_dict({"of": "sign", "kind": "circle", "colour": "red", "symbol": "bar", "background": "#ffffff"})
