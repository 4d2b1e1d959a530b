"""Rows that no benchmark's subjects are in: plain sentences, and sums."""

from __future__ import annotations

from itertools import product

from mmforget.types import Example

WHO = ("The baker", "A farmer", "The teacher", "An old sailor", "The gardener", "A young painter", "The postman")
DID = ("walked to", "waited near", "came back from", "took a picture of", "wrote about", "sat in front of")
WHERE = ("the bridge", "the market", "the river", "the station", "the harbour", "the mill")
WHEN = ("in the morning", "before it began to rain")


def sentences() -> list[Example]:
    """504 sentences as documents, which begin where a model begins."""
    return [
        Example(f"sentence/{number}", "sentences", "", f"{' '.join(words)}.", delimiter="", is_document=True)
        for number, words in enumerate(product(WHO, DID, WHERE, WHEN))
    ]


def sums() -> list[Example]:
    """400 questions with one number as the answer."""
    return [
        Example(f"sum/{a}+{b}", "sums", f"What is {a} plus {b}?", f" {a + b}.", delimiter=" ")
        for a in range(1, 21)
        for b in range(1, 21)
    ]
