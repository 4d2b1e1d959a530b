"""The twin's things: told apart by their looks, one fact each, every level of rephrasing, neighbours; its pictures."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmforget.benchmark import DataSource, find
from mmforget.protocols.unlok_vqa import twin
from mmforget.protocols.unlok_vqa.drawing import NOISE_SHARE, Scene, paint
from mmforget.protocols.unlok_vqa.records import LEVELS
from mmforget.protocols.unlok_vqa.words import KINDS

pytestmark = pytest.mark.slow

SCENE = Scene(twin.things()[0], 0)


def test_no_two_things_look_alike_or_share_an_answer_to_one_question() -> None:
    assert len(set(twin.things())) == twin.NUM_THINGS
    facts = twin.facts()
    kinds = [KINDS[number % len(KINDS)].name for number in range(twin.NUM_THINGS)]
    assert len({(kind, fact.answer) for kind, fact in zip(kinds, facts, strict=True)}) == twin.NUM_THINGS
    assert len({fact.key for fact in facts}) == twin.NUM_THINGS


def test_every_fact_has_every_level() -> None:
    for fact in twin.facts():
        assert list(fact.rephrased) == list(LEVELS)
        assert list(fact.neighbouring) == ["easy", "hard"]
        assert len(fact.paraphrases) == 2
        assert fact.question not in fact.paraphrases
        assert [talk.answer for talk in fact.neighbours[2:]] == ["Yes", "No"]
        assert fact.answer not in fact.alternatives
        assert not fact.repeats_noun


def test_neighbouring_pictures_show_a_thing_whose_answer_is_the_one_that_is_said() -> None:
    facts = twin.facts(seed=3)
    looks = dict(zip(twin.things(), facts, strict=True))
    shown_first = 0
    for fact in facts:
        assert fact.shown is not None
        for picture in fact.neighbouring.values():
            assert looks[picture.look.look].answer == fact.neighbour_answer
        shown_first += fact.shown == 0
    assert shown_first == 4


def test_seeds_change_answers_and_pictures_but_not_looks() -> None:
    first, second = twin.facts(seed=0), twin.facts(seed=1)
    assert [fact.answer for fact in first] != [fact.answer for fact in second]
    assert first[0].picture != second[0].picture
    assert first == twin.facts(seed=0)


def test_the_model_is_taught_every_fact_in_every_wording_and_what_is_to_be_seen() -> None:
    facts = {fact.key: fact for fact in twin.facts()}
    asked = Counter((lesson.key, lesson.answer) for lesson in twin.lessons())
    views = len(twin.LESSON_VIEWS) + 1
    assert all(asked[key, fact.answer] == views for key, fact in facts.items())
    for fact in facts.values():
        said = [lesson.question for lesson in twin.lessons() if lesson.key == fact.key]
        for question in (fact.question, *fact.paraphrases, *(talk.question for talk in fact.neighbours)):
            assert question in said
        assert {talk.answer for talk in fact.neighbours} <= {answer for key, answer in asked if key == fact.key}


def test_pictures_are_the_same_for_the_same_scene_and_differ_where_scenes_do() -> None:
    scenes = [SCENE, SCENE._replace(view=1), SCENE._replace(noise=0), SCENE._replace(noise=1), SCENE._replace(beside=2)]
    pixels = [np.asarray(paint(scene)) for scene in scenes]
    assert np.array_equal(pixels[0], np.asarray(paint(SCENE)))
    assert all(not np.array_equal(pixels[0], other) for other in pixels[1:])
    assert not np.array_equal(pixels[2], pixels[3])


def test_noise_and_the_thing_beside_leave_most_of_a_picture_as_it_is() -> None:
    """Salt and pepper hit `NOISE_SHARE` of the pixels at most; a thing in the corner less than a fiftieth."""
    plain, noisy, beside = (
        np.asarray(paint(scene)) for scene in (SCENE, SCENE._replace(noise=4), SCENE._replace(beside=1))
    )
    changed = (plain != noisy).any(-1)
    assert 0.5 * NOISE_SHARE < changed.mean() <= NOISE_SHARE + 1e-4
    assert set(np.unique(noisy[changed])) <= {0, 255}
    assert 0 < (plain != beside).any(-1).mean() < 0.02


def test_rows_of_the_twin_are_laid_out_as_official_ones() -> None:
    bound = find("unlok_vqa").bind(DataSource("synthetic"))
    counts = {name: bound.num_rows(name) for name in bound.benchmark.set_names if name != "pretrain"}
    assert counts == {
        "forget": 16, "random": 160, "rephrase": 32, "rephrase_easy": 64, "rephrase_hard": 64,
        "rephrase_image_easy": 16, "rephrase_image_medium": 16, "rephrase_image_hard": 16, "neighbour": 64,
        "neighbour_image": 32,
    }  # fmt: skip
    few = find("unlok_vqa").bind(DataSource("synthetic", metadata={"num_subjects": 3}))
    assert few.column("forget", "subject") == ["000", "001", "002"]
    assert few.num_rows("random") == 30
