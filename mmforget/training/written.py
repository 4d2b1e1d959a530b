"""Rows that a method writes itself, ready for a model: which positions and which words its divergence leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmforget.errors import PluginError
from mmforget.methods.material import Material
from mmforget.methods.requests import Positions, Source
from mmforget.methods.steps import Drift
from mmforget.model.encode import Encoded, encode
from mmforget.model.examples import encode_all
from mmforget.model.loaded import LoadedModel
from mmforget.types import Example, Scored


@dataclass(frozen=True)
class Written:
    """A method's own rows.

    Attributes:
        encoded: one a row.
        unkept: of each row, the positions of the tokens whose divergence does not count.
        vocabulary: bool [V], the tokens that a divergence is summed over.
        is_released: `alignment` is `released`.
    """

    encoded: Sequence[Encoded]
    unkept: Sequence[frozenset[int]]
    vocabulary: Tensor
    is_released: bool

    def positions(self, wanted: Positions) -> Positions:
        """Where the model is looked at so that a divergence at `wanted` can be taken."""
        return "all" if self.is_released else wanted

    def answers(self, scored: Scored, *, rows: Sequence[int]) -> Scored:
        """The scores with only the answers' tokens left in."""
        if not self.is_released:
            return scored
        mask = scored.mask.clone()
        for place, row in enumerate(rows):
            mask[place, : self.encoded[row].num_context - 1] = False
        logprobs = torch.where(mask, scored.token_logprobs, scored.token_logprobs.new_zeros(()))
        return Scored(logprobs, mask, scored.is_greedy)

    def drift(self, token_kl: Tensor, mask: Tensor, *, rows: Sequence[int]) -> Drift:
        """A divergence [B, T] with the positions that count, of those in `mask`."""
        keep = mask.clone()
        for place, row in enumerate(rows):
            one = self.encoded[row]
            if self.is_released:
                # The released mask is made for the text, where an image is one token, and laid on the expanded
                # sequence from its start; nor is it shifted by the one token that logits lie before what they predict.
                keep[place, num_text_tokens(one) :] = False
                columns = [_in_text(one, at) for at in self.unkept[row]]
            else:
                columns = [at - one.num_context for at in self.unkept[row]]
            keep[place, [column for column in columns if column < keep.shape[1]]] = False
        return Drift(token_kl, keep, int(self.vocabulary.sum()))


def written_rows(
    loaded: LoadedModel, rows: Sequence[Example], *, source: Source, material: Material, append_eos: bool
) -> Written:
    """A source's rows, as the model is asked, encoded. Raises BadData naming rows that cannot be encoded."""
    encoded = encode_all(loaded, rows, append_eos=append_eos, source="rows the method wrote")
    unkept = [
        _positions_of(loaded, row, encoded=one, text=str(row.extra.get("unkept", "")))
        for row, one in zip(rows, encoded, strict=True)
    ]
    words = source.silent_words(material) if source.silent_words is not None else []
    vocabulary = vocabulary_without(loaded, words=words)
    return Written(encoded, unkept, vocabulary, is_released=source.alignment == "released")


def vocabulary_without(loaded: LoadedModel, *, words: Sequence[str]) -> Tensor:
    """bool [V], False for every token that a word is written with, at the start of a text or behind a blank."""
    kept = torch.ones(int(loaded.core.config.get_text_config().vocab_size), dtype=torch.bool)
    special = set(loaded.tokenizer.all_special_ids)
    for word in words:
        for text in (word, f" {word}"):
            kept[[token for token in loaded.token_ids(text) if token not in special]] = False
    return kept


def num_text_tokens(one: Encoded) -> int:
    """Tokens of a sequence where every image counts one."""
    return len(one) - sum(size - 1 for size in one.image_sizes)


def _in_text(one: Encoded, at: int) -> int:
    """Where a token would stand if every image before it counted one."""
    before = sum(1 for place in one.image_at if place < at)
    whole, start = 0, 0
    for size in one.image_sizes:
        whole += start + size <= before
        start += size
    return at - before + whole


def _positions_of(loaded: LoadedModel, row: Example, *, encoded: Encoded, text: str) -> frozenset[int]:
    """Positions of the answer's tokens that hold some of `text`; none for an empty text."""
    if not text:
        return frozenset()
    start = row.answer.find(text)
    if start < 0:
        raise PluginError(f"row '{row.id}': its answer {row.answer!r} does not hold the text {text!r} to leave out")
    first = _num_common(loaded, row, encoded=encoded, answer=row.answer[:start])
    last = len(encode(loaded, row.context, row.answer[: start + len(text)], row.images))
    return frozenset(range(first, max(last, first + 1)))


def _num_common(loaded: LoadedModel, row: Example, *, encoded: Encoded, answer: str) -> int:
    """How many tokens the sequence shares with one that ends behind `answer`."""
    if not answer:
        return encoded.num_context
    shorter = encode(loaded, row.context, answer, row.images).ids
    pairs = zip(shorter, encoded.ids, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(shorter))
