"""Invented concepts: told apart by name and look, drawn the same twice and different in every view."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mmforget.errors import UserError
from mmforget.protocols.mmubench import twin as concepts
from mmforget.protocols.mmubench import words
from mmforget.synthetic.figures import MARKS, SHAPES, Look, draw, scene_of


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("mark", MARKS)
def test_every_shape_is_drawn_in_its_colours(shape: str, mark: str) -> None:
    picture = draw(Look(shape, "red", "blue", mark), view=3)
    assert (picture.mode, picture.size) == ("RGB", (96, 96))
    pixels = np.asarray(picture).reshape(-1, 3).astype(int)
    red = (pixels[:, 0] > pixels[:, 1] + 60) & (pixels[:, 0] > pixels[:, 2] + 60)
    blue = (pixels[:, 2] > pixels[:, 0] + 40) & (pixels[:, 2] > pixels[:, 1] + 30)
    assert red.mean() > 0.04
    assert blue.mean() > 0.001


def test_the_same_view_is_the_same_picture_and_others_differ() -> None:
    look = concepts.CAST[0][2]
    views = [np.asarray(draw(look, view=view)) for view in range(8)]
    assert np.array_equal(views[0], np.asarray(draw(look, view=0)))
    assert all(not np.array_equal(one, other) for one, other in pairwise(views))
    assert len({scene_of(look, view).background for view in range(50)}) > 5
    assert draw(look, view=1, size=48).size == (48, 48)


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (Look("cube", "red", "blue"), "cannot draw 'cube'"),
        (Look("imp", "mauve", "blue"), "cannot draw 'mauve'"),
        (Look("imp", "red", "blue", "dots"), "cannot draw 'dots'"),
    ],
)
def test_what_cannot_be_drawn_is_said(look: Look, said: str) -> None:
    with pytest.raises(UserError, match=said):
        draw(look)


def test_looks_in_words() -> None:
    assert Look("imp", "purple", "orange", "spots").words == "a purple imp with orange spots"
    assert Look("boat", "orange", "red").words == "an orange boat with red parts"
    assert Look("robot", "teal", "yellow", "band").words == "a teal robot with a yellow band"


def test_concepts_are_told_apart() -> None:
    records = concepts.records()
    assert len({record.name for record in records}) == len({look for _, _, look in concepts.CAST}) == 8
    assert len({(look.shape, look.main) for _, _, look in concepts.CAST}) == 8
    names = [name.lower() for record in records for name in record.names]
    assert len(set(names)) == len(names)
    assert not set(names) & {name.lower() for name in words.UNSEEN}
    assert [record.is_kept for record in records] == [False] * 4 + [True] * 4
    for fact in range(len(words.FACTS)):
        assert len({record.facts[fact].keyword for record in records}) == 8


def test_what_a_concept_is_said_to_look_like_clashes_with_it() -> None:
    for position, (_, _, look) in enumerate(concepts.CAST):
        other = concepts.clash(position)
        assert other.shape != look.shape
        assert not {other.main, other.second} & {look.main}


def test_strangers_look_like_nobody() -> None:
    found = concepts.strangers()
    assert len(set(found)) == len(found) == 48
    assert not set(found) & {look for _, _, look in concepts.CAST}
    assert found != concepts.strangers(seed=1)


def test_a_third_of_the_questions_for_the_name_is_held_out() -> None:
    """4 frames x 3 nouns: 8 taught, 4 only asked, and every frame and noun is taught."""
    taught, held_out = concepts.name_questions()
    assert (len(taught), len(held_out)) == (8, 4)
    assert len({*taught, *held_out}) == 12
    for noun in words.NOUNS:
        assert any(noun in text for text in taught)
    for frame in words.NAME_FRAMES:
        assert any(frame.format(noun=noun) in taught for noun in words.NOUNS)


def test_answers_hold_their_keyword_and_nobody_elses() -> None:
    for record in concepts.records():
        for talk in (*record.facts, *record.others):
            assert talk.keyword in talk.answer
        for prompt in record.multihop:
            assert prompt.keyword in prompt.answer
            assert record.name not in prompt.answer
        assert not any(record.name in talk.answer for talk in record.others)


def test_the_seed_decides_everything() -> None:
    assert concepts.lessons(seed=3) == concepts.lessons(seed=3)
    assert concepts.records(seed=3) != concepts.records(seed=4)
