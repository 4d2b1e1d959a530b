"""Which nodes are measured and set against which, as released and clean."""

from __future__ import annotations

from mmforget.methods.chip_graph import Contrast, Node, clean_plan, released_plan


def paths(*texts: str) -> list[Node]:
    return [tuple(text.split("/")) for text in texts]


FORGET = paths("i/p", "i/p/s", "i/p/s/F", "i/p/t/F")
RETAIN = paths("i", "i/q", "i/q/u", "i/q/u/F", "i/q/v/F", "j/r", "j/r/w/F")


def test_released_measures_a_level_and_the_one_below_with_all_that_lies_below() -> None:
    """Forgetting patient p: rows at and below p, and again at and below each study; the institution's row nowhere."""
    plan = released_plan(FORGET, RETAIN, level=1)
    assert plan.targets == (("i", "p"),)
    assert plan.forget == {("i", "p"): [0, 1, 2, 3], ("i", "p", "s"): [1, 2], ("i", "p", "t"): [3]}
    assert plan.retain == {
        ("i", "q"): [1, 2, 3, 4],
        ("j", "r"): [5, 6],
        ("i", "q", "u"): [2, 3],
        ("i", "q", "v"): [4],
        ("j", "r", "w"): [6],
    }


def test_released_has_one_direction_a_child_against_its_cousins() -> None:
    cousins = (("i", "q", "u"), ("i", "q", "v"))
    plan = released_plan(FORGET, RETAIN, level=1)
    assert plan.contrasts == (Contrast(("i", "p", "s"), cousins), Contrast(("i", "p", "t"), cousins))


def test_without_cousins_all_retained_nodes_of_the_level_stand_in() -> None:
    plan = released_plan(FORGET, paths("j/r/w", "k/x/y"), level=1)
    assert plan.contrasts[0].against == (("j", "r", "w"), ("k", "x", "y"))


def test_an_institution_is_set_against_all_retained_patients() -> None:
    plan = released_plan(FORGET, paths("j/r", "j/x", "k/y"), level=0)
    assert plan.contrasts == (Contrast(("i", "p"), (("j", "r"), ("j", "x"), ("k", "y"))),)


def test_a_section_is_set_against_the_other_sections_of_its_study() -> None:
    """Of level 3 there are no children; the retained ones of the same study come first, else all."""
    retain = paths("i/p/s/G", "i/p/s/H", "i/p/t/F")
    assert released_plan(paths("i/p/s/F"), retain, level=3).contrasts == (
        Contrast(("i", "p", "s", "F"), (("i", "p", "s", "G"), ("i", "p", "s", "H"))),
    )
    assert released_plan(paths("i/p/s/F"), paths("i/p/t/F"), level=3).contrasts[0].against == (("i", "p", "t", "F"),)


def test_a_target_that_is_partly_retained_is_not_its_own_sibling() -> None:
    """Paths end at level 1, so p has no children; the retained row about p is no sibling of p."""
    plan = released_plan(paths("i/p"), paths("i/p", "i/q"), level=1)
    assert plan.contrasts == (Contrast(("i", "p"), (("i", "q"),)),)


def test_clean_counts_every_row_once_and_gives_the_target_a_direction_of_its_own() -> None:
    plan = clean_plan(FORGET, RETAIN, level=1)
    assert plan.forget == {("i", "p"): [0], ("i", "p", "s"): [1, 2], ("i", "p", "t"): [3]}
    assert plan.contrasts == (
        Contrast(("i", "p"), (("i", "q"),)),
        Contrast(("i", "p", "s"), (("i", "q", "u"), ("i", "q", "v"))),
        Contrast(("i", "p", "t"), (("i", "q", "u"), ("i", "q", "v"))),
    )


def test_nodes_without_anything_to_compare_with_are_named() -> None:
    plan = clean_plan(FORGET, paths("i/q"), level=1)
    assert plan.contrasts == (Contrast(("i", "p"), (("i", "q"),)),)
    assert plan.lonely == (("i", "p", "s"), ("i", "p", "t"))


def test_the_first_targets_only() -> None:
    forget = paths("i/p/s", "i/q/u", "i/o/t")
    for make in (released_plan, clean_plan):
        plan = make(forget, RETAIN, level=1, max_targets=2)
        assert plan.targets == (("i", "p"), ("i", "q"))
        assert {contrast.node[:2] for contrast in plan.contrasts} == set(plan.targets)
