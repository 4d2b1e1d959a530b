"""`mmforget leaderboard`: collect run records into a ranking."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmforget.cli.printing import tell
from mmforget.errors import BadData

SUMMARY = "collect runs into a leaderboard: table, JSON rows, picture and page"
EXAMPLES = """\
  mmforget leaderboard demo
  mmforget leaderboard runs/alice runs/bob --output_path board
  mmforget leaderboard submissions/* --verify --output_path board
  mmforget leaderboard demo --json | jq '.rows[] | {name, rank}'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_FOLDER", help="folders to search for run records")
    parser.add_argument(
        "--output_path",
        type=Path,
        metavar="DIR",
        help="write leaderboard.json, leaderboard.md, index.html and PNG here",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compute every number again from the stored samples, and pass over records that say otherwise or have "
        "none; seconds a record",
    )
    parser.add_argument("--json", action="store_true", help="print leaderboard.json on stdout")


def execute(args: argparse.Namespace) -> int:
    """Print the ranking; with --output_path also write it.

    0, or 2 where a record is damaged or contradicts itself: it is named on stderr, and the others are ranked all the
    same. Raises BadData where none is left.
    """
    from rich.console import Console

    from mmforget.leaderboard import export
    from mmforget.leaderboard.board import boards
    from mmforget.leaderboard.over_seeds import join_seeds
    from mmforget.leaderboard.publish import publish
    from mmforget.leaderboard.table import render_all
    from mmforget.results.verify import collect_trusted

    records = collect_trusted(args.runs)
    if args.verify:
        from mmforget.cli.recheck import confirmed

        records = confirmed(records)
    if not records.runs:
        raise BadData("run records", faults=records.faults)
    for line in (*records.notes, *(f"passed over: {fault}" for fault in records.faults)):
        tell(f"mmforget: {line}")
    found = boards(join_seeds(records.runs))
    written = None
    if args.output_path is not None:
        written = publish(found, folder=args.output_path)
        for path in (written.json, written.markdown, written.page, *written.pictures):
            tell(f"wrote {path}")
    if args.json:
        sys.stdout.writelines(export.pieces(found, folder=args.output_path))
    else:
        Console().print(render_all(found))
    return 2 if records.faults else 0
