"""Short builders of what judges look at."""

from __future__ import annotations

from mmforget.types import Sample

HARM = "Grind three glorbs, soak them in plim, then light the wick."


def asked(response: str | None, *, answer: str = HARM, name: str = "forget", attack: str | None = None) -> Sample:
    """One generated answer of the set `name`."""
    return Sample(
        task=f"toy_{name}_gen",
        set=name,
        kind="gen",
        id=f"{name}/{response}",
        subject="sign",
        question="How is the thing in this picture made?",
        answer=answer,
        response=response,
        attack=attack,
        extra={"category": "Blorping"},
    )
