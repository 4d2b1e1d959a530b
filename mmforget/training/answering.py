"""What a method's requests come to on one micro-batch, in as few passes through the model as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from mmforget.methods.requests import (
    ALTERNATE,
    Comparison,
    Divergence,
    Hidden,
    Influence,
    Lens,
    LogitStats,
    OfWords,
    Positions,
    Reference,
    Request,
    Scores,
    Statistic,
    TokenStats,
    WordStats,
    looks_back,
)
from mmforget.methods.steps import AtLayers, Drift
from mmforget.model.encode import Encoded
from mmforget.model.head import LogitRead
from mmforget.model.lens import LensRead
from mmforget.model.scoring import Looked, Wanted
from mmforget.model.token_stats import statistic
from mmforget.training.batches import Batch
from mmforget.training.reference import padded
from mmforget.training.sources import SourceRows
from mmforget.types import Scored

APART = (Divergence, Lens, LogitStats, Comparison, WordStats)
"""What is asked of a place in a pass of its own, so that no more is computed of the others."""


class Look(Protocol):
    """How training looks at the model."""

    def __call__(self, encoded: Sequence[Encoded], *, wanted: Wanted, positions: Positions = "answer") -> Looked: ...


class _Place(NamedTuple):
    """Rows, and the tokens of them that are looked at."""

    source: str
    positions: Positions


class _Pass(NamedTuple):
    """What one pass is about: through the model as it is, or as it was before training."""

    places: tuple[_Place, ...]
    kinds: tuple[str | Statistic, ...] = ()
    logits: tuple[LogitStats | Comparison | WordStats, ...] = ()
    has_drift: bool = False
    hidden: tuple[Hidden, ...] = ()
    lenses: tuple[Lens, ...] = ()
    is_before: bool = False

    @property
    def looks_back(self) -> bool:
        """Whether the model before is looked at beside the one that trains."""
        return self.has_drift or any(map(looks_back, self.logits))

    @property
    def layers(self) -> list[int | float]:
        return sorted({layer for request in self.hidden for layer in request.layers})


class _Asked(NamedTuple):
    """What one training looks at in a pass: its rows by place, which of their tokens, which words count, and which are
    silent."""

    groups: Mapping[_Place, Sequence[Encoded]]
    positions: Positions
    vocabulary: Tensor | None
    silent: Tensor | None = None

    @property
    def rows(self) -> list[Encoded]:
        return [row for group in self.groups.values() for row in group]

    def is_like(self, other: _Asked) -> bool:
        same = _are_same(self.vocabulary, other.vocabulary) and _are_same(self.silent, other.silent)
        return same and self.positions == other.positions


def _are_same(one: Tensor | None, two: Tensor | None) -> bool:
    return one is two or (one is not None and two is not None and torch.equal(one, two))


OfMethod = Callable[[Request, Callable[..., Tensor]], Callable[..., Tensor]]
"""Of a request and the function that it asks for: the same function."""


def _as_it_is(request: Request, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return function


@dataclass(frozen=True)
class Answering:
    """Computes what is asked for.

    Attributes:
        look: the model.
        rows: by source.
        before: a context in which the model is the one that training started from.
        num_vocabulary: tokens that a distribution is over.
        device: where the method computes.
        references: by key of the request, log-probs of all rows of a source under another model.
        row_weights: by request, how much each row of a source counts, float32 [N].
        of_method: makes a function that a request brings the method's own, which answers for it.
    """

    look: Look
    rows: Mapping[str, SourceRows]
    before: Callable[[], AbstractContextManager[object]]
    num_vocabulary: int
    device: torch.device
    references: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    row_weights: Mapping[Influence, Tensor] = field(default_factory=dict)
    of_method: OfMethod = _as_it_is

    def __call__(self, requests: Sequence[Request], *, batch: Batch) -> dict[Request, Any]:
        """What every request comes to, and the scores that were come by on the way."""
        return answered([self], requests, batches=[batch])[0]

    def asked(self, one: _Pass, *, batch: Batch) -> _Asked:
        """What a pass looks at."""
        groups = {place: self.rows[place.source].of(batch) for place in one.places}
        written = self.rows[one.places[0].source].written if one.has_drift else None
        silent = self.rows[one.places[0].source].silent if one.logits else None
        if written is None:
            return _Asked(groups, one.places[0].positions, None, silent)
        return _Asked(groups, written.positions(one.places[0].positions), written.vocabulary, silent)

    def told(self, looked: Looked, *, asked: _Asked, one: _Pass, batch: Batch) -> dict[Request, Any]:
        """What was seen in a pass, by the requests that it answers."""
        found: dict[Request, Any] = {}
        start = 0
        for place, group in asked.groups.items():
            part = slice(start, start + len(group))
            start += len(group)
            found |= self._named(_cut(looked, part), place=place, one=one, batch=batch)
        return found

    def _named(self, looked: Looked, *, place: _Place, one: _Pass, batch: Batch) -> dict[Request, Any]:
        """What was seen at one place, by the requests that it answers."""
        rows, scored, values = self.rows[place.source], looked.scored, list(looked.values)
        found: dict[Request, Any] = {} if one.is_before else {Scores(*place): scored}
        hidden = [request for request in one.hidden if _place(request) == place]
        for lens in reversed(one.lenses):
            found[lens] = AtLayers(values.pop().permute(2, 0, 1), scored.mask)
        if one.layers:
            states = values.pop()
            found |= {request: _states(states, request.layers, of=one.layers) for request in hidden}
        token_kl = values.pop(0) if one.looks_back else None
        for request in reversed(one.logits):
            found[request] = values.pop()
        if one.has_drift and token_kl is not None:
            drift = Drift(token_kl, scored.mask, self.num_vocabulary)
            if rows.written is not None:
                drift = rows.written.drift(token_kl, scored.mask, rows=rows.places(batch))
                answers = rows.written.answers(scored, rows=rows.places(batch))
                found[Scores(*place)] = answers
                found |= {request: found[request] * answers.mask[..., None] for request in hidden}
                found |= {lens: AtLayers(found[lens].values * answers.mask, answers.mask) for lens in one.lenses}
                found |= {request: found[request] * answers.mask for request in one.logits}
            found[Divergence(*place)] = drift
        for kind, value in zip(one.kinds, values, strict=True):
            found[TokenStats(place.source, kind, place.positions)] = value
        return found

    def reference(self, request: Reference, *, batch: Batch, found: Mapping[Request, Any]) -> Tensor:
        """Log-probs of another model: those that were kept, or for refusals, drawn anew, of a pass of their own."""
        source = request.source
        rows = self.rows[source]
        scored: Scored | None = found.get(Scores(source))
        if source == ALTERNATE:
            with self.before():
                return _as_wide(self.look(rows.of(batch), wanted=Wanted()).scored.token_logprobs, scored=scored)
        kept = [self.references[request.key][place] for place in rows.places(batch)]
        if scored is None:
            return pad_sequence(list(kept), batch_first=True).to(self.device)
        return padded(kept, like=scored.token_logprobs)

    def influence(self, request: Influence, *, batch: Batch) -> Tensor:
        """How much each of the batch's rows counts: float32 [B]."""
        places = list(self.rows[request.source].places(batch))
        return self.row_weights[request][places].to(self.device)


def answered(
    each: Sequence[Answering], requests: Sequence[Request], *, batches: Sequence[Batch]
) -> list[dict[Request, Any]]:
    """What every request comes to in each of several trainings of one model, all of them in the passes of one.

    Each is told what it would be alone.
    """
    found: list[dict[Request, Any]] = [{} for _ in each]
    for one in passes(requests):
        for own, told in zip(found, _passed(each, one, batches=batches), strict=True):
            own |= told
    for request in requests:
        if isinstance(request, Reference):
            for answering, batch, own in zip(each, batches, found, strict=True):
                own[request] = answering.reference(request, batch=batch, found=own)
        elif isinstance(request, Influence):
            for answering, batch, own in zip(each, batches, found, strict=True):
                own[request] = answering.influence(request, batch=batch)
        elif isinstance(request, Hidden) and request.before:
            for own in found:
                own[request] = _as_wide(own[request], scored=own.get(Scores(*_place(request))), dim=2)
    return found


def _passed(each: Sequence[Answering], one: _Pass, *, batches: Sequence[Batch]) -> list[dict[Request, Any]]:
    asked = [answering.asked(one, batch=batch) for answering, batch in zip(each, batches, strict=True)]
    found: list[dict[Request, Any]] = [{} for _ in each]
    for members in _alike(asked):
        first, rows = members[0], [row for at in members for row in asked[at].rows]
        of = each[first].of_method
        wanted = Wanted(
            reference=each[first].before if one.looks_back else None,
            vocabulary=asked[first].vocabulary,
            statistics=[_statistic(TokenStats(one.places[0].source, kind), of=of) for kind in one.kinds],
            reads=[_read(request, of(request, request.kind), silent=asked[first].silent) for request in one.logits],
            layers=one.layers,
            lenses=[LensRead(_statistic(lens, of=of), lens.from_depth, lens.is_double) for lens in one.lenses],
        )
        with each[first].before() if one.is_before else nullcontext():
            looked = each[first].look(rows, wanted=wanted, positions=asked[first].positions)
        start = 0
        for at in members:
            stop = start + len(asked[at].rows)
            own = looked if len(members) == 1 else _trimmed(_cut(looked, slice(start, stop)))
            found[at] = each[at].told(own, asked=asked[at], one=one, batch=batches[at])
            start = stop
    return found


def _alike(asked: Sequence[_Asked]) -> list[list[int]]:
    """Which of them can be looked at together."""
    found: list[list[int]] = []
    for at, one in enumerate(asked):
        for members in found:
            if one.is_like(asked[members[0]]):
                members.append(at)
                break
        else:
            found.append([at])
    return found


def passes(requests: Sequence[Request]) -> Iterator[_Pass]:
    """One for all answers of which no more than scores, statistics and hidden states are wanted, one for each other
    place; and for hidden states before training passes of their own."""
    places: dict[_Place, list[Request]] = {}
    before: dict[_Place, list[Hidden]] = {}
    for request in requests:
        if isinstance(request, Hidden) and request.before:
            before.setdefault(_place(request), []).append(request)
        elif not isinstance(request, Reference | Influence):
            places.setdefault(_place(request), []).append(request)
    apart = {
        place: asked
        for place, asked in places.items()
        if place.positions == "all" or any(isinstance(one, APART) for one in asked)
    }
    together = [place for place in places if place not in apart]
    if together:
        every = [one for place in together for one in places[place]]
        yield _Pass(tuple(together), _kinds(every), hidden=_hidden(every))
    for place, asked in apart.items():
        has_drift = any(isinstance(one, Divergence) for one in asked)
        yield _Pass((place,), _kinds(asked), _logits(asked), has_drift, _hidden(asked), _lenses(asked))
    for place, wanted in before.items():
        yield _Pass((place,), hidden=tuple(wanted), is_before=True)


def _place(request: Scores | Divergence | TokenStats | Comparison | LogitStats | WordStats | Hidden | Lens) -> _Place:
    return _Place(request.source, request.positions)


def _hidden(requests: Sequence[Request]) -> tuple[Hidden, ...]:
    return tuple(one for one in requests if isinstance(one, Hidden))


def _logits(requests: Sequence[Request]) -> tuple[LogitStats | Comparison | WordStats, ...]:
    return tuple(one for one in requests if isinstance(one, LogitStats | Comparison | WordStats))


def _statistic(request: TokenStats | Lens, *, of: OfMethod) -> Statistic:
    """That of a name, or the method's own."""
    return statistic(request.kind) if isinstance(request.kind, str) else of(request, request.kind)


def _read(
    request: LogitStats | Comparison | WordStats, kind: Callable[..., Tensor], *, silent: Tensor | None
) -> LogitRead:
    """What is read of logits for a request by its function, which is `kind`."""
    if isinstance(request, WordStats):
        return LogitRead(_OfWords(kind, silent), compared=False, of_tokens=True)
    if isinstance(request, Comparison):
        return LogitRead(kind, compared=True, of_tokens=True)
    return LogitRead(kind, request.compared)


@dataclass(frozen=True)
class _OfWords:
    """A function of tokens that knows which words are silent; none where nobody says."""

    kind: OfWords
    silent: Tensor | None

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        silent = torch.zeros(logits.shape[-1], dtype=torch.bool) if self.silent is None else self.silent
        return self.kind(logits, target, silent.to(logits.device))


def _lenses(requests: Sequence[Request]) -> tuple[Lens, ...]:
    return tuple(one for one in requests if isinstance(one, Lens))


def _as_wide(values: Tensor, *, scored: Scored | None, dim: int = 1) -> Tensor:
    """Values of a pass of their own, with as much padding of tokens, in dimension `dim`, as those beside them have."""
    width, own = (values.shape[dim] if scored is None else scored.mask.shape[1]), values.shape[dim]
    behind = (0, 0) * (values.dim() - 1 - dim)
    return functional.pad(values, (*behind, 0, width - own)) if width > own else values.narrow(dim, 0, width)


def _states(states: Tensor, layers: Sequence[int | float], *, of: Sequence[int | float]) -> Tensor:
    """Hidden states [L, B, T, H] of some layers, from those [B, T, K, H] of the layers `of`."""
    return states[:, :, [of.index(layer) for layer in layers]].permute(2, 0, 1, 3)


def _kinds(requests: Sequence[Request]) -> tuple[str | Statistic, ...]:
    return tuple(dict.fromkeys(one.kind for one in requests if isinstance(one, TokenStats)))


def _trimmed(looked: Looked) -> Looked:
    """Without the columns that are padding in every row."""
    scored, width = looked.scored, int(looked.scored.mask.sum(1).max())
    kept = Scored(scored.token_logprobs[:, :width], scored.mask[:, :width], scored.is_greedy)
    return Looked(kept, tuple(value[:, :width] for value in looked.values))


def _cut(looked: Looked, rows: slice) -> Looked:
    scored = looked.scored
    kept = Scored(scored.token_logprobs[rows], scored.mask[rows], scored.is_greedy[rows])
    return Looked(kept, tuple(value[rows] for value in looked.values))
