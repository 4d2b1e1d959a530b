"""What a metric is: three shapes, one registry.

A *sample* metric scores every answered question and averages. A *reference* metric compares two groups of samples, or
takes one group as a whole. A *composite* metric combines estimates of other metrics. Direction and range live on the
metric; on a forget set the benchmark turns the direction round, because less recall is what was asked for there.

Profiles are the variants of a metric's formula, and the metric owns them: each name maps to the paper or code that it
follows. `released` is what the official code computes, `paper` what the paper states where that is known and differs,
`clean` the formula as it should be. Others, such as `tofu_paper` and `openunlearning`, name whose formula it is where
several codes disagree; they are computed where a document or a person asks for them. `profile_of` picks the one that
stands in.

A metric is a frozen dataclass whose fields are its arguments, with defaults; what it declares about itself are plain
attributes of its class. Most sample metrics average: `aggregate = mean_estimate`.

A sample metric may read what a judge said of the response: it then has an attribute `label`, the name under which the
answer stands in `Sample.labels`, and leaves a sample without it unscored.

A metric that counts *failures* (`counts_failures`) is a rate of generated answers that are none: a model that fails at
most of the questions that it should answer has collapsed. What a judge's label says is no failure, nor is what a
benchmark sets a goal for.

A metric of log-probs may read further numbers of each token, which stand in `Sample.token_values`: `is_best` is always
there; others, `entropy` and `variance`, are asked for where an attribute `statistics` names them.

A metric that compares with the holdout set and has an attribute `reads_reference` finds the retain model's log-probs
of every answer in roles that begin with `reference/`.

One that has an attribute `reads_prefix`, a number N, finds the answer's log-probs behind the first N rows of the
holdout set in the role `prefixed/N/answer`.

One that has a true attribute `reads_swapped` finds the answer's log-probs behind another subject's pictures in the role
`swapped/answer`, where the question has pictures.

A metric that says how much an answer *discloses* of what was to be forgotten, whatever stands around it, has an
attribute `discloses`: no forget score is higher than its closeness allows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, TypeGuard, get_args, runtime_checkable

from mmforget.errors import UnknownName
from mmforget.registry import NAME, OURS, Registry
from mmforget.types import Estimate, Sample, Score

Kind = Literal["gen", "prob", "mc", "roll"]
Other = Literal["retain_model", "target", "holdout", "itself"]


class Declared(Protocol):
    """What every metric says about itself.

    Attributes:
        name: the registered name, which is the file name.
        profiles: the variants of the formula that exist, each with the paper or code it follows; or their names alone.
        range: smallest and largest value an estimate can take.
        higher_is_better: direction on a set that should be kept; None where nearness to the retain model counts.
    """

    @property
    def name(self) -> str: ...
    @property
    def profiles(self) -> Collection[str]: ...
    @property
    def range(self) -> tuple[float, float]: ...
    @property
    def higher_is_better(self) -> bool | None: ...


class Quantity(NamedTuple):
    """A number that is estimated as a metric's is, and that no document names."""

    name: str
    range: tuple[float, float]
    higher_is_better: bool | None
    profiles: tuple[str, ...]


@runtime_checkable
class SampleMetric(Declared, Protocol):
    """Scores one sample at a time, then averages. `kind` is the kind of sample it reads; see `kinds_read`.

    It may have an attribute `label`, the name of the judge's label its score reads; see `label_of`.
    """

    @property
    def kind(self) -> Kind: ...

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The sample's score, or one whose value is None with the reason. Never raises on what a model produced."""

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Mean over the scored samples with its 95 % interval by subject."""


@runtime_checkable
class AttemptsMetric(SampleMetric, Protocol):
    """A sample metric that reads all attempts at a question at once: one score for each question, not for each sample.

    It alone is computed of what attacks on hidden states find, which are ranks and no answers.
    """

    def score_attempts(self, samples: Sequence[Sample], *, profile: str = "clean") -> Score:
        """The score of the attempts at one question, at least one, under one attack or none."""


@runtime_checkable
class ReferenceMetric(Declared, Protocol):
    """Compares samples with others, which `other` names.

    `retain_model` or `target`: that model's on the same questions. `holdout`: the same model's on a holdout set.
    `itself`: the very same samples, for a number of a whole set that is no mean of scores.
    """

    @property
    def kind(self) -> Kind: ...
    @property
    def other(self) -> Other: ...

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The comparison as one estimate. Raises UserError where the two groups cannot be compared by design."""


class Component(NamedTuple):
    """One ingredient of a composite.

    Attributes:
        key: its name in the mapping that `combine` takes.
        metric: registered name of the metric; a name that is not registered can only be supplied from outside.
        role: which set of the benchmark it is measured on: a role of the document's `sets`, or a set by its own name.
        required: without it there is no value; the others are left out and named in the reasons.
        args: arguments of the metric.
    """

    key: str
    metric: str
    role: str
    required: bool = True
    args: Mapping[str, Any] = MappingProxyType({})


@runtime_checkable
class CompositeMetric(Declared, Protocol):
    """Combines estimates of other metrics into one number."""

    @property
    def components(self) -> tuple[Component, ...]: ...

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """The combined estimate. `parts` maps component keys to estimates; a component never measured is left out.

        It needs no interval: that comes from combining anew without each subject, with other values and the same
        counts. So the value must be a function of the parts' values.
        """


Metric = SampleMetric | ReferenceMetric | CompositeMetric


def shape_faults(name: str, plugin: object) -> list[str]:
    """What keeps an object from being the metric `name`, in words."""
    if isinstance(plugin, type):
        return [f"METRIC is the class {plugin.__name__}; it has to be an object: METRIC = {plugin.__name__}()"]
    missing = [key for key in ("name", "profiles", "range", "higher_is_better") if not hasattr(plugin, key)]
    if missing:
        return [f"METRIC ({type(plugin).__name__}) lacks {', '.join(missing)}"]
    if not isinstance(plugin, (SampleMetric, ReferenceMetric, CompositeMetric)):
        return [
            f"METRIC ({type(plugin).__name__}) is no metric: it has neither `kind`, `score` and `aggregate`, "
            "nor `kind`, `other` and `compare`, nor `components` and `combine`"
        ]
    return [fault for fault in _declared_faults(name, plugin) if fault]


def _declared_faults(name: str, metric: Metric) -> list[str]:
    said = metric.profiles
    kind, other = getattr(metric, "kind", "gen"), getattr(metric, "other", "itself")
    return [
        "" if metric.name == name else f"its name is {metric.name!r}, and its entry point says '{name}'",
        "" if _are_profiles(said) else f"profiles {said!r} is no tuple of names, nor a mapping to what each follows",
        "" if _is_range(metric.range) else f"range {metric.range!r} is no pair of numbers, the smaller one first",
        "" if metric.higher_is_better in (True, False, None) else "higher_is_better is not True, False or None",
        "" if kind in get_args(Kind) else f"kind {kind!r} is none of {', '.join(get_args(Kind))}",
        "" if other in get_args(Other) else f"other {other!r} is none of {', '.join(get_args(Other))}",
    ]


def _are_profiles(value: object) -> bool:
    names = value if isinstance(value, tuple | Mapping) else ()
    return bool(names) and all(isinstance(name, str) and NAME.fullmatch(name) for name in names)


def _is_range(value: object) -> bool:
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(end, (int, float)) for end in value)
    return is_pair and value[0] < value[1]  # type: ignore[index]


METRICS: Registry[Metric] = Registry("metric", package="mmforget.metrics", attribute="METRIC", faults_of=shape_faults)

RATE = (0.0, 1.0)

TOFU = "TOFU (arXiv 2401.06121)"
TOFU_CODE = "TOFU (arXiv 2401.06121), official code"
OPENUNLEARNING = "OpenUnlearning (arXiv 2506.12618), code of 2025-12"
MUSE_CODE = "MUSE (arXiv 2407.06460), official code"
RWKU_CODE = "RWKU (arXiv 2406.10890), official code"
LM_EVAL = "lm_eval 0.4.13"
NAMED_PROFILES: Mapping[str, str] = MappingProxyType(
    {
        "tofu_paper": TOFU_CODE,
        "openunlearning": OPENUNLEARNING,
        "muse_paper": MUSE_CODE,
        "rwku_paper": RWKU_CODE,
        "wmdp_lmeval": LM_EVAL,
    }
)
"""Profiles that name a code, and which it is: several metrics have them."""

_STAND_INS = {
    "paper": ("paper", "released", "clean"),
    "released": ("released", "paper", "clean"),
    "clean": ("clean", "paper", "released"),
}


def profile_of(metric: Declared, wanted: str) -> str:
    """The profile of `metric` that stands for `wanted`: itself where declared, else the nearest that exists.

    A profile that another metric owns is what some code computes, so `released` is next to it.
    """
    order = (wanted, *_STAND_INS.get(wanted, _STAND_INS["released"]), *metric.profiles)
    return next(profile for profile in order if profile in metric.profiles)


def unasked_profiles(metric: Declared) -> tuple[str, ...]:
    """The profiles that are computed where nobody says which: all but `NAMED_PROFILES`; all where it has no other."""
    own = tuple(name for name in metric.profiles if name not in NAMED_PROFILES)
    return own or tuple(metric.profiles)


def sources_of(metric: Declared) -> dict[str, str]:
    """The paper or code that each profile follows; empty where the metric does not say."""
    said = metric.profiles
    return {name: str(said[name]) if isinstance(said, Mapping) else "" for name in said}


def check_profile(metric: Declared, profile: str, *, document: str = "") -> None:
    """Raises UnknownName where `metric` does not declare `profile`; `document` is the benchmark that asks for it."""
    if profile not in metric.profiles:
        where = f" in the document of {document}" if document else ""
        raise UnknownName(f"profile of metric '{metric.name}'{where}", name=profile, known=metric.profiles)


def is_part(component: Component, *, of: CompositeMetric, named: Collection[str]) -> bool:
    """Whether a composite's component is really there: brought by who brought the composite, or among those `named`.

    A metric that is merely installed under a component's name changes no composite of somebody else.
    """
    entry, owner = METRICS.entries.get(component.metric), METRICS.entries.get(of.name)
    if entry is None:
        return False
    return component.metric in named or owner is None or entry.origin in (owner.origin, OURS)


def kinds_read(kind: str) -> tuple[str, ...]:
    """The kinds of sample that a metric of this kind reads: log-probs of an answer are those of a document, too."""
    return ("prob", "roll") if kind == "prob" else (kind,)


def label_of(metric: Declared) -> str | None:
    """The name of the judge's label that the metric's score reads from `Sample.labels`; None for most metrics."""
    label: str | None = getattr(metric, "label", None)
    return label


def statistics_read(metric: Declared) -> tuple[str, ...]:
    """The token statistics that a metric reads from `Sample.token_values` and that a model has to be asked for."""
    return tuple(getattr(metric, "statistics", ()))


def reads_reference(metric: Declared) -> bool:
    """Whether the samples that a metric compares have to hold the retain model's log-probs beside their own."""
    return bool(getattr(metric, "reads_reference", False))


def prefix_read(metric: Declared) -> int:
    """Behind how many rows of the holdout set a metric reads answers once more; 0 for most metrics."""
    return int(getattr(metric, "reads_prefix", 0))


def reads_swapped(metric: Declared) -> bool:
    """Whether a metric reads answers once more behind another subject's pictures."""
    return bool(getattr(metric, "reads_swapped", False))


def discloses(metric: Declared) -> bool:
    """Whether the metric says how much of what was to be forgotten an answer gives away, in whatever format."""
    return bool(getattr(metric, "discloses", False))


def reads_attempts(metric: Declared) -> TypeGuard[AttemptsMetric]:
    """Whether the metric scores all attempts at a question at once."""
    return isinstance(metric, AttemptsMetric)


def counts_failures(metric: Declared) -> TypeGuard[SampleMetric]:
    """Whether the metric is a rate of generated answers, fewer is better, that no judge gave: answers that are none."""
    if not isinstance(metric, SampleMetric) or metric.kind != "gen":
        return False
    return metric.higher_is_better is False and metric.range == RATE and label_of(metric) is None
