"""Needle on small matrices: which column is found, what noise it gets, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.edits import Matrix, TakeRows
from mmforget.types import Example


def example(subject: str) -> Example:
    return Example(id=subject, subject=subject, context="?", answer=" !", path=(subject,))


@dataclass
class Inputs:
    """A site of two layers whose inputs are known: by subject, those of each layer's last matrix at two places."""

    inputs: dict[str, tuple[Tensor, Tensor]]
    matrices: dict[str, Matrix] = field(
        default_factory=lambda: {name: Matrix(torch.ones(2, 3), None) for name in ("0.a", "1.b")}
    )
    layers: Sequence[tuple[str, ...]] = (("0.up", "0.a"), ("1.up", "1.b"))
    blocks: Sequence[str] = ("0", "1")

    def visit(self, examples: Sequence[Example], *, names: Sequence[str], take: TakeRows, inputs: bool = False) -> None:
        assert inputs
        for one in examples:
            for name, values in zip(names, self.inputs[one.subject], strict=True):
                take(name, values, torch.ones(len(values)))

    def matrix(self, name: str) -> Matrix:
        return self.matrices[name]

    def replace(self, name: str, matrix: Matrix) -> None:
        self.matrices[name] = matrix


def known() -> Inputs:
    """Kept rows write 1 by every column. Ann's write -5 and 3 by column 2 of layer 1, Bo's 2 and 2 by 0 of layer 0."""
    ones = torch.ones(2, 3)
    ann, bo = ones.clone(), ones.clone()
    ann[:, 2], bo[:, 0] = torch.tensor([-5.0, 3.0]), torch.tensor([2.0, 2.0])
    return Inputs({"ann": (ones, ann), "bo": (bo, ones), "kept": (ones, ones)})


def edited(args: str, *, site: Any, forget: Sequence[str] = ("ann", "bo"), retain: Sequence[str] = ("kept",)) -> Any:
    return build("needle", args).edit(
        site, forget=[example(one) for one in forget], retain=[example(one) for one in retain], level=None
    )


def test_each_subject_loses_the_column_that_writes_more_about_it_than_about_what_is_kept() -> None:
    """Ann: mean |-5|, |3| is 4, times sqrt 2, more than 1 sqrt 2; Bo: 2 to 1. Noise is drawn in order of layers."""
    site = known()
    report = edited("seed=3", site=site)
    generator = torch.Generator().manual_seed(3)
    drawn = {"0.a": 0.1 * torch.randn(2, generator=generator), "1.b": 0.1 * torch.randn(2, generator=generator)}
    assert [edit.name for edit in report.edits] == ["0.a", "1.b"]
    for name, column in (("0.a", 0), ("1.b", 2)):
        wanted = torch.ones(2, 3)
        wanted[:, column] += drawn[name]
        assert torch.equal(site.matrices[name].weight, wanted)
    assert (report.num_targets, report.num_weights) == (2, 4)
    assert report.notes[1:] == ("ann: layer 1, column 2", "bo: layer 0, column 0")


def test_a_columns_own_length_counts() -> None:
    """Column 1 of layer 0 is ten times as long, and Bo's coefficient of it a little larger than what is kept has."""
    site = known()
    long = torch.ones(2, 3)
    long[:, 1] = 10.0
    site.matrices["0.a"] = Matrix(long, None)
    site.inputs["bo"][0][:, 1] = 1.5
    assert edited("", site=site, forget=["bo"]).notes[-1] == "bo: layer 0, column 1"


def test_a_column_of_several_subjects_is_changed_once() -> None:
    site = known()
    site.inputs["bo"] = site.inputs["ann"]
    assert edited("", site=site).num_weights == 2


def test_a_given_place_needs_no_rows_to_keep_and_is_called_an_oracle() -> None:
    site = known()
    report = edited("layer=1,column=0,noise=2.0", site=site, retain=())
    wanted = 1 + 2.0 * torch.randn(2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(site.matrices["1.b"].weight[:, 0], wanted)
    assert torch.equal(site.matrices["1.b"].weight[:, 1:], torch.ones(2, 2))
    assert "an oracle upper bound" in report.notes[0]


def test_layers_are_counted_as_the_model_counts_them() -> None:
    """With a layer between the two that has no feed-forward block, Ann's column is in layer 2."""
    site = replace(
        known(), blocks=("0", "1", "2"), layers=(("0.up", "0.a"), ("2.up", "2.b")),
        matrices={name: Matrix(torch.ones(2, 3), None) for name in ("0.a", "2.b")},
    )  # fmt: skip
    assert edited("", site=site, forget=["ann"]).notes[-1] == "ann: layer 2, column 2"
    assert not torch.equal(site.matrices["2.b"].weight, torch.ones(2, 3))
    with pytest.raises(UserError, match="layer=1 has no feed-forward matrices; give one of 0, 2"):
        edited("layer=1,column=0", site=site)
    with pytest.raises(UserError, match="layer=3 does not exist: the model has 3 layers, 0 to 2"):
        edited("layer=3,column=0", site=site)


@pytest.mark.parametrize(
    "args, said",
    [
        ("layer=2,column=0", "layer=2 does not exist: the model has 2 layers, 0 to 1"),
        ("layer=-1,column=0", "layer=-1 does not exist"),
        ("layer=0,column=3", "column=3 does not exist: layer 0 has 3 columns, 0 to 2"),
        ("layer=0", "layer and column name one place together"),
        ("noise=0", "noise=0.0 is not allowed"),
        ("seed=-1", "seed=-1 is not allowed"),
    ],
)
def test_what_does_not_exist_is_said_in_a_line(args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        edited(args, site=known())


def test_nothing_to_compare_with_and_no_known_blocks_are_refused() -> None:
    with pytest.raises(UserError, match=r"there are none; give layer and column"):
        edited("", site=known(), retain=())
    with pytest.raises(UserError, match="this model has none it knows"):
        edited("layer=0,column=0", site=replace(known(), layers=()))
