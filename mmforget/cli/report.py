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
    from mmforget.results.store import Collected, StoredRun

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
    """0, or 2 where a record is damaged: it is named on stderr, and the report is made of the others.

    Raises UserError for a folder with several methods or benchmarks, BadData where no record is sound.
    """
    from mmforget.leaderboard.report import as_html, as_markdown, report_of
    from mmforget.results.files import write_text
    from mmforget.results.verify import collect_trusted

    if args.output_path is not None and args.output_path.suffix not in ENDINGS:
        raise UserError(f"--output_path {args.output_path}: a report is FILE.html or FILE.md")
    found = _with_references(collect_trusted([args.run]))
    for line in (*found.notes, *(f"passed over: {fault}" for fault in found.faults)):
        tell(f"mmforget: {line}")
    if not found.runs:
        raise BadData("run records", faults=found.faults)
    report, status = report_of(*_chosen(found.runs)), 2 if found.faults else 0
    if args.output_path is None:
        say(as_markdown(report))
        return status
    text = as_html(report) if args.output_path.suffix == ".html" else as_markdown(report)
    tell(f"wrote {write_text(args.output_path, text)}")
    return status


def _with_references(found: Collected) -> Collected:
    """What was found, and the target and retain models that it was compared with, from the folders beside."""
    from mmforget.results.store import folders_beside
    from mmforget.results.verify import collect_trusted

    known = {(run.record.role, run.record.model_info.get("fingerprint")) for run in found.runs}
    wanted = {item for run in found.runs for item in run.record.references.items()} - known
    folders = dict.fromkeys(folder for run in found.runs for folder in folders_beside(run.folder))
    if not (wanted and folders):
        return found
    beside = collect_trusted(folders)
    others = [run for run in beside.runs if (run.record.role, run.record.model_info.get("fingerprint")) in wanted]
    faults = list(dict.fromkeys((*found.faults, *beside.faults)))
    return found._replace(runs=[*found.runs, *others], faults=faults)


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
