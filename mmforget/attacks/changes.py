"""What a search may find: words beside a question, other pixels of its pictures, or a vector added to hidden states.

Each is made of plain values, so that what was found is kept and found again.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmforget.asking import Ask
from mmforget.attacks.base import Attack, Lacking
from mmforget.attacks.wording import Place, place_of
from mmforget.errors import PluginError
from mmforget.plugins import running

if TYPE_CHECKING:
    from mmforget.lm.whitebox import WhiteBox

Levels = NDArray[np.int16]
Seen = Callable[[Image.Image], Image.Image]
"""A picture as the model sees it."""


class Words(NamedTuple):
    """Words in front of a question, or at its end; none leave it as it is."""

    text: str
    where: Literal["front", "end"]

    def put(self, place: Place) -> Ask:
        """The prompt with these words in it, a blank between them and the question."""
        question, text = place.question, self.text.strip()
        if not text:
            return place.ask
        if self.where == "end":
            return place.put(f"{question} {text}")
        # Where something stands before it, a word begins with a blank for most tokenizers.
        blank = " " if place.head and not place.head.endswith(" ") else ""
        return place.put(f"{blank}{text} {question}")


class Pixels(NamedTuple):
    """Other pixels in every picture of a question, which is shown as the model sees it.

    Attributes:
        size: width and height of the part that changes, and
        corner: where its upper left lies.
        adds: whether the levels are added to what is there, and cut at 0 and 255; else they stand in its place.
        levels: int16 [height, width, 3], packed.
    """

    size: tuple[int, int]
    corner: tuple[int, int]
    adds: bool
    levels: bytes

    @classmethod
    def of(cls, levels: Levels, *, corner: tuple[int, int] = (0, 0), adds: bool) -> Pixels:
        height, width = levels.shape[:2]
        return cls((width, height), corner, adds, zlib.compress(levels.astype("<i2").tobytes()))

    @property
    def values(self) -> Levels:
        found: Levels = np.frombuffer(zlib.decompress(self.levels), dtype="<i2").reshape(*self.size[::-1], 3)
        return found

    def fits(self, picture: Image.Image) -> bool:
        """Whether the part lies in a picture; levels that are added belong to one of their own size."""
        ends = (self.corner[0] + self.size[0], self.corner[1] + self.size[1])
        return picture.size == ends if self.adds else picture.width >= ends[0] and picture.height >= ends[1]

    def changed(self, picture: Image.Image) -> Image.Image:
        """A picture with these pixels."""
        found = np.asarray(picture.convert("RGB"), dtype=np.int16).copy()
        (left, top), (width, height) = self.corner, self.size
        part = found[top : top + height, left : left + width]
        part[:] = part * self.adds + self.values
        return Image.fromarray(found.clip(0, 255).astype(np.uint8))


class Shift(NamedTuple):
    """A vector that is added to every state of a layer: 0 the embeddings of tokens, else what a decoder layer puts out,
    counted from 1.
    """

    layer: int
    vector: tuple[float, ...]


Change = Words | Pixels | Shift


class Searching(Attack, Protocol):
    """An attack that searches by gradients.

    Attributes:
        told: whose answers it is told: `own`, each question's, which is searched for alone; or those of `others`: of at
            most `rows` questions (an attribute more), once, and what is found is tried on questions about other
            subjects, which `seed` draws.
        through: what it changes; pictures are those that the model sees.
        at: after how many steps what was found is tried.

    Where it has a `layer` that is not None, the model is known to have it before any work.
    """

    @property
    def told(self) -> Literal["own", "others"]: ...
    @property
    def through(self) -> Literal["words", "pixels", "states"]: ...
    @property
    def at(self) -> tuple[int, ...]: ...

    def search(self, asks: Sequence[Ask], box: WhiteBox) -> Iterator[Change] | Lacking:
        """The best change after each of `at`; repeatable.

        Args:
            asks: questions with their answers behind them (kind `score`).
            box: the model, and what it shows.
        """


def searched_for(attack: Searching, asks: Sequence[Ask], box: WhiteBox, *, name: str) -> list[Change] | Lacking:
    """What a search finds. Raises PluginError where it fails, or gives what is no change for each of its stops."""
    with running(attack, what=f"attack '{name}': search"):
        found = attack.search(asks, box)
        changes = found if isinstance(found, Lacking) else list(found)
    if isinstance(changes, Lacking):
        return changes
    if len(changes) != len(attack.at) or not all(isinstance(one, Change) for one in changes):
        raise PluginError(f"attack '{name}': search has to give a change for each of its {len(attack.at)} stops")
    if attack.told == "own" and any(isinstance(one, Shift) for one in changes):
        raise PluginError(f"attack '{name}': a shift is of the whole model; search it with told = 'others'")
    return changes


KINDS: Mapping[str, type[Any]] = {"words": Words, "pixels": Pixels, "shift": Shift}


def applied(change: Change, ask: Ask, *, seen: Seen) -> Ask | Lacking:
    """The question under a change; what a shift changes is the model that is asked."""
    if isinstance(change, Words):
        place = place_of(ask)
        if isinstance(place, Lacking):
            return place
        return Lacking("the words would say its answer") if place.gives_away(change.text) else change.put(place)
    if isinstance(change, Shift):
        return ask
    if not ask.images:
        return Lacking("no picture in the question")
    pictures = [seen(image) for image in ask.images]
    if not all(map(change.fits, pictures)):
        return Lacking("the model sees its picture in another size than those that the pixels were learned on")
    return ask.showing([change.changed(one) for one in pictures])


def to_json(change: Change) -> dict[str, Any]:
    """Plain JSON values of a change."""
    (kind,) = (name for name, made in KINDS.items() if isinstance(change, made))
    values = {key: base64.b64encode(one).decode() if isinstance(one, bytes) else one for key, one in _fields(change)}
    return {"kind": kind, **values}


def from_json(value: Mapping[str, Any]) -> Change:
    """The change that `to_json` wrote."""
    fields = {key: _read(key, one) for key, one in value.items() if key != "kind"}
    found: Change = KINDS[value["kind"]](**fields)
    return found


def _fields(change: Change) -> list[tuple[str, Any]]:
    return list(change._asdict().items())


def _read(key: str, value: Any) -> Any:
    if key == "levels":
        return base64.b64decode(value)
    return tuple(value) if isinstance(value, list) else value
