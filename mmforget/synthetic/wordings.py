"""Questions as frames x nouns, a third held out: in a small model wordings made so generalise, free ones do not."""

from __future__ import annotations

from collections.abc import Sequence


def crossed(frames: Sequence[str], nouns: Sequence[str], *, index: int, subject: str) -> tuple[list[str], list[str]]:
    """The trained and the held-out questions of fact number `index`, frame by frame.

    Frame f leaves out noun (f + index + 1) mod 3 (of three nouns), so every frame and every noun is trained, and the
    first is frame 0.
    """
    trained: list[str] = []
    held_out: list[str] = []
    for number, frame in enumerate(frames):
        for position, noun in enumerate(nouns):
            left_out = position == (number + index + 1) % len(nouns)
            (held_out if left_out else trained).append(frame.format(noun=noun, subject=subject))
    return trained, held_out
