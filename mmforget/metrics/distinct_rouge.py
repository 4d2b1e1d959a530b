"""ROUGE-L of the package `rouge` of PyPI: distinct words, as they are written, of sentences that end at full stops.

Every sentence of the one text is compared with every one of the other. What counts is the number of different words in
all the longest common subsequences together, over the number of different words of the reference, or of the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from mmforget.metrics.overlap import Overlap

NO_ANSWER = "NOANSWER"
"""What RWKU's code puts in place of an empty response."""
EPSILON = 1e-8
"""Added to what the harmonic mean is divided by."""


@lru_cache(maxsize=1 << 17)
def distinct_rouge_l(reference: str, response: str) -> Overlap:
    """Overlap of distinct words; 0 where either text has no sentence."""
    references, responses = _sentences(reference), _sentences(response.strip() or NO_ANSWER)
    if not references or not responses:
        return Overlap(0.0, 0.0, 0.0)
    common = {word for one in references for other in responses for word in _common(one, other)}
    recall, precision = (
        len(common) / len({word for one in texts for word in one}) for texts in (references, responses)
    )
    return Overlap(recall, precision, 2.0 * recall * precision / (recall + precision + EPSILON))


def _sentences(text: str) -> list[list[str]]:
    """The words of each part between full stops; a part of blanks alone has the empty word."""
    return [" ".join(part.split()).split(" ") for part in text.split(".") if part]


def _common(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """A longest common subsequence; of several the one that is found from the end, the first text's words first."""
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, word in enumerate(one, start=1):
        for j, same in enumerate(other, start=1):
            longer = max(lengths[i - 1][j], lengths[i][j - 1])
            lengths[i][j] = lengths[i - 1][j - 1] + 1 if word == same else longer
    i, j, found = len(one), len(other), list[str]()
    while i and j:
        if one[i - 1] == other[j - 1]:
            found.append(one[i - 1])
            i, j = i - 1, j - 1
        elif lengths[i - 1][j] > lengths[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found
