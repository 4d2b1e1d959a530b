"""`mmforget new`: write a package with a plugin of one's own, whose tests pass at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmforget.cli.printing import say

KINDS = ("benchmark", "method", "metric", "attack")
SUMMARY = "write a package with a benchmark, method, metric or attack of your own, whose tests pass at once"
EXAMPLES = """  mmforget new method gentle
  mmforget new benchmark towns --output_path packages/towns
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="what the package brings")
    parser.add_argument("name", metavar="NAME", help="of the plugin, its package and its module")
    parser.add_argument(
        "--output_path", type=Path, metavar="DIR", help="folder to write, which must not be there (default: ./NAME)"
    )


def execute(args: argparse.Namespace) -> int:
    """Writes the package. Raises UserError for a name that is taken or none, and where something is in its place."""
    from mmforget.skeletons import Skeleton

    skeleton = Skeleton(args.kind, args.name)
    _require_free(args.kind, args.name)
    folder = args.output_path or Path(args.name)
    for path in skeleton.write(folder):
        say(str(path))
    say(f'next: cd {folder} && pip install -e ".[dev]" && pytest && mmforget validate {args.name}')
    return 0


def _require_free(kind: str, name: str) -> None:
    """Raises UserError where anything has that name, of whatever kind: `validate NAME` could mean either."""
    from mmforget.benchmark import catalogue
    from mmforget.errors import UserError
    from mmforget.registry import Registry

    for other in ("method", "metric", "attack", "judge"):
        registry: Registry[object] = Registry(other, package=f"mmforget.{other}s", attribute=other.upper())
        if name in registry.names() or name in registry.clashes:
            raise UserError(f"there is a {other} '{name}' already; choose another name for the {kind}")
    if any(entry.name == name for entry in catalogue().entries):
        raise UserError(f"there is a task '{name}' already; choose another name for the {kind}")
