"""The page of what metrics and attacks are worth, of what `mmforget meta` found.

    mmforget meta --model micro --tasks fiubench,tofu_forget10 --attacks ... --output_path meta
    tools/meta_page.py meta/meta.json

Copies the numbers to `bench/meta.json`, writes `docs/meta.md`, and `mmforget/results/cannot_tell.json`, by which pages
mark a number that cannot tell. What somebody wrote below a table, between `<!-- remarks NAME -->` and `<!-- end -->`,
is kept. Ends with status 2 where the file is none that `mmforget meta` wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compare_methods import remarks_in

ROOT = Path(__file__).resolve().parent.parent
HEAD = ("number", "set", "AUC", "share learnt", "after", "Q, R", "robustness", "overall", "seconds")
PARTS = (
    ("Metrics of what was to be forgotten", True, False),
    ("Attacks", True, True),
    ("What need not tell: metrics of what is kept, and of failures", False, False),
)
"""Titles of the tables, and of each whether it is about what was to be forgotten, and under attacks."""
TOP = """# What metrics and attacks are worth

Made by `mmforget meta` and `tools/meta_page.py`; the numbers are in [bench/meta.json](../bench/meta.json).

```sh
mmforget meta --model micro --tasks fiubench,tofu_forget10 --attacks robust --methods grad_diff,npo --output_path meta
mmforget meta --model micro --tasks towns --include_path FOLDER --attacks mine --size 10 --output_path own
```

The second is for a benchmark, metric or attack of your own. What is interrupted goes on with the same command, and with
more attacks only what is new is asked. `wall_s` of `meta.json` is the wall time of all legs in that folder together,
those that were interrupted among them (`legs_s`: each; of one that is killed its last half minute may be missing).

On micro models it is known what each has learnt. All start from retain models of three seeds and go on training for a
moment: those *with* the knowledge on the rows to forget and as many to keep, in the row's words or in its paraphrases;
those *without* on rows to keep alone, or with wrong answers or refusals in place of the right ones; those in *part* on
some subjects. Lengths, rates and orders differ alike. Every metric that the benchmark's document names, in every
profile, the headline, and every attack is then read of every model, beside a target and a retain model that are in no
pool.

A number is read as *evidence* that something is known: less is better turned round, and where nearness to the retain
model counts, the distance from the retain model's.

- **AUC**: chance that a model with the knowledge shows more evidence than one without, ties half, with a 95 % interval
  over models ([how](intervals.md)). .5 is a coin. Where the interval reaches .5 the number **cannot tell**, and pages
  say so beside it.
- **share learnt**: Spearman's rank correlation of the evidence with the share of the subjects that were learnt, among
  models in the row's own words; by bootstrap over models.
- **after**: the AUC once the weights were changed, of the first ten models of each pool, in the order named above the
  tables.
- **Q, R**: by how much the evidence of unlearned models lasts: min(before / after, 1) of what is altered (quantised),
  min(gain of the models without / gain, 1) of what is trained; a gain below 0 counts as 0, and models that lost more
  than a fifth of the target's utility take no part. Rates alone have these. **robustness** is their harmonic mean, and
  **overall** that of it and the AUC: OpenUnlearning's meta-evaluation (arXiv 2506.12618), whose protocol is published
  in words. Which models are in the pools, and the intervals, are ours.
- **seconds**: of one core, on one model, for asking what it reads and scoring that, nothing shared; of an attack beyond
  the plain questions.

Micro models on drawn data: this shows whether a number *can* tell, not how well it does on a model of billions.
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, metavar="META_JSON", help="what mmforget meta left in its output folder")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="DIR", help="where bench, docs and mmforget are")
    args = parser.parse_args(argv)
    try:
        document = json.loads(args.found.read_text(encoding="utf-8"))
        rows = untold(document)
        page = args.root / "docs" / "meta.md"
        remarks = remarks_in(page.read_text(encoding="utf-8")) if page.is_file() else {}
        text = "\n".join(lines(document, remarks=remarks))
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"{args.found} is nothing that mmforget meta wrote: {error!r}")
    page.write_text(text, encoding="utf-8")
    _write(args.root / "bench" / "meta.json", document)
    shipped = {"benchmarks": sorted(document["benchmarks"]), "rows": rows}
    _write(args.root / "mmforget" / "results" / "cannot_tell.json", shipped)
    return 0


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def untold(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every number that cannot tell, as pages look it up."""
    return [
        {
            "benchmark": group,
            **{name: row[name] for name in ("metric", "set", "profile", "attack")},
            "auc": row["auc"]["value"], "low": row["auc"]["low"], "high": row["auc"]["high"],
        }
        for group, one in document["benchmarks"].items()
        for row in one["rows"]
        if row["tells"] is False
    ]  # fmt: skip


def lines(document: Mapping[str, Any], *, remarks: Mapping[str, str]) -> Iterator[str]:
    """The page, in Markdown."""
    yield TOP
    if not document["benchmarks"]:
        yield "No benchmark has been measured yet.\n"
    for group, one in document["benchmarks"].items():
        yield from _benchmark(group, one, changes=document["changes"], remarks=remarks)


def _benchmark(
    group: str, one: Mapping[str, Any], *, changes: Sequence[str], remarks: Mapping[str, str]
) -> Iterator[str]:
    counts = Counter(model["pool"] for model in one["models"])
    pools = ", ".join(f"{count} {pool}" for pool, count in counts.items())
    yield f"## {one['title']} (`{group}`)\n"
    told = f"{pools} the knowledge; {len(one['unlearned'])} unlearned."
    yield f"{told} A model trains {one['training_s']:.0f} s. Changes: {', '.join(f'`{name}`' for name in changes)}.\n"
    for title, is_told, is_attack in PARTS:
        rows = [
            row for row in one["rows"] if (row["about"] == "forgotten", bool(row["attack"])) == (is_told, is_attack)
        ]
        if rows:
            yield f"### {title}\n"
            yield from _table(rows)
            yield ""
    yield f"<!-- remarks {group} -->\n{remarks.get(group, '')}<!-- end -->\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Those that tell best first."""
    yield "| " + " | ".join(HEAD) + " |"
    yield "|" + "---|" * len(HEAD)
    for row in sorted(rows, key=lambda row: -row["auc"]["value"]):
        yield "| " + " | ".join(_cells(row)) + " |"


def _cells(row: Mapping[str, Any]) -> list[str]:
    profile = "" if row["profile"] in ("clean", "headline") else f", {row['profile']}"
    name = f"`{row['attack']}`, {row['metric']}" if row["attack"] else f"`{row['metric']}`"
    mark = " **cannot tell**" if row["tells"] is False else " constant" if row["constant"] else ""
    return [
        name + profile,
        row["set"] or "-",
        _number(row["auc"]) + mark,
        _number(row["correlation"]),
        ", ".join(_plain(one["auc"]["value"]) for one in row["after"].values()),
        ", ".join(_plain(one["lasting"]["value"]) for one in row["after"].values()),
        _plain(row["robustness"]),
        _plain(row["overall"]),
        "-" if row["seconds"] is None else f"{row['seconds']:.2g}",
    ]


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _number(found: Mapping[str, float | None]) -> str:
    value, low, high = (found[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    sys.exit(main())
