"""What is tried of a method: multiples of the recipe, every combination, and an order that a seed decides."""

from __future__ import annotations

from mmforget.methods.build import build
from mmforget.methods.grids import USUAL, Times, drawn, points


def test_times_are_multiples_of_the_recipes_value() -> None:
    assert Times((0.5, 2.0)).of(3e-4) == (1.5e-4, 6e-4)
    assert Times((0.1, 1.5)).of(5) == (1, 8), "whole numbers, at least 1; 7.5 rounds to the even 8"
    for unknown in (None, "linear", True, 0, 0.0):
        assert Times((0.5,)).of(unknown) == ()


def test_every_combination_the_last_axis_fastest() -> None:
    assert points({"lr": (1, 2), "beta": ("a", "b")}) == [
        {"lr": 1, "beta": "a"}, {"lr": 1, "beta": "b"}, {"lr": 2, "beta": "a"}, {"lr": 2, "beta": "b"},
    ]  # fmt: skip
    assert points({}) == [{}]


def test_the_first_is_the_recipe_and_more_trials_bring_all_of_fewer() -> None:
    grid = points({"lr": range(5), "beta": range(3)})
    orders = {num: drawn(grid, num=num, seed=7, name="npo") for num in (1, 4, 9, 99)}
    assert orders[1] == [grid[0]]
    assert orders[4] == orders[9][:4] == orders[99][:4]
    assert len(orders[99]) == 15
    assert sorted(map(str, orders[99])) == sorted(map(str, grid)), "each once"
    assert drawn(grid, num=4, seed=7, name="npo") == orders[4]
    assert drawn(grid, num=9, seed=8, name="npo") != orders[9]
    assert drawn(grid, num=9, seed=7, name="ga") != orders[9]


def test_joined_methods_are_tried_with_all_that_their_parts_say() -> None:
    joined = build("npo+grad_diff").grid
    assert joined["npo.beta"] == (0.05, 0.1, 0.2)
    assert joined["grad_diff.retain_weight"] == (1.0, 2.0, 5.0)
    assert joined["lr"] == USUAL["lr"]
    assert build("ga+retain_ft").grid is None
