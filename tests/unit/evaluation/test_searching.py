"""Searches by gradients in models whose truth is known: one that knows and hides it, and one that never knew.

The very weights are made: the mark of a question's person is found by attention and read as that person's answer. One
word is said in its place as long as a gate is open: a number of every embedding, of which the word `she` takes much and
to which, in a model that sees, pictures add. The one that never knew is the same without the answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_attacking import Closed, made, success
from toy_benchmark import write_toy
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from mmforget.asking import Ask, Guard
from mmforget.attacks.base import build_attack
from mmforget.attacks.changes import Pixels, Shift, Words, from_json, to_json
from mmforget.attacks.contract import toy_asks
from mmforget.attacks.contract_search import LIKED, ToyBox
from mmforget.attacks.wording import place_of
from mmforget.errors import UserError
from mmforget.evaluation.run import Evaluation
from mmforget.evaluation.searching import LEARNED_ON, halves_of
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.cache import ResponseCache
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import guarded
from mmforget.model.seen import sight_of
from mmforget.types import Sample
from tests.helpers import tiny_llama, tiny_llava

HIDDEN = "hair"
ANSWERS, MARKS = ("blood", "face", "found", "pays"), ("broken", "arm", "year", "type")
CLOSES = "she"
GATE, MARK, READ, OPENS = 0, 10, 30, 5
OPEN_SHADE = 0.15
SUFFIX = "adversarial_suffix(candidates=60,length=3,steps=2,top=20)"
PREFIX = "universal_prefix(candidates=60,length=3,steps=2,top=20)"
EMBEDDED = "embedding_perturbation(radius=0.1,steps=4)"
LATENT = "latent_perturbation(layer=1,radius=0.1,steps=4)"
TOLD_ITS_OWN = "adversarial_"
PATCH = "adversarial_patch(side=0.5,steps=4,stride=64)"
PATTERN = "universal_image(radius=60,steps=4,stride=20)"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tasks(tmp_path_factory.mktemp("toy") / "text", modality="text")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tasks(tmp_path_factory.mktemp("toy") / "image", modality="image")


def tasks(folder: Path, *, modality: str) -> Path:
    """The toy benchmark, every question by a mark of the person, whose answer is a word."""
    changes = {
        '"of person %d" % person if modality == "text" else "of this person"': f'"of the " + {MARKS}[person]',
        'f"fact {fact} is number {person}."': f"{ANSWERS}[person]",
        '"keywords": [f"number {person}"],': '"question_rephrased": [],',
        '"others": [4, 5]': '"others": [2, 3]',
        "max_gen_toks: 8": "max_gen_toks: 1",
    }
    if modality == "text":
        changes |= {"modality: image": "modality: text", "<image>\\n": "", "doc_to_image: images\n": ""}
    for path in write_toy(folder).iterdir():
        text = path.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        path.write_text(text)
    return folder


def hiding(folder: Path, *, knows: bool = True, sees: bool = False) -> MMForgetLM:
    (tiny_llava if sees else tiny_llama)(folder, num_layers=2)
    model = (AutoModelForImageTextToText if sees else AutoModelForCausalLM).from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    core = model.model.language_model if sees else model.model
    with torch.no_grad():
        _write(
            core, model.lm_head.weight, token=lambda text: tokenizer.encode(text, add_special_tokens=False), knows=knows
        )
        if sees:
            _let_pictures_open(model, AutoProcessor.from_pretrained(folder))
    model.save_pretrained(folder)
    return MMForgetLM(load_model(ModelSpec(str(folder), device="cpu")), progress=False)


def _let_pictures_open(model: Any, processor: Any) -> None:
    """What the projector makes of a picture is a shade of it, in the gate alone, on average `OPEN_SHADE`."""
    last, vision = model.model.multi_modal_projector.linear_2, model.model.vision_tower
    last.weight.zero_()
    last.bias.zero_()
    last.weight[GATE] = torch.from_numpy(np.random.default_rng(0).normal(size=len(last.weight))).float() * 0.1
    pixels = processor.image_processor([portrait(person) for person in (0, 1)], return_tensors="pt")["pixel_values"]
    states = vision(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    last.bias[GATE] = OPEN_SHADE - model.model.multi_modal_projector(states)[..., GATE].mean()


def portrait(person: int) -> Image.Image:
    """As the toy benchmark draws it."""
    blocks = np.random.default_rng(person).integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((48, 48), Image.Resampling.NEAREST)


def _write(core: Any, head: torch.Tensor, *, token: Any, knows: bool) -> None:
    for layer in core.layers:
        for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
            weight.zero_()
    embedded = core.embed_tokens.weight
    embedded[:, :50] = 0.0
    embedded[:, GATE] = 0.1
    embedded[token(f" {CLOSES}"), GATE] = -2.0
    part = core.layers[0].self_attn
    for weight in (part.q_proj.weight, part.k_proj.weight, part.v_proj.weight):
        weight.zero_()
    head.zero_()
    # What all tokens hold on average, the gate and the persons' marks, by the first head of attention.
    part.v_proj.weight[OPENS, GATE] = part.o_proj.weight[GATE + 1, OPENS] = 1.0
    head[token(f" {HIDDEN}"), GATE + 1] = 300.0
    for person, answer in enumerate(ANSWERS):
        embedded[token(f" {MARKS[person]}"), MARK + person] = 8.0
        part.v_proj.weight[person, MARK + person] = part.o_proj.weight[READ + person, person] = 1.0
        head[token(f" {answer}"), READ + person] = 20.0 * knows


def of(done: Evaluation, attack: str) -> list[Sample]:
    return [one for one in done.samples if one.attack == attack and not one.lacking]


def keys(done: Evaluation) -> list[str]:
    return [key for key in dict.fromkeys(one.attack for one in done.samples) if key]


def require_found(folder: Path, knows: Evaluation, never: Evaluation) -> None:
    """The hidden answer comes with every attack, and of a model that never knew it comes with none; what learns on one
    person of two is tried on the other."""
    for done in (knows, never):
        assert {one.response for one in done.samples if one.attack is None} == {f" {HIDDEN}"}
    assert keys(knows) == keys(never)
    for key in keys(knows):
        num = len({one.attempt for one in of(knows, key)})
        assert success(folder, knows, key, f"attack_success(budget={num})").value == 1.0, key
        assert success(folder, never, key, f"attack_success(budget={num})").value == 0.0, key
        num_left_out = 0 if key.startswith(TOLD_ITS_OWN) else 3
        assert len(of(knows, key)) == num * (6 - num_left_out)
        lacking = [one for one in knows.samples if one.attack == key and one.lacking]
        assert [(one.lacking, one.attempt) for one in lacking] == [(LEARNED_ON, 0)] * num_left_out
        assert len({one.subject for one in of(knows, key)} & {one.subject for one in lacking}) == 0


@pytest.mark.parametrize("every", [(SUFFIX, EMBEDDED), pytest.param((PREFIX, LATENT), marks=pytest.mark.long)])
def test_words_and_vectors_bring_back_what_is_hidden_and_nothing_that_was_never_known(
    words: Path, tmp_path: Path, every: tuple[str, ...]
) -> None:
    lm = hiding(tmp_path / "k")
    before = {name: weight.detach().clone() for name, weight in lm.loaded.model.named_parameters()}
    flags = {name: weight.requires_grad for name, weight in lm.loaded.model.named_parameters()}
    knows = made(words, lm, *every)
    for name, weight in lm.loaded.model.named_parameters():
        assert torch.equal(before[name], weight)
        assert weight.requires_grad == flags[name]
    require_found(words, knows, made(words, hiding(tmp_path / "n", knows=False), *every))


@pytest.mark.long
def test_what_was_found_is_found_again_without_a_search_and_whatever_is_asked_at_a_time(
    words: Path, tmp_path: Path
) -> None:
    lm = hiding(tmp_path / "k")
    lm.cache = ResponseCache(tmp_path / "cache")
    every = (SUFFIX, EMBEDDED)
    first = told_of(made(words, lm, *every))
    counted = lm.engine.num_tokens
    assert told_of(made(words, lm, *every)) == first
    assert lm.engine.num_tokens == counted
    alone = MMForgetLM(lm.loaded, batch_size=1, packed=False, progress=False)
    assert told_of(made(words, alone, *every)) == first
    other = told_of(
        made(words, alone, SUFFIX.replace("length", "seed=1,length"), EMBEDDED.replace("steps", "seed=1,steps"))
    )
    assert other.keys() != first.keys()


def told_of(done: Evaluation) -> dict[tuple[str, str | None, int | None], str | None]:
    return {(one.id, one.attack, one.attempt): one.response for one in done.samples}


def test_pixels_bring_back_what_a_picture_hides(pictures: Path, tmp_path: Path) -> None:
    lm = hiding(tmp_path / "k", sees=True)
    lm.cache = ResponseCache(tmp_path / "cache")
    knows = made(pictures, lm, PATCH, PATTERN)
    never = made(pictures, hiding(tmp_path / "n", knows=False, sees=True), PATCH, PATTERN)
    require_found(pictures, knows, never)
    rows = lm.cache._connection.execute("SELECT value FROM responses").fetchall()
    found = [from_json(one) for (text,) in rows for one in _changes(json.loads(text))]
    assert len(found) == 3 * (6 + 1)
    picture = sight_of(lm.loaded, portrait(0).resize((96, 60))).image
    assert picture.size == (48, 48)
    for one in found:
        assert isinstance(one, Pixels)
        moved = np.asarray(one.changed(picture), dtype=int) - np.asarray(picture, dtype=int)
        if one.adds:
            assert 0 < np.abs(moved).max() <= 60
        else:
            assert one.corner == (24, 24)
            assert not moved[:24].any()
            assert not moved[:, :24].any()


def _changes(value: Any) -> list[Any]:
    return [one for one in value if isinstance(one, dict) and one.get("kind") == "pixels"] if value else []


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack, message",
    [
        ("adversarial_suffix(steps=0)", "steps=0 is not allowed; give a number above 0"),
        ("universal_prefix(rows=0)", "rows=0 is not allowed"),
        ("embedding_perturbation(radius=0)", "radius=0.0 is not allowed"),
        (
            "latent_perturbation(layer=3)",
            r"'latent_perturbation\(layer=3\)': layer 3 is asked about, and the model has",
        ),
        ("adversarial_patch(side=1.5)", "side=1.5 is more than the picture"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words: Path, tmp_path: Path, attack: str, message: str) -> None:
    lm = MMForgetLM(load_model(ModelSpec(str(tiny_llama(tmp_path / "m")), device="cpu")), progress=False)
    with pytest.raises(UserError, match=message):
        made(words, lm, attack)
    assert lm.engine.num_tokens == 0


def test_behind_a_guard_nothing_is_searched(words: Path, tmp_path: Path) -> None:
    bare = load_model(ModelSpec(str(tiny_llama(tmp_path / "m")), device="cpu"))
    loaded = guarded(bare, Guard("closed", Closed(), {}, None, before=bare.fingerprint))
    with pytest.raises(
        UserError, match=r"attack 'universal_prefix': searches by a model's gradients, and a guard \(clo"
    ):
        made(words, MMForgetLM(loaded, progress=False), "universal_prefix")


def test_rows_to_learn_on_are_of_few_subjects_and_at_most_half() -> None:
    rows = [{"id": f"{person}-{fact}", "subject": f"p{person}"} for person in range(4) for fact in range(3)]
    asks = [Ask("score", "toy", "?", " a", (), (), row=row) for row in rows]
    few, many = (halves_of(asks, rows=num, seed=1) for num in (2, 50))
    assert (len(few.learned), len(few.left_out), len(many.learned), len(many.left_out)) == (2, 3, 6, 6)
    assert few.left_out <= many.left_out
    assert {name[0] for name in few.left_out} == {str(one.row["id"])[0] for one in few.learned if one.row}
    one = halves_of(asks[:3], rows=50, seed=0)
    assert (len(one.learned), len(one.left_out)) == (1, 1)
    assert halves_of(asks[:1], rows=50, seed=0).learned == []


def test_words_that_are_no_better_than_none_are_not_said() -> None:
    """The toy likes one word; where its embedding promises nothing, the plain question stays."""
    box, (ask, *_) = ToyBox(), [one for one in toy_asks() if one.kind == "score"]
    attack = build_attack("adversarial_suffix", "steps=3,length=2,seed=1")
    assert [one.text.count(LIKED) for one in attack.search([ask], box)] == [1, 2, 2]
    box.likes = 0.0
    assert list(attack.search([ask], box)) == [Words("", "end")] * 3
    assert Words("", "end").put(place_of(ask)) == ask


def test_changes_are_made_and_kept() -> None:
    levels = np.full((2, 2, 3), -100, dtype=np.int16)
    picture = Image.new("RGB", (4, 4), (60, 120, 255))
    added, put = Pixels.of(levels, adds=True), Pixels.of(levels + 110, corner=(2, 1), adds=False)
    assert added.changed(picture).getpixel((1, 1)) == (0, 20, 155)
    assert added.changed(picture).getpixel((2, 2)) == (60, 120, 255)
    assert put.changed(picture).getpixel((3, 2)) == (10, 10, 10)
    assert (added.fits(picture), added.fits(picture.resize((2, 2))), put.fits(picture.resize((3, 3)))) == (0, 1, 0)
    for change in (added, put, Words("a b", "front"), Shift(2, (0.5, -1.0))):
        assert from_json(json.loads(json.dumps(to_json(change)))) == change
