"""A model that is edited for a while is the base again afterwards, bit by bit, however it was edited and that ended."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

import mmforget
from mmforget.asking import Ask, Decoding, Engine, GuardEngine
from mmforget.errors import PluginError, UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.methods.base import Request, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.composite import Composite
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.scoring import score
from mmforget.model.spec import ModelSpec
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import fresh

FULL = TrainSettings(lr=1e-3, max_steps=2, batch_size=4, schedule="constant")
LORA = replace(FULL, lr=1e-2, lora=LoraSettings(r=2, alpha=4))


@dataclass(frozen=True)
class Halved:
    """A wrapper."""

    def gradients(self, compute: Callable[[], Tensor], *, weights: Mapping[str, Tensor]) -> Tensor:
        loss = compute()
        for weight in weights.values():
            if weight.grad is not None:
                weight.grad /= 2
        return loss


@dataclass(frozen=True)
class Shouting(GuardEngine):
    def generate(self, asks: Sequence[Ask]) -> list[str]:
        return [text.upper() for text in self.engine.generate(asks)]


@dataclass(frozen=True)
class Shout:
    """A guard that is not registered."""

    def guard(self, engine: Engine) -> Engine:
        return Shouting(engine)


@dataclass(frozen=True)
class Broken:
    """A loss whose second update raises, or is no number."""

    how: type[BaseException] | None

    @property
    def requests(self) -> tuple[Request, ...]:
        return (Scores("forget"),)

    def loss(self, step: Step) -> dict[str, Tensor]:
        if step.update == 1 and self.how is not None:
            raise self.how("as told")
        loss = step[Scores("forget")].token_logprobs.mean()
        return {"forget": loss * (float("nan") if step.update == 1 else 1.0)}


HALVED = Composite(("ga", "halved"), (build("ga"), Halved()))
SHAPES: dict[str, tuple[Any, TrainSettings]] = {
    "loss": (build("npo"), LORA),
    "loss, no adapters": (build("grad_diff"), FULL),
    "wrapper, no adapters": (HALVED, replace(FULL, train_projector=False)),
    "edit": (build("chip"), FULL),
    "edit of the projector, too": (build("chip", "projector=always"), FULL),
}
LONG = ("wrapper, no adapters", "edit of the projector, too")
"""Shapes that are changed and put back by what the others go through."""
CHANGING = pytest.mark.parametrize(
    "shape", [pytest.param(shape, marks=[pytest.mark.long] * (shape in LONG)) for shape in SHAPES]
)


@pytest.fixture
def material(examples: Sequence[Example]) -> Material:
    """Two people to forget and two to keep, whose paths differ."""
    placed = [replace(one, path=("all", str(at // 8), one.subject)) for at, one in enumerate(examples)]
    return Material(forget=placed[:8], retain=placed[8:16], level=1)


def logprobs(loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
    with torch.no_grad():
        return score(loaded, [encode(loaded, e.context, e.answer, e.images) for e in examples]).token_logprobs


def bits(loaded: LoadedModel) -> dict[str, bytes]:
    """Every parameter and buffer, and whether it trains, by name: an adapter that is left would add names."""
    tensors = {**dict(loaded.model.named_parameters()), **dict(loaded.model.named_buffers())}
    return {
        f"{name} {one.dtype} {one.requires_grad} {type(one).__name__}": one.detach()
        .contiguous()
        .flatten()
        .view(torch.uint8)
        .numpy()
        .tobytes()
        for name, one in tensors.items()
    }


def plainly(folder: Path, example: Example) -> Tensor:
    """Log-probs of the answer's tokens by transformers alone, from the files."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    whole, context = (
        processor(text=text, images=list(example.images), return_tensors="pt")
        for text in (example.context + example.answer, example.context)
    )
    ids, start = whole["input_ids"][0], context["input_ids"].shape[1]
    with torch.no_grad():
        found = model(**whole).logits[0].log_softmax(-1)
    return found[start - 1 : -1].gather(-1, ids[start:, None])[:, 0]


def num_bytes() -> int:
    """Memory of all tensors that are alive, each once."""
    found = {}
    for one in gc.get_objects():
        if isinstance(one, Tensor) and one.device.type == "cpu":
            storage = one.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


@CHANGING
def test_the_base_comes_back_bit_by_bit_and_what_is_between_is_what_unlearn_makes(
    shape: str, llava: LoadedModel, llava_folder: Path, material: Material, examples: list[Example], tmp_path: Path
) -> None:
    method, settings = SHAPES[shape]
    before, start = bits(llava), logprobs(llava, examples)
    with mmforget.edited(llava, material, method=method, settings=settings) as other:
        found = logprobs(other, examples)
        assert other.fingerprint != llava.fingerprint
        assert not other.trainable()
    assert (found - start).abs().max() > 1e-2
    assert bits(llava) == before
    assert torch.equal(logprobs(llava, examples), start)
    assert start[0][start[0] != 0].numpy() == pytest.approx(plainly(llava_folder, examples[0]).numpy(), abs=1e-5)
    report = unlearn(llava, material, method=method, settings=settings, folder=tmp_path)
    made = load_model(report.artifact.on(llava.spec))
    assert torch.equal(logprobs(made, examples), found)
    if settings.lora is not None:
        assert made.fingerprint == other.fingerprint


@CHANGING
def test_one_after_another_is_as_each_alone(
    shape: str, llava: LoadedModel, llava_folder: Path, material: Material, examples: list[Example]
) -> None:
    method, settings = SHAPES[shape]
    instances = [replace(material, forget=material.forget[start : start + 4]) for start in (0, 4)]

    def made(loaded: LoadedModel, one: Material) -> tuple[str, Tensor]:
        with mmforget.edited(loaded, one, method=method, settings=settings) as other:
            return other.fingerprint, logprobs(other, examples)

    alone = [made(fresh(llava.spec), one) for one in instances]
    for (name, values), (other_name, other_values) in zip([made(llava, one) for one in instances], alone, strict=True):
        assert name == other_name
        assert torch.equal(values, other_values)
    assert alone[0][0] != alone[1][0]
    assert not torch.equal(alone[0][1], alone[1][1])


@pytest.mark.parametrize("shape", ["loss", "loss, no adapters", "edit"])
def test_there_is_no_second_copy_of_the_model(
    shape: str, llava: LoadedModel, material: Material, examples: list[Example]
) -> None:
    """Beside the model there are an adapter, nothing, or the old values of the matrices that an edit replaced."""
    method, settings = SHAPES[shape]
    names = {"loss": "lora_", "loss, no adapters": "nothing", "edit": ".mlp."}
    gc.collect()
    before = num_bytes()
    with mmforget.edited(llava, material, method=method, settings=settings) as other:
        beside = num_bytes() - before
        weights = dict(other.model.named_parameters())
        allowed = sum(one.nbytes for name, one in weights.items() if names[shape] in name)
        if shape == "loss":
            # Its own copy of the projector is trained beside it.
            allowed += sum(one.nbytes for one in llava.core.model.multi_modal_projector.parameters())
        whole = sum(one.nbytes for one in weights.values())
    assert beside <= allowed + 0.02 * whole
    assert allowed < 0.6 * whole
    del other, weights
    gc.collect()
    assert num_bytes() - before < 0.02 * whole


@pytest.mark.parametrize("kind", ["load_in_4bit", "load_in_8bit"])
def test_a_quantised_base_comes_back(
    kind: str, llava_folder: Path, material: Material, examples: list[Example]
) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), device="cpu", **{kind: True}))
    before, start = bits(loaded), logprobs(loaded, examples)
    states = {name: one.quant_state for name, one in loaded.model.named_parameters() if hasattr(one, "quant_state")}
    with mmforget.edited(loaded, material, method=build("npo"), settings=LORA) as other:
        assert not torch.equal(logprobs(other, examples), start)
    assert bits(loaded) == before
    assert torch.equal(logprobs(loaded, examples), start)
    for name, state in states.items():
        assert loaded.model.get_parameter(name).quant_state is state
    for method, settings in (SHAPES["loss, no adapters"], SHAPES["edit"]):
        with (
            pytest.raises(UserError, match="quantised"),
            mmforget.edited(loaded, material, method=method, settings=settings),
        ):
            pass
    assert bits(loaded) == before


@CHANGING
def test_an_error_inside_changes_nothing_for_the_base(shape: str, llava: LoadedModel, material: Material) -> None:
    method, settings = SHAPES[shape]
    before = bits(llava)
    with pytest.raises(ZeroDivisionError), mmforget.edited(llava, material, method=method, settings=settings):
        1 / 0  # noqa: B018
    assert bits(llava) == before


@pytest.mark.parametrize("settings", [LORA, FULL], ids=["adapters", "no adapters"])
@pytest.mark.parametrize(("how", "raised"), [(ValueError, PluginError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_an_error_in_training_changes_nothing_for_the_base(
    how: type[BaseException],
    raised: type[BaseException],
    settings: TrainSettings,
    llava: LoadedModel,
    material: Material,
) -> None:
    before = bits(llava)
    with (
        pytest.raises(raised, match="as told"),
        mmforget.edited(llava, material, method=Broken(how), settings=settings),
    ):
        pass
    assert bits(llava) == before


def test_a_training_that_ends_early_is_told(
    llava: LoadedModel, material: Material, caplog: pytest.LogCaptureFixture
) -> None:
    with mmforget.edited(llava, material, method=Broken(None), settings=LORA, label="mine"):
        pass
    assert "mine stopped early: diverged" in caplog.text


def test_a_guard_stands_before_the_model_and_goes(llava: LoadedModel, material: Material) -> None:
    before = bits(llava)

    def said(loaded: LoadedModel) -> list[str]:
        ask = Ask("generate", "", "<image>\nwhat is the name?", None, (), (), Decoding(6))
        return MMForgetLM(loaded, progress=False).asked.generate([ask.showing(material.forget[0].images)])

    plain = said(llava)
    with mmforget.edited(llava, material, method=Shout(), settings=FULL) as other:
        assert said(other) == [text.upper() for text in plain] != plain
        assert other.fingerprint != llava.fingerprint
        with pytest.raises(UserError, match="a guard"), mmforget.edited(other, material, method=Shout(), settings=FULL):
            pass
    assert said(llava) == plain
    assert bits(llava) == before


def test_nothing_is_left_on_disk(
    llava: LoadedModel, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with mmforget.edited(llava, material, method=build("ga"), settings=FULL):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())
