"""Weights that are no numbers are named when a model is loaded."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mmforget.model.finite import not_finite
from mmforget.model.load import load_model
from mmforget.model.spec import ModelSpec
from tests.helpers import tiny_llama


def test_nan_and_infinity_are_found_and_large_sums_are_not() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    assert not_finite(model) == []
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
        model[1].bias[1] = -math.inf
        model[2].weight.fill_(3e38)
    assert not_finite(model) == ["0.weight", "1.bias"]


def test_a_model_with_nan_weights_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tiny_llama(tmp_path / "m")
    spec = ModelSpec.parse(f"pretrained={folder}", device="cpu")
    with caplog.at_level(logging.WARNING):
        load_model(spec)
        assert "NaN" not in caplog.text
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in sorted(weights) if "q_proj" in name)
        weights[name][0] = math.nan
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        load_model(spec)
    assert f"{folder}: 1 of its weights hold NaN or infinity, the first is" in caplog.text
    assert "q_proj" in caplog.text
