"""CHIP's arithmetic, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mmforget.methods import chip_math
from mmforget.methods.edits import Matrix


@pytest.mark.parametrize(
    "outputs, share, number",
    [(18944, 0.1, 1894), (3584, 0.1, 358), (5120, 0.1, 512), (4, 0.1, 1), (100, 0.03, 3), (100, 0.29, 29), (7, 1.0, 7)],
)
def test_neurons_of_a_matrix(outputs: int, share: float, number: int) -> None:
    """The sizes of the published model at 10 %; at least one; 29 % of 100 is 29 although .29 is a little less."""
    assert chip_math.num_neurons(outputs, share=share) == number


def test_selection_is_by_the_raw_difference() -> None:
    """Differences 1, 2, -5, 2, 0: the two largest are outputs 1 and 3; neither a ratio nor a size would choose them."""
    forget, retain = torch.tensor([1.1, 12.0, 0.0, 2.5, 3.0]), torch.tensor([0.1, 10.0, 5.0, 0.5, 3.0])
    assert chip_math.select(forget, retain, share=0.4).tolist() == [1, 3]
    assert chip_math.select(forget, retain, share=0.2).tolist() == [1]


def test_a_direction_is_a_unit_vector_on_the_selected_outputs() -> None:
    """(3, -, 4) - 0 has length 5; what output 1 says does not count."""
    found = chip_math.direction(torch.tensor([3.0, 99.0, 4.0]), reference=torch.zeros(3), neurons=torch.tensor([0, 2]))
    assert found is not None
    assert found.tolist() == pytest.approx([0.6, 0.8])


def test_what_does_not_differ_has_no_direction() -> None:
    same = torch.tensor([1.0, 2.0])
    assert chip_math.direction(same, reference=same, neurons=torch.tensor([0, 1])) is None
    near = same + torch.tensor([5e-9, 0.0])
    assert chip_math.direction(near.double(), reference=same.double(), neurons=torch.tensor([0, 1])) is None


@pytest.mark.parametrize(
    "energies, tau, rank",
    [
        ([1.0], 0.95, 1),
        ([3.0, 1.0], 0.75, 1),  # 3 of 4 is not below .75
        ([3.0, 1.0], 0.76, 2),
        ([90.0, 5.0, 5.0], 0.95, 2),  # 90 is below 95, 95 is not
        ([90.0, 4.0, 6.0], 0.95, 3),
        ([2.0, 1.0, 1.0], 1.0, 3),
        ([4.0, 0.0, 0.0], 1.0, 1),
    ],
)
def test_rank(energies: list[float], tau: float, rank: int) -> None:
    """1 + how many cumulative energies are below tau of the total, at most as many as there are."""
    assert chip_math.rank_for(torch.tensor(energies), tau=tau) == rank


def test_the_basis_is_not_centred() -> None:
    """Two equal rows have one direction, their own; centred they would have none."""
    row = torch.tensor([0.6, 0.8])
    found = chip_math.basis(torch.stack([row, row]), tau=0.95)
    assert found.shape == (2, 1)
    assert found[:, 0].abs().tolist() == pytest.approx([0.6, 0.8])


def test_the_basis_of_two_right_angles_is_their_plane() -> None:
    rows = torch.eye(5)[[1, 3]]
    found = chip_math.basis(rows, tau=0.95)
    assert torch.allclose(found @ found.T, torch.diag(torch.tensor([0, 1, 0, 1, 0.0])).double())


def test_where_the_decomposition_fails_the_mean_direction_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows (1, 0) and (0, 1): the mean has direction (1, 1) / sqrt 2."""

    def fail(*args: object, **kwargs: object) -> None:
        raise torch.linalg.LinAlgError

    monkeypatch.setattr(torch.linalg, "svd", fail)
    assert chip_math.basis(torch.eye(2), tau=0.95)[:, 0].tolist() == pytest.approx([math.sqrt(0.5)] * 2)


def test_the_projection_is_idempotent_and_lacks_the_rank() -> None:
    columns = chip_math.basis(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), tau=1.0)
    projection = chip_math.complement(columns)
    assert torch.allclose(projection @ projection, projection, atol=1e-12)
    assert torch.linalg.matrix_rank(torch.eye(8).double() - projection) == columns.shape[1] == 3


def test_projecting_rows() -> None:
    """Along (0, .6, .8) of outputs 0 to 2: row 1 becomes .64 r1 - .48 r2 and row 2 .36 r2 - .48 r1; row 3 is left."""
    weight = torch.tensor([[1.0, 1.0], [10.0, 0.0], [0.0, 10.0], [7.0, 7.0]])
    bias = torch.tensor([0.0, 1.0, 0.0, 5.0])
    columns = torch.tensor([[0.0], [0.6], [0.8]]).double()
    found = chip_math.project(Matrix(weight, bias), neurons=torch.tensor([0, 1, 2]), columns=columns)
    wanted = torch.tensor([[1.0, 1.0], [6.4, -4.8], [-4.8, 3.6], [7.0, 7.0]])
    assert torch.allclose(found.weight, wanted, atol=1e-6)
    assert found.bias is not None
    assert torch.allclose(found.bias, torch.tensor([0.0, 0.64, -0.48, 5.0]), atol=1e-6)
    assert torch.equal(found.weight[3], weight[3])
    assert torch.equal(weight[1], torch.tensor([10.0, 0.0])), "the old matrix is left alone"


def test_released_leaves_the_bias_and_rounds_before_it_multiplies() -> None:
    """In bfloat16 I - q q^T is rounded first; in float32 both ways are the same."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 5, generator=generator)
    columns = chip_math.basis(torch.randn(2, 6, generator=generator), tau=1.0)
    neurons, bias = torch.arange(6), torch.ones(6)
    for dtype in (torch.float32, torch.bfloat16):
        matrix = Matrix(weight.to(dtype), bias)
        released = chip_math.project_released(matrix, neurons=neurons, columns=columns)
        clean = chip_math.project(matrix, neurons=neurons, columns=columns)
        assert released.bias is bias
        assert torch.equal(released.weight, chip_math.complement(columns).to(dtype) @ matrix.weight)
        precise = chip_math.complement(columns) @ matrix.weight.double()
        assert torch.equal(clean.weight, precise.to(dtype)) or torch.allclose(clean.weight.double(), precise, atol=1e-6)
        assert released.weight.dtype == clean.weight.dtype == dtype
    errors = [float((found.weight.double() - precise).norm()) for found in (released, clean)]
    assert errors[0] > errors[1]
