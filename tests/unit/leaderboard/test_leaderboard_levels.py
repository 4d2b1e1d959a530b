"""The tree of what is remembered, the table by level and the gap: values by hand, and nothing foreign on the page."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from fake_runs import rate, record, stored
from test_leaderboard_page import EVIL, Reader

from mmforget.leaderboard import details, levels, page
from mmforget.leaderboard.board import Board, boards
from mmforget.results.schema import LevelResult, RunRecord

pytestmark = pytest.mark.slow

# Path, relation, questions, and what `npo` and the retain model remember; the target remembers all.
PARTS = (
    ("a", "ancestor", 5, 0.7, 0.8),
    ("a/p1", "inside", 3, 0.5, 0.2),
    ("a/p1/s1", "inside", 2, 0.25, 0.3),
    ("a/p1/s2", "inside", 1, 1.0, 0.0),
    ("a/p2", "sibling", 2, 1.0, 1.0),
    ("b", "elsewhere", 1, None, 1.0),
)


def results(**changes: Any) -> tuple[LevelResult, ...]:
    names = ("institution", "patient", "study")
    parts = (
        LevelResult(names[path.count("/")], tuple(path.split("/")), relation, "exact_match", "", num, value, 1.0, gold)
        for path, relation, num, value, gold in PARTS
    )
    return tuple(replace(part, **changes) for part in parts)


def runs() -> list[RunRecord]:
    gap = {"gap": rate(0.4, range=(-1.0, 1.0)), "gap/patient": rate(None, reasons=("nothing to compare",))}
    npo = record("npo", levels=results())
    return [
        record("target", role="target", levels=tuple(replace(part, value=1.0) for part in results())),
        npo.replace(headline={**npo.headline, **gap}),
        record("chip", levels=results(value=0.0)),
    ]


def tree(found: list[RunRecord]) -> levels.Tree:
    (board,) = boards(stored(found))
    made = levels.tree(board)
    assert made is not None
    return made


def test_the_tree_holds_every_model() -> None:
    """Target and retain model from the first record that knows them, then the methods by rank."""
    made = tree(runs())
    assert made.models == ("target", "retain", "chip", "npo")
    assert [("/".join((node.level, node.name)), node.depth) for node in made.nodes] == [
        ("institution/a", 0), ("patient/p1", 1), ("study/s1", 2), ("study/s2", 2), ("patient/p2", 1),
        ("institution/b", 0),
    ]  # fmt: skip
    assert made.nodes[1].values == (1.0, 0.2, 0.0, 0.5)
    assert made.roots[1].values == (1.0, 1.0, 0.0, None)
    assert [node.name for node in made.forgotten] == ["p1"]
    assert (made.num_levels, made.left_out) == (3, ())


def test_parts_share_the_width_by_the_innermost_parts_they_hold() -> None:
    """Four leaves, 600 wide: a holds three of them, p1 two."""
    places = {node.name: (node.left, node.width) for node in tree(runs()).nodes}
    assert places == {
        "a": (0, 450), "p1": (0, 300), "s1": (0, 150), "s2": (150, 150), "p2": (300, 150), "b": (450, 150),
    }  # fmt: skip


def test_the_table_by_level_by_hand() -> None:
    """Studies of the forgotten patient: npo (2 x .25 + 1) / 3 = .5, the retain model (2 x .3 + 0) / 3 = .2."""
    lines = {(line.level, line.relation): line for line in tree(runs()).lines}
    assert list(lines) == [
        ("institution", "ancestor"), ("institution", "elsewhere"), ("patient", "inside"), ("patient", "sibling"),
        ("study", "inside"),
    ]  # fmt: skip
    study = lines["study", "inside"]
    assert study.num_nodes == 2
    assert study.values == (1.0, pytest.approx(0.2), 0.0, 0.5)
    assert lines["institution", "elsewhere"].values == (1.0, 1.0, 0.0, None)


@pytest.mark.parametrize(
    "value, shade", [(0.0, "h0"), (0.04, "h0"), (0.46, "h5"), (1.0, "h10"), (1.7, "h10"), (-1.0, "h0"), (None, "hx")]
)
def test_shades(value: float | None, shade: str) -> None:
    assert levels.shade(value) == shade


def test_no_levels_no_tree() -> None:
    (board,) = boards(stored([record("npo")]))
    assert levels.tree(board) is None
    assert details.gap_table(board).lines == ()
    assert "by level" not in page.render([board])


def board_of(parts: tuple[LevelResult, ...]) -> Board:
    (board,) = boards(stored([record("npo", levels=parts)]))
    return board


def many(num: int, *, depth: int) -> list[LevelResult]:
    part = results()[0]
    paths = [tuple(f"{number}" for _ in range(depth)) for number in range(num)]
    return [replace(part, level=f"level{depth}", path=path) for path in paths]


def test_too_many_parts_are_left_to_the_table() -> None:
    made = levels.tree(board_of((*many(300, depth=1), *many(300, depth=2), *many(300, depth=3))))
    assert made is not None
    assert (made.num_levels, made.left_out, len(made.nodes)) == (1, ("level2", "level3"), 300)
    assert [(line.level, line.num_nodes) for line in made.lines] == [("level1", 300), ("level2", 300), ("level3", 300)]


def test_a_record_of_a_stranger_cannot_make_the_tree_grow() -> None:
    """Paths deeper than anything measured, and one place named twenty times at each of eight levels."""
    part = results()[0]
    deep = tuple(replace(part, path=("x",) * depth) for depth in range(1, 5000))
    again = tuple(replace(part, path=("x",) * depth) for depth in range(1, 9) for _ in range(20))
    for parts in (deep, again):
        made = levels.tree(board_of(parts))
        assert made is not None
        assert len(made.nodes) <= levels.MAX_DEPTH


def test_the_gap_table_has_a_line_a_level() -> None:
    (board,) = boards(stored(runs()))
    table = details.gap_table(board)
    assert table.models == ("target", "chip", "npo")
    assert [line.name for line in table.lines] == ["all", "patient"]
    assert [estimate and estimate.value for estimate in table.lines[0].estimates] == [None, None, 0.4]


def test_the_page_shows_picture_table_tree_and_gap() -> None:
    html = page.render(boards(stored(runs())))
    reader = Reader(html)
    text = " ".join(reader.seen.split())
    for needed in (
        "What is remembered, by level",
        "From the top down: institution, patient, study.",
        "in part to be forgotten",
        "p1 patient · 3 questions to be forgotten",
        "study s1: 0.250, to be forgotten",
        "25 %",
        "The gap between what was kept and what was forgotten",
    ):
        assert needed in text, needed
    assert html.count('<svg class="tree"') == 4
    assert html.count('<rect class="cut"') == 4
    assert html.count("<g class=") == 4 * 6
    assert reader.handlers == []
    assert "style=" not in html
    # One number beside every colour: six parts and five lines of four models.
    assert len(re.findall(r'<span class="cell"><i class="heat h(?:x|\d+)" aria-hidden="true"></i>[^<]', html)) == 44


def test_names_of_parts_are_plain_text() -> None:
    part = replace(results()[0], path=(EVIL,), level=EVIL, name=EVIL)
    reader = Reader(page.render([board_of((part, replace(part, path=(EVIL, EVIL))))]))
    assert reader.tags.count("script") == 1
    assert "img" in reader.tags
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert reader.handlers == []
    assert EVIL in reader.seen
