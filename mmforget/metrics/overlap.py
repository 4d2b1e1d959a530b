"""ROUGE-L, the longest common subsequence of words: as published, which knows a to z, and for any script.

Both are `rouge_score`'s and the same on text in ASCII. Of other text the published tokenizer drops every letter that is
not one of a to z, so that an answer in Chinese has no words; `clean` takes the words of any script, and of scripts
written without blanks every character as one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from mmforget.metrics.base import NAMED_PROFILES
from mmforget.metrics.responses import pieces

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

Words = Literal["any_script", "published", "unstemmed"]
NO_WORDS = "the reference answer has no words"


class Overlap(NamedTuple):
    """Common subsequence over the reference's words, over the response's, and the harmonic mean; all in [0, 1]."""

    recall: float
    precision: float
    f1: float


def rouge_l(reference: str, response: str, *, profile: str) -> Overlap:
    """Overlap of words; `clean` takes any script, other profiles are as published. 0 where either text has no words."""
    return rouge(reference, response, of="rougeL", profile=profile)


def rouge(reference: str, response: str, *, of: str, profile: str) -> Overlap:
    """Overlap of words as `rouge1`, `rouge2` or `rougeL` count it, Porter-stemmed but for `muse_paper`.

    Kept, since several metrics, and the scoring of every other model against the same target, ask for the same pairs.
    """
    return _rouge(reference, response, of=of, words=_words_of(profile))


@lru_cache(maxsize=1 << 17)
def _rouge(reference: str, response: str, *, of: str, words: Words) -> Overlap:
    found = _scorer(words, of).score(reference, response)[of]
    return Overlap(float(found.recall), float(found.precision), float(found.fmeasure))


@lru_cache(maxsize=1 << 16)
def stems(text: str, *, profile: str = "clean") -> tuple[str, ...]:
    """The words that count, Porter-stemmed where they are written in a to z."""
    return tuple(_scorer(_words_of(profile))._tokenizer.tokenize(text))


def _words_of(profile: str) -> Words:
    if profile == "muse_paper":
        return "unstemmed"
    return "published" if profile == "released" or profile in NAMED_PROFILES else "any_script"


@lru_cache(maxsize=9)
def _scorer(words: Words, of: str = "rougeL") -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

    published = DefaultTokenizer(use_stemmer=words != "unstemmed")
    if published._stemmer is not None:  # which takes longer than all else, and meets the same words again and again
        published._stemmer.stem = lru_cache(maxsize=1 << 16)(published._stemmer.stem)

    class AnyScript(Tokenizer):  # type: ignore[misc]
        """Words of any script; text in ASCII as published."""

        def tokenize(self, text: str) -> list[str]:
            """The stemmed words in order."""
            if text.isascii():
                return list(published.tokenize(text))
            found = (published.tokenize(piece) if piece.isascii() else [piece] for piece in pieces(text))
            return [stem for part in found for stem in part]

    return RougeScorer([of], tokenizer=AnyScript() if words == "any_script" else published)
