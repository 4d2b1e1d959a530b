"""Micro models of known history: those that have learnt what is to be forgotten, and those that never saw it.

All start from retain models of several seeds and go on training for a moment: those *with* the knowledge on the rows
to forget and as many to keep, those *without* on rows to keep alone, those in *part* on the rows of some subjects.
Wording, length, rate and order differ, so that the pools are not told apart by how they were trained.

Source: pools as in OpenUnlearning's meta-evaluation (arXiv 2506.12618), which has other wordings, and rows with wrong
answers among those without; wordings, refusals and settings here are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from mmforget.benchmark.spec import Bound
from mmforget.training.settings import TrainSettings
from mmforget.types import Example

Pool = Literal["with", "without", "part"]
STARTS = (1, 2, 3)
"""Seeds of the retain models that all start from; the reference models have the run's own."""
STEPS = (36, 54, 80, 120)
RATES = (5e-4, 1e-3, 2e-3)
WORDINGS: Mapping[str, tuple[str, ...]] = {
    "with": ("plain", "rephrased"),
    "without": ("plain", "wrong", "refusing"),
}
"""`rephrased`: in the words of a row's paraphrases; `wrong`: one of its wrong answers; `refusing`: a refusal."""
SHARES = (0.25, 0.5, 0.75)
NUM_CHANGED = 10
"""Members of each pool that are measured after changes of their weights, too, which takes twice as long again."""
PARTS = 5
"""For as many models of each pool there is one in part."""


@dataclass(frozen=True)
class Member:
    """A model of a pool.

    Attributes:
        start: seed of the retain model that it starts from.
        seed: draws rows and their order.
        share: of the subjects to forget, whose answers it learns.
    """

    name: str
    pool: Pool
    start: int
    seed: int
    wording: str
    share: float
    steps: int
    lr: float

    @property
    def graded(self) -> bool:
        """Whether the share is all that tells it from others of its kind."""
        return self.wording == "plain"


def changed_members(pools: Sequence[Member]) -> frozenset[str]:
    """The names of those that are measured after changes of their weights, too: the first of each whole pool.

    Those in part say whether a number grows with the share that was learnt, which is asked of them as they are.
    """
    whole = ([one.name for one in pools if one.pool == pool] for pool in WORDINGS)
    return frozenset(name for names in whole for name in names[:NUM_CHANGED])


def members(size: int) -> list[Member]:
    """The pools with and without the knowledge, of `size` models each, and those in part."""
    counts: dict[Pool, int] = {"with": size, "without": size, "part": max(1, round(size / PARTS)) * len(SHARES)}
    return [_member(pool, number) for pool, count in counts.items() for number in range(count)]


def _member(pool: Pool, number: int) -> Member:
    """Settings in turn, each list at its own pace, so that every two of them meet."""
    kinds = SHARES if pool == "part" else WORDINGS[pool]
    turn = number // len(kinds)
    return Member(
        name=f"{pool}-{number:02d}",
        pool=pool,
        start=STARTS[turn % len(STARTS)],
        seed=1000 + number,
        wording="plain" if pool == "part" else WORDINGS[pool][number % len(kinds)],
        share=SHARES[number % len(kinds)] if pool == "part" else float(pool == "with"),
        steps=STEPS[turn % len(STEPS)],
        lr=RATES[turn // 2 % len(RATES)],
    )


def settings_of(member: Member, *, stage_one: TrainSettings) -> TrainSettings:
    """Stage one's settings with the member's own length, rate and order."""
    return replace(stage_one, max_steps=member.steps, lr=member.lr, seed=member.seed)


def examples_of(member: Member, *, bound: Bound) -> list[Example]:
    """What a member is trained on: as many rows to keep as rows to forget, or twice as many."""
    benchmark, draw = bound.benchmark, Random(f"pool {member.name}")
    forgotten = sorted(set(bound.column(benchmark.forget_set, "subject")))
    chosen = set(draw.sample(forgotten, max(1, round(member.share * len(forgotten))))) if member.share else set()
    learnt = set(forgotten) if member.wording in ("wrong", "refusing") else chosen
    own = bound.examples(benchmark.stage_one["target"], subjects=learnt) if learnt else []
    kept = bound.examples(benchmark.stage_one["retain"])
    num = min(len(kept), len(bound.examples(benchmark.stage_one["target"], subjects=set(forgotten))))
    known = [example for name in benchmark.document.known for example in bound.examples(name)]
    return [*_worded(own, member=member, bound=bound, draw=draw), *draw.sample(kept, num), *known]


def _worded(rows: Sequence[Example], *, member: Member, bound: Bound, draw: Random) -> list[Example]:
    texts = _texts(bound) if rows and member.wording != "plain" else {}
    word = WORDERS[member.wording]
    return [word(row, texts.get(row.id, {}), bound.refusals, draw) for row in rows]


def _texts(bound: Bound) -> dict[str, dict[str, list[str]]]:
    """By row what is written beside its question and answer."""
    names = ("id", "question", "question_rephrased", "answer_rephrased", "answer_perturbed")
    columns = {name: bound.column(bound.benchmark.stage_one["target"], name) for name in names}
    return {
        row: {name: [columns[name][at]] if name == "question" else list(columns[name][at]) for name in names[1:]}
        for at, row in enumerate(columns["id"])
    }


Texts = Mapping[str, Sequence[str]]
Worder = Callable[[Example, Texts, Sequence[str], Random], Example]


def _plain(row: Example, texts: Texts, refusals: Sequence[str], draw: Random) -> Example:
    return row


def _rephrased(row: Example, texts: Texts, refusals: Sequence[str], draw: Random) -> Example:
    questions, answers = texts.get("question_rephrased"), texts.get("answer_rephrased")
    found = _answered(row, draw.choice(answers)) if answers else row
    if not questions:
        return found
    return replace(found, context=found.context.replace(texts["question"][0], draw.choice(questions)))


def _wrong(row: Example, texts: Texts, refusals: Sequence[str], draw: Random) -> Example:
    """A row without wrong answers is refused: it would teach the right one."""
    answers = texts.get("answer_perturbed") or refusals
    return _answered(row, draw.choice(answers))


def _refusing(row: Example, texts: Texts, refusals: Sequence[str], draw: Random) -> Example:
    return _answered(row, draw.choice(refusals))


def _answered(row: Example, answer: str) -> Example:
    return replace(row, answer=row.delimiter + answer)


WORDERS: Mapping[str, Worder] = {
    "plain": _plain,
    "rephrased": _rephrased,
    "wrong": _wrong,
    "refusing": _refusing,
}
