"""`mmforget run`: target and retain model, every method, evaluation, table, JSON and page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmforget import parallel
from mmforget.cli import flags, leaderboard
from mmforget.cli.attack_flags import add_attack_flags
from mmforget.cli.plan import print_plan
from mmforget.cli.printing import tell
from mmforget.cli.progress import progress_bars
from mmforget.errors import UserError

SUMMARY = "make models forget with each method, measure whether they did, and rank them"
EXAMPLES = """\
  mmforget run --model micro --tasks fiubench --methods ga,grad_diff,kl,po,npo --seeds 0,1,2 --output_path demo
  mmforget run --model micro --tasks fiubench --methods npo --attacks 'logit_lens,question_rephrase(level=easy)' \\
      --output_path attacked
  mmforget run --model micro --tasks fiubench --methods npo --requests 4 --output_path sequence
  mmforget run --model micro --tasks fiubench --methods ga --eval_steps 5 --stop 'forget<0.3,utility<0.8*start' \\
      --keep best:balance --output_path watched
  mmforget run --model micro --tasks fiubench --methods grad_diff,npo --tune 4 --output_path tuned
  mmforget run --model hf --model_args pretrained=FOLDER,load_in_4bit=True --target_model TARGET \\
      --retain_model RETAIN --tasks fiubench --data FOLDER --methods npo --output_path out
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", required=True, metavar="NAMES", help="comma-separated; 'mmforget ls methods'")
    flags.add_method_flags(parser)
    flags.add_task_flags(parser)
    flags.add_model_flags(parser)
    flags.add_target_flags(parser)
    flags.add_training_flags(parser)
    flags.add_recipe_flags(parser)
    flags.add_seed_flags(parser)
    flags.add_worker_flags(parser)
    add_attack_flags(parser)
    flags.add_judge_flags(parser)
    flags.add_request_flags(parser)
    flags.add_watching_flags(parser)
    flags.add_tuning_flags(parser)
    flags.add_output_flags(parser, required=True)
    parser.add_argument(
        "--one_at_a_time",
        action="store_true",
        help="forget each subject alone: edit, ask, restore, go on; means are then over edits",
    )
    parser.add_argument(
        "--allow_weak_target", action="store_true", help="go on where the target fails the memorisation gate"
    )


def execute(args: argparse.Namespace) -> int:
    config = flags.config_from(args)
    if not config.methods:
        raise UserError("--methods names none; give e.g. --methods grad_diff,npo")
    from mmforget.pipeline.plan import make_plan

    plan = make_plan(config)
    if args.dry_run:
        return print_plan(plan, as_json=args.json)
    from mmforget.libraries import leave_libraries_to_stay
    from mmforget.pipeline.run import run

    leave_libraries_to_stay()
    with progress_bars(quiet=args.quiet) as progress:
        run(plan, progress=progress, say=tell, allow_weak_target=args.allow_weak_target)
    return parallel.on_main(lambda: leaderboard.execute(_board_of(config.output, as_json=args.json)))


def _board_of(output: Path, *, as_json: bool) -> argparse.Namespace:
    """What `mmforget leaderboard OUTPUT --output_path OUTPUT` would be given; a folder may be called `validate`."""
    parser = argparse.ArgumentParser()
    leaderboard.add_arguments(parser)
    words = [f"--output_path={output}", *(["--json"] if as_json else []), "--", os.path.join(".", output)]
    return parser.parse_args(words)
