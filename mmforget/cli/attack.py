"""`mmforget attack`: attacks by name on any model, and on those it is compared with."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmforget.cli import flags
from mmforget.cli.attack_flags import add_attack_flags
from mmforget.cli.printing import in_columns, measured, print_json, say
from mmforget.cli.progress import progress_bars

if TYPE_CHECKING:
    from mmforget.evaluation.attack import AttackResult

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


def _table(group: str, by_model: Mapping[str, Sequence[AttackResult]]) -> str:
    """One line an attack and task, with the success on each model; the area is the first one's."""
    first, *others = by_model
    head = (*HEAD[:3], *(f"{HEAD[3]} of {name}" for name in (first, *others)), HEAD[4])
    lines = [head]
    for number, one in enumerate(by_model[first]):
        for key in one.measures:
            told = [measured(by_model[name][number].measures[key]) for name in by_model]
            lines.append((f"{one.attack}: {key}", one.access, "", *told, ""))
        if one.measures:
            continue
        values = [measured(by_model[name][number].success) for name in by_model]
        area = "-" if one.area.value is None else f"{one.area.value:.3f}"
        lines.append((one.attack or PLAIN, one.access, str(one.budget), *values, area))
    return "\n".join([group, *(f"  {line}" for line in in_columns(lines))])
