"""Adapters one upon another: what two of them change together, compared with plain PEFT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmforget.errors import UserError
from mmforget.model.encode import encode
from mmforget.model.layered import joined, upon
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, adapters_off, attach, detach, load_adapter, save_adapter
from mmforget.model.scoring import score
from mmforget.model.spec import ModelSpec
from tests.helpers import fresh, tiny_image, tiny_llava


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("models") / "llava")


def logprobs(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return score(loaded, [encode(loaded, "<image>\nwho is it?", " Anna Meier.", [tiny_image(3)])]).token_logprobs


def moved(loaded: LoadedModel, *, seed: int, rank: int, projector: bool = False) -> LoadedModel:
    """The model with a fresh adapter that does something."""
    attached = attach(loaded, LoraSettings(r=rank, alpha=3 * rank, train_projector=projector))
    with torch.no_grad():
        for name, weight in sorted(attached.trainable().items()):
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed + len(name)))
    return attached


@pytest.mark.parametrize("quantised", [False, True], ids=["float", "4 bit"])
@pytest.mark.parametrize("projector", [False, True], ids=["layers", "and projector"])
def test_the_next_is_trained_upon_the_first_and_both_are_one(
    quantised: bool, projector: bool, folder: Path, tmp_path: Path
) -> None:
    spec = ModelSpec(str(folder), device="cpu", load_in_4bit=quantised)
    base = fresh(spec)
    plain = logprobs(base)
    first = moved(base, seed=0, rank=2, projector=projector)
    one = save_adapter(first, tmp_path / "one")
    after_one = logprobs(first)
    base = detach(first)
    assert torch.equal(logprobs(base), plain)
    with upon(base, one) as below:
        torch.testing.assert_close(logprobs(below), after_one, atol=1e-5, rtol=0)
        assert below.fingerprint == load_model(replace(spec, peft=str(one))).fingerprint
        second = moved(below, seed=1, rank=3, projector=projector)
        two = save_adapter(second, tmp_path / "two")
        both = logprobs(second)
        with adapters_off(second) as before:
            torch.testing.assert_close(logprobs(before), after_one, atol=1e-5, rtol=0)
        detach(second)
    assert torch.equal(logprobs(base), plain)
    assert (both - after_one).abs().max() > 1e-3
    whole = joined(one, two, folder=tmp_path / "both")
    torch.testing.assert_close(logprobs(load_adapter(base, whole)), both, atol=1e-5, rtol=0)


def test_in_full_precision_it_is_what_merging_gives(folder: Path, tmp_path: Path) -> None:
    spec = ModelSpec(str(folder), device="cpu")
    one = save_adapter(moved(fresh(spec), seed=0, rank=2), tmp_path / "one")
    merged = load_model(replace(spec, peft=str(one), merge_peft=True))
    upper = moved(merged, seed=1, rank=2)
    two = save_adapter(upper, tmp_path / "two")
    whole = joined(one, two, folder=tmp_path / "both")
    torch.testing.assert_close(logprobs(load_model(replace(spec, peft=str(whole)))), logprobs(upper), atol=1e-5, rtol=0)


def test_adapters_of_other_layers_are_not_joined(folder: Path, tmp_path: Path) -> None:
    spec = ModelSpec(str(folder), device="cpu")
    homes = []
    for names in (("q_proj",), ("q_proj", "v_proj")):
        loaded = attach(fresh(spec), LoraSettings(r=2, target_modules=names))
        homes.append(save_adapter(loaded, tmp_path / names[-1]))
    with pytest.raises(UserError, match="reaches other layers than"):
        joined(*homes, folder=tmp_path / "both")
