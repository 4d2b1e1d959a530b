"""How OFFSIDE compares an answer with its reference: ROUGE F-measures and BLEU of the whole response."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from mmforget.metrics.overlap import NO_WORDS, rouge, stems
from mmforget.types import Sample, Score

if TYPE_CHECKING:
    from nltk.tokenize.punkt import PunktSentenceTokenizer
    from sacrebleu.metrics.bleu import BLEU

ROUGES = ("rouge1", "rouge2", "rougeL")
NO_PAIRS = "the reference is one word and has no pairs of words"
EMPTY = "empty answers are left out, as released"
ABBREVIATIONS = ("dr", "mr", "mrs", "ms", "st", "jr", "sr", "vs", "f.c", "a.c", "e.g", "i.e")
"""Of those that the tokenizer of NLTK has learnt from English text, the few that stand in such answers."""
Compare = Callable[..., float]


def compared(sample: Sample, *, profile: str, compare: Compare) -> Score:
    """One comparison of a response with its reference, in [0, 1].

    Args:
        compare: called with reference and response, and `profile=`.

    An empty response is 0; in the profile `released` it is left out of the mean.
    """
    if sample.response is None:
        return Score(None, sample.subject, "no response")
    if not stems(sample.answer, profile=profile):
        return Score(None, sample.subject, NO_WORDS, lacking=True)
    if not sample.response.strip():
        return Score(None, sample.subject, EMPTY) if profile == "released" else Score(0.0, sample.subject)
    return Score(compare(sample.answer, sample.response, profile=profile), sample.subject)


def has_pairs(reference: str, *, profile: str) -> bool:
    """Whether ROUGE-2 says anything: not of a reference of one word, which `released` counts as 0 all the same."""
    return profile == "released" or len(stems(reference, profile=profile)) > 1


def rouge_f(reference: str, response: str, *, of: str, profile: str) -> float:
    """F-measure of a ROUGE in [0, 1]."""
    return rouge(reference, response, of=of, profile=profile).f1


@lru_cache(maxsize=1 << 17)
def bleu(reference: str, response: str, *, profile: str) -> float:
    """BLEU of one answer in [0, 1]: NLTK's with smoothing method 1, or in the profile `clean` sacrebleu's."""
    if profile != "released":
        return min(1.0, float(_sacrebleu().sentence_score(response, [reference]).score) / 100)
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    expected, said = tokens(reference), tokens(response)
    if not said:
        return 0.0
    return float(sentence_bleu([expected], said, smoothing_function=SmoothingFunction().method1))


def tokens(text: str) -> list[str]:
    """The words of a text in lower case as NLTK's `word_tokenize` has them, without its download.

    That is its tokenizer of words on the sentences that its tokenizer of sentences finds, which knows `ABBREVIATIONS`
    and not the others that it has learnt from English text: behind one of those a full stop is a word of its own.
    """
    from nltk.tokenize import NLTKWordTokenizer

    words = NLTKWordTokenizer()
    return [word for sentence in _sentences().tokenize(text.lower()) for word in words.tokenize(sentence)]


def mean_of_all(reference: str, response: str, *, profile: str) -> float:
    """(BLEU + ROUGE-1 + ROUGE-2 + ROUGE-L) / 4, the paper's overall score, in [0, 1].

    A reference of one word has no pairs of words: in the profile `clean` ROUGE-2 then stays out of the mean.
    """
    measured = [of for of in ROUGES if of != "rouge2" or has_pairs(reference, profile=profile)]
    rouges = [rouge_f(reference, response, of=of, profile=profile) for of in measured]
    return (bleu(reference, response, profile=profile) + sum(rouges)) / (1 + len(measured))


@lru_cache(maxsize=1)
def _sentences() -> PunktSentenceTokenizer:
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    known = PunktParameters()
    known.abbrev_types.update(ABBREVIATIONS)
    return PunktSentenceTokenizer(known)


@lru_cache(maxsize=1)
def _sacrebleu() -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(lowercase=True, effective_order=True)
