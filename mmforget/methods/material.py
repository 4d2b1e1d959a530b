"""What there is to forget with: the rows to forget and to keep, and what is known of each concept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mmforget.errors import PluginError, UserError
from mmforget.types import Example

if TYPE_CHECKING:
    from torch import Tensor


NUM_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Concept:
    """Something to forget by its look, as far as a benchmark or a user describes it.

    Attributes:
        name: as its rows call the subject.
        synonyms: other names of it.
        facts: (question, answer) about it in words alone, which stay.
        neighbours: (question, answer) about other concepts, which stay.
        unseen: a name that nobody has, to call it by; chosen by the method where empty.
        look: a description that clashes with its looks; chosen by the method where empty.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    neighbours: tuple[tuple[str, str], ...] = ()
    unseen: str = ""
    look: str = ""


Validate = Callable[[Any], tuple[float | None, float | None]]
"""What a model that trains comes to on the validation part: how much of what is to be forgotten it remembers, and the
utility."""


class RetainLogprobs(NamedTuple):
    """What a retain model says of the rows to forget: float32 [T] for each answer, in their order, and which it is."""

    fingerprint: str
    values: Sequence[Tensor]


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a benchmark or a user gives a method.

    Attributes:
        forget: the rows to forget, with their images; contexts hold one `<image>` an image.
        retain: rows to keep.
        benign: the questions to forget about harmless images; `extra["pair"]` of a row says which row to forget it goes
            with.
        refusals: answers that say nothing, for the questions to forget.
        concepts: what is known of the subjects of `forget`; empty where the benchmark says nothing.
        level: which part of a row's path is forgotten as a whole, 0 the outermost; None: the innermost.
        retain_logprobs: of the answers to forget under a retain model; None where there is none.
        as_asked: puts rows into the form in which the model is asked, e.g. its chat template; also rows that a method
            writes itself.
        validate: looks at the model while it trains; None: nobody does.
    """

    forget: Sequence[Example]
    retain: Sequence[Example] = ()
    benign: Sequence[Example] = ()
    refusals: Sequence[str] = ()
    concepts: Sequence[Concept] = ()
    level: int | None = None
    retain_logprobs: RetainLogprobs | None = None
    as_asked: Callable[[Sequence[Example]], list[Example]] = list
    validate: Validate | None = None


def lacking(method: Any, material: Material, *, name: str) -> dict[str, str]:
    """Subjects whose own rows lack what the method needs, each with the reason; see `methods.base.Method`.

    Raises UserError, which calls the method `name`, where all of them do.
    """
    parts = [one for one in getattr(method, "parts", (method,)) if hasattr(one, "lacks")]
    subjects = dict.fromkeys(row.subject for row in material.forget) if parts else {}
    found: dict[str, str] = {}
    for subject in subjects:
        own = replace(material, forget=[row for row in material.forget if row.subject == subject])
        reasons = [why for one in parts if (why := one.lacks(own))]
        found |= {subject: reasons[0]} if reasons else {}
    if subjects and len(found) == len(subjects):
        raise UserError(f"method '{name}' can unlearn none of the {len(found)} subjects: {few(found)}")
    return found


def by_subject(rows: Sequence[Example]) -> dict[str, list[Example]]:
    """The rows of each subject, both in their order."""
    found: dict[str, list[Example]] = {}
    for row in rows:
        found.setdefault(row.subject, []).append(row)
    return found


def few(reasons: Mapping[str, str]) -> str:
    """The first few reasons, for a message."""
    return "; ".join([*reasons.values()][:NUM_SHOWN]) + ("; ..." if len(reasons) > NUM_SHOWN else "")


def concept_from(value: Mapping[str, Any], *, source: str) -> Concept:
    """A concept out of a plain mapping, as a benchmark's `concepts` function gives it.

    A fact that is one text and not a pair answers "Tell me about NAME.". Raises PluginError naming `source` for a
    mapping without a name, with an unknown key or with a value of another shape.
    """
    known = set(Concept.__dataclass_fields__)
    if not isinstance(value, Mapping) or not value.get("name") or set(value) - known:
        raise PluginError(f"{source}: a concept is a mapping with `name` and any of {', '.join(sorted(known))}")
    name = str(value["name"])
    return Concept(
        name=name,
        synonyms=tuple(map(str, value.get("synonyms", ()))),
        facts=_pairs(value.get("facts", ()), name=name, source=source),
        neighbours=_pairs(value.get("neighbours", ()), name=name, source=source),
        unseen=str(value.get("unseen", "")),
        look=str(value.get("look", "")),
    )


def _pairs(values: Sequence[Any], *, name: str, source: str) -> tuple[tuple[str, str], ...]:
    found = []
    for value in values:
        pair = (f"Tell me about {name}.", value) if isinstance(value, str) else tuple(value)
        if len(pair) != 2 or not all(isinstance(text, str) and text.strip() for text in pair):
            raise PluginError(f"{source}, concept '{name}': {value!r} is neither a text nor a question and its answer")
        found.append((pair[0], pair[1]))
    return tuple(found)
