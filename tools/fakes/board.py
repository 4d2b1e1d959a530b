"""From fakes to a board by the code that real models go through: samples, judge, metrics, headline, verdict, ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fakes.models import CHEATS, HONEST, Fake
from fakes.world import Question, World
from mmforget.benchmark.document import TaskLabel
from mmforget.benchmark.rows import scored_texts
from mmforget.evaluation.answers import Answers
from mmforget.evaluation.record import score_record
from mmforget.evaluation.samples import Attempt, samples_of
from mmforget.leaderboard.board import Board, BoardRow, boards
from mmforget.leaderboard.over_seeds import join_seeds
from mmforget.pipeline.judging import find_judge, judged
from mmforget.results.rules import FORGOTTEN_FROM, PARTLY_FROM
from mmforget.results.schema import BenchmarkUse, MethodUse, Provenance, RunRecord, SetUse
from mmforget.results.store import StoredRun
from mmforget.types import Sample, TokenScores

SEEDS = (0, 1)
PROVENANCE = Provenance("0", None, None, {}, "", "", "none", 1, {}, (), "", 0.0, 0)


def _standing(forget_score: float) -> str:
    """What a forget score comes to, whatever attacks find."""
    if forget_score >= FORGOTTEN_FROM:
        return "forgotten"
    return "partly" if forget_score >= PARTLY_FROM else "remembered"


@dataclass(frozen=True)
class Result:
    """What a fake comes to: its row on the board with all honest models and cheats."""

    name: str
    is_cheat: bool
    row: BoardRow

    @property
    def status(self) -> str:
        """The verdict; what the forget score comes to where nothing but attacks is missing for one."""
        verdict, score = self.row.record.verdict, self.value("forget_score")
        if verdict is None:
            return "none"
        return _standing(score) if verdict.status == "undecided" and score is not None else verdict.status

    def value(self, name: str) -> float | None:
        return self.row.headline(name).value

    @property
    def place(self) -> tuple[bool, float]:
        """Sorts as the board does: collapsed ones last, then by the overall number."""
        return (self.row.collapsed, -(self.value("overall") or 0.0))


def results_of(world: World) -> list[Result]:
    """Every fake on one benchmark, scored and ranked together with target and retain model."""
    found = board_of(world)
    rows = {row.record.name: row for row in found.rows}
    return [Result(name, name in CHEATS, rows[name]) for name in (*HONEST, *cheats_on(world))]


def cheats_on(world: World) -> Mapping[str, Fake]:
    """The cheats that there can be: nobody is blind where nothing is shown."""
    return {name: fake for name, fake in CHEATS.items() if name != "blind" or world.benchmark.modality == "image"}


def board_of(world: World) -> Board:
    fakes = {**HONEST, **cheats_on(world)}
    target = answers_of(world, HONEST["forgot nothing"])
    retain = answers_of(world, HONEST["forgot everything"]) if world.benchmark.has_retain_model else None
    records = [_scored(world, "target", target, role="target", target=target, retain=retain)]
    if retain is not None:
        records.append(_scored(world, "retain", retain, role="retain", target=target, retain=retain))
    for name, fake in fakes.items():
        own = answers_of(world, fake)
        records.append(_scored(world, name, own, role="unlearned", target=target, retain=retain))
    (found,) = boards(join_seeds([run for record in records for run in _trained(record)]))
    return found


def _trained(record: RunRecord) -> list[StoredRun]:
    """A record as it is found on disk; of a method twice, since what was trained with one seed has no rank."""
    if record.role != "unlearned":
        return [StoredRun(record, Path(f"runs/{record.name}/results.json"), {})]
    again = [
        replace(
            record,
            method=MethodUse(record.name, {}, seed, ""),
            model_info={**record.model_info, "fingerprint": f"{record.name} {seed}"},
        )
        for seed in SEEDS
    ]
    return [StoredRun(one, Path(f"runs/{record.name}/{seed}/results.json"), {}) for seed, one in enumerate(again)]


def answers_of(world: World, fake: Fake) -> Answers:
    """What a fake answers to every question, labelled by rules where the benchmark's metrics ask a judge."""
    by_task: dict[tuple[str, str | None], list[Question]] = {}
    for question in world.questions:
        by_task.setdefault((question.task.name, question.attack), []).append(question)
    samples = []
    for (name, attack), questions in by_task.items():
        task = questions[0].task
        label = TaskLabel(world.benchmark.name, task.set, task.kind, task.modality)
        pairs = [pair for number, one in enumerate(questions) for pair in _answers(world, fake, one, number=number)]
        requests, answers = [request for request, _ in pairs], [answer for _, answer in pairs]
        samples += samples_of(
            name, label=label, requests=requests, answers=answers, attempt=Attempt(attack, 0) if attack else None
        )
    judge = find_judge("rules", bound=world.bound)
    return judged(samples, benchmark=world.benchmark, judge=judge).samples


def _answers(world: World, fake: Fake, question: Question, *, number: int) -> list[tuple[Any, Any]]:
    """Requests and answers as lm_eval has them: one text, or one pair for each candidate."""
    if question.task.kind == "gen":
        return [(SimpleNamespace(doc_id=number, idx=0, doc=question.doc), fake.say(world, question))]
    return [
        (
            SimpleNamespace(doc_id=number, idx=index, doc=question.doc),
            TokenScores(fake.logprobs(question, role), is_greedy=False),
        )
        for index, role in enumerate(scored_texts(question.doc, kind=question.task.kind))
    ]


def _scored(
    world: World,
    name: str,
    samples: Sequence[Sample],
    *,
    role: Any,
    target: Sequence[Sample],
    retain: Sequence[Sample] | None,
) -> RunRecord:
    benchmark = world.benchmark
    asked = Counter(question.task.set for question in world.questions)
    sets = {name: SetUse(number, number, 1, name) for name, number in asked.items()}
    record = RunRecord(
        role=role,
        name=name,
        benchmark=BenchmarkUse(
            benchmark.name, benchmark.setting, "clean", benchmark.group, benchmark.title, benchmark.modality
        ),
        method=None,
        model_info={"pretrained": "fake", "fingerprint": name},
        data={"source": "synthetic"},
        provenance=PROVENANCE,
        sets=sets,
        references={"target": "target", **({"retain": "retain"} if retain is not None else {})},
    )
    # What the data lack is the benchmark's matter, not the models'.
    return score_record(record, bound=world.bound, samples=samples, target=target, retain=retain)
