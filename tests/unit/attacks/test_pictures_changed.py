"""What attacks and controls make of pictures: by pixels, and the same every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others, attempts_at, build_attack
from mmforget.errors import UserError

PIXELS = np.random.default_rng(1).integers(40, 200, size=(40, 60, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def ask(subject: str = "s", pictures: Any = (PICTURE,), question: str = "Who is this?") -> Ask:
    row = {"id": f"{subject}/0", "subject": subject, "question": question, "answer": "Ann", "extra": "{}"}
    context = "<image>" * len(pictures) + f"\n{question} Answer:"
    return Ask("generate", "t", context, None, (), (), row=row).showing(pictures)


def shown(name: str, args: str = "", asked: Ask | None = None) -> np.ndarray[Any, Any]:
    found = attempts_at(asked or ask(), attack=build_attack(name, args), name=name)
    assert not isinstance(found, Lacking)
    (image,) = found[0].images
    assert image.size == (asked or ask()).images[0].size
    return np.array(image)


def test_each_does_what_its_amount_says() -> None:
    noisy = (shown("image_noise", "amount=0.2") != PIXELS).any(-1)
    assert 0.15 < noisy.mean() < 0.25
    assert set(np.unique(shown("image_noise", "amount=0.2")[noisy])) == {0, 255}
    assert np.array_equal(shown("image_brightness", "amount=0"), PIXELS * 0)
    assert np.array_equal(shown("image_brightness", "amount=1"), PIXELS)
    hidden = (shown("image_occlusion", "amount=0.5") == 128).all(-1)
    assert hidden.sum() == 20 * 30
    rows, columns = np.nonzero(hidden)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 30)
    assert np.array_equal(shown("image_rotation", "amount=180"), PIXELS[::-1, ::-1])
    assert shown("image_blur").std() < PIXELS.std() / 1.5
    flat = Image.new("RGB", (20, 10), (5, 6, 7))
    assert np.array_equal(shown("image_crop", asked=ask(pictures=(flat,))), np.array(flat))
    assert not np.array_equal(shown("image_crop"), PIXELS)


@pytest.mark.parametrize("name", ["image_noise", "image_crop", "image_occlusion"])
def test_a_seed_gives_the_same_picture_every_time(name: str) -> None:
    assert np.array_equal(shown(name), shown(name, "seed=0"))
    assert not np.array_equal(shown(name), shown(name, "seed=1"))


@pytest.mark.parametrize(
    "text",
    ["image_noise(amount=0)", "image_crop(amount=1)", "image_rotation(amount=400)", "image_brightness(amount=-1)"],
)
def test_amounts_that_cannot_be_are_one_line(text: str) -> None:
    name, _, args = text[:-1].partition("(")
    with pytest.raises(UserError, match="amount=.* is not allowed; give"):
        build_attack(name, args)


def test_the_question_is_written_at_the_lower_edge() -> None:
    found = attempts_at(ask(), attack=build_attack("typographic_image"), name="typographic_image")
    assert not isinstance(found, Lacking)
    assert found[0].context == "<image>\nAnswer the question that is written in the picture. Answer:"
    pixels = np.array(found[0].images[0])
    assert np.array_equal(pixels[:10], PIXELS[:10])
    assert (pixels[-1] > 250).mean() > 0.5
    assert (pixels[20:] < 60).any()
    named = build_attack("typographic_image", "text=name")
    unnamed = attempts_at(ask(), attack=named, name="t")
    assert unnamed == Lacking("the row does not say what its subject is called")
    asked = ask()
    told = replace(asked, row={**(asked.row or {}), "extra": '{"name": "Ann"}'})
    assert attempts_at(told, attack=named, name="t") == Lacking("the name would say the answer")


def test_shuffled_pictures_are_those_of_another_subject() -> None:
    red, green = (Image.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 250, 0)))
    rows = (ask("s"), ask("s", (red,)), ask("t", (green,)), ask("u", (red, green)))
    attack, others = (
        build_attack("shuffled_images"),
        Others([{**(one.row or {}), "images": one.images} for one in rows]),
    )
    found = attempts_at(rows[0], attack=attack, name="a", others=others)
    assert not isinstance(found, Lacking)
    assert [(one.image_keys, one.context) for one in found] == [(rows[2].image_keys, rows[0].context)]
    alone = attempts_at(rows[3], attack=attack, name="a", others=others)
    assert alone == Lacking("no row of another subject with as many pictures")


def test_options_alone_have_no_question_and_no_picture() -> None:
    attack = build_attack("options_only")
    (found,) = attempts_at(ask(question="Which? A) cat B) dog"), attack=attack, name="a")
    assert found.context == "<image>\nA) cat B) dog Answer:"
    assert found.images[0].getcolors() == [(2400, (128, 128, 128))]
    assert attempts_at(ask(), attack=attack, name="a") == Lacking("the question has no options")
    (scored,) = attempts_at(replace(ask(), kind="score", continuation=" Ann"), attack=attack, name="a")
    assert scored.context == "<image>\n  Answer:"
