"""`mmforget compare`: two or more runs, number by number: where they differ, how sure that is, and why they may."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmforget.cli.printing import in_columns, print_json, say, tell
from mmforget.errors import BadData, UserError

if TYPE_CHECKING:
    from mmforget.evaluation.contrast import Contrast, Side
    from mmforget.results.store import Collected, StoredRun
    from mmforget.results.unlike import Fact

SUMMARY = "two or more runs: where their numbers differ, how sure that is, and why they may"
EXAMPLES = """\
  mmforget compare out/fiubench/npo out/fiubench/kl               # two methods, over all their seeds
  mmforget compare out/fiubench/target out/fiubench/retain
  mmforget compare out/fiubench/npo/seed_0 out/fiubench/npo/seed_1
  mmforget compare mine theirs --json | jq '.comparisons[].says'   # two whole runs, model by model
"""
MAX_SHOWN = 40
"""Longest value of a setting that is printed, in characters."""
SURE = ("better", "worse", "differs")
MAX_NAMED = 6
"""Numbers with a sure difference that a sentence names; the table has all."""


class Pair(NamedTuple):
    """Two sides, what is to be told of their numbers, and what they do not have in common."""

    first: Side
    second: Side
    numbers: list[Contrast]
    unlike: list[Fact]

    @property
    def benchmark(self) -> str:
        use = self.first.records[0].benchmark
        return f"{use.name} {use.setting}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN_FOLDER",
        help="two or more: the folder of a model, of a method with its seeds, or of a whole run; each is compared with "
        "the first",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def execute(args: argparse.Namespace) -> int:
    """0, or 2 where a record is damaged: it is named on stderr, and the others are compared all the same.

    Raises UserError where there are no two folders or nothing to pair, BadData where a folder has no sound record.
    """
    if len(args.runs) < 2:
        raise UserError("compare takes two folders or more; name the folder of each model, e.g. out/fiubench/npo")
    collected = [_collected(path) for path in args.runs]
    for line in (line for one in collected for line in (*one.notes, *(f"passed over: {f}" for f in one.faults))):
        tell(f"mmforget: {line}")
    sides = [_sides(one, path=path) for one, path in zip(collected, args.runs, strict=True)]
    found = [_pair(*pair) for other in range(1, len(sides)) for pair in _matched(sides[0], sides[other])]
    if args.json:
        print_json({"comparisons": [_document(pair) for pair in found]})
    else:
        say("\n\n".join("\n".join(_lines(pair)) for pair in found))
    return 2 if any(one.faults for one in collected) else 0


def _collected(path: Path) -> Collected:
    from mmforget.results.verify import collect_trusted

    found = collect_trusted([path])
    if not found.runs:
        raise BadData(f"run records in {path}", faults=found.faults or ["there is none"])
    return found


def _sides(found: Collected, *, path: Path) -> list[Side]:
    """The models of a folder, seeds of one method as one."""
    from mmforget.evaluation.contrast import Side
    from mmforget.leaderboard.over_seeds import join_seeds

    by_path = {run.path: run for run in found.runs}
    rows = join_seeds(found.runs)
    return [Side(_label(row), tuple(by_path[one.path] for one in row.seeds) or (row,)) for row in rows]


def _label(row: StoredRun) -> str:
    method = row.record.method
    if len(row.seeds) > 1:
        return f"{row.record.name} ({len(row.seeds)} seeds)"
    return row.record.name if method is None else f"{row.record.name} (seed {method.seed})"


def _matched(first: Sequence[Side], second: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    """What is compared with what: single models of one benchmark whatever they are, of several those of one name.

    Raises UserError where nothing goes together, or two models of a folder have one name.
    """
    if len(first) == len(second) == 1:
        if _protocol(first[0]) != _protocol(second[0]):
            raise UserError(
                f"{_where(first[0])} was measured on {_protocol(first[0])}, {_where(second[0])} on "
                f"{_protocol(second[0])}: they answered no question in common"
            )
        yield first[0], second[0]
        return
    names = [_by_name(side) for side in (first, second)]
    common = [key for key in names[0] if key in names[1]]
    if not common:
        there = [", ".join(sorted({f"{name} on {use}" for use, name in side})) for side in names]
        raise UserError(
            f"no model of one name on one benchmark is in both folders ({there[0]}; {there[1]}); name the folders of "
            "single models"
        )
    for side, other in zip(names, reversed(names), strict=True):
        for use, name in (key for key in side if key not in other):
            tell(f"mmforget: {name} on {use} is in one of the folders alone, and is not compared")
    yield from ((names[0][key], names[1][key]) for key in common)


def _by_name(sides: Sequence[Side]) -> dict[tuple[str, str], Side]:
    found: dict[tuple[str, str], Side] = {}
    for side in sides:
        record = side.records[0]
        key = (f"{record.benchmark.name} {record.benchmark.setting} ({record.benchmark.modality})", record.name)
        if key in found:
            raise UserError(
                f"{_where(found[key])} and {_where(side)} are both {key[1]} on {key[0]}, with other settings; name the "
                "folder of one of them"
            )
        found[key] = side
    return found


def _protocol(side: Side) -> str:
    return side.records[0].benchmark.name


def _where(side: Side) -> str:
    return str(side.runs[0].folder)


def _pair(first: Side, second: Side) -> Pair:
    from mmforget.evaluation.contrast import Side, contrasts
    from mmforget.results.unlike import unlike

    if first.label == second.label:
        first, second = (Side(f"{one.label} in {_where(one)}", one.runs) for one in (first, second))
    return Pair(first, second, contrasts(first, second), unlike(first.records, second.records))


def _says(pair: Pair) -> str:
    """What the comparison comes to, in one sentence."""
    counts = Counter(one.outcome for one in pair.numbers)
    told = sum(counts.values()) - counts["open"]
    if not pair.numbers:
        return "they have no number in common"
    if not told:
        return f"nothing can be told: {next(one.reason for one in pair.numbers)}"
    open_ones = f"; {counts['open']} cannot be told" if counts["open"] else ""
    if told == counts["no difference"]:
        return f"no difference in any of {told} numbers{open_ones}"
    sure = [f"{word} in {counts[word]}" for word in ("better", "worse") if counts[word]]
    sure += [f"another number in {counts['differs']}"] if counts["differs"] else []
    where = [f"{one.name} on {one.set}" if one.set else one.name for one in pair.numbers if one.outcome in SURE]
    more = f" and {len(where) - MAX_NAMED} more" if len(where) > MAX_NAMED else ""
    named = f": {', '.join(where[:MAX_NAMED])}{more}"
    rest = f"; no difference in {counts['no difference']}" if counts["no difference"] else ""
    return f"B is {' and '.join(sure)} of {told} numbers{named}{rest}{open_ones}"


def _why(pair: Pair) -> str:
    """What the two do not have in common, in one sentence."""
    from mmforget.results.unlike import SEED

    prints = [{record.model_info.get("fingerprint") for record in side.records} for side in (pair.first, pair.second)]
    if prints[0] == prints[1] and None not in prints[0]:
        return "they are the same model"
    named = [(fact.part, fact.name) for fact in pair.unlike]
    if not named:
        return "nothing in their records differs but the weights"
    if named == [SEED]:
        return "they differ in the seed of their training alone"
    if any(part == "questions" for part, _ in named):
        return "they were not asked alike, so that a difference may lie in the questions"
    return "what their records do not have in common"


def _rests_on(pair: Pair) -> str:
    """What the intervals cover."""
    seeds = [len(side.runs) for side in (pair.first, pair.second)]
    if all(count > 1 for count in seeds):
        return f"intervals cover subjects and seeds ({seeds[0]} and {seeds[1]})"
    trained = [side.label for side in (pair.first, pair.second) if len(side.runs) == 1 and side.records[0].method]
    if not trained:
        return "intervals cover subjects"
    return f"intervals cover subjects; of {' and of '.join(trained)} there is one training, another may differ"


def _lines(pair: Pair) -> Iterator[str]:
    yield f"{pair.benchmark}: A = {pair.first.label}, B = {pair.second.label}"
    yield ""
    shown = [one for one in pair.numbers if one.attack is None or one.outcome not in ("no difference", "open")]
    header = ("number", "set", "A", "B", "B - A", "95 %", "p", "B wins/ties/loses", "B is")
    yield from (f"  {line}" for line in in_columns([header, *map(_cells, shown)]))
    if len(shown) < len(pair.numbers):
        yield f"  and {len(pair.numbers) - len(shown)} under attacks without a sure difference"
    yield from _left_out(pair)
    yield f"{_says(pair)} (Holm's rule at 5 %; {_rests_on(pair)})"
    yield f"why: {_why(pair)}"
    facts = [(fact.part, fact.name, _shown(fact.first), _shown(fact.second)) for fact in pair.unlike]
    if facts:
        yield from (f"  {line}" for line in in_columns([("", "", "A", "B"), *facts]))


def _cells(one: Contrast) -> tuple[str, ...]:
    interval = "-" if one.low is None else f"[{one.low:+.3f}, {one.high:+.3f}]"
    tally = "" if one.subjects is None else "{}/{}/{}".format(*one.subjects)
    outcome = f"open: {one.reason}" if one.outcome == "open" else one.outcome
    name = one.name if one.attack is None else f"{one.name} under {one.attack}"
    return (name, one.set, _number(one.first), _number(one.second), _number(one.value, sign="+"), interval,
            "-" if one.adjusted is None else f"{one.adjusted:.2g}", tally, outcome)  # fmt: skip


def _number(value: float | None, *, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"


def _left_out(pair: Pair) -> Iterator[str]:
    """How many questions took no part, by task."""
    by_task = {(one.task, one.attack, one.left): one for one in pair.numbers if any(one.left)}
    for (task, attack, left), one in by_task.items():
        under = f" under {attack}" if attack else ""
        told = [(left.only_first, "asked of A alone"), (left.only_second, "asked of B alone"),
                (left.unscored, f"without a score of {one.name} for one of them")]  # fmt: skip
        yield f"  {task}{under}: left out {', '.join(f'{count} {words}' for count, words in told if count)}"


def _shown(values: Sequence[str]) -> str:
    told = ", ".join(values)
    return told if len(told) <= MAX_SHOWN else told[: MAX_SHOWN - 3] + "..."


def _document(pair: Pair) -> dict[str, Any]:
    return {
        "benchmark": pair.benchmark,
        "first": _side(pair.first),
        "second": _side(pair.second),
        "says": _says(pair),
        "rests_on": _rests_on(pair),
        "outcomes": dict(Counter(one.outcome for one in pair.numbers)),
        "why": _why(pair),
        "unlike": [fact._asdict() for fact in pair.unlike],
        "numbers": [_numbers(one) for one in pair.numbers],
    }


def _numbers(one: Contrast) -> dict[str, Any]:
    from mmforget.results.codec import to_jsonable

    document: dict[str, Any] = to_jsonable(one).value
    subjects = None if one.subjects is None else one.subjects._asdict()
    return document | {"left": one.left._asdict(), "subjects": subjects}


def _side(side: Side) -> dict[str, Any]:
    return {
        "label": side.label,
        "folders": [str(run.folder) for run in side.runs],
        "seeds": [record.method.seed for record in side.records if record.method is not None],
        "fingerprints": [record.model_info.get("fingerprint") for record in side.records],
    }
