"""Examples made ready for a model, all of them before any work starts, and a fingerprint of what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmforget.errors import BadData, UserError
from mmforget.model.encode import Encoded, encode
from mmforget.model.loaded import LoadedModel
from mmforget.results.fingerprint import hash_image
from mmforget.types import Example

if TYPE_CHECKING:
    from PIL.Image import Image


def encode_all(loaded: LoadedModel, examples: Sequence[Example], *, append_eos: bool, source: str) -> list[Encoded]:
    """Encodes every example. Raises BadData naming each row that cannot be encoded, before anything is computed.

    Args:
        source: what the rows are, for messages, e.g. `rows to forget`.
    """
    if not examples:
        raise UserError(f"{source}: there are none; check the set, the setting and --limit")
    encoded, faults = list[Encoded](), list[str]()
    keys = _ImageKeys()
    for example in examples:
        try:
            encoded.append(
                encode(
                    loaded,
                    example.context,
                    example.answer,
                    example.images,
                    image_keys=keys.of(example.images),
                    append_eos=append_eos,
                )
            )
        except UserError as error:
            faults.append(f"row '{example.id}': {error}")
    if faults:
        raise BadData(source, faults=faults)
    return encoded


class _ImageKeys:
    """Pixel hashes, once an image object: questions about one subject usually hold the very same one."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Image, str]] = {}

    def of(self, images: Sequence[Image]) -> list[str]:
        return [self._known.setdefault(id(image), (image, self._hash(image)))[1] for image in images]

    def _hash(self, image: Image) -> str:
        known = self._known.get(id(image))
        return known[1] if known else hash_image(image)


class Refusals:
    """The questions of a set answered by refusals, encoded when first drawn and kept."""

    def __init__(
        self, loaded: LoadedModel, examples: Sequence[Example], *, refusals: Sequence[str], append_eos: bool
    ) -> None:
        self.loaded, self.examples = loaded, tuple(examples)
        self.refusals, self.append_eos = tuple(refusals), append_eos
        self._kept: dict[tuple[int, int], Encoded] = {}

    def get(self, row: int, refusal: int) -> Encoded:
        """Row's question, with the answer's own delimiter, answered by the refusal at that position."""
        key = (row, refusal)
        if key not in self._kept:
            example = self.examples[row]
            delimiter = example.answer[: len(example.answer) - len(example.answer.lstrip())]
            answer = delimiter + self.refusals[refusal]
            self._kept[key] = encode(self.loaded, example.context, answer, example.images, append_eos=self.append_eos)
        return self._kept[key]


def data_hash(encoded: Sequence[Encoded]) -> str:
    """sha256 over token ids, where the answers start, and image pixels, in order."""
    digest = hashlib.sha256()
    for item in encoded:
        ids = ",".join(str(int(token)) for token in item.ids)
        digest.update(f"{item.num_context}:{ids}:{','.join(map(str, item.image_keys))};".encode())
    return digest.hexdigest()
