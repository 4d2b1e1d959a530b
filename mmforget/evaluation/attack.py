"""What attacks come to on one model: success at the budget, over all smaller ones, and as a curve.

found = attack(loaded, ["fiubench"], attacks="logit_lens,question_rephrase(level=easy)", data=DataSource("synthetic"))
[(one.attack, one.success.value, one.curve) for one in found.results]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from mmforget.attacks.base import budget_of, cost_of, reaches
from mmforget.attacks.comparing import metrics_of
from mmforget.attacks.naming import attack_names, attack_of
from mmforget.benchmark.document import AttackName
from mmforget.benchmark.find import find_all
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.errors import UserError
from mmforget.evaluation.aggregate import results_of_states
from mmforget.evaluation.answers import Answers
from mmforget.evaluation.measurements import Measurements
from mmforget.evaluation.run import Settings, evaluate
from mmforget.lm.adapter import DEFAULT_BATCH_SIZE, MMForgetLM
from mmforget.lm.progress import Shown
from mmforget.metrics.answer_states import shares_of
from mmforget.metrics.attack_success import BUDGET, AttackSuccess
from mmforget.metrics.attack_success_area import AttackSuccessArea
from mmforget.metrics.base import SampleMetric
from mmforget.model.loaded import LoadedModel
from mmforget.types import Estimate, Sample

PROFILE = "clean"
NOTHING_COUNTED: Mapping[str, Mapping[str, float]] = {}


@dataclass(frozen=True)
class AttackResult:
    """One attack on one task.

    Attributes:
        attack: what records call it; None for the plain question, whose answer is the one candidate.
        access, budget, cost: what it says of itself.
        success: share of questions whose answer is found within the budget, with its interval.
        area: the mean success over the budgets 1 to this one.
        curve: the success at each of these budgets, in order.
        states: share of the answers, all attempts alike, that are right, wrong, a refusal or gibberish; of an attack
            that looks into the model there are none.
        measures: of an attack that looks for no answer, by metric and profile how the model compares with others.
        counts: what the attack counted in the weights, all tasks together.
    """

    attack: str | None
    task: str
    access: str
    budget: int
    cost: str
    success: Estimate
    area: Estimate
    curve: tuple[float | None, ...]
    states: Mapping[str, Estimate] = field(default_factory=dict)
    measures: Mapping[str, Estimate] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)


class AttackOutcome(NamedTuple):
    """What attacks come to, and the answers and ranks that it was computed from."""

    results: list[AttackResult]
    samples: list[Sample]


def attack(
    loaded: LoadedModel,
    tasks: Sequence[str],
    *,
    attacks: str | Iterable[str | AttackName] = "unlok7",
    data: DataSource | None = None,
    include_paths: Sequence[str | Path] = (),
    limit: float | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: Shown = True,
) -> AttackOutcome:
    """Attacks a model on the tasks that ask what is to be forgotten; the model stays as it is, bit by bit.

    Args:
        tasks: groups or tasks of benchmarks.
        attacks: names, `name(argument=value)` and suites.
        data: where the rows come from.
        limit: rows of each task, or their share where below 1.
        progress: True shows bars on stderr, False nothing, a function is called with done, total and a label.

    Raises UnknownName and UserError for what cannot be, before the model is asked anything.
    """
    lm = MMForgetLM(loaded, batch_size=batch_size, progress=progress)
    settings = Settings(attacks=attack_names(attacks))
    outcome = AttackOutcome([], [])
    for benchmark in find_all(tasks, include_paths):
        bound = benchmark.bind(data or DataSource.parse(None))
        found = attacked(lm, bound, settings=settings, include_paths=include_paths, limit=limit, progress=progress)
        found = compared(found, bound.benchmark)
        outcome.results.extend(found.results)
        outcome.samples.extend(found.samples)
    return outcome


def attacked(
    lm: MMForgetLM,
    bound: Bound,
    *,
    settings: Settings,
    include_paths: Sequence[str | Path] = (),
    limit: float | None = None,
    progress: Shown = True,
) -> AttackOutcome:
    """The attacks of `settings` on one benchmark: of its tasks those alone that ask what is to be forgotten."""
    done = evaluate(
        lm,
        attackable(bound.benchmark, settings.attacks),
        include_paths=include_paths,
        data=bound.data,
        limit=limit,
        blank_image=False,
        progress=progress,
        settings=settings,
    )
    found = attack_results(done.samples, refusals=bound.refusals, counted=done.training.get("attacks", {}))
    return AttackOutcome(list(found), done.samples)


def attackable(benchmark: Benchmark, attacks: Iterable[str | AttackName]) -> list[str]:
    """The tasks on what is to be forgotten that any of the attacks is made on.

    Raises UserError where there is none.
    """
    made = [attack_of(one.key) for one in attack_names(attacks)]
    asked = [task for task in benchmark.tasks if task.set == benchmark.forget_set and task.kind == "gen"]
    found = [task.name for task in asked if any(reaches(one, modality=task.modality) for one in made)]
    if not found:
        raise UserError(
            f"{benchmark.group}: no attack applies to the tasks that are named; attacks are made on generated answers "
            f"of the set '{benchmark.forget_set}'"
        )
    return found


def attack_results(
    samples: Sequence[Sample],
    *,
    refusals: Sequence[str] = (),
    counted: Mapping[str, Mapping[str, float]] = NOTHING_COUNTED,
) -> Iterator[AttackResult]:
    """One result for each task and attack, the plain question first.

    Args:
        refusals: texts that are refusals beside those that are worded like one.
        counted: by attack, what it counted in the weights.
    """
    answers = Answers.of(samples)
    for task in dict.fromkeys(sample.task for sample in samples):
        for key in (None, *answers.attacks_on(task)):
            made = None if key is None else attack_of(key)
            if made is not None and metrics_of(made):
                continue
            budget = 1 if made is None else budget_of(made) or BUDGET
            success = [_estimate(AttackSuccess(size), answers, task, key) for size in range(1, budget + 1)]
            yield AttackResult(
                attack=key,
                task=task,
                access="black_box" if made is None else made.access,
                budget=budget,
                cost="" if made is None else cost_of(made),
                success=success[-1],
                area=_estimate(AttackSuccessArea(budget), answers, task, key),
                curve=tuple(one.value for one in success),
                states=shares_of(answers.of_task(task, attack=key), refusals=refusals),
                counts=counted.get(key or "", {}),
            )


def compared(
    outcome: AttackOutcome,
    benchmark: Benchmark,
    *,
    target: Sequence[Sample] | None = None,
    retain: Sequence[Sample] | None = None,
) -> AttackOutcome:
    """With a result for each attack that looks for no answer, by which the model is compared with others."""
    found: dict[tuple[str, str], dict[str, Estimate]] = defaultdict(dict)
    for one in results_of_states(Measurements(benchmark, outcome.samples, retain, target)):
        found[str(one.attack), one.task or ""][f"{one.name}, {one.profile}"] = one.estimate
    return outcome._replace(
        results=[*outcome.results, *(_of_measures(*key, measures=own) for key, own in found.items())]
    )


def _of_measures(key: str, task: str, *, measures: Mapping[str, Estimate]) -> AttackResult:
    made, none = attack_of(key), Estimate(None, reasons=("it looks for no answer",))
    return AttackResult(key, task, made.access, budget_of(made) or 1, cost_of(made), none, none, (), measures=measures)


def _estimate(metric: SampleMetric, answers: Answers, task: str, key: str | None) -> Estimate:
    found = metric.aggregate(answers.scores(metric, task=task, profile=PROFILE, attack=key))
    return replace(found, higher_is_better=False)
