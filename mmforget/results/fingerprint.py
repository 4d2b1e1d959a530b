"""Fingerprints that are the same in every process and on every machine, images included.

lm_eval's own document hash changes with every run where a document holds an image, since it hashes the address of the
image object; these hash the pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks. Raises ValueError on NaN and TypeError on what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_json(value: Any) -> str:
    """sha256, in hex, of the canonical JSON of `value`."""
    return hash_text(canonical_json(value))


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_file(path: Path) -> str:
    """sha256, in hex, of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_image(image: Image) -> str:
    """sha256 of mode, size and pixels (and palette), so that the same bytes in another shape are another image."""
    digest = hashlib.sha256(f"{image.mode}:{image.width}x{image.height}:".encode())
    if image.mode in ("P", "PA"):
        digest.update(bytes(image.getpalette("RGB") or ()) + b":")
    digest.update(image.tobytes())
    return digest.hexdigest()


def hash_doc(doc: Mapping[str, Any]) -> str:
    """sha256 of one document of a data set. Images count by their pixels or file bytes, never by path or address."""
    return hash_json(_hashable(doc))


def hash_docs(docs: Iterable[Mapping[str, Any]]) -> str:
    """sha256 over the documents of a set, in order."""
    digest = hashlib.sha256()
    for doc in docs:
        digest.update(hash_doc(doc).encode())
    return digest.hexdigest()


def _image_file(path: str | None) -> dict[str, str] | None:
    """The bytes of an image that a data set keeps as a file, so that the same file elsewhere is the same image."""
    if path is None:
        return None
    try:
        state = Path(path).stat()
        return {"sha256": _hash_known_file(path, state.st_size, state.st_ino, state.st_ctime_ns)}
    except OSError as error:
        raise TypeError(f"image {path} cannot be read ({error.strerror}), so it has no stable hash") from error


@lru_cache(maxsize=65536)
def _hash_known_file(path: str, size_bytes: int, inode: int, changed_ns: int) -> str:
    # One picture is asked about twenty times; the state is part of the key, so that a changed file is read again.
    return hash_file(Path(path))


def _hashable(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, Mapping):
        if set(value) == {"bytes", "path"}:
            return _hashable(value["bytes"]) if value["bytes"] is not None else _image_file(value["path"])
        return {str(key): _hashable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hashable(item) for item in value]
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if hasattr(value, "tobytes") and hasattr(value, "mode"):
        return {"pixels": hash_image(value)}
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _hashable(value.tolist())
    raise TypeError(f"a {type(value).__name__} in a document has no stable hash")
