"""`mmforget leaderboard`: collect run records into a ranking, and check and merge those of others."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmforget.cli.printing import tell
from mmforget.errors import BadData, UserError

if TYPE_CHECKING:
    from mmforget.leaderboard.board import Board
    from mmforget.results.store import Collected

SUMMARY = "collect runs into a leaderboard: table, JSON rows, picture and page; or check and merge those of others"
EXAMPLES = """\
  mmforget leaderboard demo
  mmforget leaderboard runs/alice 'runs/*/npo/seed_?' --output_path board
  find runs -name 'results_*.json' | mmforget leaderboard - --output_path board
  mmforget leaderboard submissions/* --verify --output_path board
  mmforget leaderboard runs --output_path board --formats csv,latex,eval_results
  mmforget leaderboard --merge alice/leaderboard.json bob/leaderboard.json runs --output_path board
  mmforget leaderboard validate submission/leaderboard.json
  mmforget leaderboard --schema > leaderboard.schema.json
  mmforget leaderboard demo --json | jq '.rows[] | {name, rank}'
"""
STDIN = "-"
MAX_LINES = 1_000_000
"""Of paths on stdin."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN_FOLDER",
        help="folders to search for run records, results files, or patterns of such; - reads one a line from stdin. "
        "After the word 'validate': leaderboard.json files to check",
    )
    parser.add_argument(
        "--output_path",
        type=Path,
        metavar="DIR",
        help="write leaderboard.json, leaderboard.md, index.html and PNG here",
    )
    parser.add_argument(
        "--formats",
        metavar="NAMES",
        default="",
        help="write these beside it, too: csv, latex, eval_results and model_index (Hugging Face Hub), "
        "every_eval_ever, lm_eval, inspect, or all",
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="files may be leaderboard.json as well: their rows stand beside the records, the same run once",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compute every number again from the stored samples, and pass over records that say otherwise or have "
        "none; seconds a record",
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of leaderboard.json and stop")
    parser.add_argument("--json", action="store_true", help="print leaderboard.json on stdout")


def execute(args: argparse.Namespace) -> int:
    """Print the ranking; with --output_path also write it.

    0, or 2 where a record is damaged or contradicts itself: it is named on stderr, and the others are ranked all the
    same. Raises BadData where none is left.
    """
    if args.schema:
        from mmforget.leaderboard.validating import schema_text

        sys.stdout.write(schema_text())
        return 0
    if args.runs[:1] == ["validate"]:
        from mmforget.cli.submissions import check_all

        return check_all(paths_of(args.runs[1:]), as_json=args.json)
    from mmforget.leaderboard.board import boards
    from mmforget.leaderboard.formats.every import formats_of
    from mmforget.results.store import without_garbage_collection

    if formats_of(args.formats) and args.output_path is None:
        raise UserError("--formats writes files, and there is no folder for them; add --output_path DIR")
    with without_garbage_collection():
        records = _collected(args)
        if not records.runs:
            raise BadData("run records", faults=records.faults)
        for line in (*records.notes, *(f"passed over: {fault}" for fault in records.faults)):
            tell(f"mmforget: {line}")
        _show(boards(records.runs), args=args)
    return 2 if records.faults else 0


def _collected(args: argparse.Namespace) -> Collected:
    """The records that were named, over seeds."""
    from mmforget.leaderboard.merging import merged
    from mmforget.leaderboard.over_seeds import join_seeds
    from mmforget.results.verify import collect_trusted

    paths = paths_of(args.runs)
    exports = [path for path in paths if is_export(path)]
    if args.merge and args.verify:
        raise UserError("--merge takes rows without samples, --verify asks for samples; give one of them")
    if args.merge:
        return merged([path for path in paths if path not in exports], exports=exports)
    if exports:
        raise UserError(f"{exports[0]}: is a leaderboard.json, no run record; --merge takes its rows")
    records = collect_trusted(paths)
    if args.verify:
        from mmforget.cli.recheck import confirmed

        records = confirmed(records)
    return records._replace(runs=join_seeds(records.runs))


def _show(found: Sequence[Board], *, args: argparse.Namespace) -> None:
    from rich.console import Console

    from mmforget.leaderboard import export
    from mmforget.leaderboard.formats.every import formats_of, write
    from mmforget.leaderboard.publish import publish
    from mmforget.leaderboard.table import render_all

    if args.output_path is not None:
        written = publish(found, folder=args.output_path)
        for path in (written.json, written.markdown, written.page, *written.pictures):
            tell(f"wrote {path}")
        further = write(found, folder=args.output_path, formats=formats_of(args.formats))
        for note in further.notes:
            tell(f"mmforget: {note}")
        if further.paths:
            tell(f"wrote {len(further.paths)} more files in {args.output_path}")
    if args.json:
        sys.stdout.writelines(export.pieces(found, folder=args.output_path))
    else:
        Console().print(render_all(found))


def paths_of(words: Iterable[str]) -> list[Path]:
    """The places that words name: each itself, what fits a pattern, or a line of stdin.

    Raises UserError for no word, and for a pattern that nothing fits.
    """
    found: list[Path] = []
    for word in words:
        found += map(Path, _lines() if word == STDIN else _fitting(word))
    if not found:
        raise UserError("no run folder named; give one that 'mmforget run' or 'mmforget eval' wrote, or - for a list")
    return list(dict.fromkeys(found))


def _fitting(word: str) -> list[str]:
    """The places that fit a pattern; of what exists, or is no pattern, itself."""
    if not glob.has_magic(word) or Path(word).exists():
        return [word]
    fitting = sorted(glob.glob(word, recursive=True))
    if not fitting:
        raise UserError(f"{word}: nothing fits this pattern; check the path")
    return fitting


def _lines() -> list[str]:
    """The lines of stdin that say anything. Raises UserError where there are too many."""
    lines = [line.rstrip("\r\n") for _, line in zip(range(MAX_LINES + 1), sys.stdin, strict=False)]
    if len(lines) > MAX_LINES:
        raise UserError(f"more than {MAX_LINES:,} paths on stdin; give their folder")
    return [line for line in lines if line.strip()]


def is_export(path: Path) -> bool:
    """Whether a file looks like a `leaderboard.json`: it begins with the key that such a document begins with."""
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        head: Any = file.read(200).lstrip()
    return bool(head.startswith(b"{") and head[1:].lstrip().startswith(b'"schema_version"'))
