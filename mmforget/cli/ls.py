"""`mmforget ls`: what there is to name on the command line, who brought it, and one line each."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from mmforget.cli.printing import print_json, say, tell
from mmforget.errors import UserError

SUMMARY = "list tasks, methods, metrics, attacks, judges and models, with origin and one line each"
EXAMPLES = """  mmforget ls
  mmforget ls tasks
  mmforget ls tasks --include_path my_tasks
  mmforget ls methods -v       # opens each: shape, what it asks for, cost of a step beside ga's, paper, evidence
  mmforget ls methods --json   # the same as JSON
  mmforget ls metrics          # opens each: its arguments, and the paper or code that each profile follows
  mmforget ls attacks          # opens each: what it needs of a model, its budget, cost and arguments
"""
KINDS = ("tasks", "methods", "metrics", "attacks", "judges", "models")
MODELS = {
    "micro": "embedded: a LLaVA (or Llama) of one to two million parameters, trained on the spot",
    "hf": "any Hugging Face causal or image-text model, by path or hub id",
}
JUDGES = {
    "rules": "words and patterns: free, the same everywhere, and crude",
    "none": "says nothing: what needs a judge is unscored",
    "hf:MODEL": "a Hugging Face model on this machine",
    "classifier:FOLDER": "a text classifier on this machine, for the metric gibberish",
    "remote:MODEL": "a model behind an OpenAI-compatible address",
}


class Item(NamedTuple):
    """A line of the list."""

    name: str
    origin: str
    summary: str


class MetricItem(NamedTuple):
    """A metric that was opened: its arguments with their defaults, and what each profile follows, if it says so."""

    name: str
    origin: str
    summary: str
    arguments: Mapping[str, Any]
    profiles: Mapping[str, str]


class AttackItem(NamedTuple):
    """An attack that was opened: what it needs of a model, its candidates, what it takes, and its arguments."""

    name: str
    origin: str
    summary: str
    access: str
    budget: int | None
    cost: str
    arguments: Mapping[str, Any]


class MethodItem(NamedTuple):
    """A method that was opened; see `methods.described.Described` for the fields."""

    name: str
    origin: str
    summary: str
    shape: str
    requests: tuple[str, ...]
    cost: float | None
    paper: str
    evidence: str
    arguments: Mapping[str, Any]
    besides: str


Line = Item | MetricItem | AttackItem | MethodItem


class Listing(NamedTuple):
    """The lines of each kind, and the task files and plugins that are broken."""

    items: dict[str, list[Line]]
    faults: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", nargs="?", choices=KINDS, metavar="KIND", help=f"one of {', '.join(KINDS)}; default all"
    )
    parser.add_argument("--include_path", action="append", default=[], metavar="DIR", help="further task folders")
    parser.add_argument("-v", "--verbose", action="store_true", help="open each method, metric and attack and say more")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def execute(args: argparse.Namespace) -> int:
    """0, or 2 where a task file or a plugin is broken: it is named on stderr, and the rest is listed all the same."""
    kinds = [args.kind] if args.kind else KINDS
    # To open methods takes seconds, since they import torch.
    opened = OPENED if args.verbose else {args.kind} - ({"methods"} if not args.json else set())
    listing = collect(kinds, include_paths=args.include_path, opened=opened)
    if args.json:
        document = {kind: [item._asdict() for item in items] for kind, items in listing.items.items()}
        print_json({**document, "faults": listing.faults})
    else:
        say("\n\n".join(_table(kind, items) for kind, items in listing.items.items()))
    for fault in listing.faults:
        tell(f"mmforget: error: {fault}")
    return 2 if listing.faults else 0


def collect(kinds: Sequence[str], *, include_paths: Sequence[str] = (), opened: Collection[str | None] = ()) -> Listing:
    """Everything of the given kinds. Imports no torch, no lm_eval and no plugin, but of the kinds that are `opened`."""
    listing = Listing({}, [])
    for kind in kinds:
        if kind == "tasks":
            listing.items[kind] = [*_tasks(include_paths, faults=listing.faults)]
        elif kind == "models":
            listing.items[kind] = [Item(name, "mmforget", summary) for name, summary in MODELS.items()]
        elif kind == "judges":
            known = [Item(name, "mmforget", summary) for name, summary in JUDGES.items()]
            listing.items[kind] = [*known, *_plugins(kind, faults=listing.faults)]
        else:
            listing.items[kind] = [*_plugins(kind, faults=listing.faults), *(_suites() if kind == "attacks" else ())]
    for kind in kinds:
        if kind in OPENED and kind in opened:
            listing.items[kind] = [_opened(one, by=OPENED[kind], faults=listing.faults) for one in listing.items[kind]]
    return listing


def _suites() -> list[Item]:
    from mmforget.attacks.naming import SUITES, SUMMARIES

    return [Item(name, "mmforget", f"{SUMMARIES[name]}: {', '.join(SUITES[name])}") for name in SUITES]


def _opened(item: Line, *, by: Callable[[Line], Line], faults: list[str]) -> Line:
    """The plugin with what it says about itself; as it was where it cannot be loaded, which is a fault."""
    try:
        return by(item)
    except UserError as error:
        faults.append(str(error))
        return item


def _opened_metric(item: Line) -> Line:
    from mmforget.metrics.arguments import arguments_of
    from mmforget.metrics.base import METRICS, sources_of

    metric = METRICS.get(item.name)
    return MetricItem(*item[:3], arguments_of(metric), sources_of(metric))


def _opened_attack(item: Line) -> Line:
    from mmforget.attacks.base import ATTACKS, budget_of, cost_of
    from mmforget.attacks.naming import SUITES

    if item.name in SUITES:
        return item
    kind = ATTACKS.get(item.name)
    given = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    return AttackItem(*item[:3], kind.access, budget_of(kind), cost_of(kind), given)


def _opened_method(item: Line) -> Line:
    from mmforget.methods.base import METHODS
    from mmforget.methods.described import described
    from mmforget.plugins import running

    kind = METHODS.get(item.name)
    with running(kind, what=f"method '{item.name}': requests"):
        return MethodItem(*item[:3], **described(kind)._asdict())


OPENED: Mapping[str, Callable[[Line], Line]] = {
    "methods": _opened_method,
    "metrics": _opened_metric,
    "attacks": _opened_attack,
}
"""What a plugin of a kind says about itself."""


def _tasks(include_paths: Sequence[str], *, faults: list[str]) -> list[Item]:
    from mmforget.benchmark.find import catalogue

    found = catalogue(include_paths)
    faults.extend(found.faults)
    return [Item(entry.name, entry.origin, f"{entry.kind}: {entry.summary}") for entry in found.entries]


def _plugins(kind: str, *, faults: list[str]) -> list[Item]:
    from mmforget.registry import Registry

    name = kind.removesuffix("s")
    registry: Registry[object] = Registry(name, package=f"mmforget.{kind}", attribute=name.upper())
    faults.extend(registry.faults)
    entries = registry.entries.values()
    return [Item(entry.name, entry.origin, entry.summary or f"from {entry.module}") for entry in entries]


def _table(kind: str, items: Sequence[Line]) -> str:
    if not items:
        return f"{kind}\n  none installed"
    name_width = max(len(item.name) for item in items)
    origin_width = max(len(item.origin) for item in items)
    lines = []
    for item in items:
        lines.append(f"  {item.name:<{name_width}}  {item.origin:<{origin_width}}  {item.summary}")
        lines += [f"  {'':<{name_width}}  {'':<{origin_width}}  {line}" for line in _details(item)]
    return "\n".join([kind, *lines])


def _details(item: Line) -> list[str]:
    """What an opened metric takes, and what its profiles follow."""
    if isinstance(item, Item):
        return []
    if isinstance(item, AttackItem):
        budget = "" if item.budget is None else f", budget {item.budget}"
        given = ", ".join(f"{name}={value}" for name, value in item.arguments.items())
        return [
            f"needs {item.access}{budget}; costs {item.cost or 'what it does not say'}",
            f"arguments: {given or 'none'}",
        ]
    if isinstance(item, MethodItem):
        return _method_details(item)
    profiles = [f"{name}: {source}" if source else name for name, source in item.profiles.items()]
    named = [f"{name}={value}" for name, value in item.arguments.items()]
    return [*([f"arguments: {', '.join(named)}"] if named else []), f"profiles: {'; '.join(profiles)}"]


def _method_details(item: MethodItem) -> list[str]:
    around = "around ga " if item.shape == "wrapper" else ""
    cost = "" if item.cost is None else f"; {around}a step costs {item.cost:g} of ga's"
    besides = f"; {item.besides}" if item.besides else ""
    given = ", ".join(f"{name}={value}" for name, value in item.arguments.items())
    source = f"{item.evidence or 'how near to its paper it does not say'}: {item.paper or 'no paper'}"
    asks = f"; asks for {', '.join(item.requests)}" if item.requests else ""
    return [f"{item.shape}{asks}{cost}{besides}", source, f"arguments: {given or 'none'}"]
