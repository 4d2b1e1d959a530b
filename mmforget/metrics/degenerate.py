"""Rate of responses that are no language: empty, one word over and over, loops, no words at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.responses import answer_part, equals, words
from mmforget.types import Estimate, Sample, Score

# A loop shows only in a text long enough to hold it: shorter answers repeat words by right.
MIN_WORDS = 8
MIN_DISTINCT_PAIRS = 0.5
MIN_DISTINCT_WORDS = 1 / 8
MIN_RUN = 4
MIN_CHARACTERS = 12


@dataclass(frozen=True)
class Degenerate:
    """1 where a response is degenerate, else 0; the rate stands beside every forget score.

    A destroyed model discloses nothing and so forgets perfectly; this number says that it also answers nothing.

    Source: the harness's own; distinct-n is Li et al., arXiv 1510.03055.

    Profiles:
        clean: degenerate = empty, or no letter or digit, or four or more words that are all the same, or a text of
            twelve or more characters that is one short piece over and over, or eight or more words with at most one in
            eight distinct, or an answer part of eight or more words with under half of its word pairs distinct. What
            equals the reference is not. Mends the published tables, where gibberish scores as perfect forgetting.
    """

    name: str = "degenerate"
    kind: Kind = "gen"
    profiles: tuple[str, ...] = ("clean",)
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = False

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """1.0 for a degenerate response, 0.0 for any other."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        return Score(float(why_degenerate(sample.response, reference=sample.answer) != ""), sample.subject)

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Rate of degenerate responses with its 95 % interval by subject."""
        return mean_estimate(self, scores)


def why_degenerate(response: str, *, reference: str = "") -> str:
    """What is wrong with a response, or the empty string.

    `reference` tells where its answer part ends; an answer that equals it is right, however it looks.
    """
    if not response.strip():
        return "empty"
    if equals(response, reference=reference):
        return ""
    said = words(response)
    if not any(any(character.isalnum() for character in word) for word in said):
        return "no words"
    if len(said) >= MIN_RUN and len(set(said)) == 1:
        return "one word repeated"
    if _is_one_piece_repeated("".join(response.split())):
        return "one piece repeated"
    if len(said) >= MIN_WORDS and len(set(said)) <= MIN_DISTINCT_WORDS * len(said):
        return "few distinct words"
    # Only the answer part: a model never taught to stop may say a right answer again and again.
    answer = words(answer_part(response, reference=reference))
    pairs = list(zip(answer, answer[1:], strict=False))
    if len(answer) >= MIN_WORDS and len(set(pairs)) < MIN_DISTINCT_PAIRS * len(pairs):
        return "a loop"
    return ""


def _is_one_piece_repeated(text: str) -> bool:
    """True for `ababababab...`: some piece at most a fourth of the text makes up all of it, the last one maybe cut."""
    if len(text) < MIN_CHARACTERS:
        return False
    longest = min(len(text) // MIN_RUN, MIN_CHARACTERS)
    return any(text[size:] == text[:-size] for size in range(1, longest + 1))


METRIC = Degenerate()
