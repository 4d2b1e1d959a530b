"""Run records of liars and of broken disks: damaged at random, or made to say what cannot be."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.fuzzing.lies import LIES, QUIET, Lie
from tools.fuzzing.trials import (
    Kind,
    Outcome,
    Said,
    as_json,
    command,
    copy,
    damage_file,
    damage_value,
    replace,
    told,
    watched,
)

MODELS = {
    "target": (True, True, 0),
    "retain": (False, True, 0),
    "npo": (False, True, 0),
    "npo_1": (False, True, 1),
    "ga": (False, False, 0),
    "ga_1": (False, False, 1),
}
"""Folders: whether the model in it knows what was to be forgotten, whether it knows the rest, and its seed."""


def write_records(folder: Path) -> Path:
    """A target, a retain model and two methods of two seeds each, whose numbers are those of their samples.

    Raises AssertionError where the methods are not ranked: nothing would be learnt from lies that nobody would rank.
    """
    from mmforget.cli.rescore import rescore
    from mmforget.results.store import write_run
    from tools.fuzzing.people import answered, record_of

    for number, (home, (knows_forget, knows_rest, seed)) in enumerate(MODELS.items()):
        samples = answered(knows_forget=knows_forget, knows_rest=knows_rest, seed=number)
        record = record_of(home.removesuffix("_1"), samples=samples, seed=seed)
        write_run(folder / home, record, samples=samples, config={"measured": home})
    rescore([folder])
    for path in folder.glob("*/results_*.json"):
        if path != max(path.parent.glob("results_*.json")):
            path.unlink()
    ranks = {
        row["name"]: row["rank"] for row in json.loads(command(["leaderboard", str(folder), "--json"]).out)["rows"]
    }
    if ranks != {"target": None, "retain": None, "npo": 1, "ga": 2}:
        raise AssertionError(f"sound records are ranked {ranks}")
    return folder


def prepare(folder: Path) -> None:
    """Sound records, of which each case damages one."""
    write_records(folder / "runs")


def trial(folder: Path, rng: random.Random, place: Path) -> Outcome:
    """One case on a damaged copy of what lies in `folder`."""
    copy(folder / "runs", place / "runs")
    home = place / "runs" / rng.choice(("npo", "npo_1", "ga", "target", "retain"))
    results = next(home.glob("results_*.json"))
    kind = rng.random()
    if kind < 0.4:
        name = _lie(place / "runs" / "npo", LIES, rng=rng)
        return watched(place, lambda: _lied(place, name=name))
    if kind < 0.5:
        name = _lie(place / "runs" / "npo", QUIET, rng=rng)
        return watched(place, lambda: _denied(place / "runs" / "npo", name=name))
    if kind < 0.8:
        document = json.loads(results.read_text())
        what = f"{home.name} {damage_value(document['unlearning'], rng)}"
        replace(results, as_json(document))
    elif kind < 0.9:
        what = f"{home.name} {_damaged_line(home, rng)}"
    else:
        what = f"{home.name} {damage_file(rng.choice(sorted(home.iterdir())), rng)}"
    words = rng.choice((BOARD, BOARD, BOARD, TABLE, PUBLISHED, *SLOW))
    return watched(place, lambda: _judged(command([_at(word, place) for word in words]), what=what))


BOARD = ("leaderboard", "runs", "--json")
TABLE = ("leaderboard", "runs")
PUBLISHED = ("leaderboard", "runs/npo", "runs/npo_1", "runs/ga", "--json")
SLOW = (("rescore", "runs/npo", "--json"), ("validate", "runs/npo"))


def _at(word: str, place: Path) -> str:
    return str(place / word) if word.startswith("runs") else word


def _lie(home: Path, lies: Mapping[str, Lie], *, rng: random.Random) -> str:
    """Makes the record in `home` tell one of the lies. Returns its name."""
    name = rng.choice(sorted(lies))
    results = next(home.glob("results_*.json"))
    document = json.loads(results.read_text())
    lies[name](document["unlearning"], rng)
    replace(results, as_json(document))
    return name


def _lied(place: Path, *, name: str) -> Outcome:
    """`contradiction` where the liar is ranked, `lost` where the others are not there all the same."""
    said = command(["leaderboard", str(place / "runs"), "--json"])
    outcome = _judged(said, what=name)
    if outcome.kind not in ("taken", "refused"):
        return outcome
    rows = json.loads(said.out)["rows"]
    if any(row["rank"] is not None for row in rows if row["name"] != "ga"):
        return Outcome("contradiction", name, "it is ranked")
    missing = {"target", "retain", "ga"} - {row["name"] for row in rows}
    return Outcome("lost", name, f"rows of others: {', '.join(missing)}") if missing else outcome


def _denied(home: Path, *, name: str) -> Outcome:
    """`contradiction` where nothing wrong is found in the liar when its numbers are computed again."""
    outcome = told(command(["validate", str(home)]), what=name)
    return Outcome("contradiction", name, "its samples do not deny it") if outcome.kind == "taken" else outcome


def _judged(said: Said, *, what: str) -> Outcome:
    """`contradiction` where a row is ranked with numbers that cannot be, whatever was done to the record."""
    outcome = told(said, what=what)
    if outcome.kind not in ("taken", "refused") or not said.out.startswith("{"):
        return outcome
    for row in json.loads(said.out).get("rows", ()):
        wrong = _impossible(row) if row["rank"] is not None else ""
        if wrong:
            return Outcome("contradiction", what, f"{row['name'][:40]}: {wrong}")
    return outcome


def _impossible(row: Mapping[str, Any]) -> str:
    """Why a ranked row cannot be, looked at without any code of mmforget; empty where it can."""
    for name in ("overall", "forget_score", "utility"):
        found = row["headline"][name]
        ends = [found[key] for key in ("low", "value", "high") if found[key] is not None]
        if any(not 0 <= end <= 1 for end in ends) or ends != sorted(ends):
            return f"{name} {ends}"
    counts = [metric[key] for metric in row["metrics"] for key in ("num_scored", "num_unscored")]
    if min(counts, default=0) < 0:
        return "negative counts"
    verdict = row["verdict"]
    if verdict["status"] == "removed" and not any(line["attack"] for line in verdict["evidence"]):
        return "removed, and nothing was attacked"
    gate = row["gate"]
    return (
        "" if gate["passed"] and gate["target"] and gate["target"] >= gate["minimum"] else "a gate that is not passed"
    )


def _damaged_line(home: Path, rng: random.Random) -> str:
    """One line of a sample file with a wrong value; its sha256 in the record is that of the damaged file."""
    from mmforget.results.fingerprint import hash_file

    path = rng.choice(sorted(home.glob("samples_*.jsonl")))
    lines = path.read_text().splitlines()
    number = rng.randrange(len(lines))
    sample = json.loads(lines[number])
    what = damage_value(sample, rng)
    lines[number] = as_json(sample).decode("utf-8", "surrogatepass")
    replace(path, ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))
    results = next(home.glob("results_*.json"))
    document = json.loads(results.read_text())
    document["unlearning"]["files"][path.name] = hash_file(path)
    replace(results, as_json(document))
    return f"{path.name} line {number}: {what}"


KIND = Kind("records", prepare, trial)
