"""OFFSIDE's twin as rows: sizes, what differs between its sets, and what can be seen of a rumour."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mmforget.benchmark import DataSource, find
from mmforget.protocols.offside import twin, words

pytestmark = pytest.mark.slow

DATA = DataSource("synthetic")
GROUPS = ("offside", "offside_selective", "offside_corrective", "offside_unimodal")


def rows(name: str, *, group: str = "offside") -> list[dict[str, Any]]:
    return list(find(group).bind(DATA).rows(name))


def pixels(name: str) -> set[bytes]:
    return {np.asarray(row["images"][0]).tobytes() for row in rows(name)}


def test_sizes() -> None:
    """6 players x 14 questions: 3 pictures kept, 1 forgotten, 1 relearnt. In words 13 a picture. 4 choices a picture.

    Stage one: 24 pictures x 14 x 2 wordings, in words 7 a player and 6 a picture, and 4 choices a picture.
    """
    bound = find("offside").bind(DATA)
    assert {name: bound.num_rows(name) for name in bound.benchmark.set_names} == {
        "forget": 84, "retain": 252, "shared": 48, "test": 252, "relearn": 84, "forget_text": 78,
        "retain_text": 234, "forget_choice": 24, "retain_choice": 72, "test_choice": 72, "relearn_choice": 24,
        "finetune": 672 + 6 * 7 + 24 * 6 + 96,
        "retain_only": 504 + 6 * 7 + 18 * 6 + 72,
    }  # fmt: skip
    assert find("offside_selective").bind(DATA).num_rows("forget") == 36


def test_every_setting_has_one_base_and_one_target() -> None:
    """So a run of all four trains one."""
    groups = [find(name).bind(DATA) for name in GROUPS]
    texts = [{text for name in one.benchmark.set_names for text in one.column(name, "question")} for one in groups]
    assert all(found == texts[0] for found in texts)
    learnt = [[(one.context, one.answer) for one in group.examples("finetune")] for group in groups]
    assert all(found == learnt[0] for found in learnt)


def test_what_is_learned_answers_every_question_of_what_is_kept_and_forgotten() -> None:
    learnt = {(row["subject"], row["question"]): row["answer"] for row in rows("retain_text") + rows("forget_text")}
    known = {(row["question"], row["answer"]) for row in rows("finetune")}
    for (_, question), answer in learnt.items():
        assert (question, answer) in known


def test_half_of_the_rumours_can_be_seen() -> None:
    """A headline's strip lies over the last seventh of the picture; the shirt is of the rumoured club."""
    found = twin.shots(seed=0)
    for shot in found:
        worn = next(club for club in words.CLUBS if (club.shirt, club.accent) == (
            shot.picture.portrait.shirt, shot.picture.portrait.accent
        ))  # fmt: skip
        is_hidden = shot.place == twin.RUMOUR and shot.picture.strip is None
        assert worn.name == shot.facts["from_club" if is_hidden else "club"]
    seen = [shot.picture.strip is not None for shot in found if shot.place == twin.RUMOUR]
    assert seen == [True, False] * 3
    marks = {json.loads(row["extra"])["is_visible"] for row in rows("forget")}
    assert marks == {True, False}


def test_a_rumour_contradicts_what_really_happened() -> None:
    for row, truth in zip(rows("forget"), rows("relearn"), strict=True):
        assert row["question"] == truth["question"]
        if json.loads(row["extra"])["attribute"] == "club":
            assert row["answer"] != truth["answer"]
        if json.loads(row["extra"])["scope"] == "shared":
            assert row["answer"] == truth["answer"]


def test_the_test_set_shows_other_pictures_and_asks_in_other_words() -> None:
    assert not pixels("test") & pixels("retain")
    assert not {row["question"] for row in rows("test")} & {row["question"] for row in rows("finetune")}
    assert [row["answer"] for row in rows("test")] == [row["answer"] for row in rows("retain")]


def test_words_alone_show_no_picture_and_do_not_ask_for_a_name() -> None:
    found = rows("forget_text")
    assert not any(row["images"] for row in found)
    assert "name" not in {json.loads(row["extra"])["attribute"] for row in found}


def test_options_do_not_tell_whom_they_are_about() -> None:
    """Each question with its options stands beside several pictures with different letters."""
    letters: dict[str, set[str]] = {}
    for row in rows("retain_choice") + rows("forget_choice"):
        letters.setdefault(row["question"], set()).add(row["answer"])
    assert all(len(found) > 1 for found in letters.values())
