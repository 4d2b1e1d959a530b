"""`mmforget eval`: any lm_eval task on any model, unlearned or not."""

from __future__ import annotations

import argparse

from mmforget.cli import flags
from mmforget.cli.printing import print_json
from mmforget.cli.progress import progress_bars

SUMMARY = "any lm_eval task on any model, unlearned or not"
EXAMPLES = """\
  mmforget eval --model hf --model_args pretrained=TARGET,load_in_4bit=True,peft=out/training/adapter \\
      --tasks fiubench --data FOLDER
  mmforget eval --model hf --model_args pretrained=FOLDER --tasks fiubench_forget_gen --data synthetic --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_task_flags(parser)
    flags.add_model_flags(parser)
    flags.add_recipe_flags(parser)
    flags.add_judge_flags(parser)
    flags.add_output_flags(parser)
    parser.add_argument("--no_blank_control", action="store_true", help="skip asking image tasks with grey images")


def execute(args: argparse.Namespace) -> int:
    config = flags.config_from(args)
    from mmforget.pipeline.evaluating import evaluate_only

    with progress_bars(quiet=args.quiet) as progress:
        document = evaluate_only(
            config,
            blank_control=not args.no_blank_control,
            dry_run=args.dry_run,
            bars=not args.quiet,
            progress=progress,
        )
    if args.json or args.dry_run:
        print_json(document)
        return 0
    from lm_eval.utils import make_table

    print(make_table(document))
    if "groups" in document:
        print(make_table(document, "groups"))
    return 0
