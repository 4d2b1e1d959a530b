"""What a judge is, which labels a benchmark asks of it, and how samples get them.

samples = label_samples(samples, labels=labels_of(benchmark), judge=judge_from("rules", local_only=False))

A label stands in `Sample.labels` under its name, and under `<name>/by` who said it: the rules' version, or the prompt's
version and the model. `Judge.describe()` says the same for the run record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

from mmforget.benchmark.spec import Benchmark
from mmforget.errors import PluginError, UnknownName
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import CompositeMetric, is_part, label_of
from mmforget.metrics.judged import CLOSED, GRADED, LABEL_NAMES
from mmforget.plugins import running
from mmforget.registry import Registry
from mmforget.types import Sample

BY = "/by"


class Said(NamedTuple):
    """A label and who gave it: one of the words of its name, a number where it is graded, or `UNREADABLE`."""

    label: str
    by: str


@runtime_checkable
class Judge(Protocol):
    """Whoever labels answers.

    It may have two attributes more. `labels`: names of labels that it gives beside those of `LABEL_NAMES`, for metrics
    that read them. `is_local`: whether no answer leaves the machine.

    Attributes:
        name: as `--judge` names it.
        is_free: whether answers cost next to nothing; if not, what was answered under attacks is not judged.
    """

    @property
    def name(self) -> str: ...
    @property
    def is_free(self) -> bool: ...

    def judge(self, samples: Sequence[Sample], *, label: str) -> list[Said | None]:
        """What it says of each response under one name of `LABEL_NAMES`; None where it says nothing at all.

        Raises UserError where it cannot be asked: no model, no key, or a model that does not answer as it should.
        """

    def describe(self) -> dict[str, Any]:
        """Plain JSON values for the run record: `judge`, and by label name the version of rules or prompt."""


def shape_faults(name: str, plugin: object) -> list[str]:
    """What keeps an object from being a judge, in words."""
    if not isinstance(plugin, type) or not is_dataclass(plugin):
        return ["JUDGE is no dataclass; it has to be the class itself, whose fields are the judge's arguments"]
    missing = [key for key in ("name", "is_free", "judge", "describe") if not hasattr(plugin, key)]
    return [f"JUDGE ({plugin.__name__}) lacks {' and '.join(missing)}"] if missing else []


JUDGES: Registry[type[Any]] = Registry("judge", package=None, attribute="JUDGE", faults_of=shape_faults)
"""Those of other packages; `naming` has the ones that come along."""


def names_given(judge: Judge) -> tuple[str, ...]:
    """The names of all labels that a judge may be asked for."""
    return (*LABEL_NAMES, *(name for name in getattr(judge, "labels", ()) if name not in LABEL_NAMES))


def labels_of(benchmark: Benchmark) -> dict[str, tuple[str, ...]]:
    """By set, the names of the labels that the benchmark's metrics read there, parts of composites included."""
    found: dict[str, dict[str, None]] = {}
    sets = benchmark.document.sets
    named = {use.metric for use in benchmark.metrics}
    for use in benchmark.metrics:
        metric = metric_of(use, document=benchmark.name)
        reads = [(use.set, metric)]
        if isinstance(metric, CompositeMetric):
            known = [part for part in metric.components if is_part(part, of=metric, named=named)]
            reads = [(sets.get(part.role, part.role), metric_of(part)) for part in known]
        for name, read in reads:
            label = label_of(read)
            if label is not None:
                found.setdefault(name, {})[label] = None
    return {name: tuple(labels) for name, labels in found.items()}


def label_samples(
    samples: Sequence[Sample], *, labels: Mapping[str, Collection[str]] | Collection[str], judge: Judge
) -> list[Sample]:
    """The samples, in order, with what the judge says of their responses; other labels they had are kept.

    Args:
        labels: names of labels by set, as `labels_of` gives them, or names for all samples alike.

    Samples without a response get none, nor do those under attacks where the judge is not free. Raises UnknownName for
    a label that does not exist, PluginError for a judge that gives something else, and what the judge raises.
    """
    by_set = labels if isinstance(labels, Mapping) else {sample.set: labels for sample in samples}
    for name in sorted({name for names in by_set.values() for name in names}):
        if name not in names_given(judge):
            raise UnknownName("label", name=name, known=names_given(judge))
    found: list[dict[str, str]] = [dict(sample.labels) for sample in samples]
    for name in names_given(judge):
        asked = [
            index
            for index, sample in enumerate(samples)
            if name in by_set.get(sample.set, ()) and _can_be_judged(sample, label=name, judge=judge)
        ]
        with running(judge, what=f"judge '{judge.name}': judge"):
            answers = judge.judge([samples[index] for index in asked], label=name) if asked else []
        _require_answers(answers, count=len(asked), judge=judge)
        for index, said in zip(asked, answers, strict=True):
            if said is not None:
                found[index] |= {name: said.label, name + BY: said.by}
    return [replace(sample, labels=labels) for sample, labels in zip(samples, found, strict=True)]


def _require_answers(answers: Sequence[object], *, count: int, judge: Judge) -> None:
    if len(answers) != count or not all(isinstance(said, Said | None) for said in answers):
        raise PluginError(f"judge '{judge.name}': judge has to give a Said or None for each of {count} samples")


def _can_be_judged(sample: Sample, *, label: str, judge: Judge) -> bool:
    if label in GRADED and sample.extra.get("task") in CLOSED:
        return False
    return sample.response is not None and (sample.attack is None or judge.is_free)
