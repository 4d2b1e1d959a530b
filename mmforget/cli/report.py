"""`mmforget report`: what was asked, done and measured on one model, for whoever asked that it forget."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmforget.cli.printing import say, tell
from mmforget.errors import BadData, UserError

if TYPE_CHECKING:
    from mmforget.leaderboard.board import Board, BoardRow
    from mmforget.results.store import StoredRun

SUMMARY = "a report to hand to whoever asked: what was asked, done and measured, and what that does not show"
EXAMPLES = """\
  mmforget report out --output_path report.html
  mmforget report out/request/npo --output_path report.md
"""
ENDINGS = (".html", ".md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER", help="of a run with one method, or that of one method")
    parser.add_argument(
        "--output_path", type=Path, metavar="FILE", help="FILE.html or FILE.md; without it Markdown on stdout"
    )


def execute(args: argparse.Namespace) -> int:
    """Raises UserError for a folder with several methods or benchmarks, BadData where no record is sound."""
    from mmforget.leaderboard.report import as_html, as_markdown, report_of
    from mmforget.results.files import write_text
    from mmforget.results.verify import collect_trusted

    if args.output_path is not None and args.output_path.suffix not in ENDINGS:
        raise UserError(f"--output_path {args.output_path}: a report is FILE.html or FILE.md")
    found = collect_trusted([args.run])
    for line in (*found.notes, *(f"passed over: {fault}" for fault in found.faults)):
        tell(f"mmforget: {line}")
    if not found.runs:
        raise BadData("run records", faults=found.faults)
    report = report_of(*_chosen(_with_references(found.runs)))
    if args.output_path is None:
        say(as_markdown(report))
        return 0
    text = as_html(report) if args.output_path.suffix == ".html" else as_markdown(report)
    tell(f"wrote {write_text(args.output_path, text)}")
    return 0


def _with_references(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The runs, and the target and retain models that they were compared with, from the folders beside."""
    from mmforget.results.store import find_records, folders_beside

    known = {(run.record.role, run.record.model_info.get("fingerprint")) for run in runs}
    wanted = {item for run in runs for item in run.record.references.items()} - known
    beside = {run.path: run for one in runs for run in find_records(folders_beside(one.folder))} if wanted else {}
    others = [run for run in beside.values() if (run.record.role, run.record.model_info.get("fingerprint")) in wanted]
    return [*runs, *others]


def _chosen(runs: Sequence[StoredRun]) -> tuple[Board, BoardRow | None]:
    """The board, and the model that forgot; None where none did. Raises UserError where there are several."""
    from mmforget.leaderboard.board import boards
    from mmforget.leaderboard.over_seeds import join_seeds

    found = boards(join_seeds(runs))
    forgot = [(board, row) for board in found for row in (*board.ranked, *board.refused)]
    if len(forgot) > 1 or (not forgot and len(found) > 1):
        folders = ", ".join(str(row.path.parent) for _, row in forgot) or ", ".join(one.name for one in found)
        raise UserError(f"a report is about one model, and there are several ({folders}); name the folder of one")
    return forgot[0] if forgot else (found[0], None)
