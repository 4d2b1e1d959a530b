"""`mmforget new`: write a package with a plugin of one's own, whose tests pass at once, or a request about own data."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from mmforget.cli.printing import say, tell
from mmforget.errors import UserError

REQUEST = "request"
MAX_SHOWN = 12
"""Names that are told."""
KINDS = ("benchmark", "method", "metric", "attack", REQUEST)
SUMMARY = "write a package with a benchmark, method, metric or attack of your own, or a forget request about your data"
EXAMPLES = """  mmforget new method gentle
  mmforget new benchmark towns --output_path packages/towns
  mmforget new request people --forget 'Anna Meier'     # people: a CSV, pictures, or both
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="what the package brings, or a request")
    parser.add_argument(
        "name", metavar="NAME|FOLDER", help="of the plugin, its package and its module; the folder of a request's data"
    )
    parser.add_argument(
        "--output_path", type=Path, metavar="DIR", help="folder to write, which must not be there (default: ./NAME)"
    )
    parser.add_argument(
        "--forget",
        action="append",
        default=[],
        metavar="NAME",
        help="of a request: who is forgotten; may be given again",
    )


def execute(args: argparse.Namespace) -> int:
    """Writes the package or the request. Raises UserError for a name that is taken or none, for data that cannot be
    used, and where something is in its place.
    """
    if args.kind == REQUEST:
        return _write_request(args)
    from mmforget.skeletons import Skeleton

    if args.forget:
        raise UserError(f"--forget is for 'mmforget new request', not for a {args.kind}; leave it out")
    skeleton = Skeleton(args.kind, args.name)
    _require_free(args.kind, args.name)
    folder = args.output_path or Path(args.name)
    for path in skeleton.write(folder):
        say(str(path))
    say(f'next: cd {folder} && pip install -e ".[dev]" && pytest && mmforget validate {args.name}')
    return 0


def _write_request(args: argparse.Namespace) -> int:
    from mmforget.benchmark.own.spec import FILE
    from mmforget.benchmark.own.writing import propose
    from mmforget.results.files import write_text

    if args.output_path is not None:
        raise UserError("a request lies beside its data; leave --output_path out")
    folder = Path(args.name).expanduser()
    found = propose(folder, forget=args.forget)
    path = write_text(folder / FILE, found.text)
    for note in (*found.corpus.notes, *filter(None, (found.guess,))):
        tell(f"mmforget: {note}")
    corpus, task = found.corpus, "request" if found.corpus.has_pictures else "request_text"
    say(str(path))
    for what, part in (("forget", corpus.forget), ("keep", corpus.keep)):
        names = list(dict.fromkeys(entry.subject for entry in part))
        more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
        say(f"  {what}: {len(part)} questions about {', '.join(names[:MAX_SHOWN])}{more}")
    place = shlex.quote(args.name)
    say(f"next: mmforget validate {task} --data {place}")
    say(f"      mmforget run --model micro --tasks {task} --data {place} --methods npo --output_path out")
    say("      mmforget report out --output_path report.html")
    return 0


def _require_free(kind: str, name: str) -> None:
    """Raises UserError where anything has that name, of whatever kind: `validate NAME` could mean either."""
    from mmforget.benchmark import catalogue
    from mmforget.registry import Registry

    for other in ("method", "metric", "attack", "judge"):
        registry: Registry[object] = Registry(other, package=f"mmforget.{other}s", attribute=other.upper())
        if name in registry.names() or name in registry.clashes:
            raise UserError(f"there is a {other} '{name}' already; choose another name for the {kind}")
    if any(entry.name == name for entry in catalogue().entries):
        raise UserError(f"there is a task '{name}' already; choose another name for the {kind}")
