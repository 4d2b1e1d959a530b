"""What the blank image makes of a question."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from mmforget.asking import Ask, Decoding
from mmforget.attacks.base import ATTACKS, attempts_at, build_attack
from mmforget.attacks.contract import toy_asks
from mmforget.results.fingerprint import hash_image


def test_every_picture_is_grey_and_nothing_else_changes() -> None:
    first, second = Image.new("RGB", (30, 20), (9, 8, 7)), Image.new("RGB", (10, 40), (1, 2, 3))
    ask = Ask("generate", "toy", "<image> <image> who?", None, (), (), Decoding(3), where="here").showing(
        [first, second]
    )
    assert ask.image_keys == (hash_image(first), hash_image(second))
    (tried,) = attempts_at(ask, attack=build_attack("blank_image"), name="blank_image")
    assert [image.size for image in tried.images] == [(30, 20), (10, 40)]
    assert [image.getcolors() for image in tried.images] == [[(600, (128, 128, 128))], [(400, (128, 128, 128))]]
    assert tried.image_keys == tuple(map(hash_image, tried.images))
    assert replace(tried, images=ask.images, image_keys=ask.image_keys) == ask


def test_a_question_without_pictures_stays_as_it_is() -> None:
    attack = build_attack("blank_image")
    assert attack.modality == "image"
    for ask in toy_asks()[:2]:
        assert attempts_at(ask, attack=attack, name="blank_image") == [ask]


def test_it_is_listed() -> None:
    entry = ATTACKS.entries["blank_image"]
    assert (entry.origin, entry.summary[:20]) == ("mmforget", "Every image replaced")
