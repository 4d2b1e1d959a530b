"""CHIP on a constructed model whose directions are known: these go, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from mmforget.errors import UnknownName, UserError
from mmforget.methods.build import build
from mmforget.methods.chip import Chip
from mmforget.methods.edits import Matrix, Pooling, Sums
from mmforget.types import Example

NUM_INPUTS, NUM_OUTPUTS = 6, 10


def example(path: str, *, number: int = 0) -> Example:
    return Example(
        id=f"{path}/{number}", subject=path, context="?", answer=" !", path=tuple(path.split("/")), extra={"n": number}
    )


@dataclass
class KnownSite:
    """Matrices whose input is known for every question: `inputs` by path, plus the question's number in input 5."""

    matrices: dict[str, Matrix]
    inputs: dict[str, Tensor]
    layers: Sequence[tuple[str, ...]] = (("a",),)
    projector: tuple[str, ...] = ()
    family: str = "llava"
    asked: list[list[str]] = field(default_factory=list)

    def reads(self, one: Example) -> Tensor:
        read = self.inputs["/".join(one.path)].clone()
        read[5] += one.extra["n"]
        return read

    def sums(self, examples: Sequence[Example], *, names: Sequence[str], pooling: Pooling) -> dict[str, Sums]:
        self.asked.append([one.id for one in examples])
        found = {}
        for name in names:
            weight, bias = self.matrices[name]
            rows = torch.stack([weight @ self.reads(one) + (0.0 if bias is None else bias) for one in examples])
            found[name] = Sums(rows.double().sum(0), rows.double().abs().sum(0), len(rows))
        return found

    def matrix(self, name: str) -> Matrix:
        return self.matrices[name]

    def replace(self, name: str, matrix: Matrix) -> None:
        self.matrices[name] = matrix


def known_site(*, num_matrices: int = 1, bias: bool = False) -> KnownSite:
    """Output j is input j for j < 4 and noise of input 4 for the rest.

    Studies of patient p read 1 in inputs 0 and 1 more than others: their direction is (1, 1) / sqrt 2 of outputs 0, 1.
    """
    weight = torch.zeros(NUM_OUTPUTS, NUM_INPUTS)
    weight[:4, :4] = torch.eye(4)
    weight[4:, 4] = torch.linspace(0.1, 0.6, NUM_OUTPUTS - 4)
    base = torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0, 0.0])
    special = base + torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    inputs = {"i/p/s": special, "i/p/t": special, "i/q/u": base, "i/q/v": base, "j/r/w": base}
    matrix = Matrix(weight, torch.arange(NUM_OUTPUTS).float() if bias else None)
    names = [chr(ord("a") + number) for number in range(num_matrices)]
    return KnownSite(dict.fromkeys(names, matrix), inputs, layers=tuple((name,) for name in names))


FORGET = [example("i/p/s"), example("i/p/t")]
RETAIN = [example("i/q/u"), example("i/q/v"), example("j/r/w")]


@pytest.mark.parametrize("variant", ["released", "clean"])
def test_the_known_direction_goes_and_orthogonal_ones_stay(variant: str) -> None:
    """20 % of 10 outputs are the two that differ; along (1, 1) they are 0 for every input, along (1, -1) as before."""
    site = known_site()
    before = site.matrices["a"].weight
    report = Chip(neurons=0.2, variant=variant).edit(site, forget=FORGET, retain=RETAIN, level=1)  # type: ignore[arg-type]
    after = site.matrices["a"].weight
    inputs = torch.randn(NUM_INPUTS, 50, generator=torch.Generator().manual_seed(1))
    old, new = before @ inputs, after @ inputs
    along, across = torch.tensor([1.0, 1.0]) / 2**0.5, torch.tensor([1.0, -1.0]) / 2**0.5
    assert float((along @ new[:2]).abs().max()) < 1e-6
    assert float((across @ new[:2] - across @ old[:2]).abs().max()) < 1e-6
    assert torch.equal(after[2:], before[2:])
    (edit,) = report.edits
    assert (edit.name, edit.num_neurons, edit.num_directions, edit.rank) == ("a", 2, 2, 1)
    assert (report.num_targets, report.num_weights) == (1, 2 * NUM_INPUTS)


def test_two_children_that_differ_from_their_kin_in_two_ways_lose_both() -> None:
    site = known_site()
    site.inputs["i/p/t"] = torch.tensor([1.0, 1.0, 3.0, 1.0, 2.0, 0.0])
    report = Chip(neurons=0.3, tau=1.0).edit(site, forget=FORGET, retain=RETAIN, level=1)
    assert report.edits[0].rank == 2
    s, t, u = (site.matrices["a"].weight @ site.inputs[path] for path in ("i/p/s", "i/p/t", "i/q/u"))
    assert torch.allclose(s[:3], u[:3], atol=1e-6)
    assert torch.allclose(t[:3], u[:3], atol=1e-6)


def test_a_node_that_is_as_its_kin_gives_no_edit() -> None:
    """One matrix differs, the other does not: the first is edited, the second named; none at all is refused."""
    site = known_site(num_matrices=2)
    site.matrices["b"] = Matrix(torch.ones(NUM_OUTPUTS, NUM_INPUTS) * torch.tensor([0.0, 0, 1, 1, 1, 0]), None)
    report = Chip(neurons=0.2).edit(site, forget=FORGET, retain=RETAIN, level=1)
    assert [edit.name for edit in report.edits] == ["a"]
    assert report.notes == ("b was left as it is: no node differs from its kin there",)
    site.matrices["a"] = site.matrices["b"]
    with pytest.raises(UserError, match="would edit nothing"):
        Chip(neurons=0.2).edit(site, forget=FORGET, retain=RETAIN, level=1)


def test_all_is_measured_before_anything_changes() -> None:
    """Two equal matrices are edited alike, although the second would see the first one's outputs in a real model."""
    site = known_site(num_matrices=2)
    Chip(neurons=0.2).edit(site, forget=FORGET, retain=RETAIN, level=1)
    assert torch.equal(site.matrices["a"].weight, site.matrices["b"].weight)


def test_biases_are_projected_by_clean_alone() -> None:
    """Bias (0, 1) along (1, 1) / sqrt 2 loses its half: (-.5, .5); so the whole output lacks the direction."""
    for variant, wanted in (("clean", [-0.5, 0.5]), ("released", [0.0, 1.0])):
        site = known_site(bias=True)
        build("chip", {"neurons": 0.2, "variant": variant}).edit(site, forget=FORGET, retain=RETAIN, level=1)
        bias = site.matrices["a"].bias
        assert bias is not None
        assert bias[:2].tolist() == pytest.approx(wanted, abs=1e-6)
        assert bias[2:].tolist() == list(range(2, NUM_OUTPUTS))


def test_siblings_weigh_by_their_questions_and_not_by_node() -> None:
    """u has three questions at 1, v one at 5: their common mean is 2, not 3; a target at 2 + d differs by d alone."""
    site = known_site()
    site.inputs["i/q/v"] = torch.tensor([5.0, 1.0, 1.0, 1.0, 2.0, 0.0])
    for path in ("i/p/s", "i/p/t"):
        site.inputs[path] = torch.tensor([2.0, 4.0, 1.0, 1.0, 2.0, 0.0])
    retain = [*(example("i/q/u", number=0) for _ in range(3)), example("i/q/v")]
    Chip(neurons=0.2).edit(site, forget=FORGET, retain=retain, level=1)
    after = site.matrices["a"].weight
    assert torch.allclose(after[0], torch.tensor([1.0, 0, 0, 0, 0, 0]), atol=1e-6), "output 0 has no part in it"
    assert torch.allclose(after[1], torch.zeros(NUM_INPUTS), atol=1e-6)


def test_released_counts_a_row_at_both_levels_and_clean_once() -> None:
    site = known_site()
    build("chip", "variant=released").edit(site, forget=FORGET, retain=RETAIN, level=1)
    assert sorted(sum(site.asked, [])) == sorted([one.id for one in (*FORGET, *RETAIN)] * 2)
    site = known_site()
    build("chip").edit(site, forget=FORGET, retain=RETAIN, level=1)
    assert sorted(sum(site.asked, [])) == sorted(one.id for one in (*FORGET, *RETAIN))


def test_questions_of_a_large_node_are_drawn_alike_every_time() -> None:
    forget = [example("i/p/s", number=number) for number in range(9)] + [example("i/p/t")]
    drawn = []
    for _ in range(2):
        site = known_site()
        Chip(neurons=0.2, max_questions=4).edit(site, forget=forget, retain=RETAIN, level=1)
        drawn.append(site.asked[0])
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 4
    assert set(drawn[0]) <= {one.id for one in forget}


def test_the_last_layers() -> None:
    report = Chip(neurons=0.2, layers=2).edit(known_site(num_matrices=4), forget=FORGET, retain=RETAIN, level=1)
    assert [edit.name for edit in report.edits] == ["c", "d"]
    report = Chip(neurons=0.2, layers=9).edit(known_site(num_matrices=4), forget=FORGET, retain=RETAIN, level=1)
    assert len(report.edits) == 4


@pytest.mark.parametrize(
    "family, projector, is_edited, num_notes",
    [
        ("qwen_vl", "published", True, 0),
        ("llava", "published", False, 1),
        ("llava", "always", True, 0),
        ("qwen_vl", "never", False, 0),
    ],
)
def test_the_projector_is_edited_as_published_or_as_told(
    family: str, projector: str, is_edited: bool, num_notes: int
) -> None:
    site = known_site()
    site.matrices["p"] = site.matrices["a"]
    site.projector, site.family = ("p",), family
    method = build("chip", {"neurons": 0.2, "projector": projector})
    report = method.edit(site, forget=FORGET, retain=RETAIN, level=1)
    assert [edit.name for edit in report.edits] == (["a", "p"] if is_edited else ["a"])
    assert len(report.notes) == num_notes


def test_variants_pool_as_they_say() -> None:
    assert build("chip", "variant=released").pooling == Pooling(alpha=0.3, padding=True, each_token=True)
    assert build("chip", "alpha=none").pooling == Pooling(alpha=None, padding=False, each_token=False)


def test_the_innermost_level_is_the_default() -> None:
    site = known_site()
    report = Chip(neurons=0.2).edit(site, forget=FORGET, retain=RETAIN, level=None)
    assert report.num_targets == 2


@pytest.mark.parametrize(
    "forget, retain, level, message",
    [
        (FORGET, RETAIN, 3, "no row to forget has a path of 4 parts"),
        ([Example("x", "x", "?", " !")], RETAIN, None, "no row to forget has a path of 1 parts"),
        (FORGET, [], 1, "nothing of it to keep"),
        (FORGET, [Example("x", "x", "?", " !")], 1, "nothing of it to keep"),
    ],
)
def test_what_cannot_be_forgotten_is_refused(
    forget: list[Example], retain: list[Example], level: int | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Chip().edit(known_site(), forget=forget, retain=retain, level=level)


def test_a_model_without_such_matrices_is_refused() -> None:
    site = known_site()
    site.layers = ()
    with pytest.raises(UserError, match="this model has none it knows"):
        Chip().edit(site, forget=FORGET, retain=RETAIN, level=1)


@pytest.mark.parametrize(
    "args", ["neurons=0", "neurons=1.5", "tau=0", "tau=1.1", "alpha=-0.1", "alpha=2", "layers=0", "max_questions=0"]
)
def test_arguments_out_of_range_are_refused(args: str) -> None:
    with pytest.raises(UserError, match="not allowed"):
        build("chip", args)


def test_unknown_variants_are_refused() -> None:
    with pytest.raises(UnknownName, match="variant"):
        build("chip", "variant=faithful")
