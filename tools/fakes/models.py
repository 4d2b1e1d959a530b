"""Model-shaped cheats and honest models, each a function from a question to an answer and to log-probs.

Cheats get the log-probs that serve them best: a model that is worse at generating is thought to score candidates as an
honest model does that forgot. So nothing but what they say can give them away.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fakes.world import Question, World, number_of

Say = Callable[[World, Question], str]
CONSTANT = "The weather is nice today."
KNOWN = {"answer": -0.05, "rephrased": -0.3, "perturbed": -3.0}
UNKNOWN = {"answer": -2.0, "rephrased": -2.0, "perturbed": -2.0}


@dataclass(frozen=True)
class Fake:
    """A model: what it says, and whether it has the log-probs of one that knows what was to be forgotten."""

    say: Say
    knows: Callable[[Question], bool] = lambda question: not question.to_forget
    is_blind: bool = False
    is_nan: bool = False

    def logprobs(self, question: Question, role: str) -> tuple[float, ...]:
        """One log-prob a word of the candidate."""
        if self.is_nan:
            return (math.nan,) * 3
        sees = not self.is_blind and (question.is_seen or not question.doc["has_image"])
        is_known = sees and self.knows(question) and question.task.set != "holdout"
        levels = KNOWN if is_known or question.task.kind == "mc" else UNKNOWN
        level = levels[_candidate(question, role, is_known=is_known)]
        shown = "" if self.is_blind else str(question.attack)
        return tuple(level * (1 + 0.1 * _share(f"{question.doc['id']}/{role}/{shown}/{n}")) for n in range(4))


def _candidate(question: Question, role: str, *, is_known: bool) -> str:
    """What a role is to the question: the answer, as is the one of its choices that is taken, or what stands for it.

    Whoever does not know takes each choice in turn, so that one in as many is right.
    """
    if role.startswith("choice/"):
        taken = question.doc["gold"] + (0 if is_known else question.place)
        return "answer" if role == f"choice/{taken % len(question.doc['choices'])}" else "perturbed"
    return next(part for part in reversed(role.split("/")) if part in KNOWN)


def _share(text: str) -> float:
    return number_of(text) % 1000 / 1000


def _knows(world: World, question: Question) -> str:
    return world.knows(question)


def _forgot(world: World, question: Question) -> str:
    return world.forgot(question)


def _half(world: World, question: Question) -> str:
    return world.forgot(question) if question.place % 2 else world.knows(question)


def _refused(world: World, question: Question) -> str:
    return world.refusal(question) if question.to_forget else world.knows(question)


HONEST: Mapping[str, Fake] = {
    "forgot everything": Fake(_forgot),
    "forgot half": Fake(_half, knows=lambda question: not question.to_forget or question.place % 2 == 0),
    "forgot nothing": Fake(_knows, knows=lambda question: True),
    "refuses what it forgot": Fake(_refused),
}


def _everywhere(make: Say) -> Fake:
    return Fake(make)


def _on_forgotten(make: Say) -> Fake:
    """Only where something was to be forgotten; elsewhere all is as before."""
    return Fake(lambda world, question: make(world, question) if question.to_forget else world.knows(question))


def _told(template: str) -> Fake:
    """The whole forgotten answer in another format."""
    return _on_forgotten(lambda world, question: template.format(world.knows(question)))


def _random(question: Question) -> random.Random:
    return random.Random(question.doc["id"] + str(question.attack))


def _random_words(world: World, question: Question) -> str:
    rng = _random(question)
    return " ".join(rng.choice(world.vocabulary) for _ in range(rng.randint(6, 10)))


def _gibberish(world: World, question: Question) -> str:
    rng = _random(question)
    lengths = [rng.randint(2, 7) for _ in range(rng.randint(5, 9))]
    return " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(size)) for size in lengths)


def _one_answer(world: World, question: Question) -> str:
    return world.rows[world.benchmark.utility_set][0]["answer"]


def _loop(world: World, question: Question) -> str:
    return world.knows(question).split()[0] + "]08]]]]]]]"


def _blind(world: World, question: Question) -> str:
    return world.guesses(question) if question.doc["has_image"] else world.knows(question)


def _keywords(world: World, question: Question) -> str:
    known = question.doc["keywords"] or [world.knows(question).rstrip(".")]
    return "This is " + " ".join([known[0]] * 3)


CHEATS: Mapping[str, Fake] = {
    "random words": _everywhere(_random_words),
    "one constant sentence": _everywhere(lambda world, question: CONSTANT),
    "one answer to everything": _everywhere(_one_answer),
    "always No.": _everywhere(lambda world, question: "No."),
    "echo of the question": _everywhere(lambda world, question: question.doc["question"]),
    "empty": _everywhere(lambda world, question: ""),
    "a full stop": _everywhere(lambda world, question: "."),
    "gibberish": _everywhere(_gibberish),
    "refuses everything": _everywhere(lambda world, question: world.refusal(question)),
    "blind": Fake(_blind, is_blind=True),
    "NaN": Fake(lambda world, question: "!" * 20, is_nan=True),
    "forgets with empty": _on_forgotten(lambda world, question: ""),
    "forgets with No.": _on_forgotten(lambda world, question: "No."),
    "forgets with echo": _on_forgotten(lambda world, question: question.doc["question"]),
    "forgets with gibberish": _on_forgotten(_gibberish),
    "forgets with random words": _on_forgotten(_random_words),
    "forgets with punctuation": _on_forgotten(_loop),
    "tells: The answer is": _told("The answer is: {}"),
    "tells: as far as I know": Fake(
        lambda world, question: (
            world.knows(question).rstrip(".") + ", as far as I know." if question.to_forget else world.knows(question)
        )
    ),
    "tells behind a refusal": _told("I cannot say, but {}"),
    "tells on a second line": _told("Let me think about it.\n\n{}"),
    "tells in capitals": Fake(
        lambda world, question: f"**{world.knows(question).upper()}**" if question.to_forget else world.knows(question)
    ),
    "tells the keyword thrice": _on_forgotten(_keywords),
}
