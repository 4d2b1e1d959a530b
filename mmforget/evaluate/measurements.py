"""The samples of one model, and every number that can be computed from them, each computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmforget.benchmark.spec import Benchmark, TaskSpec
from mmforget.errors import UserError
from mmforget.metrics.base import (
    METRICS,
    CompositeMetric,
    Declared,
    Metric,
    ReferenceMetric,
    SampleMetric,
    is_part,
    profile_of,
)
from mmforget.metrics.estimate import no_estimate, with_interval
from mmforget.plugins import running
from mmforget.statistics.jackknife import derived, mean_replicates
from mmforget.types import Estimate, Replicates, Sample, Score


@dataclass(frozen=True)
class Measurements:
    """One model on one benchmark.

    Args:
        samples: everything the model was asked, controls included.
        retain: the retain model's samples, or None where there is no such model.
        target: the target model's samples, likewise.
    """

    benchmark: Benchmark
    samples: Sequence[Sample]
    retain: Sequence[Sample] | None = None
    target: Sequence[Sample] | None = None
    _found: dict[Any, Any] = field(default_factory=dict, repr=False)

    def tasks(self, set_name: str, kind: str) -> list[TaskSpec]:
        """Tasks of a set and kind that were asked, those of the benchmark's own modality first."""
        asked = {sample.task for sample in self.samples}
        found = [
            task for task in self.benchmark.tasks if (task.set, task.kind) == (set_name, kind) and task.name in asked
        ]
        return sorted(found, key=lambda task: task.modality != self.benchmark.modality)

    def of_task(self, task: str, *, control: str | None = None) -> list[Sample]:
        return [sample for sample in self.samples if (sample.task, sample.control) == (task, control)]

    def scores(self, metric: SampleMetric, *, task: str, profile: str, control: str | None = None) -> list[Score]:
        """One score for each sample of a task."""
        key = (metric.name, task, profile, control)
        if key not in self._found:
            samples = self.of_task(task, control=control)
            with running(metric, what=f"metric '{metric.name}': score on {task}"):
                self._found[key] = [metric.score(sample, profile=profile) for sample in samples]
        scores: list[Score] = self._found[key]
        return scores

    def replicates(
        self, metric: SampleMetric, *, task: str, profile: str, control: str | None = None
    ) -> Replicates | None:
        """What the metric's mean is without each subject; None where nothing could be scored."""
        key = ("replicates", metric.name, task, profile, control)
        if key not in self._found:
            self._found[key] = replicates_of(metric, self.scores(metric, task=task, profile=profile, control=control))
        found: Replicates | None = self._found[key]
        return found

    def estimate(self, metric: Metric, *, task: TaskSpec, profile: str, control: str | None = None) -> Estimate:
        """A sample or reference metric on a task."""
        if isinstance(metric, SampleMetric):
            scores = self.scores(metric, task=task.name, profile=profile, control=control)
            with running(metric, what=f"metric '{metric.name}': aggregate on {task.name}"):
                return metric.aggregate(scores)
        if isinstance(metric, ReferenceMetric):
            with running(metric, what=f"metric '{metric.name}': compare on {task.name}"):
                return self._compared(metric, task=task, profile=profile)
        raise TypeError(f"{metric.name} is a composite: it is measured on a benchmark, not on a task")

    def composite(self, metric: CompositeMetric, *, profile: str) -> Estimate:
        """A composite from its components, each on the set of its role, with an interval where they have one."""
        return self.composed(metric, profile=profile)[0]

    def composed(
        self, metric: CompositeMetric, *, profile: str, control: str | None = None
    ) -> tuple[Estimate, Replicates | None]:
        """The composite and its replicates; None where it has no value, or a component no replicates."""
        key = ("composed", metric.name, profile, control)
        if key not in self._found:
            with running(metric, what=f"metric '{metric.name}': combine"):
                self._found[key] = self._composed(metric, profile=profile, control=control)
        found: tuple[Estimate, Replicates | None] = self._found[key]
        return found

    def _composed(
        self, metric: CompositeMetric, *, profile: str, control: str | None
    ) -> tuple[Estimate, Replicates | None]:
        parts, replicates = self.components(metric, profile=profile, control=control)
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
        self, metric: CompositeMetric, *, profile: str, control: str | None = None
    ) -> tuple[dict[str, Estimate], dict[str, Replicates]]:
        """Estimates of what a composite is made of, and the replicates of those that are means of scores.

        What was not measured is left out, and what no row has a reference for. Under a control, what was not asked
        under it, as questions in text alone are not, counts as it was asked.
        """
        parts: dict[str, Estimate] = {}
        replicates: dict[str, Replicates] = {}
        named = {use.metric for use in self.benchmark.metrics}
        for component in metric.components:
            set_name = self._set_of(component.role)
            if not is_part(component, of=metric, named=named) or set_name is None:
                continue
            found = METRICS.get(component.metric)
            if isinstance(found, CompositeMetric):
                continue
            task = next(iter(self.tasks(set_name, found.kind)), None)
            if task is None:
                continue
            own, asked = profile_of(found, profile), control if self.of_task(task.name, control=control) else None
            if isinstance(found, SampleMetric) and all(
                s.lacking for s in self.scores(found, task=task.name, profile=own, control=asked)
            ):
                continue
            parts[component.key] = self.estimate(found, task=task, profile=own, control=asked)
            if isinstance(found, SampleMetric):
                without = self.replicates(found, task=task.name, profile=own, control=asked)
                replicates.update({} if without is None else {component.key: without})
        return parts, replicates

    def was_asked(self, metric: CompositeMetric, *, control: str) -> bool:
        """Whether any component of a composite was asked under a control."""
        sets = {self._set_of(component.role) for component in metric.components}
        return any(sample.control == control and sample.set in sets for sample in self.samples)

    def _set_of(self, role: str) -> str | None:
        """The set that plays a role, or the set of that name; None where the benchmark has neither."""
        named = {task.set for task in self.benchmark.tasks}
        return self.benchmark.document.sets.get(role) or (role if role in named else None)

    def _compared(self, metric: ReferenceMetric, *, task: TaskSpec, profile: str) -> Estimate:
        samples = self.of_task(task.name)
        if metric.other == "holdout":
            return self._against_holdout(metric, samples=samples, profile=profile)
        if metric.other == "itself":
            return metric.compare(samples, samples, profile=profile)
        name, model = ("target", self.target) if metric.other == "target" else ("retain", self.retain)
        if model is None:
            return unmeasured(metric, reason=f"no {name} model to compare with", num_unscored=len(samples))
        others = [sample for sample in model if (sample.task, sample.control) == (task.name, None)]
        if not others:
            return unmeasured(metric, reason=f"the {name} model was not asked {task.name}", num_unscored=len(samples))
        return metric.compare(samples, others, profile=profile)

    def _against_holdout(self, metric: ReferenceMetric, *, samples: Sequence[Sample], profile: str) -> Estimate:
        holdout = self.benchmark.holdout_set
        tasks = self.tasks(holdout, metric.kind) if holdout else []
        if not tasks:
            return unmeasured(metric, reason="no holdout set was asked", num_unscored=len(samples))
        try:
            return metric.compare(samples, self.of_task(tasks[0].name), profile=profile)
        except UserError as error:
            return unmeasured(metric, reason=str(error), num_unscored=len(samples))


def unmeasured(metric: Declared, *, reason: str, num_unscored: int = 0) -> Estimate:
    """No value, and why."""
    return no_estimate(metric, reasons=(reason,), num_unscored=num_unscored)


def replicates_of(metric: SampleMetric, scores: Sequence[Score]) -> Replicates | None:
    """What the mean of the scores is without each subject; None where nothing could be scored."""
    scored = [(score.value, score.subject) for score in scores if score.value is not None]
    if not scored:
        return None
    return mean_replicates([value for value, _ in scored], [subject for _, subject in scored], bounds=metric.range)


def _inside(value: float, bounds: tuple[float, float]) -> float:
    return min(bounds[1], max(bounds[0], value))
