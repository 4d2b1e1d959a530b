"""MANU by hand: what an output's importance is, which outputs go, and what is said where none can."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.edits import Matrix, TakeRows
from mmforget.methods.manu import activity, drawn, importance, largest, without
from mmforget.types import Example
from tests.helpers import tiny_image


def importance_of(values: Sequence[Sequence[float]], counts: Sequence[float] | None = None) -> Any:
    return importance(activity(torch.tensor(values), torch.tensor(counts or [1.0] * len(values))))


def test_four_numbers_of_an_output() -> None:
    """3 and -1: mean size 2, always above .1, mean 1 and deviation 2, sqrt((9 + 1) / 2). 2000 is cut at 1000; .05 is
    no activity.
    """
    found = importance_of([[3.0, 2000.0, 0.05], [-1.0, 0.0, 0.05]])
    assert found.mean.tolist() == pytest.approx([2, 500, 0.05])
    assert found.frequency.tolist() == [1, 0.5, 0]
    assert found.deviation.tolist() == pytest.approx([2, 500, 0], abs=1e-7)
    assert found.rms.tolist() == pytest.approx([math.sqrt(5), 1000 / math.sqrt(2), 0.05])


def test_a_place_counts_as_often_as_questions_share_it() -> None:
    twice = importance_of([[3.0], [3.0], [-1.0]])
    once = importance_of([[3.0], [-1.0]], [2.0, 1.0])
    assert all(torch.equal(one, other) for one, other in zip(twice, once, strict=True))


def test_scores_are_weighted_ratios() -> None:
    """Forget 3, 1: 2, 1, 1, sqrt 5. Keep 1, -1: 1, 1, 1, 1. So 2 (2 - 1) + 0 + 2 (1 - 1) + 2 (sqrt 5 - 1), nearly."""
    score = build("manu").scores(importance_of([[3.0], [1.0]]), importance_of([[1.0], [-1.0]]))
    assert float(score) == pytest.approx(2 * (3 + math.sqrt(5)) / 1.00001 - 6)
    score = build("manu", "mean_weight=0,deviation_weight=0,rms_weight=0,frequency_weight=3").scores(
        importance_of([[0.5], [0.0]]), importance_of([[0.0], [0.0]])
    )
    assert float(score) == pytest.approx(3 * (0.5 / 1e-5 - 1))


def test_the_largest_of_all_matrices_together_go() -> None:
    """A third of 6 is 2, both in the second matrix; at least one goes; of equal ones the first."""
    scores = {"a": torch.tensor([1.0, 2.0, 1.0]), "b": torch.tensor([5.0, 0.0, 4.0])}
    assert largest(scores, share=1 / 3) == {"b": [0, 2]}
    assert largest(scores, share=0.01) == {"b": [0]}
    assert largest({"a": torch.ones(2), "b": torch.ones(2)}, share=0.5) == {"a": [0, 1]}


def test_an_output_goes_with_its_bias() -> None:
    matrix = without(Matrix(torch.ones(3, 2), torch.arange(1.0, 4.0)), outputs=[1])
    assert matrix.weight.tolist() == [[1, 1], [0, 0], [1, 1]]
    assert matrix.bias is not None
    assert matrix.bias.tolist() == [1, 0, 3]


def example(number: int, *, subject: str, image: bool) -> Example:
    context = "<image>\nWho?" if image else "Who?"
    return Example(f"{subject}/{number}", subject, context, " I.", images=(tiny_image(number),) if image else ())


@dataclass
class Acting:
    """A site whose outputs are known by subject, in words and of images, and change where matrices have zeros."""

    busy: dict[str, list[float]]
    layers: Sequence[tuple[str, ...]] = (("0",), ("1",), ("2",), ("3",))
    tower: Sequence[tuple[str, ...]] = (("t",),)
    matrices: dict[str, Matrix] = field(default_factory=dict)
    asked: list[tuple[tuple[str, ...], list[str]]] = field(default_factory=list)

    def visit(self, examples: Sequence[Example], *, names: Sequence[str], take: TakeRows) -> None:
        self.asked.append((tuple(names), [one.context for one in examples]))
        for one in examples:
            for name in names:
                on = self.matrix(name).weight[:, 0]
                take(name, torch.tensor(self.busy[one.subject])[None] * on, torch.ones(1))

    def matrix(self, name: str) -> Matrix:
        return self.matrices.get(name, Matrix(torch.ones(4, 2), None))

    def replace(self, name: str, matrix: Matrix) -> None:
        self.matrices[name] = matrix


def acting() -> Acting:
    return Acting({"ann": [1.0, 3.0, 1.0, 2.0], "kept": [1.0, 1.0, 1.0, 1.0]})


def edited(site: Any, args: str = "", *, image: bool = True, num_kept: int = 2) -> Any:
    forget = [example(number, subject="ann", image=image) for number in range(2)]
    retain = [example(number, subject="kept", image=image) for number in range(num_kept)]
    return build("manu", args).edit(site, forget=forget, retain=retain, level=None)


def test_words_prune_the_last_decoder_layers_and_images_the_tower() -> None:
    """A quarter of 3 layers x 4 outputs is 3: output 1 of each; a quarter of the tower's 4 is its output 1."""
    site = acting()
    report = edited(site, "share=0.25")
    assert {edit.name: edit.num_neurons for edit in report.edits} == {"1": 1, "2": 1, "3": 1, "t": 1}
    assert all(matrix.weight[:, 0].tolist() == [1, 0, 1, 1] for matrix in site.matrices.values())
    assert site.asked[0] == (("1", "2", "3"), ["Who?"] * 2)
    assert site.asked[2] == (("t",), ["<image>\nWho?"] * 2)
    assert (report.num_targets, report.num_weights, report.notes) == (1, 8, ())


def test_every_iteration_scores_anew_and_takes_the_next() -> None:
    site = acting()
    report = edited(site, "share=0.25,iterations=2,layers=1")
    assert {edit.name: edit.num_neurons for edit in report.edits} == {"3": 2, "t": 2}
    assert site.matrices["3"].weight[:, 0].tolist() == [1, 0, 1, 0]


def test_a_tower_that_nobody_looks_through_stays() -> None:
    assert edited(acting(), image=False).notes == (
        "the vision tower stays: no row to forget has an image",
        "the vision tower stays: no row to keep has an image",
    )
    site = acting()
    site.tower = ()
    assert edited(site).notes == ("the model has no vision tower whose matrices are known",)
    assert "t" not in site.matrices


def test_as_many_rows_to_keep_as_to_forget_always_the_same() -> None:
    rows = [example(number, subject="kept", image=False) for number in range(9)]
    found = drawn(rows, num=3)
    assert [one.id for one in found] == sorted(one.id for one in drawn(rows, num=3))
    assert len(found) == 3
    assert drawn(rows, num=9) == rows
    site = acting()
    edited(site, num_kept=9)
    assert {len(contexts) for _, contexts in site.asked} == {2}


@pytest.mark.parametrize(
    "args, said",
    [
        ("share=0", "share=0.0 is not allowed"),
        ("share=1.5", "share=1.5 is not allowed; give a share above 0 and up to 1"),
        ("layers=0", "layers=0 is not allowed"),
        ("rms_weight=-1", "rms_weight=-1.0 is not allowed"),
        ("mean_weight=0,deviation_weight=0,rms_weight=0", "are all 0"),
    ],
)
def test_arguments_that_make_no_sense_are_said_in_a_line(args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build("manu", args)


def test_nothing_to_keep_and_no_known_blocks_are_refused() -> None:
    with pytest.raises(UserError, match="there are none; give some"):
        edited(acting(), num_kept=0)
    site = acting()
    site.layers = ()
    with pytest.raises(UserError, match="this model has none it knows"):
        edited(site)


def test_scores_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    sides: list[Any] = [rng.normal(size=(50, 7)) * scale for scale in (2.0, 1.0)]
    wanted = sum(
        2 * (f(sides[0]) / (f(sides[1]) + 1e-5) - 1)
        for f in (
            lambda z: np.abs(z).mean(0),
            lambda z: z.std(0),
            lambda z: np.sqrt((z**2).mean(0)),
        )
    )
    found: Tensor = build("manu").scores(*(importance_of(side.tolist()) for side in sides))
    assert np.allclose(found.numpy(), wanted, rtol=1e-4)
