"""Images of a request, in whatever shape a task hands them over."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from mmforget.errors import BadData
from mmforget.pictures import decoded, to_rgb
from mmforget.results.fingerprint import hash_image

DECODED_BUDGET_BYTES = 256 * 2**20


def as_list(visual: Any) -> list[Any]:
    """The `visual` of a request as a flat list: lm_eval hands over a bare image, a list, a list of lists or None."""
    if visual is None:
        return []
    if isinstance(visual, (list, tuple)):
        return [image for item in visual for image in as_list(item)]
    return [visual]


class ImageReader:
    """Opens images once and hashes them once.

    Images arrive as PIL images, as `{"bytes": ..., "path": ...}` (a column that is not decoded) or as a path.
    Decoded ones are kept up to `budget_bytes` of pixels, so the questions about one picture share one object.
    """

    def __init__(self, *, budget_bytes: int = DECODED_BUDGET_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self._decoded: OrderedDict[str, Image.Image] = OrderedDict()
        self._size_bytes = 0
        self._keys: OrderedDict[int, tuple[Image.Image, str]] = OrderedDict()

    def open(self, source: Any, *, where: str) -> Image.Image:
        """The image as RGB. Raises BadData naming `where` it was asked for if it is missing, truncated or no image."""
        if isinstance(source, Image.Image):
            return _as_rgb(source, where=where)
        try:
            content = _content(source)
        except OSError as error:
            raise BadData(where, faults=[f"image cannot be read: {error}"]) from error
        name = hashlib.sha256(content).hexdigest()
        if name not in self._decoded:
            self._remember(name, _decode(content, where=where))
        self._decoded.move_to_end(name)
        return self._decoded[name]

    def key(self, image: Image.Image) -> str:
        """Hash of the pixels, computed once for an object that stays alive."""
        known = self._keys.get(id(image))
        if known is None or known[0] is not image:
            # The image is kept beside its hash: a freed object's id may be given to another image.
            self._keys[id(image)] = known = (image, hash_image(image))
            while len(self._keys) > 64:
                self._keys.popitem(last=False)
        return known[1]

    def _remember(self, name: str, image: Image.Image) -> None:
        self._decoded[name] = image
        self._size_bytes += _num_bytes(image)
        while self._size_bytes > self.budget_bytes and len(self._decoded) > 1:
            _, old = self._decoded.popitem(last=False)
            self._size_bytes -= _num_bytes(old)


def _content(source: Any) -> bytes:
    if isinstance(source, (str, Path)):
        return Path(source).read_bytes()
    if isinstance(source, (bytes, bytearray)):
        return bytes(source)
    if isinstance(source, Mapping) and source.get("bytes") is not None:
        return bytes(source["bytes"])
    if isinstance(source, Mapping) and source.get("path"):
        return Path(source["path"]).read_bytes()
    raise OSError(f"a {type(source).__name__} is no image; give a PIL image, a path or {{'bytes', 'path'}}")


def _as_rgb(image: Image.Image, *, where: str) -> Image.Image:
    """The pixels that a task hands over, which are not turned: whoever decoded them has done so."""
    try:
        return to_rgb(image)
    except ValueError as error:
        raise BadData(where, faults=[f"image cannot be shown: {error}"]) from error


def _decode(content: bytes, *, where: str) -> Image.Image:
    try:
        return decoded(io.BytesIO(content))
    except ValueError as error:
        raise BadData(where, faults=[f"image {error}"]) from error


def _num_bytes(image: Image.Image) -> int:
    return image.width * image.height * len(image.getbands())
