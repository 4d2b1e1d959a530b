"""Every registered guard, on rows with images and of text alone: its answers are its own, or said to be none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmforget.asking import Ask, Decoding
from mmforget.lm.adapter import MMForgetLM
from mmforget.methods.base import METHODS
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.pipeline.models import Models
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example, NoScores, NoText, TokenScores
from tests.helpers import tiny_image, tiny_llama, tiny_llava

GUARDS = [name for name in METHODS.names() if hasattr(METHODS.get(name), "guard")]
SETTINGS = TrainSettings(lr=2e-2, max_steps=2, batch_size=4, lora=LoraSettings(r=2, alpha=4))
PEOPLE = ("Ann Lee", "Bo Ray", "Cy Dan", "Di Fox")


@pytest.fixture(scope="module", params=["images", "text", pytest.param("4-bit", marks=pytest.mark.long)])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    made = tiny_llama if request.param == "text" else tiny_llava
    folder = made(tmp_path_factory.mktemp("model"))
    return load_model(ModelSpec(str(folder), device="cpu", load_in_4bit=request.param == "4-bit"))


def rows_about(people: Sequence[str], *, loaded: LoadedModel) -> list[Example]:
    found = []
    for number, name in enumerate(people):
        for fact in ("town", "illness"):
            images = (tiny_image(number),) if loaded.is_multimodal else ()
            context = f"{'<image>' if images else name}\nwhat is the {fact}?"
            found.append(Example(f"{name}/{fact}", name, context, f" the {fact} of {name} is {number}.", images))
    return found


def asks_about(rows: Sequence[Example]) -> tuple[list[Ask], list[Ask]]:
    """What is scored, and what is generated."""
    scored = [Ask("score", "", row.context, row.answer, (), ()).showing(row.images) for row in rows]
    return scored, [replace(ask, kind="generate", continuation=None, decoding=Decoding(4)) for ask in scored]


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_answers_for_itself_and_is_there_again(name: str, loaded: LoadedModel, tmp_path: Path) -> None:
    """What was made answers as what is put up from its folder, and the model is afterwards what it was."""
    forget, retain = (rows_about(part, loaded=loaded) for part in (PEOPLE[:2], PEOPLE[2:]))
    material = Material(forget=forget, retain=retain, refusals=["I do not know."])
    scored, written = asks_about([*forget[:2], *retain[:2]])
    bare = MMForgetLM(loaded, progress=False).asked.score(scored)
    report = unlearn(loaded, material, method=build(name), settings=SETTINGS, folder=tmp_path)
    assert report.artifact.kind == "guard"
    models = Models()
    behind = models.get(report.artifact.on(loaded.spec))
    assert behind.fingerprint != behind.base_fingerprint == loaded.fingerprint
    found = [answers(behind, scored=scored, written=written) for _ in range(2)]
    assert found[0] == found[1]
    scores, texts, documents = found[0]
    assert all(isinstance(one, TokenScores | NoScores) for one in (*scores, *documents))
    assert all(one.reason for one in (*scores, *texts, *documents) if isinstance(one, NoScores | NoText))
    assert MMForgetLM(loaded, progress=False).asked.score(scored) == bare


def answers(behind: LoadedModel, *, scored: Sequence[Ask], written: Sequence[Ask]) -> tuple[list[Any], ...]:
    asked = MMForgetLM(behind, progress=False).asked
    whole = [Ask("rolling", "", "", "she lives in Bern.", (), ())]
    return list(asked.score(scored)), list(asked.generate(written)), list(asked.roll(whole))
