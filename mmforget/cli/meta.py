"""`mmforget meta`: what metrics and attacks are worth, on models of which it is known whether they know."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from mmforget.cli import flags
from mmforget.cli.attack_flags import add_attack_flags
from mmforget.cli.printing import in_columns, print_json, say
from mmforget.cli.progress import progress_bars

SUMMARY = "measure metrics and attacks themselves, on models that have the knowledge and models that never saw it"
EXAMPLES = """\
  mmforget meta --model micro --tasks fiubench,tofu_forget10 --attacks robust,unlok7 --methods grad_diff,npo,rmu \\
      --output_path meta
  mmforget meta --model micro --tasks fiubench --size 10 --after 'quantisation(kind=int8)' --output_path meta
"""
HEAD = ("metric", "set", "attack", "AUC", "with share", "lasts", "seconds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", type=flags.positive_int, default=30, metavar="N", help="models of each pool (default: 30)"
    )
    parser.add_argument(
        "--after", default="lasting", metavar="NAMES",
        help="attacks on weights after which everything is measured again (default: lasting)",
    )  # fmt: skip
    parser.add_argument("--methods", metavar="NAMES", help="make models forget by these, to see how long that lasts")
    flags.add_method_flags(parser)
    add_attack_flags(parser)
    flags.add_task_flags(parser)
    flags.add_model_flags(parser)
    flags.add_recipe_flags(parser)
    flags.add_worker_flags(parser)
    flags.add_output_flags(parser, required=True)


def execute(args: argparse.Namespace) -> int:
    config = flags.config_from(args)
    from mmforget.attacks.naming import attack_names
    from mmforget.libraries import leave_libraries_to_stay
    from mmforget.pipeline.meta import make_meta_plan, measure_metrics

    plan = make_meta_plan(config, size=args.size, changes=attack_names(args.after) if args.after else ())
    if args.dry_run:
        if args.json:
            print_json(plan.as_dict())
        else:
            say("\n".join(_planned(plan.as_dict())))
        return 0
    leave_libraries_to_stay()
    with progress_bars(quiet=args.quiet) as progress:
        found = measure_metrics(plan, progress=progress)
    if args.json:
        print_json(found)
    else:
        say("\n\n".join(_table(group, one["rows"]) for group, one in found["benchmarks"].items()))
    return 0


def _planned(plan: Mapping[str, Any]) -> Iterator[str]:
    for group, models in plan["benchmarks"].items():
        num = sum(one["is_changed"] for one in models)
        after = f", {num} of them after {', '.join(plan['changes'])}, too" if plan["changes"] else ""
        yield f"{group}: {len(models)} models, each as it is{after}"
        yield from (f"  {_model(one)}" for one in models)


def _model(one: Mapping[str, Any]) -> str:
    if "share" not in one:
        return str(one["name"])
    rest = ", ".join(f"{name} {one[name]}" for name in ("share", "wording", "steps", "lr", "start", "seed"))
    return f"{one['name']}: {rest}"


def _table(group: str, rows: list[Mapping[str, Any]]) -> str:
    """A line for every number that is about what was to be forgotten, those that tell best first."""
    shown = [row for row in rows if row["about"] == "forgotten"]
    shown.sort(key=lambda row: -row["auc"]["value"])
    lines = [HEAD, *map(_cells, shown)]
    return "\n".join([group, *(f"  {line}" for line in in_columns(lines))])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    name = row["metric"] if row["profile"] in ("clean", "headline") else f"{row['metric']} ({row['profile']})"
    mark = " cannot tell" if row["tells"] is False else ""
    return (
        name, row["set"] or "-", row["attack"] or "-", f"{_number(row['auc'])}{mark}", _number(row["correlation"]),
        "-" if row["robustness"] is None else f"{row['robustness']:.2f}",
        "-" if row["seconds"] is None else f"{row['seconds']:.1f}",
    )  # fmt: skip


def _number(found: Mapping[str, float | None]) -> str:
    value, low, high = (found[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"
