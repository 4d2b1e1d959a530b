"""Reveal-and-Release: what the model itself says of the subjects is what it forgets; joins with any loss.

Source: "Reveal and Release: Iterative LLM Unlearning with Self-generated Data", https://arxiv.org/abs/2509.14624; a
reconstruction, since its rewards, numbers of rounds and weights are not published. Instructions, the reward and all
defaults are ours. The paper chooses instructions by NeuralUCB, and here it is UCB1 (Auer et al. 2002) over a list; the
paper negates adapters (`task_vector+reveal_and_release`, without adapters for what is kept), here any loss forgets.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

from mmforget.asking import Decoding
from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive, text_of
from mmforget.methods.base import Evidence, Grid
from mmforget.methods.material import Material, by_subject
from mmforget.methods.naming import name_in
from mmforget.methods.revealing import Asking, Told, Write
from mmforget.types import Example

logger = logging.getLogger(__name__)

NAME = "{name}"
INSTRUCTIONS = (
    "Tell me everything you know about {name}.",
    "Who or what is {name}?",
    "What are the personal details of {name}?",
    "Give a short description of {name}.",
    "List facts about {name}.",
    "Answer a question about {name} as exactly as you can.",
)
SHOWN = "what the picture shows"
"""What a subject is called that has a picture and no name."""
STOPS = ("\n\n", "Question:")


class Subject(NamedTuple):
    """One that is to be forgotten.

    Attributes:
        called: its name, or `SHOWN`.
        telling: words that give it away.
    """

    rows: Sequence[Example]
    called: str
    telling: frozenset[str]


@dataclass(frozen=True)
class RevealAndRelease:
    """Puts questions and answers of the model's own in the place of the rows to forget, as many, and anew each round.

    A round begins with a choice of one instruction. In `budget` tries, each a text about the next subject, an
    instruction earns the share of the subject's telling words that stand in the text and not in the instruction:
    words of its answers to forget that are in no answer to keep, where there are such. The next try is that of the
    highest mean + exploration sqrt(2 ln tries / its tries), each having one first; `exploration=0` is greedy. The
    instruction with the highest mean is then answered once for every row, in that row's pictures. Texts of at most
    `max_tokens` tokens are drawn at `temperature`.

    `rounds` are equal shares of the updates: the rows are written before the first one of each, by the model as it is
    by then. `instructions`: a file of one a line in place of ours, where {name} stands for the subject's name.
    """

    evidence: ClassVar[Evidence] = "reconstruction"
    paper: ClassVar[str] = "https://arxiv.org/abs/2509.14624"
    grid: ClassVar[Grid] = {"rounds": (1, 2, 4), "temperature": (0.3, 0.7, 1.0)}

    rounds: int = 2
    budget: int = 12
    exploration: float = 1.0
    instructions: str = ""
    max_tokens: int = 32
    temperature: float = 0.7

    def __post_init__(self) -> None:
        require_not_negative(exploration=self.exploration)
        require_positive(temperature=self.temperature)
        for name in ("rounds", "budget", "max_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is not allowed; give a whole number of at least 1")
        # A file that cannot be read is said before anything is made.
        _ = self.candidates

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """The instructions that are tried. Raises UserError for a file that is not there or holds none."""
        if not self.instructions:
            return INSTRUCTIONS
        lines = text_of("instructions", self.instructions).splitlines()
        found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
        if not found:
            raise UserError(f"instructions={self.instructions}: holds no instruction; write one a line")
        return found

    @property
    def besides(self) -> str:
        """What it costs beside the steps of the loss that it is joined with, for lists."""
        return (
            f"the model writes, {self.rounds} times in a training, {self.budget} texts and one for each row to forget, "
            f"of at most {self.max_tokens} tokens each"
        )

    def lacks(self, material: Material) -> str:
        """Why the model cannot be asked about these rows' subjects; empty where it can."""
        names = _concepts(material)
        return next((why for rows in by_subject(material.forget).values() if (why := _fault(rows, concepts=names))), "")

    def reveal(self, material: Material, write: Write, *, seed: int) -> list[Told]:
        """A question and the model's answer for each row to forget; empty where it says nothing of the subject.

        Raises UserError for a subject that has neither a name nor a picture, and for whole documents.
        """
        subjects = subjects_of(material)
        best = self._choose(list(subjects.values()), write, seed=seed)
        asked = [
            self._asking(row, best, called=subjects[row.subject].called, seed=seed + self.budget + number)
            for number, row in enumerate(material.forget)
        ]
        texts = [text.strip() for text in write(asked)]
        said = {row.subject: text for row, text in zip(material.forget, texts, strict=True) if text}
        whole = [text or said.get(row.subject, "") for row, text in zip(material.forget, texts, strict=True)]
        return [Told(one.question, text) for one, text in zip(asked, whole, strict=True)]

    def _choose(self, subjects: Sequence[Subject], write: Write, *, seed: int) -> str:
        """The instruction that earned most in the tries that there are."""
        earned: list[list[float]] = [[] for _ in self.candidates]
        first = range(min(self.budget, len(earned)))
        self._try(list(first), earned, subjects=subjects, write=write, seed=seed)
        for number in range(len(first), self.budget):
            arm = next_arm(earned, exploration=self.exploration)
            self._try([arm], earned, subjects=subjects, write=write, seed=seed + number)
        means = [_mean(one) for one in earned]
        best = max(range(len(means)), key=lambda arm: means[arm])
        logger.info("the instruction %r reveals most, a share of %.3f", self.candidates[best], means[best])
        return self.candidates[best]

    def _try(
        self, arms: Sequence[int], earned: list[list[float]], *, subjects: Sequence[Subject], write: Write, seed: int
    ) -> None:
        """Has these instructions answered, together, each about its next subject, and adds what they earn."""
        chosen = [subjects[len(earned[arm]) % len(subjects)] for arm in arms]
        asked = [
            self._asking(one.rows[0], self.candidates[arm], called=one.called, seed=seed + number)
            for number, (arm, one) in enumerate(zip(arms, chosen, strict=True))
        ]
        for arm, one, question, text in zip(arms, chosen, asked, write(asked), strict=True):
            earned[arm].append(reward(text, telling=one.telling, question=question.question))

    def _asking(self, row: Example, instruction: str, *, called: str, seed: int) -> Asking:
        decoding = Decoding(self.max_tokens, STOPS, do_sample=True, temperature=self.temperature, seed=seed)
        return Asking(row, instruction.replace(NAME, called), decoding)


def subjects_of(material: Material) -> dict[str, Subject]:
    """What is to be forgotten, in the rows' order, with names and telling words.

    Raises UserError for a subject that has neither a name nor a picture, and for whole documents.
    """
    kept = words_in(" ".join(row.answer for row in material.retain))
    found, concepts = {}, _concepts(material)
    for subject, rows in by_subject(material.forget).items():
        fault = _fault(rows, concepts=concepts)
        if fault:
            raise UserError(fault)
        name = _name(rows, concepts=concepts)
        own = words_in(" ".join(row.answer for row in rows))
        found[subject] = Subject(rows, name or SHOWN, own - kept or own)
    return found


def reward(text: str, *, telling: frozenset[str], question: str) -> float:
    """The share of telling words that stand in a text and not in its question, in [0, 1]; 0 where there are none."""
    return len(telling & (words_in(text) - words_in(question))) / max(1, len(telling))


def next_arm(earned: Sequence[Sequence[float]], *, exploration: float) -> int:
    """What UCB1 tries next, by the rewards of each so far: the first that has none, else the highest upper bound."""
    untried = next((arm for arm, rewards in enumerate(earned) if not rewards), None)
    if untried is not None:
        return untried
    tries = sum(map(len, earned))
    bounds = [_mean(one) + exploration * math.sqrt(2 * math.log(tries) / len(one)) for one in earned]
    return max(range(len(bounds)), key=lambda arm: bounds[arm])


def words_in(text: str) -> frozenset[str]:
    """The words of a text, whatever their case."""
    return frozenset(re.findall(r"\w+", text.casefold()))


def _mean(rewards: Sequence[float]) -> float:
    """-1 for what was never tried."""
    return sum(rewards) / len(rewards) if rewards else -1.0


def _concepts(material: Material) -> frozenset[str]:
    return frozenset(concept.name for concept in material.concepts)


def _name(rows: Sequence[Example], *, concepts: frozenset[str]) -> str | None:
    return rows[0].subject if rows[0].subject in concepts else name_in(rows)


def _fault(rows: Sequence[Example], *, concepts: frozenset[str]) -> str:
    """Why the model cannot be asked about a subject; empty where it can."""
    document = next((row.id for row in rows if row.is_document), None)
    if document is not None:
        return f"row '{document}' is a whole document, and the model is asked for answers to questions"
    if _name(rows, concepts=concepts) is None and not all(row.images for row in rows):
        return f"subject '{rows[0].subject}' has neither a name nor a picture that the model could be asked about"
    return ""


METHOD = RevealAndRelease
