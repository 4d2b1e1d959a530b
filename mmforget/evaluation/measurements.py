"""What metrics, their comparisons and composites come to for one model on a benchmark, each computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mmforget.benchmark.spec import Benchmark, TaskSpec
from mmforget.errors import UserError
from mmforget.evaluation.answers import Answers
from mmforget.metrics.arguments import identity, metric_of
from mmforget.metrics.base import (
    CompositeMetric,
    Declared,
    Metric,
    ReferenceMetric,
    SampleMetric,
    is_part,
    kinds_read,
    profile_of,
    reads_reference,
)
from mmforget.metrics.estimate import no_estimate, with_interval
from mmforget.metrics.paired import PairedMetric
from mmforget.plugins import running
from mmforget.statistics.jackknife import derived, mean_replicates
from mmforget.types import Estimate, Replicates, Sample, Score


@dataclass(frozen=True)
class Measurements:
    """One model on one benchmark.

    Args:
        samples: everything the model was asked, attacks included.
        retain: the retain model's samples, or None where there is no such model.
        target: the target model's samples, likewise.
    """

    benchmark: Benchmark
    samples: Sequence[Sample]
    retain: Sequence[Sample] | None = None
    target: Sequence[Sample] | None = None
    _found: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def answers(self) -> Answers:
        """The samples with the scores that were computed of them, by this or others that hold the same object."""
        return Answers.of(self.samples)

    def tasks(self, set_name: str, kind: str) -> list[TaskSpec]:
        """Tasks of a set and kind that were asked, those of the benchmark's own modality first."""
        kinds = kinds_read(kind)
        named = [task for task in self.benchmark.tasks if task.set == set_name and task.kind in kinds]
        found = [task for task in named if self.answers.was_asked(task.name)]
        return sorted(found, key=lambda task: task.modality != self.benchmark.modality)

    def of_task(self, task: str, *, attack: str | None = None) -> list[Sample]:
        return self.answers.of_task(task, attack=attack)

    def scores(self, metric: SampleMetric, *, task: str, profile: str, attack: str | None = None) -> list[Score]:
        """One score for each sample of a task."""
        return self.answers.scores(metric, task=task, profile=profile, attack=attack)

    def replicates(
        self, metric: SampleMetric, *, task: str, profile: str, attack: str | None = None
    ) -> Replicates | None:
        """What the metric's mean is without each subject; None where nothing could be scored."""
        return self.answers.once(
            lambda: replicates_of(metric, self.scores(metric, task=task, profile=profile, attack=attack)),
            *("replicates", *identity(metric), task, profile, attack),
        )

    def estimate(self, metric: Metric, *, task: TaskSpec, profile: str, attack: str | None = None) -> Estimate:
        """A sample or reference metric on a task."""
        if isinstance(metric, SampleMetric):
            return self._mean(metric, task=task.name, profile=profile, attack=attack)
        if isinstance(metric, ReferenceMetric):
            with running(metric, what=f"metric '{metric.name}': compare on {task.name}"):
                return self._compared(metric, task=task, profile=profile, attack=attack)
        raise TypeError(f"{metric.name} is a composite: it is measured on a benchmark, not on a task")

    def _mean(self, metric: SampleMetric, *, task: str, profile: str, attack: str | None) -> Estimate:
        def mean() -> Estimate:
            scores = self.scores(metric, task=task, profile=profile, attack=attack)
            with running(metric, what=f"metric '{metric.name}': aggregate on {task}"):
                return metric.aggregate(scores)

        return self.answers.once(mean, "estimate", *identity(metric), task, profile, attack)

    def composite(self, metric: CompositeMetric, *, profile: str) -> Estimate:
        """A composite from its components, each on the set of its role, with an interval where they have one."""
        return self.composed(metric, profile=profile)[0]

    def composed(
        self, metric: CompositeMetric, *, profile: str, attack: str | None = None
    ) -> tuple[Estimate, Replicates | None]:
        """The composite and its replicates; None where it has no value, or a component no replicates."""
        key = (*identity(metric), profile, attack)
        if key not in self._found:
            with running(metric, what=f"metric '{metric.name}': combine"):
                self._found[key] = self._composed(metric, profile=profile, attack=attack)
        found: tuple[Estimate, Replicates | None] = self._found[key]
        return found

    def _composed(
        self, metric: CompositeMetric, *, profile: str, attack: str | None
    ) -> tuple[Estimate, Replicates | None]:
        parts, replicates = self.components(metric, profile=profile, attack=attack)
        estimate = metric.combine(parts, profile=profile)
        used = {key: part for key, part in parts.items() if part.value is not None}
        missing = [key for key in used if key not in replicates]
        if estimate.value is None:
            return estimate, None
        if missing:
            reason = f"no interval: {', '.join(missing)} is no mean of scores"
            return replace(estimate, reasons=(*estimate.reasons, reason)), None

        def combine(values: Mapping[str, float]) -> float:
            moved = {key: replace(part, value=_inside(values[key], part.range)) for key, part in used.items()}
            value = metric.combine({**parts, **moved}, profile=profile).value
            return estimate.value or 0.0 if value is None else value

        found = derived(combine, {key: replicates[key] for key in used})
        return with_interval(estimate, found), found

    def components(
        self, metric: CompositeMetric, *, profile: str, attack: str | None = None
    ) -> tuple[dict[str, Estimate], dict[str, Replicates]]:
        """Estimates of what a composite is made of, and the replicates of those that are means of scores.

        What was not measured is left out, and what no row has a reference for. Under an attack, what was not asked
        under it, as questions in text alone are not, counts as it was asked.
        """
        parts: dict[str, Estimate] = {}
        replicates: dict[str, Replicates] = {}
        named = {use.metric for use in self.benchmark.metrics}
        for component in metric.components:
            set_name = self._set_of(component.role)
            if not is_part(component, of=metric, named=named) or set_name is None:
                continue
            found = metric_of(component)
            if isinstance(found, CompositeMetric):
                continue
            task = next(iter(self.tasks(set_name, found.kind)), None)
            if task is None:
                continue
            own, asked = profile_of(found, profile), attack if self.of_task(task.name, attack=attack) else None
            if isinstance(found, SampleMetric) and all(
                s.lacking for s in self.scores(found, task=task.name, profile=own, attack=asked)
            ):
                continue
            parts[component.key] = self.estimate(found, task=task, profile=own, attack=asked)
            if isinstance(found, SampleMetric):
                without = self.replicates(found, task=task.name, profile=own, attack=asked)
                replicates.update({} if without is None else {component.key: without})
            elif isinstance(found, PairedMetric) and parts[component.key].value is not None:
                scores = found.pairs(self.of_task(task.name), self._others(found, task=task.name), profile=own)
                without = replicates_of(found, scores)
                replicates.update({} if without is None else {component.key: without})
        return parts, replicates

    def was_asked(self, metric: CompositeMetric, *, attack: str) -> bool:
        """Whether any component of a composite was asked under an attack."""
        sets = {self._set_of(component.role) for component in metric.components}
        return any(sample.attack == attack and sample.set in sets for sample in self.samples)

    def _set_of(self, role: str) -> str | None:
        """The set that plays a role, or the set of that name; None where the benchmark has neither."""
        named = {task.set for task in self.benchmark.tasks}
        return self.benchmark.document.sets.get(role) or (role if role in named else None)

    def _compared(
        self, metric: ReferenceMetric, *, task: TaskSpec, profile: str, attack: str | None = None
    ) -> Estimate:
        samples = self.of_task(task.name, attack=attack)
        if metric.other == "holdout":
            return self._against_holdout(metric, task=task, profile=profile)
        if metric.other == "itself":
            return self._against(metric, self.answers, task=task.name, profile=profile, attack=attack)
        name, model = self._other_model(metric)
        if model is None:
            return unmeasured(metric, reason=f"no {name} model to compare with", num_unscored=len(samples))
        others = Answers.of(model)
        if not others.of_task(task.name, attack=attack):
            under = "" if attack is None else f" under {attack}"
            reason = f"the {name} model was not asked {task.name}{under}"
            return unmeasured(metric, reason=reason, num_unscored=len(samples))
        return self._against(metric, others, task=task.name, profile=profile, attack=attack)

    def _other_model(self, metric: ReferenceMetric) -> tuple[str, Sequence[Sample] | None]:
        """The model that a metric compares with: what it is called, and its samples."""
        return ("target", self.target) if metric.other == "target" else ("retain", self.retain)

    def _others(self, metric: ReferenceMetric, *, task: str) -> list[Sample]:
        """The samples of a task that the other model gave; none where there is no such model."""
        model = self._other_model(metric)[1]
        return [] if model is None else Answers.of(model).of_task(task)

    def _against(
        self,
        metric: ReferenceMetric,
        others: Answers,
        *,
        task: str,
        profile: str,
        other_task: str | None = None,
        attack: str | None = None,
    ) -> Estimate:
        """The samples of a task, under an attack or none, against others' of it, or of another one."""

        def compare() -> tuple[Estimate, Answers]:
            own, theirs = self.of_task(task, attack=attack), others.of_task(other_task or task, attack=attack)
            found = metric.compare(own, theirs, profile=profile)
            # The others are kept with it: while they live, nothing else has their id.
            return found, others

        key = (*identity(metric), task, other_task, profile, attack, id(others))
        return self.answers.once(compare, "compared", *key)[0]

    def _against_holdout(self, metric: ReferenceMetric, *, task: TaskSpec, profile: str) -> Estimate:
        holdout = self.benchmark.holdout_set
        tasks = self.tasks(holdout, metric.kind) if holdout else []
        num_unscored = len(self.of_task(task.name))
        if not tasks:
            return unmeasured(metric, reason="no holdout set was asked", num_unscored=num_unscored)
        try:
            if reads_reference(metric):
                return self._against_reference(metric, task=task.name, holdout=tasks[0].name, profile=profile)
            return self._against(metric, self.answers, task=task.name, profile=profile, other_task=tasks[0].name)
        except UserError as error:
            return unmeasured(metric, reason=str(error), num_unscored=num_unscored)

    def _against_reference(self, metric: ReferenceMetric, *, task: str, holdout: str, profile: str) -> Estimate:
        """A task's samples against those of the holdout set, both with the retain model's log-probs beside them."""
        if self.retain is None:
            return unmeasured(metric, reason="no retain model to compare with", num_unscored=len(self.of_task(task)))
        others = Answers.of(self.retain)
        pairs = [with_reference(self.of_task(name), others.of_task(name)) for name in (task, holdout)]
        return metric.compare(*pairs, profile=profile)


def with_reference(samples: Sequence[Sample], others: Sequence[Sample]) -> list[Sample]:
    """Samples with another model's log-probs of the same answers, in roles that begin with `reference/`."""
    told = {sample.id: sample.token_logprobs for sample in others}
    return [
        replace(
            sample,
            token_logprobs={
                **sample.token_logprobs,
                **{f"reference/{role}": values for role, values in told.get(sample.id, {}).items()},
            },
        )
        for sample in samples
    ]


def unmeasured(metric: Declared, *, reason: str, num_unscored: int = 0) -> Estimate:
    """No value, and why."""
    return no_estimate(metric, reasons=(reason,), num_unscored=num_unscored)


def replicates_of(metric: Declared, scores: Sequence[Score]) -> Replicates | None:
    """What the mean of the scores is without each subject; None where nothing could be scored."""
    scored = [(score.value, score.subject) for score in scores if score.value is not None]
    if not scored:
        return None
    return mean_replicates([value for value, _ in scored], [subject for _, subject in scored], bounds=metric.range)


def _inside(value: float, bounds: tuple[float, float]) -> float:
    return min(bounds[1], max(bounds[0], value))
