"""Rate of responses that are no answer: empty, one word over and over, loops, no words at all, the question again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.responses import NUM_KEPT, answer_part, equals, words
from mmforget.metrics.yes_no import is_bare, yes_or_no
from mmforget.types import Sample, Score

# A loop shows only in a text long enough to hold it: shorter answers repeat words by right.
MIN_WORDS = 8
MIN_DISTINCT_PAIRS = 0.5
MIN_DISTINCT_WORDS = 1 / 8
MIN_RUN = 4
MIN_CHARACTERS = 12
# A question of fewer words may stand in an answer by chance.
MIN_QUESTION = 4
_STRETCH = re.compile(r"(.{1,12}?)\1{3,}")
_OPENERS = "what who whom whose where when why which how name state tell describe choose pick complete"
_AUXILIARIES = "is are was were do does did has have had can could will would should may might must am"


@dataclass(frozen=True)
class Degenerate:
    """1 where a response is degenerate, else 0; the rate stands beside every forget score.

    A destroyed model discloses nothing and so forgets perfectly; this number says that it also answers nothing.

    Source: the harness's own; distinct-n is Li et al., arXiv 1510.03055.

    Profiles:
        clean: degenerate = empty, or no letter or digit, or four or more words that are all the same, or a text of
            twelve or more characters that is one short piece over and over, or eight or more words with at most one in
            eight distinct, or an answer part of eight or more words with under half of its word pairs distinct, or one
            of which such pieces (of four or more signs where there is no letter in them) make up a third, as in
            `Anna!!!!!`; or the question over again; or a bare yes or no to a question in English that asks for
            something else. What equals the reference is not. Mends the published tables, where gibberish scores as
            perfect forgetting.
    """

    name = "degenerate"
    kind: ClassVar[Kind] = "gen"
    profiles = {"clean": "mmforget"}
    range = RATE
    higher_is_better = False
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """1.0 for a degenerate response, 0.0 for any other."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        why = why_degenerate(sample.response, reference=sample.answer, question=sample.question)
        return Score(float(why != ""), sample.subject)


@lru_cache(maxsize=NUM_KEPT)
def why_degenerate(response: str, *, reference: str = "", question: str = "") -> str:
    """What is wrong with a response, or the empty string.

    `reference` tells where its answer part ends; an answer that equals it is right, however it looks.
    """
    if equals(response, reference=reference):
        return ""
    return _why_no_answer(response, reference=reference, question=question) or _why_no_language(
        response, reference=reference
    )


def _why_no_answer(response: str, *, reference: str, question: str) -> str:
    asked, said = words(question), words(response)
    if (
        len(asked) >= MIN_QUESTION
        and len(said) <= 1.25 * len(asked)
        and f" {' '.join(asked)} " in f" {' '.join(said)} "
    ):
        return "the question again"
    wants_more = asked[:1] and asked[0] not in _AUXILIARIES.split() and not set(_OPENERS.split()).isdisjoint(asked)
    is_answered_so = yes_or_no(reference) is not None or not {"yes", "no"}.isdisjoint(words(reference))
    if said and is_bare(response) and wants_more and not is_answered_so:
        return "a bare yes or no"
    return ""


def _why_no_language(response: str, *, reference: str) -> str:
    if not response.strip():
        return "empty"
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
    part = answer_part(response, reference=reference)
    answer = words(part)
    pairs = list(zip(answer, answer[1:], strict=False))
    if len(answer) >= MIN_WORDS and len(set(pairs)) < MIN_DISTINCT_PAIRS * len(pairs):
        return "a loop"
    return "one piece repeated in it" if _is_stretches("".join(part.split())) else ""


def _is_one_piece_repeated(text: str) -> bool:
    """True for `ababababab...`: some piece at most a fourth of the text makes up all of it, the last one maybe cut."""
    if len(text) < MIN_CHARACTERS:
        return False
    longest = min(len(text) // MIN_RUN, MIN_CHARACTERS)
    return any(text[size:] == text[:-size] for size in range(1, longest + 1))


def _is_stretches(text: str) -> bool:
    """True for `Anna!!!!!`: stretches of one piece four times over, long ones or of signs, make up a third of it."""
    stretches = [match.group() for match in _STRETCH.finditer(text)]
    counted = [found for found in stretches if len(found) >= MIN_CHARACTERS or not any(map(str.isalnum, found))]
    return bool(counted) and 3 * sum(map(len, counted)) >= len(text)


METRIC = Degenerate()
