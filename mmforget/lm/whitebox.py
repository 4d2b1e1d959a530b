"""What a search sees of a model: how likely an answer is, and how that changes with words, pictures and hidden states.

Questions come with the answer behind them (kind `score`). However many are asked at a time by a run, a search computes
the same batches, so that it finds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from mmforget.asking import Ask
from mmforget.errors import RunFailed, UserError
from mmforget.lm.engine import ModelEngine
from mmforget.model.activations import decoder_layers
from mmforget.model.encode import Encoded
from mmforget.model.fingerprint import join
from mmforget.model.loaded import LoadedModel
from mmforget.model.seen import sight_of
from mmforget.model.slopes import module_of, pixel_slopes, shift_slope, shifted, token_slopes, usual_length
from mmforget.results.fingerprint import hash_json

S = TypeVar("S")
T = TypeVar("T")
AT_ONCE = 8
"""Answers that go backwards through a model together."""
PIECES_AT_ONCE = 2**14
"""Embeddings that are in memory together in float32."""


@dataclass(frozen=True, eq=False)
class WhiteBox:
    """A model that shows its gradients.

    Attributes:
        engine: asks the model itself; no guard stands before it.
    """

    engine: ModelEngine

    @property
    def loaded(self) -> LoadedModel:
        return self.engine.loaded

    @cached_property
    def pieces(self) -> Mapping[int, str]:
        """The tokens that can be typed, and what each reads: no special ones, and none that holds no visible sign."""
        tokenizer, num = self.loaded.tokenizer, self.loaded.num_embeddings
        special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder, self.loaded.image_token}
        ids = [token for token in range(min(len(tokenizer), num)) if token not in special]
        texts = zip(ids, tokenizer.batch_decode([[token] for token in ids]), strict=True)
        return {token: text for token, text in texts if text.strip() and text.isascii() and text.isprintable()}

    @cached_property
    def num_layers(self) -> int:
        return len(decoder_layers(self.loaded.core))

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens read one behind the other."""
        return str(self.loaded.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))

    def place(self, ask: Ask, tokens: Sequence[int]) -> int | None:
        """Where in a question's tokens these stand; None where they do not, or more than once: texts may be cut
        otherwise than they were put together.
        """
        encoded, own = self.engine.encode(ask), tuple(tokens)
        front = encoded.ids[: encoded.num_context]
        found = [at for at in range(len(front) - len(own) + 1) if front[at : at + len(own)] == own]
        return found[0] if len(found) == 1 else None

    def score(self, asks: Sequence[Ask]) -> Tensor:
        """float64 [N], the mean log-prob of each answer's tokens."""
        found = self.engine.score_encoded([self.engine.encode(ask) for ask in asks])
        return torch.tensor([one[0] / len(one.token_logprobs) for one in found], dtype=torch.float64)

    def rises(self, asks: Sequence[Ask], *, places: Sequence[int], num: int) -> Tensor:
        """float32 [num, pieces]: by how much the sum of the mean log-probs would rise, to first order, if the token at
        each of `num` places became each of the `pieces`.

        Args:
            places: of each question the first of the places.
        """
        encoded = [self.engine.encode(ask) for ask in asks]
        with self._counting():
            slopes = self._in_parts(
                encoded, lambda part: token_slopes(self.loaded, part, features=self.engine.features)
            )
        total = sum((slope[at : at + num].float() for slope, at in zip(slopes, places, strict=True)), torch.tensor(0.0))
        old = torch.tensor([encoded[0].ids[places[0] + number] for number in range(num)])
        total = total.to(self.loaded.device)
        parts = torch.split(torch.tensor(list(self.pieces)), PIECES_AT_ONCE)
        change = torch.cat([total @ self._embeddings(part).T for part in parts], dim=1)
        return (change - (total * self._embeddings(old)).sum(-1, keepdim=True)).cpu()

    def shift_slope(self, asks: Sequence[Ask], *, layer: int, vector: Tensor) -> tuple[Tensor, Tensor]:
        """The mean log-prob of each answer [N] where `vector` [H] is added to every state of a layer, and the gradient
        [H] of their mean by it. Layer 0 are the embeddings of tokens.
        """
        encoded = [self.engine.encode(ask) for ask in asks]

        def compute(part: Sequence[Encoded]) -> list[tuple[Tensor, Tensor]]:
            return [shift_slope(self.loaded, part, layer=layer, vector=vector, features=self.engine.features)]

        with self._counting():
            found = self._in_parts(encoded, compute)
        scores, slopes = zip(*found, strict=True)
        return torch.cat(scores), torch.stack(slopes).sum(0) / len(asks)

    def usual_length(self, asks: Sequence[Ask], *, layer: int) -> float:
        """The median L2 length of a layer's states. Raises UserError for a layer that the model has not."""
        module_of(self.loaded, layer)
        encoded = [self.engine.encode(ask) for ask in asks]
        with self._counting():
            return usual_length(self.loaded, encoded, layer=layer, features=self.engine.features)

    def width(self) -> int:
        """H, of hidden states."""
        return int(self.loaded.core.config.get_text_config().hidden_size)

    def seen(self, image: Image.Image) -> Image.Image:
        """A picture as the model sees it: changed pixel by pixel, it is not resized any more.

        Raises UserError for a model whose processor gives no such picture.
        """
        return sight_of(self.loaded, image).image

    def pixel_slopes(self, ask: Ask) -> list[Tensor]:
        """Gradients [height, width, 3] of the answer's mean log-prob by the grey levels of each picture of a question,
        which shows pictures as `seen` gives them.
        """
        with self._counting():
            return pixel_slopes(self.loaded, self.engine.encode(ask))

    @contextmanager
    def shifted(self, *, layer: int, vector: Sequence[float]) -> Iterator[LoadedModel]:
        """Inside, the model with a vector added to every state of a layer, under a fingerprint of its own."""
        loaded = self.loaded
        fingerprint = join("shifted", loaded.fingerprint, hash_json([layer, list(vector)]))
        with shifted(loaded, layer=layer, vector=torch.tensor(vector)):
            yield replace(loaded, fingerprint=fingerprint, base_fingerprint=fingerprint)

    @torch.no_grad()
    def _embeddings(self, tokens: Tensor) -> Tensor:
        """float32 [tokens, H]."""
        found: Tensor = self.loaded.core.get_input_embeddings()(tokens.to(self.loaded.device))
        return found.float()

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Tokens that go through the model backwards, too, are tokens that it computed."""

        def count(_module: Any, _inputs: Any, embedded: Tensor) -> None:
            self.engine.num_tokens += embedded.shape[:-1].numel()

        hook = self.loaded.core.get_input_embeddings().register_forward_hook(count)
        try:
            yield
        finally:
            hook.remove()

    def _in_parts(self, asked: Sequence[S], compute: Callable[[Sequence[S]], list[T]]) -> list[T]:
        """A few at a time, fewer where the device's memory does not hold them."""
        parts = [asked[start : start + AT_ONCE] for start in range(0, len(asked), AT_ONCE)]
        return [one for part in parts for one in _halving(part, compute)]


def _halving(part: Sequence[S], compute: Callable[[Sequence[S]], list[T]]) -> list[T]:
    try:
        return compute(part)
    except torch.OutOfMemoryError as error:
        if len(part) == 1:
            raise RunFailed("one question and its gradients do not fit in the device's memory") from error
    torch.cuda.empty_cache()
    half = len(part) // 2
    return [*_halving(part[:half], compute), *_halving(part[half:], compute)]


def require_gradients(loaded: LoadedModel) -> None:
    """Raises UserError where a guard stands before a model: what it says is not what gradients tell of."""
    if loaded.guard is not None:
        raise UserError(
            f"searches by a model's gradients, and a guard ({loaded.guard.name}) stands before it; attack it without "
            "guard="
        )
