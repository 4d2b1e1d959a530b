"""Attacks that change weights: what is asked of which model, against plain PEFT and bitsandbytes; all is put back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bitsandbytes.functional as bnb
import pytest
import torch
from test_attacking import DATA, adapter, asked_in_words, made, success, weights

from mmforget.attacks.naming import attack_names, attack_of
from mmforget.attacks.pruning import Pruning
from mmforget.attacks.weight_noise import WeightNoise
from mmforget.benchmark.find import find
from mmforget.errors import UserError
from mmforget.evaluation import changing
from mmforget.evaluation.retraining import settings_on
from mmforget.lm.adapter import MMForgetLM
from mmforget.methods.material import Material
from mmforget.model.activations import reading
from mmforget.model.altering import Linear, seen_inputs
from mmforget.model.examples import encode_all
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach, save_adapter
from mmforget.pipeline.attacking import make_attack_plan
from mmforget.pipeline.config import RunConfig
from mmforget.training.settings import TrainSettings
from mmforget.types import Example, Sample
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


def test_a_narrow_model_relearns_at_a_rate_that_is_higher_in_proportion(model: Path) -> None:
    """The published rates are for models of thousands: below 1024 what an output moves by is kept, the rate times H."""
    material = Material(forget=[Example(str(row), "x", "what?", "blood") for row in range(5)])

    def rates(attack: str, *widths: int) -> list[float]:
        return [attack_of(attack).training(material).settings_for(width).lr for width in widths]

    assert rates("relearning", 4096, 1024, 128) == pytest.approx([1e-4, 1e-4, 8e-4])
    assert rates("relearning(full=True)", 4096, 128) == pytest.approx([2e-5, 1.6e-4])
    assert rates("relearning(lr=0.003)", 4096, 128) == [0.003, 0.003]
    loaded = load_model(ModelSpec(str(model), device="cpu"))
    hidden_size = loaded.core.get_input_embeddings().weight.shape[1]
    found = settings_on(loaded, attack_of("relearning").training(material)).lr
    assert found == pytest.approx(1e-4 * 1024 / hidden_size)


def test_what_is_measured_after_relearning_has_learnt_at_the_rate_of_the_attack(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate that is named stands for every width."""
    rates: list[float] = []

    @contextmanager
    def noted(loaded: LoadedModel, rows: Any, *, settings: TrainSettings, **_: Any) -> Iterator[LoadedModel]:
        rates.append(settings.lr)
        yield loaded

    monkeypatch.setattr(changing, "continued", noted)
    loaded, bound = load_model(ModelSpec(str(model), device="cpu")), find("toy", [folder]).bind(DATA)
    for key in ("relearning", "relearning(lr=0.003)"):
        with changing.changed(loaded, bound, attack=attack_of(key), key=key):
            pass
    hidden_size = loaded.core.get_input_embeddings().weight.shape[1]
    assert rates == pytest.approx([1e-4 * 1024 / hidden_size, 0.003])


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
        ("relearning(rows=7)", "rows=7 are more than the 6 rows on=forget that there are; give at most rows=6"),
        ("relearning(on=unrelated,rows=401)", "more than the 400 rows on=unrelated"),
        ("relearning(on=related)", "on=related needs rows to keep about the same subjects, and there are none"),
        ("quantisation(kind=int2)", "int2"),
        ("pruning(shares=[0.5,0.2])", "shares=.0.5, 0.2. is not allowed; give numbers above 0 that rise"),
        ("pruning(shares=[1.0])", "shares=1.0 is not allowed; give a number below 1"),
        ("weight_noise(amounts=[0.0])", "amounts=.0.0. is not allowed"),
        ("adapter_removal(left=[1.0])", "left=.1.0. is not allowed; give falling parts below 1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_before_the_model_is_asked(
    folder: Path, model: Path, attack: str, message: str
) -> None:
    lm = adapter(model)
    with pytest.raises(UserError, match=message):
        made(folder, lm, attack)
    assert lm.cost().num_requests == 0


def test_too_many_rows_are_refused_when_the_attack_is_planned(folder: Path, tmp_path: Path) -> None:
    config = RunConfig(
        "micro", ("toy",), include_path=(str(folder),), data="synthetic", output_path=str(tmp_path), recipe="micro",
        attacks=attack_names("relearning(rows=7)"),
    )  # fmt: skip
    with pytest.raises(UserError, match="^attack 'relearning': rows=7 are more than the 6 rows"):
        make_attack_plan(config)


def test_a_model_that_relearns_all_rows_is_asked_about_them_all(folder: Path, model: Path) -> None:
    """Plain sentences change nothing at this rate; that they are learnt is seen by the answers being asked for."""
    done = made(
        folder, adapter(model), "relearning(lr=0.02,share=1.0,steps=8)", "relearning(lr=1e-9,on=benign,steps=1)"
    )
    whole = success(folder, done, "relearning(lr=0.02,share=1.0,steps=8)", "attack_success(budget=4)")
    assert (whole.value, whole.num_scored, whole.num_lacking) == (1.0, 6, 0)
    benign = success(folder, done, "relearning(lr=1e-09,on=benign,steps=1)", "attack_success(budget=1)")
    assert (benign.value, benign.num_scored) == (0.0, 6)


def silenced(folder: Path, *, knows: bool = True) -> tuple[Path, Path]:
    """A model that says `blood`, or nothing of the kind, to everything, and an adapter that makes it say `hair`.

    One neuron of the last layer, which every token moves alike, writes the one; the adapter lets it write the other.
    """
    tiny_llama(folder / "m", num_layers=NUM_LAYERS)
    loaded = load_model(ModelSpec(str(folder / "m"), device="cpu"))
    tokenizer, core = loaded.tokenizer, loaded.core
    (secret,), (said,) = (tokenizer.encode(f" {word}", add_special_tokens=False) for word in ("blood", "hair"))
    with torch.no_grad():
        for layer in core.model.layers:
            for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                weight.zero_()
        core.model.embed_tokens.weight[:, 0], core.model.embed_tokens.weight[:, 1:3] = 3.0, 0.0
        core.lm_head.weight[:, :3] = 0.0
        core.lm_head.weight[:, 3:] *= 0.1
        core.lm_head.weight[secret, 1], core.lm_head.weight[said, 2] = 5.0, 5.0
        part = core.model.layers[-1].mlp
        for gate in (part.gate_proj.weight, part.up_proj.weight):
            gate[0] = 0.0
            gate[0, 0] = 4.0
        part.down_proj.weight[1, 0] = 0.4 * knows
    core.save_pretrained(folder / "m")
    tuned = attach(loaded, LoraSettings(r=1, alpha=1, target_modules=("down_proj",)))
    with torch.no_grad():
        for name, weight in tuned.model.named_parameters():
            if "lora_" in name:
                weight.zero_()
            if "lora_A" in name:
                weight[0, 0] = 1.0
            if f"layers.{NUM_LAYERS - 1}." in name and "lora_B" in name:
                weight[1, 0], weight[2, 0] = -0.4, 0.6
    return folder / "m", save_adapter(tuned, folder / "lora")


def test_what_an_adapter_alone_silences_is_found_when_it_is_removed(folder: Path, tmp_path: Path) -> None:
    names = ("adapter_removal", "pruning", "pruning(by=magnitude)", "weight_noise")
    for knows in (True, False):
        base, lora = silenced(tmp_path / str(knows), knows=knows)
        lm = MMForgetLM(load_model(ModelSpec(str(base), peft=str(lora), device="cpu")), progress=False)
        before = weights(lm.loaded.model)
        done = made(folder, lm, *names)
        after = weights(lm.loaded.model)
        assert all(torch.equal(after[name], weight) for name, weight in before.items())
        plain = [one.response or "" for one in done.samples if one.attack is None]
        assert not any("blood" in response for response in plain)
        assert all("hair" in response for response in plain)
        tried = of(done.samples, "adapter_removal")
        told = [sum("blood" in (one.response or "") for one in tried[at]) for at in range(4)]
        assert told == ([0, 0, 6, 6] if knows else [0] * 4)
        assert {name: len(of(done.samples, name)) for name in names} == dict(zip(names, (4, 5, 5, 4), strict=True))
        assert done.training["attacks"]["adapter_removal"] == {"layers": 7 * NUM_LAYERS, "layers_adapted": 1}
    bare = made(folder, adapter(tmp_path / "True" / "m"), "adapter_removal")
    assert all("blood" in (one.response or "") for one in of(bare.samples, "adapter_removal")[3])


def test_pruned_are_the_smallest_weights_times_what_goes_in() -> None:
    layer = torch.nn.Linear(4, 2, bias=False)
    values = torch.tensor([[1.0, -2.0, 3.0, 4.0], [0.1, 0.2, -0.3, 0.4]])
    with torch.no_grad():
        layer.weight.copy_(values)
    linear = Linear("toy", layer, None, torch.tensor([8.0, 1.0, 1.0, 1.0]))
    wanda = Pruning(shares=(0.25, 0.5)).alter(linear, attempt=1).weight
    assert wanda is not None
    assert torch.equal(wanda, values * torch.tensor([[1, 0, 0, 1], [1, 0, 0, 1]]))
    plain = Pruning(by="magnitude", shares=(0.5,)).alter(linear, attempt=0).weight
    assert plain is not None
    assert torch.equal(plain, values * torch.tensor([[1], [0]]))


def test_noise_is_that_of_the_layers_name_and_as_large_as_it_says() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 64)
    weight = layer.weight.detach()
    noise = {
        (name, at): made - weight
        for name in ("a", "b")
        for at in (0, 1)
        if (made := WeightNoise(amounts=(0.1, 0.2)).alter(Linear(name, layer), attempt=at).weight) is not None
    }
    assert noise["a", 0].std().item() == pytest.approx(0.1 * weight.std().item(), rel=0.05)
    assert torch.allclose(2 * noise["a", 0], noise["a", 1], atol=1e-6)
    assert torch.corrcoef(torch.stack([noise["a", 0].flatten(), noise["b", 0].flatten()]))[0, 1].abs() < 0.1


def test_what_goes_into_layers_is_seen_as_plain_hugging_face_computes_it(model: Path) -> None:
    """Rows that begin alike count as if each were computed by itself."""
    loaded = load_model(ModelSpec(str(model), device="cpu"))
    rows = [Example(f"{at}", "toy", "Who is this? It is", f" {answer}.") for at, answer in enumerate(("blood", "hair"))]
    seen = seen_inputs(loaded, rows)
    squares, num = {name: torch.zeros_like(found) for name, found in seen.items()}, 0
    modules = dict(loaded.core.named_modules())
    for encoded in encode_all(loaded, rows, append_eos=False, source="rows"):
        with reading({name: modules[name] for name in seen}, inputs=True) as read, torch.no_grad():
            loaded.core(torch.tensor([encoded.ids]))
        squares = {name: squares[name] + read[name][0][0].square().sum(0) for name in seen}
        num += len(encoded.ids)
    assert len(seen) == 7 * NUM_LAYERS
    assert all(torch.allclose(found, (squares[name] / num).sqrt(), atol=1e-5) for name, found in seen.items())
