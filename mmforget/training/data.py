"""Refusals encoded as they are drawn, and a fingerprint of what rows are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mmforget.model.encode import Encoded, encode
from mmforget.model.loaded import LoadedModel
from mmforget.types import Example


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
