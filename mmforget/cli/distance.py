"""`mmforget distance`: how far a model lies from the retain model, as a distribution and as weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmforget.cli import flags
from mmforget.cli.printing import measured, print_json, say
from mmforget.cli.progress import progress_bars

if TYPE_CHECKING:
    from mmforget.pipeline.comparing import Compared
    from mmforget.pipeline.distance import Distances

SUMMARY = "how far a model lies from one that never saw the rows: what they write, and the way between their weights"
EXAMPLES = """\
  mmforget distance --model micro --tasks fiubench --stage_one_seeds 0,1 --measures 'fade(samples=8)'
  mmforget distance --model hf --model_args pretrained=TARGET,peft=out/training/adapter --target_model TARGET \\
      --retain_model RETAIN --null_model RETAIN_OF_ANOTHER_SEED --tasks tofu_forget10 --measures fade,mode_connectivity
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--measures", default="fade,mode_connectivity,form_dependence", metavar="NAMES",
        help="'fade(samples=8),mode_connectivity(curve=bezier),form_dependence,membership', with or without arguments",
    )  # fmt: skip
    flags.add_task_flags(parser)
    flags.add_model_flags(parser)
    group = parser.add_argument_group("models to compare with")
    group.add_argument("--target_model", metavar="MODEL", help="the model before anything was forgotten")
    group.add_argument("--retain_model", metavar="MODEL", help="one that never saw what was to be forgotten")
    group.add_argument(
        "--null_model", action="append", default=[], metavar="MODEL",
        help="a retain model of another seed, for how far two of them lie apart; may be given again",
    )  # fmt: skip
    group.add_argument(
        "--stage_one_seeds", type=flags.seed_list, metavar="N,N,...",
        help="with --model micro: train a retain model with each; the first is the one that is compared with",
    )  # fmt: skip
    flags.add_recipe_flags(parser)
    flags.add_output_flags(parser)


def execute(args: argparse.Namespace) -> int:
    config = flags.config_from(args)
    from mmforget.pipeline.distance import make_distance_plan, measure_distances

    null_models = [
        flags.given_model(one, model_args=config.model_args, device=config.device) for one in args.null_model
    ]
    plan = make_distance_plan(config, measures=args.measures, null_models=[one for one in null_models if one])
    if args.dry_run:
        say("\n".join(f"{bound.benchmark.group}: {', '.join(plan.measures)}" for bound in plan.benchmarks))
        return 0
    with progress_bars(quiet=args.quiet) as progress:
        found = measure_distances(plan, progress=progress)
    if args.json:
        print_json(found)
    else:
        say("\n\n".join(_table(group, distances) for group, distances in found.items()))
    return 0


def _table(group: str, distances: Distances) -> str:
    lines = [group]
    for name, evidence in distances.evidence.items():
        lines.append(f"  {name} ({evidence})")
        lines += [f"    {_line(one)}" for one in distances.compared if one.measure == name]
        lines += [f"    {reason}" for reason in [distances.null[name]] if reason]
    return "\n".join(lines)


def _line(one: Compared) -> str:
    begin = f"{one.first} - {one.second}{' (null)' if one.is_null else ''}: "
    if one.result is None:
        return begin + one.reason
    return begin + ", ".join(f"{name} {measured(value)}" for name, value in one.result.numbers.items())
