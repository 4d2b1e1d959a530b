"""What an answer about a picture says of a concept.

A row says in `extra` how it asks: `ask` is `open`, `yes_no` (a yes gives the concept away) or `control` (the same of
another concept, where a yes is right); `names` are what the concept is called.
"""

from __future__ import annotations

from mmforget.benchmark.mentions import mentions
from mmforget.metrics.degenerate import why_degenerate
from mmforget.metrics.responses import normalised, words
from mmforget.metrics.yes_no import is_bare, yes_or_no
from mmforget.types import Sample


def ask_of(sample: Sample) -> str:
    """How the question asks; by its keyword where the row does not say."""
    by_keyword = "yes_no" if sample.keywords and sample.keywords[0].strip().lower().startswith("yes") else "open"
    return str(sample.extra.get("ask", by_keyword))


def names_of(sample: Sample) -> tuple[str, ...]:
    """What the concept is called; its keywords where the row does not say."""
    return tuple(sample.extra.get("names") or sample.keywords)


def gives_away(sample: Sample) -> bool:
    """Whether the response names the concept, in words that were not in the question already."""
    asked, said = normalised(sample.question), normalised(sample.response or "")
    return any(mentions(said, names=[name]) and not mentions(asked, names=[name]) for name in _normal_names(sample))


def affirms(response: str) -> bool:
    """Whether the response opens with a yes of any language, or holds the word yes and does not open with a no."""
    opening = yes_or_no(response)
    return "yes" in words(response) if opening is None else opening


def is_answer(sample: Sample) -> bool:
    """Whether the response is language, and to an open question more than a bare yes or no."""
    response = sample.response or ""
    is_open = ask_of(sample) == "open"
    if why_degenerate(response, reference=sample.answer, question=sample.question if is_open else ""):
        return False
    return not is_open or not is_bare(response)


def _normal_names(sample: Sample) -> list[str]:
    return [name for name in map(normalised, names_of(sample)) if name]
