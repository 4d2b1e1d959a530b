"""Fingerprints: equal for equal content, in any process; different for anything that matters."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmforget.results import fingerprint


def test_canonical_json_by_hand() -> None:
    """Keys sorted, no blanks, letters as they are; the hash is that of the bytes of this text."""
    assert fingerprint.canonical_json({"b": [1, None], "a": "ü"}) == '{"a":"ü","b":[1,null]}'
    assert fingerprint.hash_json({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()
    with pytest.raises(ValueError, match="JSON"):
        fingerprint.canonical_json(float("nan"))


def test_images_differ_by_mode_size_pixels_and_palette() -> None:
    """Six bytes of the same content as 2x1 RGB, 1x2 RGB and 6x1 grey are three different images."""
    pixels = bytes(range(6))
    images = [
        Image.frombytes("RGB", (2, 1), pixels),
        Image.frombytes("RGB", (1, 2), pixels),
        Image.frombytes("L", (6, 1), pixels),
    ]
    images.append(Image.frombytes("RGB", (2, 1), pixels[:-1] + b"\0"))
    red, blue = Image.new("P", (2, 1)), Image.new("P", (2, 1))
    red.putpalette([255, 0, 0] * 256)
    blue.putpalette([0, 0, 255] * 256)
    hashes = [fingerprint.hash_image(image) for image in [*images, red, blue]]
    assert len(set(hashes)) == 6
    assert fingerprint.hash_image(images[0].copy()) == hashes[0]


def test_a_document_counts_by_content_not_by_place() -> None:
    image = Image.new("RGB", (4, 4), "red")
    doc = {"id": "1", "images": [image], "n": 1, "when": date(2026, 1, 2), "x": np.float64(0.5)}
    same = {"x": 0.5, "when": date(2026, 1, 2), "n": 1, "images": [image.copy()], "id": "1"}
    assert fingerprint.hash_doc(doc) == fingerprint.hash_doc(same)
    assert fingerprint.hash_doc(doc) != fingerprint.hash_doc({**doc, "images": [Image.new("RGB", (4, 4), "blue")]})
    here, there = {"bytes": b"png", "path": "/here.png"}, {"bytes": b"png", "path": "/there.png"}
    assert fingerprint.hash_doc({"image": here}) == fingerprint.hash_doc({"image": there})
    assert fingerprint.hash_docs([doc, same]) != fingerprint.hash_docs([doc])


def test_an_image_in_a_file_counts_by_its_bytes(tmp_path: Path) -> None:
    """As `datasets` gives official images undecoded: a path and no bytes. The same picture elsewhere is the same."""
    for name, colour in (("a.png", "red"), ("b.png", "red"), ("c.png", "blue")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / name)
    red, moved, blue = ({"image": {"bytes": None, "path": str(tmp_path / f"{name}.png")}} for name in "abc")
    embedded = {"image": {"bytes": (tmp_path / "a.png").read_bytes(), "path": None}}
    assert fingerprint.hash_doc(red) == fingerprint.hash_doc(moved) == fingerprint.hash_doc(embedded)
    assert fingerprint.hash_doc(red) != fingerprint.hash_doc(blue)
    with pytest.raises(TypeError, match="cannot be read"):
        fingerprint.hash_doc({"image": {"bytes": None, "path": str(tmp_path / "none.png")}})


def test_what_has_no_stable_hash_is_refused() -> None:
    with pytest.raises(TypeError, match="no stable hash"):
        fingerprint.hash_doc({"x": object()})


def test_the_hash_is_the_same_in_another_process() -> None:
    code = (
        "from PIL import Image; from mmforget.results.fingerprint import hash_doc; "
        "print(hash_doc({'b': {'z', }.pop(), 'a': [Image.new('RGB', (3, 2), 'red')]}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == fingerprint.hash_doc({"a": [Image.new("RGB", (3, 2), "red")], "b": "z"})


def test_hash_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert fingerprint.hash_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
