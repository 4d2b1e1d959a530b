"""What is made of a fit to the rows to forget, against plain Hugging Face and PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmforget.asking import Ask, Decoding
from mmforget.errors import UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import encode, encode_prompt
from mmforget.model.generation import generate
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel, with_fingerprint
from mmforget.model.lora import LoraSettings, multiply_learnt
from mmforget.model.scoring import score
from mmforget.pipeline.models import Models
from mmforget.training.edited import edited
from mmforget.training.many import Learning, obstacle
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import fresh

SETTINGS = TrainSettings(lr=2e-2, max_steps=4, batch_size=4, lora=LoraSettings(r=2, alpha=4), weight_decay=0.0)
ALPHA = 3.0


def rows_for(loaded: LoadedModel, examples: Sequence[Example]) -> list[Example]:
    """Without pictures where the model reads none."""
    if loaded.is_multimodal:
        return list(examples[:8])
    return [replace(one, context=f"{one.subject}: what is it?", images=()) for one in examples[:8]]


def plain_logits(core: Any, loaded: LoadedModel, ids: Sequence[int], example: Example) -> Tensor:
    """Of a forward of Hugging Face's own: float32 [N, V]."""
    given = torch.tensor([list(ids)])
    inputs = {"input_ids": given, "attention_mask": torch.ones_like(given)}
    if example.images:
        inputs["pixel_values"] = loaded.processor.image_processor(
            list(example.images), return_tensors="pt"
        ).pixel_values
    with torch.no_grad():
        logits: Tensor = core(**inputs).logits[0].float()
    return logits


@pytest.fixture(params=["llava", "llama"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    found: LoadedModel = request.getfixturevalue(str(request.param))
    return found


@pytest.fixture
def llama_rows(llama: LoadedModel, examples: list[Example]) -> list[Example]:
    return rows_for(llama, examples)


def test_a_task_vector_is_minus_alpha_times_the_fit(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Adapters and the projector, which is trained as a whole: W - alpha (W_fitted - W)."""
    material, settings = Material(forget=examples[:8]), replace(SETTINGS, train_projector=True)
    old = {name: one.clone() for name, one in llava.family.projector(llava.core).named_parameters()}
    fitted, made = (
        load_file(unlearn(llava, material, method=method, settings=settings, folder=tmp_path / name,
                          label=name).output / "adapter_model.safetensors")
        for name, method in (("fit", Learning()), ("vector", build("task_vector", f"alpha={ALPHA}")))
    )  # fmt: skip
    assert made.keys() == fitted.keys()
    for name, one in fitted.items():
        if "lora_" in name:
            wanted = -ALPHA * one if "lora_B" in name else one
        else:
            before = next(weight for key, weight in old.items() if name.endswith(key))
            assert not torch.equal(one, before)
            wanted = before - ALPHA * (one - before)
        torch.testing.assert_close(made[name], wanted, msg=name)


def test_weights_with_a_task_vector_are_those_of_the_formula(
    llama: LoadedModel, llama_rows: list[Example], tmp_path: Path
) -> None:
    """Merged into the weights; and its answers are less likely than before, as much as the fit makes them likelier."""
    folders = {
        name: unlearn(llama, Material(forget=llama_rows), method=method, settings=SETTINGS, folder=tmp_path / name,
                      label=name).output
        for name, method in (("fit", Learning()), ("vector", build("task_vector", "alpha=1")))
    }  # fmt: skip
    specs = {name: replace(llama.spec, peft=str(folder), merge_peft=True) for name, folder in folders.items()}
    before = dict(llama.core.named_parameters())
    fitted, made = (dict(load_model(specs[name]).core.named_parameters()) for name in ("fit", "vector"))
    for name, weight in before.items():
        torch.testing.assert_close(made[name], weight - (fitted[name] - weight), atol=1e-6, rtol=1e-5)
    encoded = [encode(llama, row.context, row.answer) for row in llama_rows]
    with torch.no_grad():
        said = {name: score(load_model(specs[name]), encoded).token_logprobs.sum().item() for name in specs}
        said["before"] = score(llama, encoded).token_logprobs.sum().item()
    assert said["vector"] < said["before"] < said["fit"]


def test_multiplying_by_one_changes_nothing(adapted: LoadedModel) -> None:
    before = with_fingerprint(adapted).fingerprint
    multiply_learnt(adapted, by=1.0)
    assert with_fingerprint(adapted).fingerprint == before
    multiply_learnt(adapted, by=-1.0)
    assert with_fingerprint(adapted).fingerprint != before


@pytest.mark.parametrize("name", ["task_vector", "whp_logit"])
def test_whole_weights_are_not_fitted(name: str, llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    settings = replace(SETTINGS, lora=None)
    with pytest.raises(UserError, match=f"method '{name}' makes use of what an adapter has learnt; train with LoRA"):
        unlearn(llava, Material(forget=examples[:8]), method=build(name), settings=settings, folder=tmp_path)
    assert obstacle(llava, method=build(name), settings=SETTINGS) is not None


def mixed_logits(
    loaded: LoadedModel, adapter: Path, example: Example, *, ids: Sequence[int], cache: dict[str, Any]
) -> Tensor:
    """v - alpha ReLU(v_fitted - v), from two models of their own."""
    if not cache:
        cache["before"] = fresh(loaded.spec).core
        cache["fitted"] = load_model(replace(loaded.spec, peft=str(adapter), merge_peft=True)).core
    before, fitted = (plain_logits(cache[name], loaded, ids, example) for name in ("before", "fitted"))
    return before - ALPHA * (fitted - before).clamp(min=0)


def test_scores_and_texts_of_the_logit_rule_are_those_of_two_plain_models(
    loaded: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Scored, generated, shared prefixes or not; and a document of a model of words alone."""
    rows = rows_for(loaded, examples)
    method = build("whp_logit", f"alpha={ALPHA}")
    report = unlearn(loaded, Material(forget=rows), method=method, settings=SETTINGS, folder=tmp_path)
    assert (report.artifact.kind, report.num_steps, report.num_trainable > 0) == ("guard", 4, True)
    spec = report.artifact.on(loaded.spec)
    assert (spec.peft, spec.guard) == (None, str(report.output))
    models = Models()
    behind = models.get(spec)
    assert behind.base_fingerprint == loaded.fingerprint != behind.fingerprint
    row, cache = rows[0], dict[str, Any]()
    item = encode(loaded, row.context, row.answer, row.images)
    logprobs = mixed_logits(loaded, report.output / "adapter", row, ids=item.ids, cache=cache).log_softmax(-1)
    wanted = logprobs[item.num_context - 1 : -1].gather(-1, torch.tensor(item.ids[item.num_context :])[:, None])[:, 0]
    asks = [Ask("score", "", one.context, one.answer, one.images, ("a",) * len(one.images)) for one in rows[:3]]
    asked = MMForgetLM(behind, progress=False).asked
    assert asked.score(asks)[0].token_logprobs == pytest.approx(wanted.tolist(), abs=1e-4)
    with torch.no_grad():
        assert float((score(loaded, [item]).token_logprobs[0] - wanted).abs().max()) > 1e-2
    prompt = encode_prompt(loaded, row.context, row.images)
    ids = list(prompt.ids)
    for _ in range(6):
        ids.append(int(mixed_logits(loaded, report.output / "adapter", row, ids=ids, cache=cache)[-1].argmax()))
    text = loaded.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    several = [prompt, *(encode_prompt(loaded, one.context, one.images) for one in rows[1:3])]
    texts = [generate(behind, several, max_new_tokens=6, packed=packed) for packed in (True, False)]
    assert texts[0][0] == text
    assert texts[0] == texts[1]
    ask = replace(asks[0], kind="generate", continuation=None, decoding=Decoding(6))
    assert asked.generate([ask]) == [text]
    bare = models.get(loaded.spec)
    assert bare.mix is None
    with torch.no_grad():
        torch.testing.assert_close(score(bare, [item]).token_logprobs, score(loaded, [item]).token_logprobs)


def test_the_rule_is_there_for_a_while(llama: LoadedModel, llama_rows: list[Example], tmp_path: Path) -> None:
    """As it is put up again from its folder; and rolls a document."""
    material, method = Material(forget=llama_rows), build("whp_logit", f"alpha={ALPHA}")
    report = unlearn(llama, material, method=method, settings=SETTINGS, folder=tmp_path)
    behind = Models().get(report.artifact.on(llama.spec))
    ask = Ask("rolling", "", "", "the town is new york and the illness is rare.", (), ())
    (wanted,) = MMForgetLM(behind, progress=False).asked.roll([ask])
    with torch.no_grad():
        encoded = [encode(llama, row.context, row.answer) for row in llama_rows]
        before = score(llama, encoded).token_logprobs
    with edited(llama, material, method=method, settings=SETTINGS, label="whp_logit") as other:
        assert other.fingerprint == behind.fingerprint
        (found,) = MMForgetLM(other, progress=False).asked.roll([ask])
        assert found.token_logprobs == pytest.approx(wanted.token_logprobs, abs=1e-5)
        with pytest.raises(UserError, match="gives no hidden states"):
            MMForgetLM(other, progress=False).asked.hidden([replace(ask, kind="score", context="a")], layers=(0,))
    with torch.no_grad():
        torch.testing.assert_close(score(llama, encoded).token_logprobs, before)


def test_a_guard_with_an_adapter_takes_no_other(llama: LoadedModel, llama_rows: list[Example], tmp_path: Path) -> None:
    report = unlearn(llama, Material(forget=llama_rows), method=build("whp_logit"), settings=SETTINGS, folder=tmp_path)
    spec = replace(report.artifact.on(llama.spec), peft=str(report.output / "adapter"))
    with pytest.raises(UserError, match="brings an adapter of its own"):
        Models().get(spec)


def test_a_base_with_a_merged_adapter_is_saved_whole_beside_the_guard(
    llama: LoadedModel, llama_rows: list[Example], tmp_path: Path
) -> None:
    material = Material(forget=llama_rows)
    first = unlearn(llama, material, method=build("task_vector", "alpha=1"), settings=SETTINGS, folder=tmp_path / "one")
    spec = replace(llama.spec, peft=str(first.output), merge_peft=True)
    report = unlearn(fresh(spec), material, method=build("whp_logit"), settings=SETTINGS, folder=tmp_path / "two")
    found = report.artifact.on(spec)
    assert (found.peft, found.merge_peft, found.guard) == (None, False, str(report.output))
    encoded = [encode(llama, row.context, row.answer) for row in llama_rows]
    with torch.no_grad():
        put_up = score(Models().get(found), encoded).token_logprobs
    with edited(fresh(spec), material, method=build("whp_logit"), settings=SETTINGS, label="whp_logit") as other:
        again = score(other, encoded).token_logprobs.detach()
    torch.testing.assert_close(put_up, again, atol=1e-5, rtol=1e-4)
