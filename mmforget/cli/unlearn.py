"""`mmforget unlearn`: one method on one model; saves the adapter or the weights."""

from __future__ import annotations

import argparse
import shlex

from mmforget.cli import flags
from mmforget.cli.plan import print_plan
from mmforget.cli.printing import print_json, say, tell
from mmforget.cli.progress import progress_bars

SUMMARY = "make one model forget with one method; saves an adapter (or weights) to evaluate later"
EXAMPLES = """\
  mmforget unlearn --model micro --tasks fiubench --method npo --method_args beta=0.1 --output_path out
  mmforget unlearn --model hf --model_args pretrained=TARGET,load_in_4bit=True --tasks fiubench_forget1 \\
      --data FOLDER --method grad_diff --lora_r 16 --output_path out
"""
ASKING_FLAGS = ("metadata", "forget_path", "limit", "num_fewshot", "device", "gen_kwargs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", required=True, metavar="NAME", help="one method; 'mmforget ls methods'")
    flags.add_method_flags(parser)
    flags.add_task_flags(parser)
    flags.add_model_flags(parser)
    flags.add_training_flags(parser)
    flags.add_recipe_flags(parser)
    flags.add_output_flags(parser, required=True)


def execute(args: argparse.Namespace) -> int:
    config = flags.config_from(args)
    from mmforget.pipeline.plan import make_plan

    plan = make_plan(config, evaluates=False)
    if args.dry_run:
        return print_plan(plan, as_json=args.json)
    from mmforget.libraries import leave_libraries_to_stay
    from mmforget.pipeline.run import unlearn_only

    leave_libraries_to_stay()
    with progress_bars(quiet=args.quiet) as progress:
        report = unlearn_only(plan, progress=progress)
    if args.json:
        print_json(report)
        return 0
    say(f"{report['label']}: {report['num_steps']} steps, {report['wall_s']:.1f} s, saved to {report['folder']}")
    if report["stopped"]:
        tell(f"stopped early: {report['stopped']}")
    say("evaluate it: " + evaluation_command(args, model_args=report["model_args"]))
    return 0


def evaluation_command(args: argparse.Namespace, *, model_args: str) -> str:
    """`mmforget eval` of the result, for a shell, with all flags that decide which questions are asked and how."""
    data = args.data or ("synthetic" if args.model == "micro" else "hub")
    words = ["mmforget", "eval", "--model", "hf", "--model_args", model_args, "--tasks", args.tasks, "--data", data]
    for folder in args.include_path:
        words += ["--include_path", folder]
    for name in ASKING_FLAGS:
        value = getattr(args, name)
        if value not in (None, ""):
            words += [f"--{name}", str(value)]
    if args.apply_chat_template:
        name = args.apply_chat_template
        words += ["--apply_chat_template", *([name] if isinstance(name, str) else [])]
    return shlex.join(words)
