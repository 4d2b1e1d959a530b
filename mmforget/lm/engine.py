"""The three computations behind every answer: score continuations, generate text, score whole documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor, nn

from mmforget.errors import RunFailed, UserError
from mmforget.lm.requests import Ask, Decoding
from mmforget.model.encode import Encoded, encode, encode_prompt
from mmforget.model.generation import check_room, continues_together, generate
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import MAX_TOKENS, score
from mmforget.model.vision import FeatureCache
from mmforget.types import TokenScores

logger = logging.getLogger(__name__)

FEATURE_BUDGET_BYTES = 512 * 2**20

T = TypeVar("T")


class Engine:
    """Runs the model on encoded requests, without gradients and in evaluation mode, and counts what it computed.

    Attributes:
        features: vision features by image, so that no image goes through the tower twice; a run's models share them.
        num_tokens: tokens that the language model computed: shared ones once, padding too.
    """

    def __init__(self, loaded: LoadedModel, *, packed: bool = True, features: FeatureCache | None = None) -> None:
        self.loaded = loaded
        self.packed = packed
        self.features = FeatureCache(FEATURE_BUDGET_BYTES) if features is None else features
        self._before = (self.features.num_encoded, self.features.num_hits)
        self.num_tokens = 0

    @property
    def num_images_encoded(self) -> int:
        """Images that went through the tower for this engine."""
        return self.features.num_encoded - self._before[0]

    @property
    def num_image_hits(self) -> int:
        """Images whose features this engine found."""
        return self.features.num_hits - self._before[1]

    @property
    def shares(self) -> bool:
        """Whether requests that begin alike are computed together."""
        return self.packed and self.loaded.shares_prefixes

    def continues_together(self, decoding: Decoding) -> bool:
        """Whether prompts share what they begin with."""
        return self.packed and continues_together(self.loaded, do_sample=decoding.do_sample)

    def encode(self, ask: Ask) -> Encoded:
        """The tokens of a request. Raises UserError naming task and row where it does not fit the model."""
        try:
            if ask.continuation is None:
                prompt = encode_prompt(self.loaded, ask.context, ask.images, image_keys=ask.image_keys)
                if ask.decoding is not None:
                    check_room(self.loaded, [prompt], max_new_tokens=ask.decoding.max_new_tokens)
                return prompt
            return encode(self.loaded, ask.context, ask.continuation, ask.images, image_keys=ask.image_keys)
        except UserError as error:
            raise UserError(f"{ask.where or 'request'}: {error}") from error

    def score(self, encoded: Sequence[Encoded], *, max_tokens: int = MAX_TOKENS) -> list[TokenScores]:
        """The log-prob of every answer token of each request, in order; at most `max_tokens` a forward pass."""
        return self._in_parts(encoded, compute=lambda part: self._score(part, max_tokens=max_tokens))

    def generate(self, encoded: Sequence[Encoded], *, decoding: Decoding) -> list[str]:
        """The text that follows each prompt, in order."""
        return self._in_parts(encoded, compute=lambda part: self._generate(part, decoding=decoding))

    def rolling(self, texts: Sequence[str], *, prefix_token: int, batch_size: int) -> list[TokenScores]:
        """Scores of whole texts: every token predicted once, windows of the model's length where a text is longer."""
        windows: list[tuple[int, Encoded]] = []
        for index, text in enumerate(texts):
            ids = list(self.loaded.tokenizer.encode(text, add_special_tokens=False))
            windows += [
                (index, window) for window in _windows(ids, prefix_token=prefix_token, length=self.loaded.max_length)
            ]
        log_probs: list[list[float]] = [[] for _ in texts]
        greedy = [True] * len(texts)
        for start in range(0, len(windows), batch_size):
            part = windows[start : start + batch_size]
            for (index, _), scores in zip(part, self.score([window for _, window in part]), strict=True):
                log_probs[index].extend(scores.token_logprobs)
                greedy[index] = greedy[index] and scores[1]
        return [TokenScores(tuple(values), flag) for values, flag in zip(log_probs, greedy, strict=True)]

    def _score(self, encoded: Sequence[Encoded], *, max_tokens: int) -> list[TokenScores]:
        with self._inference():
            scored = score(self.loaded, encoded, packed=self.packed, features=self.features, max_tokens=max_tokens)
        values, masks, greedy = scored.token_logprobs.cpu(), scored.mask.cpu(), scored.is_greedy.tolist()
        return [
            TokenScores(tuple(row[mask].tolist()), flag) for row, mask, flag in zip(values, masks, greedy, strict=True)
        ]

    def _generate(self, encoded: Sequence[Encoded], *, decoding: Decoding) -> list[str]:
        with self._inference():
            return generate(
                self.loaded,
                encoded,
                max_new_tokens=decoding.max_new_tokens,
                until=decoding.until,
                do_sample=decoding.do_sample,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                features=self.features,
                packed=self.packed,
            )

    def _in_parts(self, encoded: Sequence[Encoded], *, compute: Callable[[Sequence[Encoded]], list[T]]) -> list[T]:
        """All at once, or in halves where the device's memory does not hold them."""
        try:
            return compute(encoded)
        except torch.OutOfMemoryError as error:
            if len(encoded) == 1:
                raise RunFailed(
                    f"one request of {len(encoded[0])} tokens does not fit in the device's memory; "
                    "use load_in_4bit=True or a larger device"
                ) from error
            logger.warning(
                "out of memory with %d requests at once; halving, a smaller --batch_size avoids it", len(encoded)
            )
        torch.cuda.empty_cache()
        half = len(encoded) // 2
        return [*self._in_parts(encoded[:half], compute=compute), *self._in_parts(encoded[half:], compute=compute)]

    @contextmanager
    def _inference(self) -> Iterator[None]:
        model = self.loaded.model
        was_training = model.training
        model.eval()
        counter = self.loaded.core.get_input_embeddings().register_forward_hook(self._count)
        try:
            with torch.no_grad():
                yield
        finally:
            counter.remove()
            model.train(was_training)

    def _count(self, embeddings: nn.Module, inputs: tuple[Any, ...], embedded: Tensor) -> None:
        """Counts what is embedded [..., hidden]: every token that the language model computes, once."""
        self.num_tokens += embedded.shape[:-1].numel()


def _windows(ids: list[int], *, prefix_token: int, length: int) -> Iterator[Encoded]:
    pairs = get_rolling_token_windows(token_list=ids, prefix_token=prefix_token, max_seq_len=length - 1, context_len=1)
    for context, continuation in map(make_disjoint_window, pairs):
        yield Encoded((*context, *continuation), len(context))
