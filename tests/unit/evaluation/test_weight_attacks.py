"""Attacks that change weights: what is asked of which model, against plain PEFT and bitsandbytes; all is put back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import bitsandbytes.functional as bnb
import pytest
import torch
from test_attacking import adapter, asked_in_words, made, success, weights

from mmforget.errors import UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.lora import LoraSettings, attach, save_adapter
from mmforget.types import Sample
from tests.helpers import tiny_llama

NUM_LAYERS = 2
MANY = "relearning(lr=0.01,rows=2,steps=16)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked_in_words(tmp_path_factory.mktemp("toy") / "tasks", answer="blood")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model") / "m", num_layers=NUM_LAYERS)


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """An adapter that changes weights by about as much as a step of four bits."""
    loaded = attach(load_model(ModelSpec(str(model), device="cpu")), LoraSettings(r=2))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.02)
    return save_adapter(loaded, tmp_path_factory.mktemp("lora"))


def of(samples: list[Sample], attack: str) -> dict[int, list[Sample]]:
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.attack == attack and sample.attempt is not None:
            found.setdefault(sample.attempt, []).append(sample)
    return found


def test_a_model_that_relearns_is_asked_about_the_other_rows_after_every_power_of_two(
    folder: Path, model: Path, lora: Path
) -> None:
    """Rows have one answer here, so that two of them bring back the others; and everything is put back bit by bit."""
    lm = MMForgetLM(load_model(ModelSpec(str(model), peft=str(lora), device="cpu")), progress=False)
    before, fingerprint = weights(lm.loaded.model), lm.loaded.fingerprint
    full = "relearning(full=True,lr=0.003,rows=2,steps=16)"
    done = made(folder, lm, MANY, full, "relearning(lr=1e-9,rows=2,steps=2)", "quantisation(kind=int8)")
    after = weights(lm.loaded.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert (lm.loaded.fingerprint, any(w.requires_grad for w in lm.loaded.model.parameters())) == (fingerprint, False)
    plain = {sample.id: sample.response for sample in done.samples if sample.attack is None}
    keys = [key for key in dict.fromkeys(sample.attack for sample in done.samples) if key and "relearning" in key]
    for attack, num in zip(keys, (5, 5, 2), strict=True):
        tried = of(done.samples, attack)
        assert [sum(one.response is not None for one in tried[at]) for at in range(num)] == [4] * num
        assert [one.lacking for one in tried[0] if one.lacking] == ["the attack trains on this very row"] * 2
        if num == 2:
            assert all(one.response == plain[one.id] for at in tried for one in tried[at] if not one.lacking)
            continue
        found = success(folder, done, attack, f"attack_success(budget={num})")
        assert (found.value, found.num_scored, found.num_lacking) == (1.0, 4, 2)
        area = success(folder, done, attack, f"attack_success_area(budget={num})").value
        says = {(one.id, at): bool(re.search(r"\bblood\b", one.response or "")) for at in tried for one in tried[at]}
        asked = [one.id for one in tried[1]]
        by_then = [any(says[row, at] for at in range(last + 1)) for row in asked for last in range(num)]
        assert area == pytest.approx(sum(by_then) / len(by_then))
        assert 0.3 < area < 1
    assert not any(re.search(r"\bblood\b", response or "") for response in plain.values())


@pytest.mark.long
def test_relearning_for_two_updates_is_the_beginning_of_relearning_for_more(folder: Path, model: Path) -> None:
    done = made(folder, adapter(model), "relearning(lr=0.01,rows=2,steps=2)", "relearning(lr=0.01,rows=2,steps=4)")
    two, four = (of(done.samples, f"relearning(lr=0.01,rows=2,steps={steps})") for steps in (2, 4))
    assert [[one.response for one in two[at]] for at in two] == [[one.response for one in four[at]] for at in two]


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
def test_a_quantised_model_is_the_one_that_is_loaded_so(folder: Path, model: Path, lora: Path, kind: str) -> None:
    """Of an adapter merged first; the codes that change are counted as bitsandbytes itself gives them."""
    spec = ModelSpec(str(model), peft=str(lora), device="cpu")
    lm = MMForgetLM(load_model(spec), progress=False)
    attack = f"quantisation(kind={kind})"
    done = made(folder, lm, attack)
    tried = of(done.samples, attack)[0]
    flags: dict[str, Any] = (
        {"load_in_8bit": True} if kind == "int8" else {"load_in_4bit": True, "bnb_4bit_quant_type": kind}
    )
    stock = ModelSpec(
        str(model), peft=str(lora), merge_peft=True, device="cpu", bnb_4bit_use_double_quant=False, **flags
    )
    asked = made(folder, MMForgetLM(load_model(stock), progress=False))
    assert [one.response for one in tried] == [one.response for one in asked.samples if one.attack is None]
    (counts,) = done.training["attacks"].values()
    assert counts == changed_codes(lm, kind=kind)
    assert 0.01 < counts["codes_changed"] / counts["codes"] < 0.9
    assert "attacks" not in made(folder, adapter(model), attack).training


def changed_codes(lm: MMForgetLM, *, kind: str) -> dict[str, int]:
    found = {"codes": 0, "codes_changed": 0}
    for layer in (module for module in lm.loaded.core.modules() if hasattr(module, "lora_A")):
        base = layer.get_base_layer().weight
        pair = [codes(weight.detach(), kind=kind) for weight in (base, base + layer.get_delta_weight("default"))]
        found["codes"] += base.numel()
        found["codes_changed"] += int((pair[0] != pair[1]).sum())
    return found


def codes(weight: torch.Tensor, *, kind: str) -> torch.Tensor:
    if kind == "int8":
        return bnb.int8_vectorwise_quant(weight.half())[0]
    packed = bnb.quantize_4bit(weight, quant_type=kind)[0].flatten()
    return torch.stack([packed // 16, packed % 16])


@pytest.mark.parametrize(
    "attack, message",
    [
        ("relearning(steps=0)", "steps=0"),
        ("relearning(share=1.5)", "share=1.5 is more than all rows"),
        ("relearning(rows=7)", "rows=7 takes 7 of the 6 rows to forget, and none is left to ask about; give at most"),
        ("relearning(share=1.0)", "share=1.0 takes 6 of the 6 rows to forget"),
        ("relearning(on=related)", "on=related needs rows to keep about the same subjects, and there are none"),
        ("quantisation(kind=int2)", "int2"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(folder: Path, model: Path, attack: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(folder, adapter(model), attack)
