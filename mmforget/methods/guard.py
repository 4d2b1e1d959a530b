"""GUARD, a reconstruction: questions near those to forget are found, and the words of their answers held down.

Source: "GUARD: Generation-time LLM Unlearning via Adaptive Restriction and Detection", https://arxiv.org/abs/2505.13312.
Ours are the classifier's size and training, embeddings that are the model's own states in a fixed random projection,
which words of an answer are forbidden, the penalty's form and its numbers, and a greedy text in place of a beam.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mmforget.asking import Ask, Avoid, Decoding, Engine, GuardEngine
from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import Evidence, Grid
from mmforget.methods.contract import States
from mmforget.methods.material import Material
from mmforget.types import Example, NoScores, TokenScores

WIDTH, MAX_RETAIN = 64, 1000
"""Of the projected states, and rows to keep that the classifier learns from, at most."""
NUM_STEPS, LR, DECAY, DIGITS = 300, 1e-2, 1e-3, 6
COMMON = frozenset(
    {
        *("and", "are", "but", "for", "from", "had", "has", "have", "her", "him", "his", "into", "its", "not", "our"),
        *("out", "she", "that", "the", "their", "them", "they", "this", "was", "were", "with", "yes", "you", "your"),
        *("how", "what", "when", "where", "which", "who", "why", "answer", "name", "named"),
    }
)
"""Words of an answer that are never forbidden."""
WITHHELD = "words of the answers to forget are held down while a text is written, so that log-probs are not defined"


class _Network(NamedTuple):
    """A classifier of one hidden layer: [WIDTH, units], [units], [units], []."""

    first: Tensor
    first_bias: Tensor
    last: Tensor
    last_bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [N] of questions to forget."""
        return torch.relu(x @ self.first + self.first_bias) @ self.last + self.last_bias


@dataclass(frozen=True)
class Restriction:
    """Passes questions on that a classifier holds for others, and keeps the other answers from forbidden words.

    The classifier of `units` hidden units reads the model's state at the question's last token, images included, and
    has learnt which rows are to be forgotten. A question whose probability is at least `threshold` gets the forbidden
    words of the row to forget whose state has the largest cosine with its own: the words of that answer that are not in
    its question. No token sequence of theirs is completed, and of each token's logit `alpha` times what its embedding's
    cosine with theirs lies above `similarity` is taken. Log-probs of such answers, and of documents, are unscored.
    """

    units: int = 32
    threshold: float = 0.5
    alpha: float = 5.0
    similarity: float = 0.5

    evidence: ClassVar[Evidence] = "reconstruction"
    paper: ClassVar[str] = "https://arxiv.org/abs/2505.13312"
    grid: ClassVar[Grid] = {"alpha": (2.0, 5.0, 10.0), "similarity": (0.3, 0.5), "threshold": (0.3, 0.5, 0.7)}

    def __post_init__(self) -> None:
        require_positive(units=self.units)
        require_not_negative(alpha=self.alpha)
        if not 0 < self.threshold < 1:
            raise UserError(f"threshold={self.threshold} is no probability between 0 and 1; give e.g. 0.5")
        if not -1 <= self.similarity <= 1:
            raise UserError(f"similarity={self.similarity} is no cosine; give a number from -1 to 1")

    def learn(self, material: Material, states: States) -> dict[str, Any]:
        """The classifier, and of each row to forget its state and its forbidden words.

        Raises UserError for whole documents, which ask nothing.
        """
        forget, retain = (material.as_asked(rows) for rows in (material.forget, material.retain))
        document = next((row.id for row in (*forget, *retain) if row.is_document), None)
        if document is not None or not retain:
            lacking = f"row '{document}' is a whole document" if document is not None else "there are no rows to keep"
            raise UserError(f"the classifier learns questions, and {lacking}; take another method")
        kept = retain[:: -(-len(retain) // MAX_RETAIN)]
        inputs = projected(states([*forget, *kept]))
        labels = torch.cat([torch.ones(len(forget)), torch.zeros(len(kept))])
        network = _fitted(inputs, labels, units=self.units)
        return {
            "network": [_rounded(weight) for weight in network],
            "states": _rounded(inputs[: len(forget)]),
            "words": [list(forbidden(row)) for row in forget],
        }

    def guard(self, engine: Engine, state: Mapping[str, Any]) -> Engine:
        network = _Network(*map(torch.tensor, state["network"]))
        return _Restricting(engine, self, network, torch.tensor(state["states"]), tuple(map(tuple, state["words"])))


@dataclass(frozen=True)
class _Restricting(GuardEngine):
    """Asks the model, and tells it what to avoid where a question is to be forgotten."""

    method: Restriction
    network: _Network
    states: Tensor
    words: Sequence[tuple[str, ...]]
    _known: dict[tuple[str, tuple[str, ...]], Avoid | None] = field(default_factory=dict, repr=False)
    """By context and images: what to avoid in an answer; None where the question is another."""

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        passed = [at for at, avoid in enumerate(self._avoided(asks)) if avoid is None]
        found = dict(zip(passed, self.engine.score([asks[at] for at in passed]), strict=True))
        return [found.get(at, NoScores(WITHHELD)) for at in range(len(asks))]

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        told = [
            ask if avoid is None or ask.decoding is None else replace(ask, decoding=_avoiding(ask.decoding, avoid))
            for ask, avoid in zip(asks, self._avoided(asks), strict=True)
        ]
        return self.engine.generate(told)

    def _avoided(self, asks: Sequence[Ask]) -> list[Avoid | None]:
        new = {_key(ask): replace(ask, continuation=None) for ask in asks if _key(ask) not in self._known}
        if new:
            found = self.engine.hidden(list(new.values()), layers=(-1,))
            inputs = projected(torch.stack([one[0, -1] for one in found]))
            self._known.update(zip(new, map(self._judged, inputs), strict=True))
        return [self._known[_key(ask)] for ask in asks]

    def _judged(self, state: Tensor) -> Avoid | None:
        """What to avoid in the answer to a question of this projected state."""
        if float(self.network(state[None]).sigmoid()) < self.method.threshold:
            return None
        nearest = int(functional.cosine_similarity(self.states, state[None]).argmax())
        return Avoid(self.words[nearest], self.method.alpha, self.method.similarity)


def projected(states: Tensor) -> Tensor:
    """States [N, H] of length 1 in a fixed random projection, [N, WIDTH]."""
    generator = torch.Generator().manual_seed(0)
    return functional.normalize(states, dim=-1) @ torch.randn(states.shape[-1], WIDTH, generator=generator)


def forbidden(row: Example) -> tuple[str, ...]:
    """Words of the answer to a row that its question does not hold: of at least three letters, or numbers."""
    asked = {word.lower() for word in _words(row.context)} | COMMON
    return tuple(dict.fromkeys(word for word in _words(row.answer) if word.lower() not in asked))


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[\w'-]+", text) if len(word) > 2 or word.isdigit()]


def _fitted(inputs: Tensor, labels: Tensor, *, units: int) -> _Network:
    """Learns labels [N] of inputs [N, WIDTH] by their cross-entropy, both labels weighing alike, in full batches."""
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        first, last = torch.randn(WIDTH, units, generator=generator), torch.randn(units, generator=generator)
        parts = [first / WIDTH**0.5, torch.zeros(units), last / units**0.5, torch.zeros(())]
        network = _Network(*(part.requires_grad_() for part in parts))
        optimiser = torch.optim.Adam(list(network), lr=LR, weight_decay=DECAY)
        balance = (1 - labels).sum() / labels.sum()
        for _ in range(NUM_STEPS):
            optimiser.zero_grad()
            loss = functional.binary_cross_entropy_with_logits(network(inputs), labels, pos_weight=balance)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return _Network(*(part.detach() for part in network))


def _avoiding(decoding: Decoding, avoid: Avoid) -> Decoding:
    return replace(decoding, avoid=avoid)


def _key(ask: Ask) -> tuple[str, tuple[str, ...]]:
    return ask.context, ask.image_keys


def _rounded(values: Tensor) -> Any:
    return torch.round(values, decimals=DIGITS).tolist()


METHOD = Restriction
