"""A model as an engine: it scores continuations and whole documents, generates text, and shows hidden states."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from mmforget.asking import Ask, Decoding, Depth, Look, Positions
from mmforget.errors import BadData, RunFailed, UserError
from mmforget.lm.batching import chunks, generation_batches, group_indices, score_batches
from mmforget.lm.lens import through_lens
from mmforget.model.activations import evaluating, require_layers
from mmforget.model.chat import first_words, last_words
from mmforget.model.choosing import Sampling, StopStrings
from mmforget.model.encode import Encoded, document_windows, encode, encode_prompt, start_token
from mmforget.model.generation import check_room, continues_together, generate
from mmforget.model.gradient_norms import gradient_norms, why_none
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import MAX_TOKENS, Wanted, look
from mmforget.model.token_stats import statistic
from mmforget.model.vision import FeatureCache
from mmforget.types import GRADIENT_NORM, GRADIENT_NORM_BUT_LAST, IS_BEST, TokenScores

logger = logging.getLogger(__name__)

FEATURE_BUDGET_BYTES = 512 * 2**20
GRADIENT_NORMS = (GRADIENT_NORM, GRADIENT_NORM_BUT_LAST)

T = TypeVar("T")
S = TypeVar("S")


class _Planned(NamedTuple):
    """A question that was planned, its tokens, and how many tokens one forward pass of its batch may take."""

    ask: Ask
    encoded: Encoded
    max_tokens: int


class ModelEngine:
    """Answers with a model, without gradients and in evaluation mode, and counts what it computed.

    Attributes:
        batch_size: plain requests that fit in memory at once; packed batches hold more, in the same memory.
        features: vision features by image, so that no image goes through the tower twice; a run's models share them.
        num_tokens: tokens that the language model computed: shared ones once, padding too.
    """

    def __init__(
        self, loaded: LoadedModel, *, batch_size: int, packed: bool = True, features: FeatureCache | None = None
    ) -> None:
        self.loaded, self.batch_size, self.packed = loaded, batch_size, packed
        self.features = FeatureCache(FEATURE_BUDGET_BYTES) if features is None else features
        self._before = (self.features.num_encoded, self.features.num_hits)
        self.num_tokens = 0
        self._planned: dict[int, _Planned] = {}

    @property
    def fingerprint(self) -> str:
        """Weights, adapter, quantisation, dtype and processor; not what stands before the model."""
        guard = self.loaded.guard
        return self.loaded.fingerprint if guard is None else guard.before

    @property
    def num_images_encoded(self) -> int:
        """Images that went through the tower for this engine."""
        return self.features.num_encoded - self._before[0]

    @property
    def num_image_hits(self) -> int:
        """Images whose features this engine found."""
        return self.features.num_hits - self._before[1]

    def fingerprint_of(self, ask: Ask) -> str:
        """What answers one question: of many edits the one that it is asked under."""
        edit = self._edit(ask)
        return self.fingerprint if edit is None or self.loaded.stack is None else self.loaded.stack.fingerprints[edit]

    def first_words(self, context: str) -> int:
        return first_words(context, known=self.loaded.openings)

    def last_words(self, context: str) -> int:
        return last_words(context, reply=self.loaded.reply_opening)

    def encode(self, ask: Ask) -> Encoded:
        """The tokens of a request. Raises UserError naming task and row where it does not fit the model, or names none
        of its edits.
        """
        return self._encode(ask).under(self._edit(ask))

    def _edit(self, ask: Ask) -> int | None:
        """Number of the edit that a question is asked under; None where the model has none."""
        stack = self.loaded.stack
        if stack is None or self.loaded.edit is not None:
            return self.loaded.edit
        if ask.row is None:
            raise UserError(f"{ask.where or 'request'}: no row says which of the model's edits it is asked under")
        return stack.number(str(ask.row["subject"]))

    def _encode(self, ask: Ask) -> Encoded:
        try:
            if ask.continuation is None:
                prompt = encode_prompt(self.loaded, ask.context, ask.images, image_keys=ask.image_keys)
                if ask.decoding is not None:
                    check_room(self.loaded, [prompt], max_new_tokens=ask.decoding.max_new_tokens)
                return prompt
            return encode(self.loaded, ask.context, ask.continuation, ask.images, image_keys=ask.image_keys)
        except UserError as error:
            raise UserError(f"{ask.where or 'request'}: {error}") from error

    def batches(self, asks: Sequence[Ask]) -> list[list[int]]:
        """Which questions are computed together. Raises UserError naming those that do not fit the model.

        The next calls find the planned questions encoded.
        """
        self._planned.clear()
        if not asks:
            return []
        if asks[0].kind == "rolling":
            self._say_long([ask.continuation or "" for ask in asks])
            return chunks(range(len(asks)), size=self.batch_size)
        encoded = self._encode_all(asks)
        if asks[0].kind == "generate":
            self._say_unwritable(asks)
            planned, max_tokens = self._generations(asks, encoded), MAX_TOKENS
        else:
            packed = self.packed and self.loaded.shares_prefixes
            planned, max_tokens = score_batches(encoded, batch_size=self.batch_size, packed=packed)
        pairs = zip(asks, encoded, strict=True)
        self._planned.update((id(ask), _Planned(ask, one, max_tokens)) for ask, one in pairs)
        return planned

    def _encode_all(self, asks: Sequence[Ask]) -> list[Encoded]:
        encoded, faults = list[Encoded](), list[UserError]()
        for ask in asks:
            try:
                encoded.append(self.encode(ask))
            except UserError as error:
                faults.append(error)
        if len(faults) > 1:
            raise BadData(f"{len(asks)} requests to {self.loaded.spec.pretrained}", faults=list(map(str, faults)))
        if faults:
            raise faults[0]
        return encoded

    def _say_long(self, texts: Sequence[str]) -> None:
        """Says how many documents are read in parts, and in how many."""
        long = [num for text in texts if (num := len(document_windows(self.loaded, text))) > 1]
        if long:
            logger.warning(
                "%d of %d documents are longer than the model's %d tokens and read in %d windows of these",
                len(long), len(texts), self.loaded.max_length, sum(long),
            )  # fmt: skip

    def _say_unwritable(self, asks: Sequence[Ask]) -> None:
        """Says which stop strings no text can hold."""
        stops = dict.fromkeys(stop for ask in asks if ask.decoding is not None for stop in ask.decoding.until)
        for stop in StopStrings(self.loaded.tokenizer, tuple(stops)).unwritable:
            logger.warning(
                "the tokenizer of %s cannot write %r: no text stops there, only at an end token or its length",
                self.loaded.spec.pretrained, stop,
            )  # fmt: skip

    def _generations(self, asks: Sequence[Ask], prompts: Sequence[Encoded]) -> list[list[int]]:
        found: list[list[int]] = []
        for indices in self._by_decoding(asks):
            decoding = cast("Decoding", asks[indices[0]].decoding)
            planned = generation_batches(
                [prompts[index] for index in indices],
                max_new_tokens=decoding.max_new_tokens,
                batch_size=self.batch_size,
                packed=self.packed and continues_together(self.loaded, do_sample=decoding.do_sample),
            )
            found += [[indices[number] for number in batch] for batch in planned]
        return found

    def score(self, asks: Sequence[Ask]) -> list[TokenScores]:
        planned = [self._plan(ask) for ask in asks]
        if not planned:
            return []
        found = self.score_encoded(
            [one.encoded for one in planned],
            max_tokens=max(one.max_tokens for one in planned),
            statistics=_statistics_of(asks),
        )
        return [self._with_norms(one, scores) for one, scores in zip(planned, found, strict=True)]

    def generate(self, asks: Sequence[Ask]) -> list[str]:
        texts: dict[int, str] = {}
        for indices in self._by_decoding(asks):
            planned = [self._plan(asks[index]) for index in indices]
            found = self._in_parts(planned, compute=self._generate, of=lambda one: one.encoded)
            texts |= zip(indices, found, strict=True)
        return [texts[index] for index in range(len(asks))]

    def roll(self, asks: Sequence[Ask]) -> list[TokenScores]:
        texts, edits = [ask.continuation or "" for ask in asks], [self._edit(ask) for ask in asks]
        found = self.rolling(texts, edits=edits, statistics=_statistics_of(asks))
        return [self._with_norms(_as_read(self.loaded, ask), scores) for ask, scores in zip(asks, found, strict=True)]

    def hidden(self, asks: Sequence[Ask], *, layers: Sequence[int], positions: Positions = "answer") -> list[Tensor]:
        require_layers(self.loaded.core, layers)
        encoded = [_with_next(self._plan(ask).encoded, token=start_token(self.loaded)) for ask in asks]
        compute = partial(self._hidden, layers=layers, positions=positions)
        parts = chunks(range(len(asks)), size=self.batch_size)
        return [
            one for part in parts for one in self._in_parts([encoded[at] for at in part], compute=compute, of=_self)
        ]

    def lens(self, asks: Sequence[Ask], *, depths: Sequence[Depth], look: Look[T]) -> list[list[T]]:
        return through_lens(self, asks, depths=depths, look=look)

    def _with_norms(self, one: _Planned | None, scores: TokenScores) -> TokenScores:
        """The scores of a true answer with the norm of its gradients, where that is wanted and there is one."""
        wanted = one is not None and set(one.ask.statistics) & set(GRADIENT_NORMS) and is_true_answer(one.ask)
        if one is None or not wanted or self.loaded.guard is not None or why_none(self.loaded):
            return scores
        norms = gradient_norms(self.loaded, one.encoded)
        told = {
            name: (norm,) * len(scores.token_logprobs) for name, norm in norms.items() if name in one.ask.statistics
        }
        return TokenScores(scores.token_logprobs, scores[1], {**scores.values, **told})

    def _plan(self, ask: Ask) -> _Planned:
        """As it was planned; a question that a guard has changed was not."""
        return self._planned.pop(id(ask), None) or _Planned(ask, self.encode(ask), MAX_TOKENS)

    def score_encoded(
        self, encoded: Sequence[Encoded], *, max_tokens: int = MAX_TOKENS, statistics: Sequence[str] = ()
    ) -> list[TokenScores]:
        """The log-prob of every answer token of each request, in order; at most `max_tokens` a forward pass.

        Args:
            statistics: names of token statistics that are wanted besides.
        """
        compute = partial(self._score, max_tokens=max_tokens, statistics=statistics)
        return self._in_parts(encoded, compute=compute, of=_self)

    def rolling(
        self,
        texts: Sequence[str],
        *,
        edits: Sequence[int | None] | None = None,
        statistics: Sequence[str] = (),
    ) -> list[TokenScores]:
        """Scores of whole texts: every token predicted once, windows of the model's length where a text is longer.

        Args:
            edits: what each is read under, where the model has several.
            statistics: names of token statistics that are wanted besides.
        """
        under = edits or [None] * len(texts)
        windows = [
            (index, one.under(edit))
            for index, (text, edit) in enumerate(zip(texts, under, strict=True))
            for one in document_windows(self.loaded, text)
        ]
        found: list[list[TokenScores]] = [[] for _ in texts]
        for start in range(0, len(windows), self.batch_size):
            part = windows[start : start + self.batch_size]
            scored = self.score_encoded([window for _, window in part], statistics=statistics)
            for (index, _), scores in zip(part, scored, strict=True):
                found[index].append(scores)
        return [_joined(parts) for parts in found]

    def _score(self, encoded: Sequence[Encoded], *, max_tokens: int, statistics: Sequence[str]) -> list[TokenScores]:
        wanted = Wanted(statistics=tuple(map(statistic, statistics)))
        with self._inference():
            scored, values = look(
                self.loaded, encoded, wanted=wanted, packed=self.packed, features=self.features, max_tokens=max_tokens
            )
        columns = dict(zip(statistics, (column.cpu() for column in values), strict=True))
        if scored.is_best is not None:
            columns[IS_BEST] = scored.is_best.float().cpu()
        logprobs, masks, greedy = scored.token_logprobs.cpu(), scored.mask.cpu(), scored.is_greedy.tolist()
        return [
            TokenScores(
                tuple(logprobs[row][mask].tolist()),
                flag,
                {name: tuple(column[row][mask].tolist()) for name, column in columns.items()},
            )
            for row, (mask, flag) in enumerate(zip(masks, greedy, strict=True))
        ]

    def _hidden(self, encoded: Sequence[Encoded], *, layers: Sequence[int], positions: Positions) -> list[Tensor]:
        with self._inference():
            looked = look(
                self.loaded, encoded, wanted=Wanted(layers=layers), positions=positions, packed=self.packed,
                features=self.features,
            )  # fmt: skip
        states, counts = looked.values[-1], looked.scored.mask.sum(1).tolist()
        return [row[:count].transpose(0, 1).cpu() for row, count in zip(states, counts, strict=True)]

    def _by_decoding(self, asks: Sequence[Ask]) -> list[list[int]]:
        """Indices of the questions that can be answered together: sampled ones with seeds, or without.

        Where prompts share what they begin with, questions that are not sampled come along with sampled ones.
        """
        decodings = [cast("Decoding", ask.decoding) for ask in asks]
        own = [(one.without_seed, one.seed is None) for one in decodings]
        seeded = {one.greedy: key for one, key in zip(decodings, own, strict=True) if one.seed is not None}
        if seeded and self.packed and continues_together(self.loaded, do_sample=True):
            own = [seeded.get(one, key) for one, key in zip(decodings, own, strict=True)]
        return group_indices(own)

    def _generate(self, planned: Sequence[_Planned]) -> list[str]:
        decodings = [cast("Decoding", one.ask.decoding) for one in planned]
        first = next((one for one in decodings if one.do_sample), decodings[0])
        seeds = [one.seed for one in decodings]
        with self._inference():
            return generate(
                self.loaded,
                [one.encoded.avoiding(one.ask.decoding.avoid) for one in planned],  # type: ignore[union-attr]
                max_new_tokens=first.max_new_tokens,
                until=first.until,
                sampling=Sampling(first.temperature, first.top_p) if first.do_sample else None,
                seeds=None if all(seed is None for seed in seeds) else seeds,
                features=self.features,
                packed=self.packed,
            )

    def _in_parts(
        self, asked: Sequence[S], *, compute: Callable[[Sequence[S]], list[T]], of: Callable[[S], Encoded]
    ) -> list[T]:
        """All at once, or in halves where the device's memory does not hold them; `of` gives the tokens of one."""
        try:
            return compute(asked)
        except torch.OutOfMemoryError as error:
            if len(asked) == 1:
                raise RunFailed(
                    f"one request of {len(of(asked[0]))} tokens does not fit in the device's memory; "
                    "use load_in_4bit=True or a larger device"
                ) from error
            logger.warning(
                "out of memory with %d requests at once; halving, a smaller --batch_size avoids it", len(asked)
            )
        torch.cuda.empty_cache()
        half = len(asked) // 2
        return [one for part in (asked[:half], asked[half:]) for one in self._in_parts(part, compute=compute, of=of)]

    @contextmanager
    def _inference(self) -> Iterator[None]:
        counter = self.loaded.core.get_input_embeddings().register_forward_hook(self._count)
        try:
            with evaluating(self.loaded.model), torch.no_grad():
                yield
        finally:
            counter.remove()

    def _count(self, embeddings: nn.Module, inputs: tuple[Any, ...], embedded: Tensor) -> None:
        """Counts what is embedded [..., hidden]: every token that the language model computes, once."""
        stack = self.loaded.stack
        if stack is not None and stack.lower is not None and stack.lower.is_computing:
            # These tokens go on to the layers above in a pass of their own.
            return
        self.num_tokens += embedded.shape[:-1].numel()


def _self(encoded: Encoded) -> Encoded:
    return encoded


def _statistics_of(asks: Sequence[Ask]) -> tuple[str, ...]:
    """Every token statistic that is wanted of any of the questions."""
    return tuple(dict.fromkeys(name for ask in asks for name in ask.statistics if name not in GRADIENT_NORMS))


def _as_read(loaded: LoadedModel, ask: Ask) -> _Planned | None:
    """A document's tokens; None of one that is read in several windows, or where nobody wants more of it."""
    windows = document_windows(loaded, ask.continuation or "") if ask.statistics else []
    return _Planned(ask, windows[0], MAX_TOKENS) if len(windows) == 1 else None


def is_true_answer(ask: Ask) -> bool:
    """Whether a continuation is the answer of its row, and not another candidate."""
    return ask.row is None or str(ask.continuation).strip() == str(ask.row["answer"]).strip()


def _joined(parts: Sequence[TokenScores]) -> TokenScores:
    """The scores of a text from those of its windows, in order."""
    logprobs = tuple(value for part in parts for value in part.token_logprobs)
    names = dict.fromkeys(name for part in parts for name in part.values)
    values = {name: tuple(value for part in parts for value in part.values[name]) for name in names}
    return TokenScores(logprobs, all(part[1] for part in parts), values)


def _with_next(encoded: Encoded, *, token: int) -> Encoded:
    """A prompt with some token behind it, at whose place the next one is predicted; anything else as it is."""
    return encoded if encoded.num_answer else encoded.followed_by([token])
