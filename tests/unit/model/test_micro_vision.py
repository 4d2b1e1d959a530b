"""The vision tower of a micro model: what its two threads compute is what one would."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from mmforget.model import micro_vision
from mmforget.model.micro_vision import mean_gradients, train_tower


def test_gradients_of_two_parts_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(9, 5, dtype=torch.float64), torch.rand(9, 3, dtype=torch.float64)
    layer, unused = nn.Linear(5, 3, dtype=torch.float64), nn.Parameter(torch.zeros(2))
    rows = torch.tensor([8, 1, 1, 4])

    def loss_of(part: Tensor) -> Tensor:
        return nn.functional.mse_loss(layer(inputs[part]), targets[part])

    parameters = [*layer.parameters(), unused]
    with ThreadPoolExecutor(2) as pool:
        *found, none = mean_gradients(loss_of, rows=rows, parameters=parameters, pool=pool)
    assert none is None
    # Of (prediction - target)^2, by hand: 2 / 12 for each of the 4 x 3 numbers.
    error = inputs[rows] @ layer.weight.T + layer.bias - targets[rows]
    torch.testing.assert_close(found, [error.T @ inputs[rows] / 6, error.sum(dim=0) / 6])


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_vision, "NUM_STEPS", 3)
    monkeypatch.setattr(micro_vision, "NUM_FACES", 64)
    before, made = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            made.append(train_tower(seed=0).state_dict())
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(weight, made[1][name]) for name, weight in made[0].items())
