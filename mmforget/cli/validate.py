"""`mmforget validate`: really open a benchmark, a task file, a plugin or a finished run, and say all that is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmforget.cli import flags
from mmforget.cli.leaderboard import is_export
from mmforget.cli.printing import print_json, say, say_found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmforget.benchmark.source import DataSource
    from mmforget.benchmark.spec import Benchmark
    from mmforget.benchmark.validate import Report

SUMMARY = "check a benchmark, task file, plugin or run: opens the data, renders, scores; all faults at once"
EXAMPLES = """  mmforget validate fiubench
  mmforget validate fiubench_text --data FOLDER
  mmforget validate fiubench --data FOLDER --metadata '{"portraits": "procedural"}' --json
  mmforget validate my_tasks/my_benchmark.yaml
  mmforget validate npo
  mmforget validate demo/results
  mmforget validate demo/leaderboard.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME|FILE|RUN", help="task, group, glob, method or metric; YAML; run folder")
    parser.add_argument("--data", metavar="WHERE", help="hub, synthetic (default) or a folder of official files")
    flags.add_metadata_flag(parser)
    parser.add_argument("--include_path", action="append", default=[], metavar="DIR", help="further task folders")
    parser.add_argument(
        "--confirm_run_unsafe_code", action="store_true", help="run the Python beside the task file that is named"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def execute(args: argparse.Namespace) -> int:
    """0 where nothing is wrong, 2 otherwise."""
    from mmforget.benchmark.source import DataSource

    data = DataSource.parse(args.data or "synthetic", metadata=flags.parse_metadata(args.metadata))
    allowed = args.confirm_run_unsafe_code
    report = check(args.name, data=data, include_paths=args.include_path, run_code=allowed)
    if args.json:
        print_json(_document(report, data=data))
    else:
        _print(report, data=data)
    return 2 if report.faults else 0


def check(name: str, *, data: DataSource, include_paths: list[str], run_code: bool = False) -> Report:
    """The report on whatever `name` is: a run, a task file or folder, a plugin, or names of tasks and groups.

    Args:
        run_code: run the Python beside a task file that is named by its path; otherwise that is a fault, unless it
            lies in a folder of mmforget, of an installed package or of `include_paths`.
    """
    from mmforget.benchmark.validate import Report, bind_all, check_benchmark, faults_of, select
    from mmforget.cli.checks import check_everything, check_plugin
    from mmforget.errors import UserError

    path = Path(name)
    if is_export(path):
        return _check_export(path)
    if _is_run(path):
        return _check_run(path, include_paths=include_paths)
    # A folder of that name does not hide a plugin: that of its own package lies beside the package's tests.
    if not path.exists() or path.name == name:
        plugin = check_plugin(name)
        if plugin is not None:
            return plugin
    report = Report(name)
    try:
        benchmarks = select(name, include_paths=include_paths)
    except UserError as error:
        report.faults += faults_of(error)
        return report
    strange = [] if run_code else _strange(benchmarks, include_paths=include_paths)
    if strange:
        report.faults.append(
            f"not run, for it is a program: {', '.join(strange)}; look at it, and if you trust it add "
            "--confirm_run_unsafe_code, or its folder as --include_path"
        )
        return report
    for bound in bind_all(benchmarks, data=data, report=report):
        found = check_benchmark(bound)
        report.merge(found)
        # Broken rows would break every metric and task again, in more words.
        if not found.faults:
            report.merge(check_everything(bound))
    return report


def _strange(benchmarks: Sequence[Benchmark], *, include_paths: Sequence[str]) -> list[str]:
    """Folders of code that belong neither to mmforget nor to a package nor to a folder that was named for it."""
    from mmforget.benchmark.find import task_folders

    known = [folder.resolve() for folder in task_folders(include_paths)]
    folders = dict.fromkeys(benchmark.loader.folder.resolve() for benchmark in benchmarks)
    return [str(folder) for folder in folders if not any(folder.is_relative_to(path) for path in known)]


def _is_run(path: Path) -> bool:
    from mmforget.reading import files_below
    from mmforget.results.store import PATTERN

    if path.is_dir():
        return (path / "run.yaml").is_file() or bool(files_below(path, PATTERN))
    return path.is_file() and (path.suffix == ".json" or path.name == "run.yaml")


def _check_export(path: Path) -> Report:
    from mmforget.benchmark.validate import Report
    from mmforget.cli.submissions import check

    found = check(path)
    report = Report(str(path), faults=found.faults, notes=found.notes)
    report.counts.update({"rows": found.num_rows, "computed again": found.num_recomputed})
    return report


def _check_run(path: Path, *, include_paths: list[str]) -> Report:
    """Every record at or below a path: read strictly, against itself, and every number against its samples."""
    from mmforget.benchmark.validate import Report, faults_of
    from mmforget.cli.recheck import recheck
    from mmforget.errors import MissingReference, UserError
    from mmforget.results.verify import collect_trusted

    report = Report(str(path))
    try:
        found = collect_trusted([path.parent if path.name == "run.yaml" else path])
    except UserError as error:
        report.faults += faults_of(error)
        return report
    report.faults += found.faults
    report.notes += found.notes
    for run in found.runs:
        name = run.path.parent.name
        report.notes += [f"{name}: there is no record of the {role} model it was judged against" for role in run.absent]
        report.notes += [
            f"{name}: in {count} rows of the set '{part}' one token holds the end of the question and the beginning of "
            "the answer, which is then not scored"
            for part, count in (run.record.model_info.get("joined_answers") or {}).items()
        ]
        if run.unverified:
            report.notes.append(f"{name}: unverified, {run.unverified}: its numbers cannot be computed again")
            continue
        try:
            report.faults += [
                f"{run.path}: {fault}" for fault in recheck(run, among=found.runs, include_paths=include_paths)
            ]
            report.counts[f"{name}: samples"] = len(run.samples())
        except MissingReference as error:
            report.notes.append(f"{name}: unverified, {error}")
        except UserError as error:
            report.faults += [f"{run.path}: cannot be computed again: {fault}" for fault in faults_of(error)]
    return report


def _document(report: Report, *, data: DataSource) -> dict[str, object]:
    return {
        "name": report.name,
        "ok": not report.faults,
        "data": data.describe(),
        "faults": report.faults,
        "notes": report.notes,
        "counts": report.counts,
    }


def _print(report: Report, *, data: DataSource) -> None:
    where = data.path or data.kind
    say(f"{report.name} (data: {where})")
    for name, count in report.counts.items():
        say(f"  {name:<16} {count:>8,}")
    say_found(report.notes, faults=report.faults)
