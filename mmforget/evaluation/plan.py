"""What an evaluation will do, before it does it: a plain list of steps, printable by `--dry-run`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmforget.attacks.base import Attack, build_attack, reaches
from mmforget.attacks.naming import attack_names
from mmforget.benchmark.document import AttackName
from mmforget.benchmark.instances import limited
from mmforget.benchmark.spec import Benchmark, Bound, TaskSpec
from mmforget.errors import NothingToRun
from mmforget.evaluation.attacking import APPLIES_TO_NONE, why_not_behind_a_guard
from mmforget.evaluation.samples import BLANK_IMAGE
from mmforget.evaluation.tasks import LeftOut


@dataclass(frozen=True)
class PlannedTask:
    """One task asked of one model, as it is or under an attack.

    Attributes:
        num_rows: questions that will be asked; None where that is only known with the data at hand.
    """

    model: str
    task: str
    set: str
    kind: str
    modality: str
    attack: str | None
    num_rows: int | None


@dataclass(frozen=True)
class Evaluations:
    """Every step in order, and the tasks that are left out with the reason."""

    benchmark: str
    steps: tuple[PlannedTask, ...]
    left_out: tuple[LeftOut, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "benchmark": self.benchmark,
            "steps": [asdict(step) for step in self.steps],
            "left_out": [item._asdict() for item in self.left_out],
        }

    def text(self) -> str:
        """The same as lines for people: each task once, with the models it is asked of."""
        asked: dict[tuple[str, str | None], list[PlannedTask]] = {}
        for step in self.steps:
            asked.setdefault((step.task, step.attack), []).append(step)
        models = list(dict.fromkeys(step.model for step in self.steps))
        lines = [f"{self.benchmark}: {len(asked)} evaluations of {len(models)} models ({', '.join(models)})"]
        lines += [f"  {_line(steps[0])}" for steps in asked.values()]
        lines += [f"  left out: {item.task} ({item.reason})" for item in self.left_out]
        return "\n".join(lines)


def plan(
    asked: Benchmark | Bound,
    *,
    models: Sequence[str],
    counts: Mapping[str, int] | None = None,
    limit: float | None = None,
    blank_image: bool = True,
    attacks: Sequence[AttackName] = (),
    guarded: Collection[str] = (),
) -> Evaluations:
    """The steps of evaluating models on a benchmark. Asks no model anything.

    Args:
        asked: the benchmark; where it is bound to its data, rows are loaded and counted unless `counts` says them.
        models: names, in the order in which they will be asked.
        counts: rows of each set by name, where known already. Sets without a count have unknown numbers.
        limit: questions of each task, or their share where below 1.
        blank_image: whether image tasks are asked again with grey images.
        attacks: those that are made beside the document's.
        guarded: the models with a guard before them, on which only attacks by questions are made.

    Raises NothingToRun where no task is left, what loading the rows raises, and what `build_attack` does.
    """
    benchmark = asked.benchmark if isinstance(asked, Bound) else asked
    known = count_rows(asked) if counts is None and isinstance(asked, Bound) else dict(counts or {})
    left_out = tuple(
        LeftOut(task.name, f"the data have no rows for the {task.set} set")
        for task in benchmark.tasks
        if known.get(task.set) == 0
    )
    present = [task for task in benchmark.tasks if known.get(task.set) != 0]
    made = {BLANK_IMAGE: build_attack(BLANK_IMAGE)} if blank_image else {}
    made |= {
        one.key: build_attack(one.attack, one.args) for one in attack_names([*benchmark.document.attacks, *attacks])
    }
    reached = {task.name: _reaching(made, task=task, forget_set=benchmark.forget_set) for task in present}
    barred = {key: why for key, attack in made.items() if (why := why_not_behind_a_guard(attack)) is not None}
    steps = [
        step
        for model in models
        for task in present
        for step in _steps(task, model=model, num_rows=_limited(known.get(task.set), limit), attacks=reached[task.name])
        if model not in guarded or step.attack not in barred
    ]
    idle = [key for key in made if key != BLANK_IMAGE and not any(key in keys for keys in reached.values())]
    left_out += tuple(LeftOut(f"attack {key}", APPLIES_TO_NONE) for key in idle)
    left_out += tuple(
        LeftOut(f"attack {key} on {name}", why) for name in guarded for key, why in barred.items() if key not in idle
    )
    if not steps:
        why = "; ".join(f"{o.task}: {o.reason}" for o in left_out)
        raise NothingToRun(f"{benchmark.group}: no task is left to run; {why}")
    return Evaluations(benchmark.group, tuple(steps), left_out)


def count_rows(bound: Bound) -> dict[str, int]:
    """Rows of each set that the benchmark's tasks ask; 0 where the data cannot fill it."""
    return {name: bound.num_rows(name) for name in dict.fromkeys(task.set for task in bound.benchmark.tasks)}


def _reaching(attacks: Mapping[str, Attack], *, task: TaskSpec, forget_set: str) -> list[str]:
    """The attacks that are made on a task."""
    is_forget = task.set == forget_set
    return [
        key
        for key, attack in attacks.items()
        if reaches(attack, modality=task.modality, kind=task.kind, is_forget=is_forget)
    ]


def _steps(task: TaskSpec, *, model: str, num_rows: int | None, attacks: Sequence[str]) -> Iterator[PlannedTask]:
    for attack in (None, *attacks):
        yield PlannedTask(model, task.name, task.set, task.kind, task.modality, attack, num_rows)


def _limited(num_rows: int | None, limit: float | None) -> int | None:
    if num_rows is None or limit is None:
        return num_rows
    return limited(num_rows, limit)


def _line(step: PlannedTask) -> str:
    questions = "unknown number of" if step.num_rows is None else str(step.num_rows)
    attack = "" if step.attack is None else f", attack {step.attack}"
    attack = ", images replaced by grey" if step.attack == BLANK_IMAGE else attack
    return f"{step.task}: {questions} questions of the {step.set} set, {step.kind}{attack}"
