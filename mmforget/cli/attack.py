"""`mmforget attack`: attacks by name on any model, and on those it is compared with."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mmforget.cli import flags
from mmforget.cli.attack_flags import add_attack_flags
from mmforget.cli.printing import in_columns, measured, print_json, say
from mmforget.cli.progress import progress_bars

if TYPE_CHECKING:
    from mmforget.evaluation.attack import AttackResult
    from mmforget.types import Estimate

SUMMARY = "try to get forgotten answers back from any model, and say how often that works"
EXAMPLES = """\
  mmforget attack --model micro --tasks fiubench --attacks 'logit_lens,question_rephrase(level=easy)'
  mmforget attack --model hf --model_args pretrained=TARGET,peft=out/training/adapter --target_model TARGET \\
      --tasks unlok_vqa --data FOLDER --attacks unlok7 --output_path attacked
"""
PLAIN = "(asked plainly)"
HEAD = ("attack", "access", "budget", "success", "area")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_attack_flags(parser, required=True)
    flags.add_task_flags(parser)
    flags.add_model_flags(parser)
    group = parser.add_argument_group("models to compare with, attacked alike")
    group.add_argument("--target_model", metavar="MODEL", help="the model before anything was forgotten")
    group.add_argument("--retain_model", metavar="MODEL", help="one that never saw what was to be forgotten")
    flags.add_recipe_flags(parser)
    flags.add_output_flags(parser)


def execute(args: argparse.Namespace) -> int:
    config = flags.config_from(args)
    from mmforget.pipeline.attacking import attack_models, make_attack_plan

    made = make_attack_plan(config)
    if args.dry_run:
        if args.json:
            print_json([evaluations.as_dict() for _, evaluations in made.benchmarks])
        else:
            say("\n".join(evaluations.text() for _, evaluations in made.benchmarks))
        return 0
    with progress_bars(quiet=args.quiet) as progress:
        found = attack_models(made, progress=progress)
    if args.json:
        print_json(found)
    else:
        say("\n\n".join(_table(group, by_model) for group, by_model in found.items()))
    return 0


class _Line(NamedTuple):
    """What an attack came to on one task: what is said of it before and behind the numbers of each model."""

    label: str
    access: str
    budget: str
    told: Mapping[str, Estimate]
    area: str


def _table(group: str, by_model: Mapping[str, Sequence[AttackResult]]) -> str:
    """A line an attack and task with the success on each model, the area the first one's; then what is missing."""
    lines = list(_lines(by_model))
    head = (*HEAD[:3], *(f"{HEAD[3]} of {name}" for name in by_model), HEAD[4])
    table = [head, *((*one[:3], *map(_cell, one.told.values()), one.area) for one in lines)]
    missing = dict.fromkeys(text for one in lines for text in _missing(one))
    return "\n".join([group, *(f"  {line}" for line in (*in_columns(table), *missing))])


def _lines(by_model: Mapping[str, Sequence[AttackResult]]) -> Iterator[_Line]:
    for number, one in enumerate(next(iter(by_model.values()))):
        same = {name: results[number] for name, results in by_model.items()}
        for key in one.measures:
            told = {name: result.measures[key] for name, result in same.items()}
            yield _Line(f"{one.attack}: {key}", one.access, "", told, "")
        if not one.measures:
            area = "-" if one.area.value is None else f"{one.area.value:.3f}"
            told = {name: result.success for name, result in same.items()}
            yield _Line(one.attack or PLAIN, one.access, str(one.budget), told, area)


def _cell(estimate: Estimate) -> str:
    return "-" if estimate.value is None else measured(estimate)


def _missing(line: _Line) -> Iterator[str]:
    """Why there is no number, once for all models of which that is so."""
    reasons: dict[str, list[str]] = {}
    for name, estimate in line.told.items():
        if estimate.value is None:
            reasons.setdefault("; ".join(estimate.reasons), []).append(name)
    for reason, names in reasons.items():
        yield f"{line.label}: no number of {', '.join(names)}: {reason}"
