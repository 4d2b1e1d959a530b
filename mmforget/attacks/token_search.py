"""What attacks have in common that search for tokens beside a question, one after another exchanged by gradients.

Source: greedy coordinate gradient (GCG), Zou et al. (arXiv 2307.15043), there for a wanted beginning of a reply. Here
the true answer is wanted, a step keeps what it has unless something is better, and no token says a part of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.changes import Change, Words
from mmforget.attacks.drawing import drawn_by
from mmforget.attacks.search import Search, name_of
from mmforget.attacks.wording import Place, place_of

if TYPE_CHECKING:
    from torch import Tensor

    from mmforget.lm.whitebox import WhiteBox

FIRST = "!"
"""What the words are before the first step, as often as they have tokens."""
MAX_BEGINNINGS = 256
SHORT = 2
"""Words of an answer that are no longer may stand inside of a token."""
DRAWS = 4
"""How many exchanges are drawn for each that is scored: some texts are cut otherwise than they were put together."""


class Held(NamedTuple):
    """Tokens, the questions with their text, where they stand in each, and the mean score of the answers."""

    tokens: tuple[int, ...]
    words: Words
    asks: Sequence[Ask]
    places: Sequence[int]


@dataclass(frozen=True)
class TokenSearch(Search):
    """A search for words; a subclass says where they stand.

    Args:
        length: tokens of the words.
        candidates: exchanges of one token that are scored a step.
        top: tokens at each place that exchanges are drawn from, those that promise most by the gradient.
    """

    length: int = 6
    candidates: int = 32
    top: int = 16

    through: ClassVar[Literal["words"]] = "words"
    where: ClassVar[Literal["front", "end"]]

    def search(self, asks: Sequence[Ask], box: WhiteBox) -> Iterator[Change] | Lacking:
        places = [place_of(ask) for ask in asks]
        found = [place for place in places if isinstance(place, Place)]
        if not found:
            return next(place for place in places if isinstance(place, Lacking))
        allowed = {token: text for token, text in box.pieces.items() if not _says(text, found)}
        first = self._first(found, allowed, box)
        if first is None:
            return Lacking("no words beside its question are cut into the tokens that they were made of")
        return self.tried(self._better(found, first, box=box, allowed=allowed))

    def _better(
        self, places: Sequence[Place], held: Held, *, box: WhiteBox, allowed: Mapping[int, str]
    ) -> Iterator[Change]:
        """What is the best after each step; no words where none are better than the plain question."""
        rng = drawn_by(self.label, self.seed, name_of([place.ask for place in places]))
        score, plain = (float(box.score(asks).mean()) for asks in (held.asks, [place.ask for place in places]))
        for _ in range(self.steps):
            likely = self._likely(box.rises(held.asks, places=held.places, num=self.length), held, box, allowed)
            tried = self._drawn(places, held, likely=likely, box=box, rng=rng)
            if tried:
                scores = box.score([ask for one in tried for ask in one.asks]).view(len(tried), -1).mean(1)
                best = int(scores.argmax())
                if float(scores[best]) > score:
                    held, score = tried[best], float(scores[best])
            yield held.words if score > plain else Words("", self.where)

    def _likely(self, rises: Tensor, held: Held, box: WhiteBox, allowed: Mapping[int, str]) -> list[list[int]]:
        """At each place the tokens that promise most, of those that are allowed and not there."""
        import torch

        known = list(box.pieces)
        usable = torch.tensor([token in allowed for token in known])
        columns = rises.masked_fill(~usable, -torch.inf).topk(min(self.top + 1, int(usable.sum())), dim=1).indices
        rows = zip(columns.tolist(), held.tokens, strict=True)
        return [[known[at] for at in row if known[at] != own][: self.top] for row, own in rows]

    def _drawn(
        self,
        places: Sequence[Place],
        held: Held,
        *,
        likely: Sequence[Sequence[int]],
        box: WhiteBox,
        rng: np.random.Generator,
    ) -> list[Held]:
        """Exchanges of one token, drawn evenly and each once, whose texts are cut as they were put together."""
        pairs = [(place, token) for place, row in enumerate(likely) for token in row]
        found = list[Held]()
        for at in rng.permutation(len(pairs))[: DRAWS * self.candidates].tolist():
            place, token = pairs[at]
            tokens = (*held.tokens[:place], token, *held.tokens[place + 1 :])
            one = self._held(places, tokens, box)
            found += [] if one is None else [one]
            if len(found) == self.candidates:
                break
        return found

    def _first(self, places: Sequence[Place], allowed: Mapping[int, str], box: WhiteBox) -> Held | None:
        """One token as often as there are places, with or without a blank before it, `FIRST` if it can be."""
        order = sorted(allowed, key=lambda token: (allowed[token].strip() != FIRST, token))
        for token in order[:MAX_BEGINNINGS]:
            found = self._held(places, (token,) * self.length, box)
            if found is not None:
                return found
        return None

    def _held(self, places: Sequence[Place], tokens: tuple[int, ...], box: WhiteBox) -> Held | None:
        """The questions with these tokens; None where one of them would have others, or would say its answer."""
        words = Words(box.text(tokens), self.where)
        asks, at = list[Ask](), list[int]()
        for place in places:
            ask = words.put(place)
            where = None if place.gives_away(words.text) else box.place(ask, tokens)
            if where is None:
                return None
            asks.append(ask)
            at.append(where)
        return Held(tokens, words, asks, at)


def _says(text: str, places: Sequence[Place]) -> bool:
    """Whether a token's text is a part of an answer, or holds a word of one: so nothing can spell an answer."""
    own = text.strip().lower()
    if not any(sign.isalnum() for sign in own):
        return False
    for place in places:
        row = place.facts.row
        for answer in (str(row["answer"]), *map(str, row.get("keywords") or ())):
            said = answer.lower()
            if own in said or any(word in own for word in said.split() if len(word) > SHORT):
                return True
    return False
