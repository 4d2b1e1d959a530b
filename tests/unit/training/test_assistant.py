"""An assistant that is the first layers of the model it assists, against plain Hugging Face models of their own."""

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
from mmforget.model.encode import encode_prompt
from mmforget.model.generation import generate
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.models import Models
from mmforget.training.edited import edited
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import fresh

SETTINGS = TrainSettings(lr=2e-2, max_steps=4, batch_size=4, lora=LoraSettings(r=2, alpha=4), weight_decay=0.0)
ARGS = "layers=1,weight=-1.5,threshold=0.01"


@pytest.fixture(params=["llava", "llama"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    found: LoadedModel = request.getfixturevalue(str(request.param))
    return found


def rows_for(loaded: LoadedModel, examples: Sequence[Example]) -> list[Example]:
    """Without pictures where the model reads none."""
    if loaded.is_multimodal:
        return list(examples[:12])
    return [replace(one, context=f"{one.subject}: what is it?", images=()) for one in examples[:12]]


def material_of(rows: Sequence[Example]) -> Material:
    return Material(forget=rows[:8], retain=rows[8:])


def asks_for(rows: Sequence[Example]) -> tuple[list[Ask], list[Ask]]:
    scored = [Ask("score", "", one.context, one.answer, (), ()).showing(one.images) for one in rows]
    return scored, [replace(one, kind="generate", continuation=None, decoding=Decoding(6)) for one in scored]


class Plain:
    """The whole model, and its first layer with the adapter merged, as Hugging Face models of their own."""

    def __init__(self, loaded: LoadedModel, adapter: Path) -> None:
        self.loaded = loaded
        self.whole = fresh(loaded.spec).core
        self.small = load_model(replace(loaded.spec, peft=str(adapter), merge_peft=True)).core
        decoder = self.small.get_decoder()
        decoder.layers = decoder.layers[:1]

    def logits(self, row: Example, ids: Sequence[int]) -> list[Tensor]:
        given = torch.tensor([list(ids)])
        inputs: dict[str, Any] = {"input_ids": given, "attention_mask": torch.ones_like(given), "use_cache": False}
        if row.images:
            images = self.loaded.processor.image_processor(list(row.images), return_tensors="pt")  # type: ignore[union-attr]
            inputs["pixel_values"] = images.pixel_values
        with torch.no_grad():
            return [core(**inputs).logits[0].float() for core in (self.whole, self.small)]

    def mixed(self, row: Example, ids: Sequence[int], *, chosen: bool = False) -> Tensor:
        """z - 1.5 z_assistant, where log p is at least its maximum + log 0.01, or among the first hundredth."""
        whole, small = self.logits(row, ids)
        logprobs = whole.log_softmax(-1)
        num_kept = max(1, len(logprobs[0]) // 100)
        lowest = torch.minimum(
            logprobs.amax(-1) + torch.tensor(0.01).log(), logprobs.sort(descending=True).values[:, num_kept - 1]
        )
        kept = logprobs >= lowest[:, None]
        found = torch.where(kept, whole - 1.5 * small, whole)
        return torch.where(kept, found, torch.tensor(-1000.0)) if chosen else found


def test_scores_and_texts_are_those_of_two_plain_models(
    loaded: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Shared prefixes or not; the adapter lies in the first layer alone, and there is one base in memory."""
    rows = rows_for(loaded, examples)
    report = unlearn(loaded, material_of(rows), method=build("uld", ARGS), settings=SETTINGS, folder=tmp_path)
    adapter = report.output / "adapter"
    names = load_file(adapter / "adapter_model.safetensors").keys()
    assert names
    assert all(".layers.0." in name for name in names)
    models = Models()
    behind = models.get(report.artifact.on(loaded.spec))
    scored, written = asks_for(rows[:3])
    asked, plain = MMForgetLM(behind, progress=False).asked, Plain(loaded, adapter)
    prompts = [encode_prompt(loaded, row.context, row.images) for row in rows[:3]]
    for row, one in zip(rows[:3], asked.score(scored), strict=True):
        item = MMForgetLM(loaded, progress=False).engine.encode(scored[rows.index(row)])
        logprobs = plain.mixed(row, item.ids).log_softmax(-1)[item.num_context - 1 : -1]
        wanted = logprobs.gather(-1, torch.tensor(item.ids[item.num_context :])[:, None])[:, 0]
        assert one.token_logprobs == pytest.approx(wanted.tolist(), abs=1e-4)  # type: ignore[union-attr]
    ids = list(prompts[0].ids)
    for _ in range(6):
        ids.append(int(plain.mixed(rows[0], ids, chosen=True)[-1].argmax()))
    text = loaded.tokenizer.decode(ids[len(prompts[0]) :], skip_special_tokens=True)
    texts = [generate(behind, prompts, max_new_tokens=6, packed=packed) for packed in (True, False)]
    assert texts[0][0] == text
    assert texts[0] == texts[1] == list(asked.generate(written))
    assert models.get(loaded.spec).core is behind.core
    assert len(behind.core.get_decoder().layers) == behind.core.config.get_text_config().num_hidden_layers == 2


@pytest.mark.parametrize("load_in_4bit", [False, True])
def test_with_a_weight_of_nothing_it_answers_as_the_model_to_the_last_bit(
    llava_folder: Path, examples: list[Example], tmp_path: Path, load_in_4bit: bool
) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), device="cpu", load_in_4bit=load_in_4bit))
    scored, written = asks_for(examples[:5])
    before = MMForgetLM(loaded, progress=False).asked
    wanted = list(before.score(scored)), list(before.generate(written))
    found = {}
    for weight in (0, -1):
        method = build("uld", f"weight={weight},layers=1")
        report = unlearn(
            loaded, material_of(examples[:12]), method=method, settings=SETTINGS, folder=tmp_path / str(weight)
        )
        asked = MMForgetLM(Models().get(report.artifact.on(loaded.spec)), progress=False).asked
        found[weight] = list(asked.score(scored)), list(asked.generate(written))
    assert found[0] == wanted
    assert found[-1][0] != wanted[0]
    after = MMForgetLM(loaded, progress=False).asked
    assert (list(after.score(scored)), list(after.generate(written))) == wanted


def test_it_remembers_what_is_to_be_forgotten_and_nothing_else(llama: LoadedModel, examples: list[Example]) -> None:
    """Answers to forget become less likely behind the guard, by more than those to keep."""
    forget = rows_for(llama, examples)[:8]
    retain = [
        Example(str(at), "else", f"where is house {at}?", " by the river in Bern, in a small town.") for at in range(4)
    ]
    scored, _ = asks_for([*forget, *retain])
    bare = [sum(one.token_logprobs) for one in MMForgetLM(llama, progress=False).engine.score(scored)]
    method, settings = build("uld", "layers=1,perturbed=False"), replace(SETTINGS, max_steps=40)
    with edited(llama, Material(forget=forget, retain=retain), method=method, settings=settings) as behind:
        found = [sum(one.token_logprobs) for one in MMForgetLM(behind, progress=False).asked.score(scored)]  # type: ignore[union-attr]
        assert (behind.first_layers, behind.guard is not None) == (1, True)
    lost = [one - other for one, other in zip(bare, found, strict=True)]
    assert sum(lost[:8]) / 8 > max(1.0, 3 * abs(sum(lost[8:]) / 4)), lost
    assert len(llama.core.model.layers) == 2


@pytest.mark.parametrize(
    ("args", "settings", "message"),
    [
        ("layers=3", SETTINGS, "the first 3 layers are wanted, and the model has 2; give layers=1 to layers=2"),
        ("layers=1", replace(SETTINGS, lora=None), "method 'uld' makes use of what an adapter has learnt; train with"),
        (
            "layers=1",
            replace(SETTINGS, lora=LoraSettings(r=2, target_modules=r".*layers\.1\..*q_proj")),
            "none of what LoRA reaches lies in the first 1 layers",
        ),
    ],
)
def test_what_there_is_no_assistant_for_is_refused(
    llama: LoadedModel, examples: list[Example], tmp_path: Path, args: str, settings: TrainSettings, message: str
) -> None:
    rows = rows_for(llama, examples)
    with pytest.raises(UserError, match=message):
        unlearn(llama, material_of(rows), method=build("uld", args), settings=settings, folder=tmp_path)
    assert not list(tmp_path.iterdir())
