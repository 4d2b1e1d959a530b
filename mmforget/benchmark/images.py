"""Images of rows: how they are stored in a data set, which pixels they mean, and whether a file can be read at all.

Every way in shows a model the same pixels: turned as the file's EXIF says, as RGB of 8 bits a channel.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from mmforget.benchmark.files import state_of
from mmforget.pictures import WIDE_MODES, decoded

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageValue(TypedDict):
    """An image as `datasets.Image` stores it: a file read on access, or PNG bytes."""

    path: str | None
    bytes: bytes | None


def from_file(path: Path) -> ImageValue:
    return {"path": str(path), "bytes": None}


def from_picture(image: Image) -> ImageValue:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return {"path": None, "bytes": buffer.getvalue()}


@lru_cache(maxsize=16384)
def drawn(draw: Callable[..., Image], *what: Hashable, **how: Hashable) -> ImageValue:
    """What `draw(*what, **how)` paints, made once a process: rows of one picture share one object."""
    return from_picture(draw(*what, **how))


def open_image(value: ImageValue) -> Image:
    """The decoded RGB picture, turned as its EXIF says. Raises ValueError saying why it cannot be shown."""
    source = io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"]
    if source is None:
        raise ValueError("an image value has neither a path nor bytes")
    return decoded(source)


def as_datasets_read(value: ImageValue) -> ImageValue:
    """An image that `datasets.Image(mode="RGB")`, and so stock lm_eval, decodes to the pixels of `open_image`.

    That is the value itself but for modes whose conversion loses the picture: those become PNG bytes.
    """
    from PIL import Image

    with Image.open(io.BytesIO(value["bytes"]) if value["bytes"] is not None else str(value["path"])) as image:
        is_wide = image.mode in WIDE_MODES
    return from_picture(open_image(value)) if is_wide else value


def image_fault(value: ImageValue) -> str | None:
    """What is wrong with an image, in words, or None. The whole file is decoded: truncation shows only at its end."""
    if value["bytes"] is not None:
        return _decode_fault(io.BytesIO(value["bytes"]), name="embedded image")
    path = Path(value["path"] or "")
    if not path.is_file():
        return f"image {path} does not exist"
    return _file_fault(path, *state_of(path))


@lru_cache(maxsize=65536)
def _file_fault(path: Path, size_bytes: int, inode: int, changed_ns: int) -> str | None:
    # The state is part of the key, so that a file repaired while the process lives is looked at again.
    if size_bytes == 0:
        return f"image {path} is empty"
    return _decode_fault(path, name=f"image {path}")


def _decode_fault(source: Path | io.BytesIO, *, name: str) -> str | None:
    try:
        decoded(source)
    except ValueError as error:
        return f"{name} {error}"
    return None
