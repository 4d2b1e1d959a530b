"""Weights where 4 bits put them: a small change of them is gone once they are packed again."""

from __future__ import annotations

from pathlib import Path

import bitsandbytes.functional as bnb
import pytest
import torch
from torch import Tensor

import unpacked
from mmforget.model.altering import linear_layers
from mmforget.model.load import ModelSpec, load_model
from tests.helpers import tiny_llama


def repacked(weight: Tensor) -> Tensor:
    codes, state = bnb.quantize_4bit(weight.detach().contiguous(), quant_type="nf4")
    return bnb.dequantize_4bit(codes, state)


def test_what_was_packed_stays_where_it_is_and_a_small_change_is_lost(tmp_path: Path) -> None:
    """Neighbouring values of NF4 lie at least .0796 of a block's largest weight apart; .01 of it is rounded away."""
    before = tiny_llama(tmp_path / "m")
    assert unpacked.main([str(before), str(tmp_path / "m4")]) == 0
    old, new = (load_model(ModelSpec(str(place), device="cpu")) for place in (before, tmp_path / "m4"))
    assert torch.equal(old.core.lm_head.weight, new.core.lm_head.weight)
    for name, layer in linear_layers(new).items():
        first = old.core.get_submodule(name).weight
        assert torch.allclose(layer.weight, repacked(first))
        assert not torch.equal(layer.weight, first)
        blocks = layer.weight.detach().reshape(-1, 64)
        largest = blocks.abs().amax(1, keepdim=True)
        change = torch.where(blocks.abs() == largest, 0.0, 0.01 * largest * torch.randn_like(blocks).sign())
        assert torch.allclose(repacked((blocks + change).reshape(layer.weight.shape)), layer.weight)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        unpacked.main([str(tmp_path / "none"), str(tmp_path / "m4")])
    assert "none" in capsys.readouterr().err
