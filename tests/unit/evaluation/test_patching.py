"""Activation patching on models whose one layer writes the answer: what is lost where, by hand and by plain hooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from test_attacking import DATA, MIDDLE, NUM_LAYERS, TASK, adapter, asked_in_words, made, secretive
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.benchmark.find import find
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.run import Evaluation, Settings, evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.unlearning_depth import UnlearningDepth, depth
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.lora import LoraSettings, attach
from mmforget.types import KEPT, PATCHED, PLAIN, RETAIN_PATCHED, Estimate, Sample, States

KEY = "activation_patching"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked_in_words(tmp_path_factory.mktemp("toy") / "tasks", answer="blood")


def knowing(place: Path, *, knows: bool = True) -> Path:
    """`secretive`, whose third layer writes `blood`, without what holds it back; all layers have the unit that does."""
    model = AutoModelForCausalLM.from_pretrained(secretive(place, knows=knows))
    with torch.no_grad():
        for number, layer in enumerate(model.model.layers):
            if number != MIDDLE - 1:
                layer.mlp.down_proj.weight.zero_()
            for part in (layer.mlp.gate_proj, layer.mlp.up_proj):
                part.weight[0] = 0.0
                part.weight[0, 0] = 4.0
    model.save_pretrained(place)
    return place


def adapted(place: Path, *, layer: int, amount: float) -> MMForgetLM:
    """The model with an adapter by which one layer writes so much of `blood`."""
    loaded = attach(load_model(ModelSpec(str(place), device="cpu")), LoraSettings(r=1, alpha=1))
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if f"layers.{layer}.mlp.down_proj.lora_" in name:
                weight.zero_()
                weight[(0, 0) if "lora_A" in name else (1, 0)] = 1.0 if "lora_A" in name else amount
    loaded.model.requires_grad_(False)
    return MMForgetLM(loaded, progress=False)


def asked(folder: Path, lm: MMForgetLM, *, retain: Evaluation | None = None) -> Evaluation:
    settings = Settings(attacks=(KEY,), retain=retain.samples if retain else ())
    return evaluate(lm, [TASK], include_paths=[folder], data=DATA, blank_image=False, progress=False, settings=settings)


def told(done: Evaluation) -> list[Sample]:
    return [sample for sample in done.samples if sample.attack == KEY]


def score(folder: Path, done: Evaluation, **others: list[Sample]) -> Estimate:
    found = aggregate(find("toy", [folder]), done.samples, **others)
    (one,) = [result for result in found if result.name == "unlearning_depth"]
    return one.estimate


def test_by_hand() -> None:
    """Layers that lose 0.04 do not count; of 1 + 3 the model's states lose 0.5, and of 3 more than all: 3.5 of 4."""
    assert depth([9.0, 0.5, 3.5], [0.04, 1.0, 3.0], tau=0.05) == pytest.approx(3.5 / 4)
    assert depth([0.0, -1.0], [1.0, 1.0], tau=0.05) == 0.0
    assert depth([1.0], [0.01], tau=0.05) is None


def test_forgetting_is_as_deep_as_it_was_made(folder: Path, tmp_path: Path) -> None:
    """The third layer of six writes the answer, so the retain model's states lack it in the last four. Taken out where
    it was written, all is gone; held back in the last layer alone, one part of four is; unchanged, none."""
    target, ignorant = knowing(tmp_path / "t"), knowing(tmp_path / "r", knows=False)
    retain = asked(folder, adapter(ignorant))
    before = asked(folder, adapter(target), retain=retain)
    others = {"target": before.samples, "retain": retain.samples}
    found = {
        name: score(folder, asked(folder, adapted(target, layer=layer, amount=amount), retain=retain), **others)
        for name, (layer, amount) in {
            "unchanged": (0, 0.0),
            "at the end": (NUM_LAYERS - 1, -0.4),
            "removed": (MIDDLE - 1, -0.08),
        }.items()
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(
        {"unchanged": 0.0, "at the end": 0.25, "removed": 1.0}, abs=1e-3
    )
    assert found["removed"].higher_is_better is True
    assert score(folder, before, **others).value == pytest.approx(0.0)
    for done in (retain, asked(folder, adapter(target))):
        assert score(folder, done, **others).value is None
        assert "no target model lies below it" in score(folder, done, **others).reasons[0]
    # A model that was trained as a whole, not as an adapter, is not taken for the target.
    assert score(folder, asked(folder, adapter(ignorant), retain=retain), **others).value is None
    assert score(folder, before).reasons == ("no target model to compare with",)


def test_log_probs_are_those_of_plain_hooks(folder: Path, tmp_path: Path) -> None:
    retain = asked(folder, adapter(knowing(tmp_path / "r", knows=False)))
    done = asked(folder, adapter(knowing(tmp_path / "t")), retain=retain)
    stock, tokenizer = (kind.from_pretrained(tmp_path / "t") for kind in (AutoModelForCausalLM, AutoTokenizer))
    for sample, gold in list(zip(told(done), told(retain), strict=True))[:2]:
        ids = torch.tensor([tokenizer(f"{sample.question} {sample.answer}").input_ids])
        front = len(tokenizer(sample.question).input_ids)

        def said(layer: int | None, states: torch.Tensor | None, ids: torch.Tensor = ids, front: int = front) -> float:
            def put(_: object, __: object, out: torch.Tensor) -> torch.Tensor:
                assert states is not None
                return torch.cat([out[:, : front - 1], states[None], out[:, -1:]], dim=1)

            hooks = [] if layer is None else [stock.model.layers[layer].register_forward_hook(put)]
            with torch.no_grad():
                logprobs = stock(ids).logits[0, front - 1 : -1].log_softmax(-1)
            for hook in hooks:
                hook.remove()
            return float(logprobs.gather(1, ids[0, front:, None]).mean())

        kept = torch.tensor(gold.states[KEPT].array())
        assert float(sample.states[PLAIN].array()) == pytest.approx(said(None, None), abs=1e-4)
        expected = [said(layer, kept[layer]) for layer in range(NUM_LAYERS)]
        assert sample.states[RETAIN_PATCHED].array() == pytest.approx(expected, abs=1e-4)
        assert (kept.shape[0], expected[0] - expected[MIDDLE]) > (NUM_LAYERS - 1, 1.0)


def sample(number: int, states: Mapping[str, object]) -> Sample:
    kept = {name: States.of(values) for name, values in states.items()}
    return Sample("t", "forget", "gen", str(number), f"p{number}", "q", "a", attack=KEY, attempt=0, states=kept)


def test_rows_that_say_nothing_are_counted_and_never_zero() -> None:
    target = [sample(number, {PLAIN: -1.0, RETAIN_PATCHED: [-1.0, -3.0], PATCHED: [-1.0, -1.0]}) for number in range(3)]
    target.append(sample(3, {PLAIN: -1.0, RETAIN_PATCHED: [-1.0, -1.01], PATCHED: [-1.0, -1.0]}))
    own = [sample(0, {PLAIN: -1.0, PATCHED: [-1.0, -2.0]}), sample(1, {PLAIN: -1.5, PATCHED: [-1.5, -2.0]})]
    own += [sample(2, {}), sample(3, {PLAIN: -1.0, PATCHED: [-1.0, -2.0]})]
    found = UnlearningDepth().compare(own, target)
    assert (found.value, found.num_scored, found.num_unscored, found.num_lacking) == (0.5, 1, 2, 1)
    assert "1 of 4 rows take no part: the retain model's states lack nothing at any layer" in found.reasons


def test_one_at_a_time_is_the_same(folder: Path, tmp_path: Path) -> None:
    lm = adapted(knowing(tmp_path / "t"), layer=NUM_LAYERS - 1, amount=-0.08)
    several = told(made(folder, lm, KEY))
    alone = told(made(folder, MMForgetLM(lm.loaded, batch_size=1, progress=False), KEY))
    for one, other in zip(several, alone, strict=True):
        assert one.states[PATCHED].array() == pytest.approx(other.states[PATCHED].array(), abs=1e-4)
