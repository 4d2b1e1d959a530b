"""Images of rows: how they are stored in a data set, and whether a file can be read at all."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

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


def open_image(value: ImageValue) -> Image:
    """The decoded RGB picture, as `datasets.Image(mode="RGB")` would give it."""
    from PIL import Image

    source = io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"]
    if source is None:
        raise ValueError("an image value has neither a path nor bytes")
    with Image.open(source) as image:
        return image.convert("RGB")


def image_fault(value: ImageValue) -> str | None:
    """What is wrong with an image, in words, or None. The whole file is decoded: truncation shows only at its end."""
    if value["bytes"] is not None:
        return _decode_fault(io.BytesIO(value["bytes"]), name="embedded image")
    path = Path(value["path"] or "")
    if not path.is_file():
        return f"image {path} does not exist"
    state = path.stat()
    return _file_fault(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=65536)
def _file_fault(path: Path, size_bytes: int, modified_ns: int) -> str | None:
    # Size and time are part of the key, so that a file repaired while the process lives is looked at again.
    if size_bytes == 0:
        return f"image {path} is empty"
    return _decode_fault(path, name=f"image {path}")


def _decode_fault(source: Path | io.BytesIO, *, name: str) -> str | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source) as image:
            image.load()
    except UnidentifiedImageError:
        return f"{name} is not an image"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"{name} cannot be decoded: {error}"
    return None
