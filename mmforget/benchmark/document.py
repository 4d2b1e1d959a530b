"""What `metadata.unlearning` may say: the closed schema of a benchmark's document and of a task's label."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmforget.benchmark.source import PROFILES
from mmforget.benchmark.task_files import TaskFileError
from mmforget.errors import UnknownName, shortened

KINDS = ("gen", "mc", "prob", "roll")
MODALITIES = ("image", "text", "both")
DIRECTIONS = ("higher", "lower", "retain_model")
NEEDED_SETS = ("forget", "retain", "utility")
JUDGES = ("any", "local")
_LISTS = ("settings", "refusals", "levels", "known")
OF_A_USE = ("profiles", "goal", "headline", "args")
"""What the use of a metric may say beside metric, set and direction."""


@dataclass(frozen=True)
class TaskLabel:
    """`metadata.unlearning` of a task: which set of which benchmark it asks, how, and for which setting (None: any)."""

    benchmark: str
    set: str
    kind: str
    modality: str
    setting: str | None = None


@dataclass(frozen=True)
class GroupLabel:
    """`metadata.unlearning` of a further group: the same benchmark in another setting or modality (None: the same)."""

    benchmark: str
    setting: str
    modality: str | None = None


def metric_key(metric: str, args: Mapping[str, Any]) -> str:
    """What a metric is called in records: its name, and the arguments that are given to it, `rouge_l(part=f1)`."""
    given = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in sorted(args.items())]
    return f"{metric}({','.join(given)})" if given else metric


@dataclass(frozen=True)
class MetricName:
    """A metric with the arguments that the document gives to it."""

    metric: str
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        return metric_key(self.metric, self.args)


@dataclass(frozen=True)
class AttackName:
    """An attack with the arguments that the document gives to it."""

    attack: str
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        return metric_key(self.attack, self.args)


@dataclass(frozen=True)
class Gate:
    """The memorisation gate: scores count only where the target knew the set and the retain model did not.

    The target must reach `minimum` on `metric` of `set`, and be at least `room` above the retain model; `room` is None
    where the protocol has no retain model.
    """

    metric: str
    profile: str
    set: str
    minimum: float
    room: float | None = None
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        return metric_key(self.metric, self.args)


@dataclass(frozen=True)
class MetricUse:
    """A metric on a set. `direction` is `higher`, `lower` or `retain_model` (near it is good); no profiles: all.

    `key` tells two uses of one metric with other `args` apart, in records and everywhere else.

    `goal` is the value to come close to where no retain model says it, e.g. 0 for a share of harmful answers.
    `headline` false keeps it out of the forget score: what is measured twice must not count twice.
    """

    metric: str
    set: str
    direction: str
    profiles: tuple[str, ...] | None = None
    goal: float | None = None
    headline: bool = True
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        return metric_key(self.metric, self.args)

    @property
    def higher_is_better(self) -> bool | None:
        return None if self.direction == "retain_model" else self.direction == "higher"


@dataclass(frozen=True)
class Document:
    """`metadata.unlearning` of a benchmark's main group: everything about it that is not a row.

    `sets` gives sets their roles: forget, retain and utility, and where there are any rephrase, holdout and benign;
    further roles are named by the composite metrics that read them. `stage_one` says which sets target and retain model
    learn; no `retain`: the protocol has no retain model. `pretrained`: real models bring the knowledge along, only the
    micro model is taught it. `levels` names the parts of a row's path, outermost first. `judges` is `local` where the
    answers may not leave the machine. `blur_images`: pages show pictures when they are asked for. `scores_only`: no
    question, option or answer stands in records, and so on pages. `collapse` names the
    rates of failures that count for collapse; None: `degenerate` and every one among `metrics` that has no goal.
    `attacks`: every task that they apply to is asked under them, too, of every model. `one_at_a_time`: each subject is
    forgotten alone, and the rows of every set have the subject for which they are asked. `trained` says by setting
    which sets methods train on, `forget` and `retain`, where those are not the sets of these roles, which are measured.
    `known` lists sets of what real models know beforehand, which the micro model is taught beside its stage one.
    `relearn` says by setting the set that unlearned models are fine-tuned on at the end, to be asked once more; then a
    recipe has a part `relearn`. `folds` lists by setting the sets that requests forget one after another, where these
    are not parts of the forget set by subject.
    """

    benchmark: str
    title: str
    paper: str
    licence: str
    setting: str
    settings: tuple[str, ...]
    modality: str
    stage_one: Mapping[str, str]
    sets: Mapping[str, str]
    gate: Gate
    metrics: tuple[MetricUse, ...]
    recipes: Mapping[str, Mapping[str, Any]]
    refusals: tuple[str, ...] = field(default=())
    pretrained: bool = False
    levels: tuple[str, ...] = ()
    judges: str = "any"
    blur_images: bool = False
    scores_only: bool = False
    collapse: tuple[MetricName, ...] | None = None
    attacks: tuple[AttackName, ...] = ()
    one_at_a_time: bool = False
    trained: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    relearn: Mapping[str, str] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    folds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


OPTIONAL = (
    "refusals", "pretrained", "levels", "judges", "blur_images", "scores_only", "collapse", "attacks", "one_at_a_time",
    "trained", "relearn", "known", "folds",
)  # fmt: skip


class Faults:
    """Collects what is wrong with a document, so that all of it is reported at once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[str] = []

    def keys(self, value: Any, *, at: str, needed: Sequence[str], optional: Sequence[str] = ()) -> bool:
        """Whether `value` is a mapping with exactly the keys it should have; every deviation is noted."""
        if not isinstance(value, Mapping):
            self.found.append(f"{at} must be a mapping, not {type(value).__name__}")
            return False
        known = (*needed, *optional)
        for name in value:
            if name not in known:
                self.found.append(f"{at}: {UnknownName('key', name=str(name), known=known)}")
        missing = [name for name in needed if name not in value]
        self.found += [f"{at}: key '{name}' is missing" for name in missing]
        return not missing

    def choice(self, value: Any, *, at: str, allowed: Sequence[str]) -> None:
        if value not in allowed:
            self.found.append(f"{at}: {UnknownName('value', name=str(value), known=allowed)}")

    def profile(self, value: Any, *, at: str) -> None:
        """A name that nearly is one of `PROFILES` is meant to be it; of any other its metric says whether it has it."""
        is_text = isinstance(value, str)
        if not is_text or (value not in PROFILES and difflib.get_close_matches(value, PROFILES, n=1, cutoff=0.8)):
            self.choice(value, at=at, allowed=PROFILES)

    def arguments(self, value: Any, *, at: str) -> None:
        """Names with numbers, texts, true or false, or lists of these; a metric's fields say which."""
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            self.found.append(f"{at} is {shortened(value)}; give a mapping from names of arguments to values")
            return
        for name, given in value.items():
            parts = given if isinstance(given, list) else [given]
            if not all(isinstance(part, str | int | float | None) for part in parts):
                self.found.append(
                    f"{at}.{name} is {shortened(given)}; give a number, a text, true, false, null or a list"
                )

    def text(self, value: Any, *, at: str) -> None:
        if not isinstance(value, str) or not value.strip():
            self.found.append(f"{at} is {shortened(value)}; give a text")

    def texts(self, value: Any, *, at: str) -> None:
        if not isinstance(value, list):
            self.found.append(f"{at} is {shortened(value)}; give a list of texts")
            return
        for index, item in enumerate(value):
            self.text(item, at=f"{at}[{index}]")

    def texts_at(self, value: Mapping[str, Any], *names: str, at: str) -> None:
        """Notes every named key whose value is no text."""
        for name in names:
            self.text(value[name], at=f"{at}.{name}")

    def boolean(self, value: Any, *, at: str) -> None:
        if not isinstance(value, bool):
            self.found.append(f"{at} is {value!r}; give true or false")

    def number(self, value: Any, *, at: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.found.append(f"{at} is {value!r}; give a number from 0 to 1")

    def raise_any(self) -> None:
        if self.found:
            raise TaskFileError("\n".join(f"{self.source}: {fault}" for fault in self.found))


def parse_task_label(value: Any, *, source: str) -> TaskLabel:
    """The label of a task. Raises TaskFileError with every fault, naming `source`."""
    faults = Faults(source)
    at = "metadata.unlearning"
    if faults.keys(value, at=at, needed=("benchmark", "set", "kind", "modality"), optional=("setting",)):
        faults.texts_at(value, "benchmark", "set", at=at)
        if value.get("setting") is not None:
            faults.text(value["setting"], at=f"{at}.setting")
        faults.choice(value["kind"], at=f"{at}.kind", allowed=KINDS)
        faults.choice(value["modality"], at=f"{at}.modality", allowed=MODALITIES)
    faults.raise_any()
    return TaskLabel(**value)


def parse_group_label(value: Any, *, source: str) -> GroupLabel:
    """The label of a further group. Raises TaskFileError with every fault, naming `source`."""
    faults = Faults(source)
    at = "metadata.unlearning"
    if faults.keys(value, at=at, needed=("benchmark", "setting"), optional=("modality",)):
        faults.texts_at(value, "benchmark", "setting", at=at)
        if value.get("modality") is not None:
            faults.choice(value["modality"], at=f"{at}.modality", allowed=MODALITIES)
    faults.raise_any()
    return GroupLabel(**value)


def is_document(value: Any) -> bool:
    """Whether the label of a group is a whole document, not just a pointer to one."""
    return isinstance(value, Mapping) and bool({"title", "metrics", "recipes", "stage_one"} & set(value))


def parse_document(value: Any, *, source: str) -> Document:
    """The document of a benchmark. Raises TaskFileError with every fault, naming `source`."""
    faults = Faults(source)
    at = "metadata.unlearning"
    needed = [name for name in Document.__dataclass_fields__ if name not in OPTIONAL]
    complete = faults.keys(value, at=at, needed=needed, optional=OPTIONAL)
    if complete:
        faults.choice(value["modality"], at=f"{at}.modality", allowed=MODALITIES)
        faults.texts_at(value, "benchmark", "title", "paper", "licence", at=at)
        for name in _LISTS:
            faults.texts(value.get(name, []), at=f"{at}.{name}")
        settings = value["settings"] if isinstance(value["settings"], list) else []
        faults.choice(value["setting"], at=f"{at}.setting", allowed=settings)
        _check_sets(value["stage_one"], faults=faults, at=f"{at}.stage_one", needed=("target",), optional=("retain",))
        further = [str(name) for name in value["sets"]] if isinstance(value["sets"], Mapping) else []
        _check_sets(value["sets"], faults=faults, at=f"{at}.sets", needed=NEEDED_SETS, optional=further)
        faults.choice(value.get("judges", "any"), at=f"{at}.judges", allowed=JUDGES)
        for name in ("pretrained", "blur_images", "scores_only", "one_at_a_time"):
            faults.boolean(value.get(name, False), at=f"{at}.{name}")
        _check_gate(value["gate"], faults=faults, at=f"{at}.gate")
        _check_metrics(value["metrics"], faults=faults, at=f"{at}.metrics")
        _check_names(value.get("collapse"), faults=faults, at=f"{at}.collapse", what="metric")
        _check_names(value.get("attacks"), faults=faults, at=f"{at}.attacks", what="attack")
        _check_recipes(value["recipes"], faults=faults, at=f"{at}.recipes")
        _check_by_setting(value, faults=faults, at=at, settings=settings)
    faults.raise_any()
    lists = {name: tuple(value.get(name, ())) for name in _LISTS}
    metrics = tuple(_metric_use(use) for use in value["metrics"])
    named = value.get("collapse")
    collapse = None if named is None else tuple(MetricName(**one) for one in named)
    attacks = tuple(AttackName(**one) for one in value.get("attacks") or ())
    made = {"gate": Gate(**value["gate"]), "metrics": metrics, "collapse": collapse, "attacks": attacks}
    made |= {"folds": {name: tuple(sets) for name, sets in value.get("folds", {}).items()}}
    return Document(**{**value, **lists, **made})


def _check_sets(value: Any, *, faults: Faults, at: str, needed: Sequence[str], optional: Sequence[str]) -> None:
    if faults.keys(value, at=at, needed=needed, optional=optional):
        faults.texts_at(value, *value, at=at)


def _check_by_setting(value: Mapping[str, Any], *, faults: Faults, at: str, settings: Sequence[str]) -> None:
    """Sets that differ by setting."""
    trained, relearn = value.get("trained", {}), value.get("relearn", {})
    if faults.keys(trained, at=f"{at}.trained", needed=(), optional=settings):
        for name, sets in trained.items():
            _check_sets(sets, faults=faults, at=f"{at}.trained.{name}", needed=("forget",), optional=("retain",))
    _check_sets(relearn, faults=faults, at=f"{at}.relearn", needed=(), optional=settings)
    folds = value.get("folds", {})
    if faults.keys(folds, at=f"{at}.folds", needed=(), optional=settings):
        for name, sets in folds.items():
            faults.texts(sets, at=f"{at}.folds.{name}")


def _check_gate(value: Any, *, faults: Faults, at: str) -> None:
    if faults.keys(value, at=at, needed=("metric", "profile", "set", "minimum"), optional=("room", "args")):
        faults.texts_at(value, "metric", "set", at=at)
        faults.profile(value["profile"], at=f"{at}.profile")
        faults.arguments(value.get("args", {}), at=f"{at}.args")
        faults.number(value["minimum"], at=f"{at}.minimum")
        if value.get("room") is not None:
            faults.number(value["room"], at=f"{at}.room")


def _check_metrics(value: Any, *, faults: Faults, at: str) -> None:
    if not isinstance(value, list) or not value:
        faults.found.append(f"{at} must be a list of at least one metric")
        return
    for index, use in enumerate(value):
        here = f"{at}[{index}]"
        if faults.keys(use, at=here, needed=("metric", "set", "direction"), optional=OF_A_USE):
            faults.texts_at(use, "metric", "set", at=here)
            faults.choice(use["direction"], at=f"{here}.direction", allowed=DIRECTIONS)
            if use.get("goal") is not None:
                faults.number(use["goal"], at=f"{here}.goal")
            faults.boolean(use.get("headline", True), at=f"{here}.headline")
            faults.arguments(use.get("args", {}), at=f"{here}.args")
            profiles = use.get("profiles")
            if profiles is not None:
                faults.texts(profiles, at=f"{here}.profiles")
            for profile in profiles if isinstance(profiles, list) else ():
                faults.profile(profile, at=f"{here}.profiles")


def _check_names(value: Any, *, faults: Faults, at: str, what: str) -> None:
    """A list of metrics or attacks, each with its arguments; None: there is none."""
    if value is None:
        return
    if not isinstance(value, list):
        example = "degenerate" if what == "metric" else "blank_image"
        faults.found.append(f"{at} is {shortened(value)}; give a list of {what}s, such as [{{{what}: {example}}}]")
        return
    for index, one in enumerate(value):
        here = f"{at}[{index}]"
        if faults.keys(one, at=here, needed=(what,), optional=("args",)):
            faults.text(one[what], at=f"{here}.{what}")
            faults.arguments(one.get("args", {}), at=f"{here}.args")


def _check_recipes(value: Any, *, faults: Faults, at: str) -> None:
    if not isinstance(value, Mapping) or not value:
        faults.found.append(f"{at} must be a mapping of recipe names")
        return
    for name, recipe in value.items():
        faults.keys(recipe, at=f"{at}.{name}", needed=("stage_one", "unlearn"), optional=("notes", "relearn"))


def _metric_use(use: Mapping[str, Any]) -> MetricUse:
    profiles = use.get("profiles")
    return MetricUse(
        use["metric"],
        use["set"],
        use["direction"],
        None if profiles is None else tuple(profiles),
        None if use.get("goal") is None else float(use["goal"]),
        use.get("headline", True),
        use.get("args", {}),
    )
