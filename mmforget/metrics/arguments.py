"""Arguments of a metric: the fields of its dataclass, but for those by which every metric declares what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from mmforget.arguments import argument_types, checked
from mmforget.benchmark.document import Document, Gate, MetricName, MetricUse
from mmforget.errors import UserError
from mmforget.metrics.base import METRICS, Metric, check_profile
from mmforget.plugins import running

DECLARED = frozenset(
    (
        "name",
        "kind",
        "other",
        "profiles",
        "range",
        "higher_is_better",
        "components",
        "label",
        "discloses",
        "statistics",
        "reads_reference",
    )
)


class Named(Protocol):
    """What names a metric: a use, gate or collapse rule of a document, or a composite's component."""

    @property
    def metric(self) -> str: ...
    @property
    def args(self) -> Mapping[str, Any]: ...


def arguments_of(metric: object) -> dict[str, Any]:
    """The arguments of a metric with their values, in the order of its fields."""
    return {name: getattr(metric, name) for name in _argument_names(metric)}


def identity(metric: Metric) -> tuple[str, str]:
    """What tells a metric from others, and from itself with other arguments."""
    return metric.name, repr(arguments_of(metric))


def metric_of(named: Named, *, document: str = "") -> Metric:
    """The metric that something names, with the arguments that are given there.

    Args:
        document: the benchmark whose document gives the arguments, for messages.

    Raises UnknownName for a metric or argument that does not exist, UserError for a value that its type does not allow,
    PluginError for a plugin that is broken.
    """
    metric = METRICS.get(named.metric)
    if not named.args:
        return metric
    owner = f"metric '{named.metric}'" + (f" in the document of {document}" if document else "")
    names = _argument_names(metric)
    with running(metric, what=f"{owner}: its arguments"):
        types = argument_types(type(metric)) if names else {}
        values = checked(named.args, {name: types[name] for name in names}, owner=owner)
        try:
            changed: Metric = dataclasses.replace(metric, **values)  # type: ignore[type-var]
        except UserError as error:
            raise UserError(f"{owner}: {error}") from error
    return changed


def named_metrics(document: Document) -> dict[str, Metric]:
    """By key, every metric that a benchmark's document names: for its gate, its numbers and collapse.

    Raises what `metric_of` does, and UnknownName for a profile that a metric does not have.
    """
    found: dict[str, Metric] = {}
    named: tuple[Gate | MetricUse | MetricName, ...] = (document.gate, *document.metrics, *(document.collapse or ()))
    for one in named:
        metric = found[one.key] = metric_of(one, document=document.benchmark)
        for profile in _profiles_of(one):
            check_profile(metric, profile, document=document.benchmark)
    return found


def _profiles_of(one: Gate | MetricUse | MetricName) -> tuple[str, ...]:
    if isinstance(one, Gate):
        return (one.profile,)
    return (one.profiles or ()) if isinstance(one, MetricUse) else ()


def _argument_names(metric: object) -> list[str]:
    fields = dataclasses.fields(metric) if dataclasses.is_dataclass(metric) else ()
    return [field.name for field in fields if field.init and field.name not in DECLARED]
