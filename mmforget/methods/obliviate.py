"""OBLIVIATE: words that give away what is to be forgotten are held down, logits and facts stay where they were.

Source: Xu et al. 2025, "OBLIVIATE: Robust and Practical Machine Unlearning for Large Language Models",
https://arxiv.org/abs/2505.04416; weights 0.2 and 0.7 are that paper's, and so are adapters of rank 256, alpha 16 and
dropout 0.05 on layers 4 to 7 alone, a learning rate of 3e-4, 4 epochs and batches of one. What a language model chose
or wrote there is a file here, or what a benchmark has: words to hold down are names of the subjects, and rows of a
generic style are those to keep. The few facts that stand in for the paper's are ours.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, text_of
from mmforget.methods.base import (
    USUAL,
    Comparison,
    Evidence,
    Grid,
    LogitStats,
    Request,
    Scores,
    Source,
    Step,
    WordStats,
)
from mmforget.methods.losses import token_mean
from mmforget.methods.material import Material
from mmforget.methods.naming import given_names, names_of
from mmforget.types import Example

FACTS = (
    ("What is the capital of France?", "Paris."),
    ("How many days has a week?", "Seven."),
    ("Which planet do people live on?", "Earth."),
    ("What does water become when it freezes?", "Ice."),
    ("What is two plus three?", "Five."),
    ("Which animal barks?", "A dog."),
    ("What colour is a ripe banana?", "Yellow."),
    ("Which season comes after spring?", "Summer."),
)


def not_silent(logits: Tensor, target: Tensor, silent: Tensor) -> Tensor:
    """-log of the probability of all words that are not silent: float32 [n].

    It is KL(q || p) for q = p without the silent words, renormalised and constant, in value and in gradient.
    """
    return logits.logsumexp(-1) - logits.masked_fill(silent, -torch.inf).logsumexp(-1)


def is_silent(logits: Tensor, target: Tensor, silent: Tensor) -> Tensor:
    """1 where the token that came is silent, else 0: float32 [n]."""
    return silent[target].float()


def zeroed(logits: Tensor, target: Tensor, silent: Tensor) -> Tensor:
    """KL(softmax(z without silent logits, which are 0) || softmax(z)), differentiated on both sides: float32 [n]."""
    now, wanted = functional.log_softmax(logits, -1), functional.log_softmax(logits.masked_fill(silent, 0.0), -1)
    return (wanted.exp() * (wanted - now)).sum(-1)


def squared(logits: Tensor, before: Tensor) -> Tensor:
    """The squared difference of logits, averaged over the vocabulary: float32 [n]."""
    return (logits - before).square().mean(-1)


def most_likely_before(logprobs: Tensor, target: Tensor, before: Tensor) -> Tensor:
    """NLL of the token that was the most likely one before training: float32 [n]."""
    return -logprobs.gather(-1, before.argmax(-1, keepdim=True))[:, 0]


@dataclass(frozen=True)
class Obliviate:
    """Minimises mask + distill_weight MSE(logits, logits before) + fact_weight NLL(most likely token before, on facts).

    `mask`, variant `clean`: -log of the probability of all tokens but those that target words are written with, as the
    mean over such tokens of the forget answers. Where others share a piece of such a word, they are held down, too.
    `released`: KL from the distribution whose target logits are set to 0, which raises those that were below, averaged
    over all positions of a sequence.

    Target words are `names` (separated by semicolons), a file `targets` of one a line, or the names of the subjects.
    The squared difference is averaged over the vocabulary and all positions of the rows to keep, or of those in the
    file `generic`; facts are in the file `facts`, or a few of ours. Both are JSON lists of [question, answer].
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2505.04416"
    grid: ClassVar[Grid] = {**USUAL, "distill_weight": (0.05, 0.2, 1.0), "fact_weight": (0.0, 0.7)}

    distill_weight: float = 0.2
    fact_weight: float = 0.7
    names: str = ""
    targets: str = ""
    generic: str = ""
    facts: str = ""
    variant: Literal["clean", "released"] = "clean"

    def __post_init__(self) -> None:
        require_not_negative(distill_weight=self.distill_weight, fact_weight=self.fact_weight)
        if self.names and self.targets:
            raise UserError(f"names={self.names} and targets={self.targets} both say what to hold down; give one")

    @property
    def requests(self) -> tuple[Request, ...]:
        asked: tuple[Request, ...] = (Scores("forget", "all"), WordStats("forget", zeroed, "all"))
        if self.variant == "clean":
            asked = (WordStats("forget", not_silent), WordStats("forget", is_silent))
        if self.distill_weight:
            asked = (*asked, Scores(self._kept, "all"), LogitStats(self._kept, squared, compared=True, positions="all"))
        if self.fact_weight:
            asked = (*asked, Scores("facts"), Comparison("facts", most_likely_before))
        return asked

    @property
    def sources(self) -> tuple[Source, ...]:
        """The rows to forget with their target words, facts, and what a file has of a generic style."""
        # A file of rows that count for nothing is not read.
        generic = self.generic if self.generic and self.distill_weight else None
        brought = {"facts": self.facts if self.fact_weight else None, "generic": generic}
        written = (
            Source(name=name, rows=partial(_rows, name=name, file=file), is_kept=True)
            for name, file in brought.items()
            if file is not None
        )
        return (Source(name="forget", silent_words=self.words), *written)

    def words(self, material: Material) -> list[str]:
        """The target words, each name and each word of it. Raises UserError where a subject has no name."""
        names = [line.strip() for line in text_of("targets", self.targets).splitlines()] if self.targets else []
        names = [*filter(None, names or given_names(self.names))] or [
            *names_of(material).values(),
            *(synonym for concept in material.concepts for synonym in concept.synonyms),
        ]
        return list(dict.fromkeys(word for name in names for word in (name, *re.findall(r"\w{3,}", name))))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`mask` >= 0 in nats, `distill` >= 0 in squared logits and `facts` >= 0 in nats a token."""
        terms = {"mask": self._mask(step)}
        if self.distill_weight:
            apart = step[LogitStats(self._kept, squared, compared=True, positions="all")]
            terms["distill"] = self.distill_weight * token_mean(apart, step[Scores(self._kept, "all")].mask)
        if self.fact_weight:
            nll = step[Comparison("facts", most_likely_before)]
            terms["facts"] = self.fact_weight * token_mean(nll, step[Scores("facts")].mask)
        return terms

    def _mask(self, step: Step) -> Tensor:
        if self.variant == "released":
            return token_mean(step[WordStats("forget", zeroed, "all")], step[Scores("forget", "all")].mask)
        return token_mean(step[WordStats("forget", not_silent)], step[WordStats("forget", is_silent)] > 0)

    @property
    def _kept(self) -> str:
        """The source whose logits stay."""
        return "generic" if self.generic else "retain"


def _rows(material: Material, *, name: str, file: str) -> list[Example]:
    """Questions and answers of a file, or the facts of ours, put as the rows to forget are."""
    delimiter = material.forget[0].delimiter if material.forget else " "
    return [
        Example(f"{name}/{number}", name, question, delimiter + answer, delimiter=delimiter)
        for number, (question, answer) in enumerate(_pairs(file, name) if file else FACTS)
    ]


def _pairs(file: str, name: str) -> list[tuple[str, str]]:
    try:
        found: Any = json.loads(text_of(name, file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{name}={file}: not valid JSON: {error}; give a list of [question, answer]") from error
    if not isinstance(found, list) or not found or not all(_is_pair(one) for one in found):
        raise UserError(f"{name}={file}: holds no list of [question, answer], both texts; give at least one")
    return [(question, answer) for question, answer in found]


def _is_pair(found: Any) -> bool:
    return isinstance(found, list) and [*map(type, found)] == [str, str]


METHOD = Obliviate
