"""Every method on a real model: made, saved, loaded by anybody, with equal log-probs, on image and on text rows.

One training of the whole language model, one of adapters and one of adapters on a 4-bit base, of two updates each; an
edit or a guard takes none. Where a method cannot, it says so in one line, and there is one way in which it can.

Among the tests that always run, adapters on image rows are compared with the model as it was made; on text rows what
is saved has to load and be finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from transformers import OlmoeConfig

import mmforget
from mmforget.asking import Ask, Decoding
from mmforget.errors import UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.methods.base import METHODS
from mmforget.methods.build import build
from mmforget.methods.described import shape_of
from mmforget.methods.material import Concept, Material
from mmforget.model.fingerprint import folder_hashes
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.models import Models
from mmforget.results.fingerprint import hash_image
from mmforget.training.report import TrainReport
from mmforget.training.session import FIRST
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import TokenScores
from tests.helpers import tiny_image, tiny_llama, tiny_llava
from tests.tiny_models import tiny_text
from tests.unit.training.conftest import make_examples

FULL = TrainSettings(lr=1e-3, max_steps=2, batch_size=4, schedule="constant")
LORA = replace(FULL, lr=1e-2, lora=LoraSettings(r=2, alpha=4))
WAYS: Mapping[str, tuple[TrainSettings, bool]] = {"full": (FULL, False), "lora": (LORA, False), "nf4": (LORA, True)}
"""Settings, and whether the base is packed into four bits."""
KINDS = ("image", "text")


def names() -> list[str]:
    """Every method; one that only changes how others train beside one that trains."""
    wraps = {name for name in METHODS.names() if shape_of(METHODS.get(name)) == "wrapper"}
    return [f"grad_diff+{name}" if name in wraps else name for name in METHODS.names()]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("models")
    experts = {"num_experts": 3, "num_experts_per_tok": 2}
    return {
        "image": tiny_llava(home / "llava"),
        "text": tiny_llama(home / "llama"),
        "experts": tiny_text(home / "olmoe", OlmoeConfig, **experts),
    }


@pytest.fixture(scope="module")
def base(folders: dict[str, Path]) -> Callable[[str, bool], LoadedModel]:
    """Models that adapters are put on and taken off again, each loaded once."""

    @cache
    def load(kind: str, packed: bool) -> LoadedModel:
        return load_model(ModelSpec(str(folders[kind]), device="cpu", load_in_4bit=packed))

    return load


@cache
def material(kind: str) -> Material:
    """Two people to forget and two to keep, with whatever any benchmark gives a method."""
    placed = [
        replace(one, path=("all", str(at // 8), one.subject), extra={"pair": one.id})
        for at, one in enumerate(make_examples(with_images=kind == "image"))
    ]
    forget, retain = placed[:8], placed[8:16]
    harmless = [replace(one, images=(tiny_image(99),), answer=" it is a picture.") for one in forget if one.images]
    people = dict.fromkeys(row.subject for row in forget)
    return Material(
        forget=forget, retain=retain, benign=harmless, refusals=("i do not know.", "no idea."), level=1,
        concepts=[Concept(name=name, facts=(("Who is that?", "Nobody."),)) for name in people],
    )  # fmt: skip


class Heard(NamedTuple):
    """What a model says: log-probs of answers, a reason where there are none, and texts."""

    scores: list[tuple[float, ...] | str]
    texts: list[str]


def heard(loaded: LoadedModel, kind: str) -> Heard:
    """Asked as an evaluation asks, through whatever guard stands before the model, about who is forgotten and kept."""
    engine = MMForgetLM(loaded).asked
    rows = [*material(kind).forget[:2], *material(kind).retain[:2]]
    asks = [
        Ask(
            "score", "toy", row.context, row.answer, row.images, tuple(map(hash_image, row.images)),
            row={"subject": row.subject, "path": row.path, "question": row.context, "answer": row.answer},
        )
        for row in rows
    ]  # fmt: skip
    found = engine.score(asks)
    scores = [one.token_logprobs if isinstance(one, TokenScores) else one.reason for one in found]
    written = [replace(ask, kind="generate", continuation=None, decoding=Decoding(4)) for ask in asks]
    return Heard(scores, [str(one) for one in engine.generate(written)])


def cases() -> list[Any]:
    """Every method in every way; what trains nothing is the same with adapters and without.

    With adapters on image rows here; everything else among the long tests.
    """
    trained = {name: any(hasattr(METHODS.get(part), "loss") for part in name.split("+")) for name in names()}
    found = [(name, way) for name in names() for way in WAYS if trained[name] or way != "full"]
    return [
        pytest.param(name, way, kind, marks=[] if (way, kind) == ("lora", "image") else [pytest.mark.long])
        for name, way in found
        for kind in KINDS
    ]


@pytest.mark.parametrize(("name", "way", "kind"), cases())
def test_what_is_made_is_finite_and_the_same_when_it_is_loaded(
    name: str, way: str, kind: str, folders: dict[str, Path], base: Callable[[str, bool], LoadedModel], tmp_path: Path
) -> None:
    method, (settings, packed) = build(name), WAYS[way]
    adapts = settings.lora is not None or shape_of(method) in ("edit", "guard")
    loaded = base(kind, packed) if adapts else load_model(ModelSpec(str(folders[kind]), device="cpu"))
    try:
        with mmforget.edited(loaded, material(kind), method=method, settings=settings) as other:
            inside = heard(other, kind)
    except UserError:
        assert saved(loaded, kind, method=method, settings=settings, folder=tmp_path) is None
        return
    after = saved(loaded, kind, method=method, settings=settings, folder=tmp_path)
    assert after is not None
    assert after.texts == inside.texts
    for one, other_one in zip(after.scores, inside.scores, strict=True):
        assert one == (other_one if isinstance(other_one, str) else pytest.approx(other_one, rel=1e-5, abs=1e-5))


@pytest.mark.parametrize("name", [name for name in names() if not hasattr(METHODS.get(name.split("+")[0]), "guard")])
def test_what_is_made_on_text_rows_is_finite_when_it_is_loaded(
    name: str, base: Callable[[str, bool], LoadedModel], tmp_path: Path
) -> None:
    """Guards are among those of `test_every_guard.py`."""
    saved(base("text", False), "text", method=build(name), settings=LORA, folder=tmp_path)


def saved(loaded: LoadedModel, kind: str, *, method: Any, settings: TrainSettings, folder: Path) -> Heard | None:
    """What a method leaves, loaded by anybody, says: finite numbers. None where the method cannot, which it says in
    one line before anything is written.
    """
    report, refusal = None, ""
    try:
        report = unlearn(loaded, material(kind), method=method, settings=settings, folder=folder)
    except UserError as error:
        refusal = str(error)
    if report is None:
        assert len(refusal.splitlines()) == 1
        assert not list(folder.rglob("*.safetensors"))
        return None
    assert all(math.isfinite(value) for value in report.final_parts.values() if value is not None)
    assert not report.diverged
    made = Models().get(report.artifact.on(loaded.spec))
    assert made.fingerprint != loaded.fingerprint
    found = heard(made, kind)
    assert all(isinstance(one, str) or all(map(math.isfinite, one)) for one in found.scores)
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", names())
def test_there_is_a_way_in_which_it_works(name: str, base: Callable[[str, bool], LoadedModel]) -> None:
    """With adapters on a whole base, on image or on text rows, or else as a whole on a mixture of experts."""
    said = []
    for kind, settings in (("image", LORA), ("text", LORA), ("experts", FULL)):
        try:
            with mmforget.edited(base(kind, False), material(kind), method=build(name), settings=settings):
                return
        except UserError as error:
            said.append(str(error))
    pytest.fail(f"{name}: {said}")


class Killed(BaseException):
    """In place of the end of the process."""


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in names() if hasattr(METHODS.get(name.split("+")[0]), "loss")])
def test_a_killed_training_goes_on_to_the_same_bits(
    name: str, base: Callable[[str, bool], LoadedModel], tmp_path: Path
) -> None:
    method, settings = build(name), replace(LORA, max_steps=3, save_steps=1)
    trains_whole = any(hasattr(part, "choose_expert") for part in getattr(method, "parts", ()))
    kind = "experts" if trains_whole else "image"

    def run(folder: Path, *, until: int) -> TrainReport:
        def progress(done: int, total: int, label: str) -> None:
            if done == until:
                raise Killed

        if trains_whole:
            # Trained as a whole, a model is another one afterwards.
            loaded, how = load_model(base(kind, False).spec), replace(settings, lora=None)
        else:
            loaded, how = base(kind, False), settings
        return unlearn(loaded, material(kind), method=method, settings=how, folder=folder, progress=progress)

    whole = run(tmp_path / "whole", until=0)
    with pytest.raises(Killed):
        run(tmp_path / "killed", until=2)
    again = run(tmp_path / "killed", until=0)
    assert again.resumed_from in (1, 2)
    assert folder_hashes(again.output) == folder_hashes(whole.output)
    # Whatever was trained on the way and knows what is to be forgotten.
    assert not (tmp_path / "whole" / FIRST).exists()
