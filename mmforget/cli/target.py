"""`mmforget target`: stage one only, make or load the target and the retain model."""

from __future__ import annotations

import argparse

from mmforget.cli import flags
from mmforget.cli.printing import print_json, say
from mmforget.cli.progress import progress_bars

SUMMARY = "stage one only: make or load the target and the retain model"
EXAMPLES = """\
  mmforget target --model micro --tasks fiubench
  mmforget target --model micro --tasks fiubench --method dp2 --method_args epsilon=10
  mmforget target --model hf --model_args pretrained=FOLDER --tasks fiubench --data FOLDER --output_path out
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", metavar="NAME", help="make the base that this method starts from, too")
    flags.add_method_flags(parser)
    flags.add_task_flags(parser)
    flags.add_model_flags(parser)
    flags.add_target_flags(parser)
    flags.add_recipe_flags(parser)
    flags.add_worker_flags(parser)
    flags.add_output_flags(parser)


def execute(args: argparse.Namespace) -> int:
    config = flags.config_from(args)
    from mmforget.libraries import leave_libraries_to_stay
    from mmforget.pipeline.bases import make_bases
    from mmforget.pipeline.plan import make_plan
    from mmforget.pipeline.run import make_models
    from mmforget.pipeline.workers import workers

    leave_libraries_to_stay()

    found = []
    with progress_bars(quiet=args.quiet) as progress, workers(config, progress=progress) as pool:
        for plan in make_plan(config).benchmarks:
            benchmark = plan.bound.benchmark
            if args.dry_run:
                found.append({"group": benchmark.group, "models": list(benchmark.stage_one)})
                continue
            models = make_models(config, plan=plan, pool=pool)
            models += make_bases(plan.methods, config=config, bound=plan.bound, target=models[0], pool=pool)
            found.append({"group": benchmark.group, **{m.role: str(m.spec.pretrained) for m in models}})
    if args.json:
        print_json(found)
    else:
        for entry in found:
            say("\n".join(f"{key:7} {value}" for key, value in entry.items()))
    return 0
