"""The page that compares methods: one table a benchmark of finished runs, what a step costs, and their pictures.

    mmforget run --model micro --tasks fiubench --methods ga,npo,... --seeds 0,1,2 --output_path zoo/fiubench
    tools/bench.py --only methods --output bench/methods.json
    tools/compare_methods.py zoo/fiubench zoo/mmubench zoo/tofu --costs bench/methods.json --json bench/zoo.json

Every folder is one that `mmforget run` has finished. Writes `docs/comparison.md`, its pictures beside it, and with
`--json` the numbers that stand in it. What somebody wrote below a table, between `<!-- remarks BOARD -->` and
`<!-- end -->`, is kept; without `--costs` no column says what a step costs. Ends with status 2 where a folder holds no
leaderboard.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmforget.methods.base import JOINER, METHODS
from mmforget.methods.described import described

NUMBERS = ("overall", "forget_score", "utility_ratio")
HEAD = (
    "#",
    "method",
    "shape",
    "evidence",
    "overall",
    "forget score",
    "utility left",
    "verdict",
    "most found",
    "training",
)
STEP = "step"
PICTURE = "forget_vs_utility.png"
ROOT = Path(__file__).resolve().parent.parent
TOP = """# Every method on micro models

Made by `tools/compare_methods.py` of runs on two cores, each with its seeds, every method with the recipe that
the benchmark's document names ([how it was chosen](seeds.md)) and, where it names none, with the recipe of all.
Synthetic data and models of one to two million parameters: this shows that every method does in kind what its paper
says, and what the measures make of it. It ranks no method for a model of billions. Intervals are 95 %, over subjects
and seeds. `most found` is the attack that finds most above the retain model, with its share of the answers and, in
brackets, the retain model's. `training` is seconds of its updates, on one core of two. A dash is what there is not:
closed-form edits and guards have no updates, a row without a number was not ranked.
"""
COSTS = """`step` is the time of an update in updates of `ga`, beside how many its requests need, on a LLaVA of real
geometry (`tools/bench.py --only methods`, [bench/methods.json](../bench/methods.json)).
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="finished runs, one a benchmark")
    parser.add_argument("--costs", type=Path, metavar="FILE", help="what tools/bench.py --only methods wrote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "comparison.md", metavar="FILE")
    args = parser.parse_args(argv)
    try:
        boards = {run: json.loads((run / "leaderboard.json").read_text(encoding="utf-8")) for run in args.runs}
        costs = {} if args.costs is None else json.loads(args.costs.read_text(encoding="utf-8"))["methods"]["methods"]
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"no finished run, or no costs: {error!r}")
    rows = {run: [row for row in board["rows"] if row["role"] == "unlearned"] for run, board in boards.items()}
    if bare := next((run for run, own in rows.items() if not own or not (run / PICTURE).is_file()), None):
        parser.error(
            f"{bare} has no unlearned model on its leaderboard, or no {PICTURE}; finish the run, with its picture"
        )
    remarks = remarks_in(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    args.output.write_text(page(rows, costs=costs, folder=args.output.parent, remarks=remarks), encoding="utf-8")
    if args.json is not None:
        args.json.write_text(json.dumps(numbers(rows), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def page(
    rows: Mapping[Path, Sequence[Mapping[str, Any]]],
    *,
    costs: Mapping[str, Mapping[str, Any]],
    folder: Path,
    remarks: Mapping[str, str],
) -> str:
    """The page in Markdown; copies the pictures of the runs beside it."""
    parts = [TOP, COSTS] if costs else [TOP]
    for run, own in rows.items():
        benchmark, board = own[0]["benchmark"], own[0]["board"]
        picture = f"comparison_{benchmark['name']}.png"
        shutil.copy(run / PICTURE, folder / picture)
        seeds = max(len(row["seeds"]) for row in own)
        parts.append(
            f"## {benchmark['title']} (`{board}`)\n\n{len(own)} methods, {seeds} seeds.\n\n"
            f"{table(own, costs=costs)}\n\n![forget score against utility]({picture})\n\n"
            f"<!-- remarks {board} -->\n{remarks.get(board, '')}<!-- end -->\n"
        )
    return "\n".join(parts)


def remarks_in(page: str) -> dict[str, str]:
    """What was written below each board's table."""
    return dict(re.findall(r"<!-- remarks (\S+) -->\n(.*?)<!-- end -->", page, flags=re.DOTALL))


def table(rows: Sequence[Mapping[str, Any]], *, costs: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows of a board, as they are ranked."""
    head = (*HEAD, STEP) if costs else HEAD
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cells(row, costs=costs)) + " |" for row in rows]
    return "\n".join(lines)


def numbers(rows: Mapping[Path, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """What stands in the tables, by board and method."""
    return {
        own[0]["board"]: {
            row["label"]: {
                "verdict": row["verdict"]["status"],
                "num_seeds": len(row["seeds"]),
                "most_found": most_found(row),
                **{name: _estimate(row, name) for name in NUMBERS},
            }
            for row in own
        }
        for own in rows.values()
    }


def most_found(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of the attacks on a row's model the one that finds most above the retain model; above nothing without one."""
    lines = [one for one in row["verdict"]["evidence"] if one["attack"] is not None and one["unlearned"] is not None]
    if not lines:
        return None
    most = max(lines, key=lambda one: one["unlearned"] - (one["retain"] or 0.0))
    return {key: most[key] for key in ("attack", "task", "unlearned", "retain", "target")}


def _cells(row: Mapping[str, Any], *, costs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    method = str(row["config"]["method"])
    said = [described(METHODS.get(part)) for part in method.split(JOINER)]
    training = row["training"] or {}
    steps = training.get("num_steps")
    return [
        "-" if row["rank"] is None else str(row["rank"]),
        f"`{row['label']}`",
        "+".join(one.shape for one in said),
        _weakest([one.evidence for one in said]),
        *(_interval(_estimate(row, name)) for name in NUMBERS),
        str(row["verdict"]["status"]),
        _found(most_found(row)),
        f"{training['wall_s']:.1f} s" if steps else "-",
        *([_step(costs.get(method))] if costs else []),
    ]


def _weakest(evidence: Sequence[str]) -> str:
    order = ("exact", "adaptation", "reconstruction", "")
    return max(evidence, key=order.index) or "-"


def _found(most: Mapping[str, Any] | None) -> str:
    if most is None:
        return "-"
    beside = "" if most["retain"] is None else f" ({most['retain']:.2f})"
    return f"`{most['attack'].partition('(')[0]}` {most['unlearned']:.2f}{beside}"


def _step(cost: Mapping[str, Any] | None) -> str:
    return "-" if cost is None else f"{cost['best_ratio']:.2f} of {cost['tokens_needed_ratio']:.2f}"


def _estimate(row: Mapping[str, Any], name: str) -> dict[str, float | None]:
    found = row["headline"].get(name) or {}
    return {key: found.get(key) for key in ("value", "low", "high")}


def _interval(estimate: Mapping[str, float | None]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    sys.exit(main())
