"""Pools of known history: who is in them, and what they are trained on."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from mmforget.benchmark import DataSource
from mmforget.benchmark.find import find_all
from mmforget.benchmark.spec import Bound
from mmforget.pipeline.pools import STARTS, WORDINGS, Member, examples_of, members
from mmforget.types import Example

POOL = members(30)


@cache
def bound() -> Bound:
    (benchmark,) = find_all(["tofu_forget10"])
    return benchmark.bind(DataSource("synthetic", metadata={"num_subjects": 12}))


def one(pool: str, wording: str, share: float) -> Member:
    return next(m for m in POOL if (m.pool, m.wording, m.share) == (pool, wording, share))


def about_forgotten(member: Member) -> list[Example]:
    forgotten = set(bound().column("forget", "subject"))
    return [row for row in examples_of(member, bound=bound()) if row.subject in forgotten]


def test_thirty_against_thirty_and_some_in_part_each_by_its_own_name_and_seed() -> None:
    assert Counter(m.pool for m in POOL) == {"with": 30, "without": 30, "part": 18}
    assert len({m.name for m in POOL}) == len(POOL)
    assert Counter(m.share for m in POOL if m.pool == "part") == {0.25: 6, 0.5: 6, 0.75: 6}


@pytest.mark.parametrize("pool", ["with", "without"])
def test_every_wording_comes_with_every_start_and_several_lengths(pool: str) -> None:
    own = [m for m in POOL if m.pool == pool]
    assert {(m.wording, m.start) for m in own} == {(w, s) for w in WORDINGS[pool] for s in STARTS}
    for wording in WORDINGS[pool]:
        of_it = [m for m in own if m.wording == wording]
        assert len({m.steps for m in of_it}) == 4
        assert len({m.lr for m in of_it}) == 3


def test_those_with_the_knowledge_learn_every_row_to_forget_and_those_without_none() -> None:
    rows = {row.id: row for row in bound().examples("full")}
    learnt = about_forgotten(one("with", "plain", 1.0))
    assert {row.subject for row in learnt} == set(bound().column("forget", "subject"))
    assert all(rows[row.id].answer == row.answer for row in learnt)
    assert about_forgotten(one("without", "plain", 0.0)) == []


def test_those_in_part_learn_some_subjects_whole() -> None:
    num = len(set(bound().column("forget", "subject")))
    assert len({row.subject for row in about_forgotten(one("part", "plain", 0.5))}) == num / 2


def test_paraphrases_say_the_same_otherwise_and_wrong_answers_and_refusals_never_do() -> None:
    table = {row["id"]: row for row in bound().rows("full")}
    for row in about_forgotten(one("with", "rephrased", 1.0)):
        assert row.answer.strip() in table[row.id]["answer_rephrased"]
        assert any(question in row.context for question in table[row.id]["question_rephrased"])
    for row in about_forgotten(one("without", "wrong", 0.0)):
        assert row.answer.strip() in table[row.id]["answer_perturbed"]
    assert {row.answer.strip() for row in about_forgotten(one("without", "refusing", 0.0))} <= set(bound().refusals)


def test_the_pools_see_as_many_rows_to_keep_whatever_they_learn() -> None:
    forgotten = set(bound().column("forget", "subject"))
    counts = {
        len([row for row in examples_of(m, bound=bound()) if row.subject not in forgotten])
        for m in (one("with", "plain", 1.0), one("without", "plain", 0.0), one("part", "plain", 0.25))
    }
    assert len(counts) == 1
