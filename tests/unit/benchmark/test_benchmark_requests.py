"""What is to be forgotten, divided into requests: by subject, or as a document's folds say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmforget.benchmark.find import find
from mmforget.benchmark.requests import divided, requests_of
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from tests.commands import command

TWIN = ("--model", "micro", "--methods", "ga", "--dry-run", "--quiet")


def tofu(**options: int) -> Bound:
    return find("tofu_forget10", ()).bind(DataSource("synthetic", metadata=options))


@pytest.mark.parametrize(("num", "sizes"), [(1, [7]), (2, [4, 3]), (3, [3, 2, 2]), (5, [2, 2, 1, 1, 1]), (7, [1] * 7)])
def test_parts_are_as_even_as_can_be_and_in_order(num: int, sizes: list[int]) -> None:
    parts = divided(list("abcdefg"), num)
    assert [len(part) for part in parts] == sizes
    assert "".join(letter for part in parts for letter in part) == "abcdefg"


def test_every_row_to_forget_is_in_one_request() -> None:
    bound = tofu()
    rows = bound.rows("forget")
    requests = requests_of(bound, 4)
    assert [one.number for one in requests] == [1, 2, 3, 4]
    assert [subject for one in requests for subject in one.subjects] == list(dict.fromkeys(rows["subject"][:]))
    assert sorted(row.id for one in requests for row in one.examples(bound)) == sorted(rows["id"][:])
    assert [one.num_rows(bound) for one in requests] == [len(one.examples(bound)) for one in requests]


def test_a_document_may_name_its_folds() -> None:
    """Sets of their own, each a request or, where there are fewer requests, several of them together."""
    bound = tofu()
    names = {bound.benchmark.setting: ("holdout", "retain_perturbed", "forget")}
    bound = replace(bound, benchmark=replace(bound.benchmark, document=replace(bound.benchmark.document, folds=names)))
    first, second = requests_of(bound, 2)
    assert (first.folds, second.folds) == (("holdout", "retain_perturbed"), ("forget",))
    assert first.num_rows(bound) == bound.num_rows("holdout") + bound.num_rows("retain_perturbed")
    assert [row.id for row in second.examples(bound)] == list(bound.column("forget", "id"))
    assert set(second.subjects) == set(bound.column("forget", "subject"))
    assert "holdout" in bound.benchmark.set_names
    with pytest.raises(UserError, match=r"--requests 4 is more than there are folds of what is to be forgotten \(3\)"):
        requests_of(bound, 4)


def test_muse_has_its_four_folds() -> None:
    bound = find("muse_news", ()).bind(DataSource("synthetic"))
    requests = requests_of(bound, 4)
    assert [one.folds for one in requests] == [(f"sust_{fold}",) for fold in range(1, 5)]
    rows = [{row.id for row in one.examples(bound)} for one in requests]
    assert all(rows)
    assert len(set().union(*rows)) == sum(map(len, rows)), "no document is in two folds"
    assert {row.answer for row in requests[0].examples(bound)} == {row.answer for row in bound.examples("forget")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--requests", "0"), "argument --requests: '0' is not a whole number of at least 1"),
        (("--requests", "7"), "--requests 7 is more than there are subjects to forget (6); give at most 6"),
        (("--requests", "2", "--one_at_a_time"), "--requests 2 forgets one part after another and keeps what was"),
        (("--between", "stacked"), "--between stacked is about requests one after another; give their number"),
        (("--requests", "2", "--methods", "whp_logit"), "'whp_logit' puts a guard before the model"),
        (
            ("--requests", "2", "--tasks", "mmubench"),
            "more than there are subjects to forget (1); leave --requests out",
        ),
        (("--requests", "2", "--tasks", "unlok_vqa"), "unlok_vqa forgets each subject alone"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    found = command("run", *TWIN, "--tasks", "tofu_forget10", "--output_path", tmp_path, *words)
    assert (found.status, found.out) == (2, "")
    assert said in found.err.splitlines()[-1]
    assert "Traceback" not in found.err
