"""`mmforget eval`: any lm_eval task on any model, unlearned or not."""

from __future__ import annotations

import argparse

from mmforget.cli import flags, lm_eval_flags
from mmforget.cli.printing import print_json, say
from mmforget.cli.progress import progress_bars

SUMMARY = "any lm_eval task on any model, unlearned or not; takes the flags of lm_eval run"
EXAMPLES = """\
  mmforget eval --model hf --model_args pretrained=TARGET,load_in_4bit=True,peft=out/training/adapter \\
      --tasks fiubench --data FOLDER
  mmforget eval --model hf --model_args pretrained=FOLDER --tasks fiubench_forget_gen --data synthetic --json
  mmforget eval --model hf --model_args pretrained=FOLDER --tasks my_tasks/quiz.yaml --output_path out --log_samples
"""
prepare = lm_eval_flags.with_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_task_flags(parser)
    flags.add_model_flags(parser)
    flags.add_recipe_flags(parser)
    flags.add_judge_flags(parser)
    flags.add_output_flags(parser, trains=False)
    lm_eval_flags.add_arguments(parser)
    parser.add_argument("--no_blank_image", action="store_true", help="skip asking image tasks with grey images")
    parser.add_argument("--no_blank_control", dest="no_blank_image", action="store_true", help=argparse.SUPPRESS)


def execute(args: argparse.Namespace) -> int:
    args.asking = lm_eval_flags.asking_from(args)
    # For --model micro the target is trained where there is none, and one seed is for all.
    args.seed = args.seed[0] if args.seed and len(set(args.seed)) == 1 else None
    config = flags.config_from(args)
    from mmforget.pipeline.evaluating import Wanted, evaluate_only

    wanted = Wanted(
        blank_image=not args.no_blank_image,
        dry_run=args.dry_run,
        bars=not args.quiet,
        log_samples=args.log_samples,
        predict_only=args.predict_only,
        write_out=args.write_out,
        confirm_run_unsafe_code=args.confirm_run_unsafe_code,
    )
    with progress_bars(quiet=args.quiet) as progress:
        document = evaluate_only(config, wanted=wanted, progress=progress)
    if args.json or args.dry_run or args.show_config:
        print_json(document)
    if args.json or args.dry_run:
        return 0
    from mmforget.lm.inside import table

    say(table(document))
    if "groups" in document:
        say(table(document, part="groups"))
    return 0
