"""Whom or what ROCR redirects, and where a model sees them: behind a name, or in an image. Knows no tensor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mmforget.methods.material import by_subject
from mmforget.methods.naming import name_in
from mmforget.methods.rewriting import without_images
from mmforget.types import Example, Spot

if TYPE_CHECKING:
    from PIL.Image import Image

OPENINGS = ("", "Tell me about ", "Here is a question about ", "Who or what is ", "Write down what is known of ")
"""What a name stands behind, beside its own questions."""
MAX_ROWS = 20
"""Questions, or images, of a subject that are looked at."""


@dataclass(frozen=True)
class Side:
    """Contexts in which a target is seen, and the same with somebody unknown in its place.

    Attributes:
        kind: `name` or `image`, for reports.
        at: where the target is in each context.
    """

    kind: str
    at: Spot
    rows: tuple[Example, ...]
    null: tuple[Example, ...]

    def answered(self, row: Example, text: str) -> Example:
        """The context with another answer behind it."""
        return replace(row, answer=f" {text}")


@dataclass(frozen=True)
class Target:
    """What is redirected, by its sides."""

    name: str
    sides: tuple[Side, ...]


def targets_of(rows: Sequence[Example], *, names: Sequence[str], unrelated: str) -> list[Target]:
    """The names that rows mention, or each subject by its name and its images; whoever has neither is left out."""
    found = []
    for name in names:
        own = [one for one in rows if _mentions(one, name)]
        found += [Target(name, (_named(name, own, unrelated=unrelated),))] if own else []
    for subject, own in by_subject(rows).items():
        called, pictured = None if names else name_of(own), _pictured(own)
        sides = [] if called is None else [_named(called, own, unrelated=unrelated)]
        sides += [_shown(pictured)] if pictured else []
        found += [Target(called or subject, tuple(sides))] if sides else []
    return found


def name_of(rows: Sequence[Example]) -> str | None:
    """What one subject's rows call it, where a question does; documents name nobody in particular."""
    asked = [one for one in rows if not one.is_document]
    name = name_in(asked) if asked else None
    return name if name and any(_place(one.context, name) is not None for one in asked) else None


def nameless(rows: Sequence[Example], *, names: Sequence[str]) -> str:
    """Which subjects nothing names and no image shows, in a line; empty where there are none."""
    lost = [
        subject
        for subject, own in by_subject(rows).items()
        if not _pictured(own)
        and not (any(_mentions(one, name) for name in names for one in own) if names else name_of(own))
    ]
    if not lost:
        return ""
    shown = ", ".join(f"'{one}'" for one in lost[:3]) + (", ..." if len(lost) > 3 else "")
    who = "1 subject has" if len(lost) == 1 else f"{len(lost)} subjects have"
    return f"rocr redirects a name or a face, and {who} none in the questions ({shown}); give names=Ann Lee;Bo Ray"


def without_target(rows: Sequence[Example], *, names: Sequence[str]) -> list[str]:
    """Given names that no row mentions."""
    return [name for name in names if not any(_mentions(one, name) for one in rows)]


def _named(name: str, rows: Sequence[Example], *, unrelated: str) -> Side:
    """Openings, and the questions that hold the name, up to its end; images in front of it are left out."""
    before = [text for one in rows if (text := _before(one.context, name)) is not None]
    openings = [*OPENINGS, *dict.fromkeys(before)][: len(OPENINGS) + MAX_ROWS]
    return Side("name", "context_end", *(_contexts(openings, text) for text in (name, unrelated)))


def _contexts(openings: Sequence[str], name: str) -> tuple[Example, ...]:
    return tuple(Example(f"{name}/{at}", name, text + name, " .") for at, text in enumerate(openings))


def _before(context: str, name: str) -> str | None:
    """What stands before a name in a question; None where it does not stand there."""
    place = _place(context, name)
    return None if place is None else without_images(context[:place])


def _place(text: str, name: str) -> int | None:
    """Where a name last begins in a text, in any case and as no part of a longer word."""
    places = [found.start() for found in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.I)]
    return places[-1] if places else None


def _mentions(row: Example, name: str) -> bool:
    return _place(row.context, name) is not None or _place(row.answer, name) is not None


def _pictured(rows: Sequence[Example]) -> list[Example]:
    """One row for each different image, or images."""
    found = {tuple((image.size, image.tobytes()) for image in one.images): one for one in rows if one.images}
    return [*found.values()][:MAX_ROWS]


def _shown(rows: Sequence[Example]) -> Side:
    """The images; nothing that stands behind one changes what the model makes of it."""
    shown = [replace(one, answer=" .") for one in rows]
    grey = [replace(one, images=tuple(_grey(image.size) for image in one.images)) for one in shown]
    return Side("image", "image", tuple(shown), tuple(grey))


def _grey(size: tuple[int, int]) -> Image:
    from PIL import Image as pictures

    return pictures.new("RGB", size, (128, 128, 128))
