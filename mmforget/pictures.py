"""Pictures that others wrote: which file a written path means, and which pixels a file means.

Every way in shows a model the same pixels: turned as the file's EXIF says, as RGB of 8 bits a channel.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mmforget.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Pillow's modes of more than 8 bits a channel, of which its own conversion to RGB makes plain white or black."""
MOST_16_BIT, MOST_8_BIT = 65535, 255
FAINT = 4096
"""A picture of 16 bits whose values stay below would be shown black: its scale is another one, such as 12 bits."""


def decoded(source: str | Path | io.BytesIO) -> Image:
    """The picture in a file: turned as its EXIF says, RGB. Raises ValueError saying why it cannot be shown."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(source) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ValueError("is not an image") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be decoded: {error}") from error


def to_rgb(image: Image) -> Image:
    """The picture as RGB of 8 bits a channel, the same object where it is that already.

    16 bits are scaled to 8, floats from 0..1 or as they are up to 255; all else is Pillow's own conversion: palettes
    are looked up, transparency is left out.

    Raises ValueError where nothing says which value is white.
    """
    if image.mode == "RGB":
        return image
    return image.convert("RGB") if image.mode not in WIDE_MODES else _scaled(image)


def ending_alike(reference: str, paths: Iterable[Path]) -> Path | None:
    """The path whose end is most like the one written, its name at least; None where none has the name.

    Raises UserError where several end equally alike, naming them.
    """
    parts = parts_of(reference)
    alike = {path: _common_tail(path.parts, parts) for path in paths}
    best = [path for path, count in alike.items() if count and count == max(alike.values())]
    if len(best) > 1:
        raise UserError(
            f"image '{reference}' may be {' or '.join(map(str, best))}; write more of its path in the record, or leave "
            "one file"
        )
    return best[0] if best else None


def parts_of(reference: str) -> tuple[str, ...]:
    """The folders and the name of a written path, without `..`: files of strangers point to nothing outside."""
    written = PurePosixPath(reference.replace("\\", "/"))
    return tuple(part for part in written.parts if part not in (".", "..", "/"))


def single(value: Any) -> Any:
    """What a list of one holds, other values as they are: some files write an image as a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _scaled(image: Image) -> Image:
    """A grey picture of 16 or 32 bits as RGB."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        white = 1.0 if high <= 1 else float(MOST_8_BIT)
        is_known = low >= 0 and high <= white
    else:
        white = float(MOST_16_BIT)
        is_known = low >= 0 and high <= white and (high >= FAINT or high == 0)
    if not is_known:
        raise ValueError(
            f"its values (mode {image.mode}) run from {low:g} to {high:g}, and nothing says which of them is white; "
            "save it with 8 bits a channel"
        )
    return Image.fromarray(np.rint(values / white * MOST_8_BIT).astype(np.uint8)).convert("RGB")


def _common_tail(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths have in common at their ends."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
