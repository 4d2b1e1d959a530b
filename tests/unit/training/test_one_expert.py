"""One expert of a mixture trains: which, what holds its router, and that everything else stays bit by bit."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, OlmoeConfig, Qwen2MoeConfig

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.spec import ModelSpec
from mmforget.training.log import read_log
from mmforget.training.many import unlearn_many
from mmforget.training.report import TrainReport
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.tiny_models import tiny_text
from tests.unit.training.conftest import make_examples

SETTINGS = TrainSettings(lr=1e-2, max_steps=3, batch_size=4, weight_decay=0.1, seed=1)
SPARSE: dict[str, Any] = {"num_experts": 3, "num_experts_per_tok": 2}
FAMILIES: dict[str, tuple[type, dict[str, Any]]] = {
    "olmoe": (OlmoeConfig, SPARSE),
    "qwen2": (Qwen2MoeConfig, {**SPARSE, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 48}),
}
ROWS = make_examples(with_images=False)


@pytest.fixture(params=FAMILIES)
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    kind, settings = FAMILIES[request.param]
    return load_model(ModelSpec(pretrained=str(tiny_text(tmp_path / "model", kind, **settings)), device="cpu"))


def forget(loaded: LoadedModel, folder: Path, name: str = "npo+uoe", **more: Any) -> TrainReport:
    return unlearn(
        loaded, Material(forget=ROWS[:6], retain=ROWS[6:12]), method=build(*name.split(":")),
        settings=replace(SETTINGS, **more), folder=folder, label="npo+uoe",
    )  # fmt: skip


def affinities(folder: str, loaded: LoadedModel, rows: list[Example]) -> Tensor:
    """Mean router probabilities [L, E] as transformers tells them itself."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    found = []
    for row in rows:
        ids = torch.tensor([encode(loaded, row.context, row.answer, row.images).ids])
        with torch.no_grad():
            found.append(torch.stack(model(ids, output_router_logits=True).router_logits).float().softmax(-1))
    return torch.cat(found, 1).mean(1)


def test_the_chosen_expert_and_its_router_change_and_nothing_else(
    loaded: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = loaded.spec.pretrained
    layer, expert = divmod(int(affinities(folder, loaded, list(ROWS[:6])).argmax()), 3)
    before = {name: one.detach().clone() for name, one in loaded.model.named_parameters()}
    with caplog.at_level(logging.INFO, logger="mmforget"):
        report = forget(loaded, tmp_path / "run")
    after: Any = AutoModelForCausalLM.from_pretrained(report.output)
    changed = {name for name, one in after.named_parameters() if not torch.equal(one, before[name])}
    block = f"model.layers.{layer}.mlp"
    assert changed == {f"{block}.{one}" for one in ("experts.gate_up_proj", "experts.down_proj", "gate.weight")}
    for name in changed:
        if "experts" in name:
            same = [torch.equal(after.get_parameter(name)[k], before[name][k]) for k in range(3)]
            assert same == [k != expert for k in range(3)]
    assert f"expert {expert} of {block}.gate trains" in caplog.text
    shares = re.findall(r"experts that (\w+) rows went through there, (\S+) % are the same", caplog.text)
    assert [source for source, _ in shares] == ["forget", "retain"]
    assert all(0 < float(share) <= 100 for _, share in shares)


def test_the_anchor_is_the_distance_of_probabilities_from_the_expert(loaded: LoadedModel, tmp_path: Path) -> None:
    """At the first step, of the rows that it is about: (1 - p)^2 + the squares of the others, times the weight."""
    folder = loaded.spec.pretrained
    layer, expert = divmod(int(affinities(folder, loaded, list(ROWS[:6])).argmax()), 3)
    report = forget(loaded, tmp_path / "run", "ga+uoe:anchor_weight=3", batch_size=6, order="file", max_steps=1)
    (line,) = read_log(report.output.parent / "train_log.jsonl")
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    found = []
    for row in ROWS[:6]:
        ids = torch.tensor([encode(loaded, row.context, row.answer, row.images).ids])
        with torch.no_grad():
            found.append(model(ids, output_router_logits=True).router_logits[layer].float().softmax(-1))
    away = torch.cat(found) - torch.eye(3)[expert]
    assert line["parts"]["anchor"] == pytest.approx(3 * float(away.square().sum(-1).mean()), rel=1e-4)
    assert line["loss"] == pytest.approx(sum(line["parts"].values()), rel=1e-5)
    assert set(line["grad_norms"]) == {"ga.forget", "anchor"}
    assert line["grad_norms"]["anchor"] > 0


def test_a_method_that_chooses_weights_chooses_among_those_of_the_expert(loaded: LoadedModel, tmp_path: Path) -> None:
    folder = loaded.spec.pretrained
    _, expert = divmod(int(affinities(folder, loaded, list(ROWS[:6])).argmax()), 3)
    before = {name: one.detach().clone() for name, one in loaded.model.named_parameters()}
    after: Any = AutoModelForCausalLM.from_pretrained(forget(loaded, tmp_path / "run", "mmunlearner+uoe").output)
    moved = {name: one != before[name] for name, one in after.named_parameters() if not torch.equal(one, before[name])}
    assert moved
    for name, each in moved.items():
        if "experts" in name:
            assert {k for k in range(3) if bool(each[k].any())} == {expert}


def test_a_term_and_a_choice_by_hand() -> None:
    """(0.2, 0.8) and (0.5, 0.5) from (0, 1): mean(0.08, 0.5) x 2 = 0.58; the largest of all layers is chosen."""
    method = build("uoe", "anchor_weight=2")
    term = method.anchor(torch.tensor([[0.2, 0.8], [0.5, 0.5]]), expert=1)
    assert term.item() == pytest.approx(0.58)
    assert method.choose_expert(torch.tensor([[0.2, 0.8, 0.0], [0.05, 0.05, 0.9]])) == (1, 2)


def test_a_dense_model_is_refused(llama: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"\Athis method trains one routed expert, and a model of type 'llama' has none"
    ):
        forget(llama, tmp_path)


def test_adapters_and_many_edits_are_refused(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train without LoRA \(--lora_r 0\)"):
        forget(loaded, tmp_path / "run", lora=LoraSettings(r=2))
    with (
        pytest.raises(UserError, match="it trains an expert itself; make them one by one"),
        unlearn_many(loaded, {"a": Material(forget=ROWS[:4])}, method=build("ga+uoe"), settings=SETTINGS),
    ):
        pass
