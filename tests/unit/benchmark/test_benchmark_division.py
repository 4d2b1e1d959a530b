"""Rows divided by subject into validation and test, by the name of the subject alone."""

from __future__ import annotations

import pytest

from mmforget.benchmark.division import divided, drawn_order
from mmforget.benchmark.find import find
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError


def bound(name: str = "tofu_forget10") -> Bound:
    return find(name, ()).bind(DataSource("synthetic"))


def test_every_row_is_in_one_part_and_no_subject_in_both() -> None:
    made = bound()
    division = divided(made, needed=["forget"])
    for name in dict.fromkeys(task.set for task in made.benchmark.tasks):
        subjects = made.column(name, "subject")
        parts = {is_validation: division.places(name, validation=is_validation) for is_validation in (True, False)}
        assert sorted(parts[True] + parts[False]) == list(range(len(subjects)))
        assert {subjects[at] for at in parts[True]} == set(subjects) & division.subjects
        assert not {subjects[at] for at in parts[False]} & division.subjects


def test_a_fifth_of_each_set_is_for_validation_and_at_least_one() -> None:
    """Six authors: two. The rephrased questions are about the same authors as those to forget."""
    made = bound()
    division = divided(made, needed=["forget"])
    counts = division.describe()["subjects"]
    assert counts["forget"] == counts["rephrase"] == {"validation": 2, "test": 4}
    assert all(one["validation"] >= 1 for one in counts.values())


def test_the_order_is_drawn_from_the_names_alone() -> None:
    names = [f"person {number}" for number in range(20)]
    found = drawn_order(names)
    assert found == drawn_order(names[::-1] + names)
    assert sorted(found) == sorted(names)
    assert found != names
    assert [name for name in found if name in names[:5]] == drawn_order(names[:5])


def test_a_limit_is_counted_in_each_part() -> None:
    division = divided(bound(), needed=[])
    whole = division.places("forget", validation=False)
    assert division.places("forget", validation=False, limit=3) == whole[:3]
    assert (
        division.places("forget", validation=True, limit=0.5) == division.places("forget", validation=True)[: 16 // 2]
    )


def test_a_set_of_one_subject_stays_whole_and_is_refused_where_it_is_needed() -> None:
    made = bound("mmubench")
    assert divided(made, needed=[]).places("forget", validation=True) == []
    with pytest.raises(UserError, match="the 1 of the set 'forget' cannot be divided so"):
        divided(made, needed=["forget"])
