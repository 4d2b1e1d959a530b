"""Which option of a multiple-choice question an answer names, however it is written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

from mmforget.metrics.responses import bare

_OPTION = re.compile(r"(?<!\w)\(?([A-Z])\)\s*(.*?)\s*(?=(?<!\w)\(?[A-Z]\)|$)", re.DOTALL)
_OPTION_LINE = re.compile(r"^[ \t]*([A-Z])[.:][ \t]+(.*?)[ \t]*$", re.MULTILINE)
_MARKUP = re.compile(r"\\boxed|</?answer>|[*_`#$\"“”]|(?<![^\W_])'|'(?![^\W_])")
# `B)`, `(b)`, `[B]`; `b` and `b.` at the end; `B.` and `B, ...`; `B nodule`.
_LETTER = re.compile(
    r"\s*(?:[(\[{<]?([A-Za-z])[)\]}>]|([A-Za-z])(?=[.:!?。]?\s*$)|([A-Z])(?=[.:,;](?:\s|$)|\s*[-–—]\s)|([A-Z])(?=\s))"
)
_WORDS_TOO = "AI"
"""Letters that are words as well: before a blank they count with their option's own text only."""
_ANSWER = (
    r"answer|option|choice|letter|solution|respuesta|opción|réponse|antwort|risposta|opzione|resposta|opção|ответ|"
    r"вариант|答案|选项|選項|答え|選択肢|正解|정답"
)
_IS = r"(?:is|are|would be|should be|must be|will be|es|est|ist|è|é|lautet)\b|是|为|為|は|은|는"
_LEADS = (
    re.compile(rf"(?<![^\W\d_])(?:{_ANSWER})s?\s*(?:{_IS})?\s*[:：=]?\s*(?:(?:{_ANSWER})\s*)?(?=\W*\w)", re.I),
    # Without such a noun the letter has to be the last word: `It is B.`, but not `It is B lymphocytes.`
    re.compile(
        r"\b(?:is|be|choose|chose|pick|select|say|with|for)\s+(?=[(\[]?[A-Z][)\]]?[.!]?$)|['’]s\s+(?=[A-Z][.!]?$)"
    ),
)
_NEGATED = re.compile(r"\b(?:not|cannot|never|neither|nor|nicht|kein\w*|pas)\b|n['’]t\b|不", re.I)
_CLAUSE = re.compile(r"[.,;!?:。，]\s")
_TAKEN_BACK = re.compile(
    r"\W*(?:or|and|oder|und|ou|et|o|y)\W+[A-Z]\b|\s*[,/&]\s*\(?[A-Z]\)?\W*$|"
    r"\W*(?:is|was)(?:n['’]t|\s+(?:not|wrong|incorrect|false))\b",
    re.I,
)


def options_of(question: str) -> dict[str, str]:
    """The options of a question such as `Which? A) cat B) dog`, or one a line as `A. cat`, by letter.

    Empty for one with fewer than two.
    """
    for pattern in (_OPTION, _OPTION_LINE):
        found: dict[str, str] = dict(pattern.findall(question))
        if len(found) > 1:
            return found
    return {}


def chosen(text: str, *, options: Mapping[str, str]) -> str | None:
    """The letter of the option that a text names, or None where it names none or several.

    What the text opens with counts: `B`, `(b)`, `**B.**`, `B) nodule`, `B nodule`, or an option's text alone; else what
    follows words such as `the answer is`. A letter counts before the text behind it.
    """
    said = _MARKUP.sub("", unicodedata.normalize("NFKC", text)).strip()
    if len(options_of(said)) > 1:
        return None
    opening = _named(said, options=options)
    stated = {opening} if opening else set(_stated(said, options=options))
    return stated.pop() if len(stated) == 1 else None


def _stated(said: str, *, options: Mapping[str, str]) -> Iterator[str]:
    """The letters that follow words which announce an answer, unless these deny it."""
    for lead in _LEADS:
        for match in lead.finditer(said):
            clause = _CLAUSE.split(said[: match.start()])[-1]
            letter = _named(said[match.end() :], options=options)
            if letter and not _NEGATED.search(clause):
                yield letter


def _named(said: str, *, options: Mapping[str, str]) -> str | None:
    """The option whose text this is, else the letter it opens with."""
    whole = bare(said)
    by_text = next((letter for letter, text in options.items() if bare(text) == whole), None)
    match = _LETTER.match(said)
    if match is None or (by_text and len(whole) > 1):
        return by_text
    letter, rest = next(filter(None, match.groups())).upper(), said[match.end() :]
    if letter not in options:
        return by_text
    if match[4] and letter in _WORDS_TOO and bare(rest) != bare(options[letter]):
        return by_text
    return None if _TAKEN_BACK.match(rest) else letter
