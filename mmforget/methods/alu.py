"""Agents (ALU): an answer is audited, rewritten without what is to be forgotten, rated and put together, by prompts.

Source: Sanyal and Mandal 2025, "Agents Are All You Need for LLM Unlearning", https://arxiv.org/abs/2502.00406. Adapted:
all four roles are played by the model itself, in prompts of our own; each variant is asked for and rated alone, and a
rating is read off the critic's text by its form in place of another model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from mmforget.asking import Ask, Decoding, Engine, GuardEngine
from mmforget.errors import UserError
from mmforget.methods.arguments import require_positive
from mmforget.methods.base import Evidence, Grid
from mmforget.methods.material import Material
from mmforget.methods.naming import given_names, names_of
from mmforget.types import NoScores, NoText, TokenScores

logger = logging.getLogger(__name__)

REFUSAL = "I cannot help with that question."
MAX_AUDIT, MAX_RATING = 64, 128
"""Tokens that the auditor and the critic may write."""
LOWEST, HIGHEST = 1, 5
TEMPERATURE = 0.7
AUDIT = (
    "Forbidden subjects: {names}.\nQuestion: {question}\nAnswer: {answer}\nName every forbidden subject that the "
    "question or the answer is about, even if it is not called by its name. Write the word none if there is none."
)
ERASE = (
    "Forbidden subjects: {names}.\nQuestion: {question}\nAnswer: {answer}\nWrite the answer again so that it is still "
    "of use and says nothing at all about {found}."
)
RATE = (
    "Forbidden subjects: {names}.\nQuestion: {question}\nAnswer: {answer}\nHow well does the answer keep the forbidden "
    "subjects secret? Think step by step, and end with Rating: and a number from 1 (it gives them away) to 5 (nobody "
    "could guess them)."
)
COMPOSE = (
    "Forbidden subjects: {names}.\nQuestion: {question}\nAnswers:\n{answer}\nMake one answer of these. Add nothing, "
    "and say nothing about the forbidden subjects."
)


@dataclass(frozen=True)
class Agents:
    """Answers with what agents leave of the model's own answer, or with a refusal.

    The auditor names the subjects that an answer is about. Where there are some, the answer is written again `variants`
    times; where there is none, it is passed through. The critic rates each from 1 to 5. Where the mean of the `best`
    highest ratings is at least `threshold`, one answer is made of these, else it is refused: by the benchmark's first
    refusal where it has one. What cannot be read as a rating counts 1.

    It is text in and text out: log-probs, states and lenses are not defined, and a question whose prompts are longer
    than the model takes, as with many names, has no answer; both are said. Every role sees the question's images.
    `names` as those of icu.
    """

    names: str = ""
    variants: int = 5
    best: int = 3
    threshold: float = 4.0

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2502.00406"
    grid: ClassVar[Grid] = {"threshold": (2.0, 3.0, 4.0, 5.0)}

    def __post_init__(self) -> None:
        given_names(self.names)
        require_positive(variants=self.variants, best=self.best)
        if self.best > self.variants:
            raise UserError(f"best={self.best} of variants={self.variants} cannot be had; give best={self.variants}")
        if not LOWEST <= self.threshold <= HIGHEST:
            raise UserError(f"threshold={self.threshold} is no rating; give a number from {LOWEST} to {HIGHEST}")

    def start(self, material: Material) -> dict[str, Any]:
        """`names` of what is to be forgotten, and the `refusal`."""
        names = given_names(self.names) or tuple(names_of(material).values())
        return {"names": list(dict.fromkeys(names)), "refusal": next(iter(material.refusals), REFUSAL)}

    def guard(self, engine: Engine, state: Mapping[str, Any]) -> Engine:
        return _Team(engine, self, tuple(state["names"]), state["refusal"])


class _Draft(NamedTuple):
    """A way of answering a question, and what it is rated; `at` is the question's place."""

    at: int
    text: str
    rating: float = LOWEST


@dataclass(frozen=True)
class _Team(GuardEngine):
    """The roles, each asked about all questions at once."""

    method: Agents
    names: Sequence[str]
    refusal: str

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return [NoScores("agents answer in texts alone, whose log-probs are not defined") for _ in asks]

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        return self._answered(asks, list(self.engine.generate(asks)))

    def roll(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return self.score(asks)

    def _answered(self, asks: Sequence[Ask], answers: Sequence[str]) -> Sequence[str]:
        """`NoText` for a question whose prompts do not fit the model, beside which the others are answered."""
        try:
            return self._agreed(asks, answers)
        except UserError as error:
            if len(asks) == 1:
                return [NoText(f"the agents cannot be asked: {error}")]
        return [text for pair in zip(asks, answers, strict=True) for text in self._answered([pair[0]], [pair[1]])]

    def _agreed(self, asks: Sequence[Ask], answers: Sequence[str]) -> list[str]:
        named = self._audited(asks, answers)
        drafts = [_Draft(at, text) for at, text in enumerate(answers) if not named[at]]
        drafts += self._erased(asks, answers, named=named)
        rated = self._rated(asks, drafts)
        found = [self.refusal for _ in asks]
        merged = dict[int, list[_Draft]]()
        for at in range(len(asks)):
            best = sorted((one for one in rated if one.at == at), key=lambda one: -one.rating)[: self.method.best]
            if sum(one.rating for one in best) >= self.method.threshold * len(best):
                merged[at] = best
        for at, best in merged.items():
            found[at] = best[0].text
        several = {at: best for at, best in merged.items() if len({one.text for one in best}) > 1}
        composed = self._composed(asks, several)
        return [composed.get(at, text) for at, text in enumerate(found)]

    def _audited(self, asks: Sequence[Ask], answers: Sequence[str]) -> list[str]:
        """The subjects that each answer is about, in the auditor's words; empty where there is none."""
        pairs = zip(asks, answers, strict=True)
        said = self._ask([self._prompt(AUDIT, ask, answer=text, decoding=Decoding(MAX_AUDIT)) for ask, text in pairs])
        return ["" if re.search(r"\bnone\b", text, re.I) else text.strip() or "them" for text in said]

    def _erased(self, asks: Sequence[Ask], answers: Sequence[str], *, named: Sequence[str]) -> list[_Draft]:
        """Variants without what the auditor has named: one greedily, the others drawn by seeds of their own."""
        wanted = [(at, number) for at, one in enumerate(named) if one for number in range(self.method.variants)]
        prompts = [
            self._prompt(ERASE, asks[at], answer=answers[at], found=named[at], decoding=drawn(asks[at], number))
            for at, number in wanted
        ]
        return [_Draft(at, text.strip()) for (at, _), text in zip(wanted, self._ask(prompts), strict=True)]

    def _rated(self, asks: Sequence[Ask], drafts: Sequence[_Draft]) -> list[_Draft]:
        decoding = Decoding(MAX_RATING)
        prompts = [self._prompt(RATE, asks[one.at], answer=one.text, decoding=decoding) for one in drafts]
        ratings = list(map(rating_in, self._ask(prompts)))
        missing = ratings.count(None)
        if missing:
            logger.warning("the critic gave %d of %d answers no number; they count %d", missing, len(ratings), LOWEST)
        return [one._replace(rating=rating or LOWEST) for one, rating in zip(drafts, ratings, strict=True)]

    def _composed(self, asks: Sequence[Ask], chosen: Mapping[int, Sequence[_Draft]]) -> dict[int, str]:
        prompts = []
        for at, best in chosen.items():
            texts = "\n".join(f"- {one.text}" for one in best)
            prompts.append(self._prompt(COMPOSE, asks[at], answer=texts, decoding=drawn(asks[at], 0)))
        return dict(zip(chosen, (text.strip() for text in self._ask(prompts)), strict=True))

    def _prompt(self, words: str, ask: Ask, *, answer: str, decoding: Decoding, found: str = "") -> Ask:
        """A role's prompt in the place of what the user says, where a chat template has one; images stay in it."""
        start, stop = self.engine.first_words(ask.context), self.engine.last_words(ask.context)
        said = words.format(
            names=", ".join(self.names), question=ask.context[start:stop].strip(), answer=answer.strip(), found=found
        )
        behind = ask.context[stop:] or "\n"
        return replace(ask, context=ask.context[:start] + said + behind, decoding=decoding)

    def _ask(self, asks: Sequence[Ask]) -> list[str]:
        texts: dict[int, str] = {}
        for part in self.engine.batches(asks):
            texts |= zip(part, self.engine.generate([asks[at] for at in part]), strict=True)
        return [texts[at] for at in range(len(asks))]


def drawn(ask: Ask, number: int) -> Decoding:
    """How a role writes an answer of the same kind: greedily for number 0, else drawn by the number as a seed."""
    given = (ask.decoding or Decoding(MAX_RATING)).greedy
    return replace(given, do_sample=True, temperature=TEMPERATURE, seed=number) if number else given


def rating_in(text: str) -> int | None:
    """The last rating in a critic's text, else the last number from 1 to 5; None where there is none."""
    for pattern in (r"rating\W*\b([1-5])\b", r"(?<![\d.])([1-5])(?![\d.]*\d)"):
        found = re.findall(pattern, text, re.I)
        if found:
            return int(found[-1])
    return None


METHOD = Agents
