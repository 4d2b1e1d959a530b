"""Run records of liars and of broken disks: damaged at random, or made to say what cannot be."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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

Record = dict[str, Any]
Lie = Callable[[Record, random.Random], object]


def write_records(folder: Path) -> Path:
    """A target, a retain model and two methods whose numbers are those of their samples."""
    from mmforget.cli.rescore import rescore
    from mmforget.results.store import write_run
    from tools.fuzzing.people import answered, record_of

    models = {"target": (True, True), "retain": (False, True), "npo": (False, True), "ga": (False, False)}
    for seed, (name, (knows_forget, knows_rest)) in enumerate(models.items()):
        samples = answered(knows_forget=knows_forget, knows_rest=knows_rest, seed=seed)
        write_run(folder / name, record_of(name, samples=samples), samples=samples, config={"measured": name})
    rescore([folder])
    for path in folder.glob("*/results_*.json"):
        if path != max(path.parent.glob("results_*.json")):
            path.unlink()
    return folder


def _estimate(record: Record, rng: random.Random) -> Record:
    scored = [one["estimate"] for one in record["metrics"] if one["estimate"]["value"] is not None]
    chosen: Record = rng.choice(scored)
    return chosen


def _headline(record: Record, rng: random.Random) -> Record:
    found: Record = record["headline"][rng.choice(("overall", "forget_score", "utility", "utility_ratio"))]
    return found


def _status(record: Record, rng: random.Random) -> None:
    words = ("forgotten", "partly", "remembered", "collapsed", "reference")
    record["verdict"]["status"] = rng.choice([word for word in words if word != record["verdict"]["status"]])


LIES: Mapping[str, Lie] = {
    "overall above 1": lambda r, rng: r["headline"]["overall"].update(value=rng.uniform(1.1, 1e6)),
    "overall above 1 in a wide range": lambda r, rng: r["headline"]["overall"].update(
        value=7.0, low=None, high=None, range=[0.0, 10.0]
    ),
    "a headline below 0": lambda r, rng: _headline(r, rng).update(value=-rng.random() - 0.01, low=None),
    "low above high": lambda r, rng: _estimate(r, rng).update(low=0.9, high=0.1),
    "outside its interval": lambda r, rng: _headline(r, rng).update(value=0.3, low=0.6, high=0.9),
    "an interval of nothing": lambda r, rng: _estimate(r, rng).update(value=None, low=0.2, high=0.4),
    "a metric outside its range": lambda r, rng: _estimate(r, rng).update(value=rng.choice((-3.0, 1e9)), range=[0, 1]),
    "negative counts": lambda r, rng: _estimate(r, rng).update(num_scored=-rng.randint(1, 9)),
    "more answers than samples": lambda r, rng: r["metrics"][0]["estimate"].update(num_scored=rng.randint(100, 10**6)),
    "a verdict that the numbers deny": _status,
    "forgotten with a low score": lambda r, rng: (
        r["headline"]["forget_score"].update(value=0.1, low=None, high=None),
        r["verdict"].update(status="forgotten", collapsed=False),
    ),
    "a gate passed at 0": lambda r, rng: r["gate"].update(target=0.0, passed=True),
    "a gate passed without room": lambda r, rng: r["gate"].update(retain=r["gate"]["target"], passed=True),
    "a gate passed without a target": lambda r, rng: r["gate"].update(target=None, passed=True),
    "more questions than there are": lambda r, rng: r["sets"]["forget"].update(num_questions=10**6),
    "a retain model that nobody has": lambda r, rng: r["references"].update(retain="f" * 64),
    "an empty name": lambda r, rng: r.update(name=rng.choice(("", " ", "\t"))),
    "the name of the target": lambda r, rng: r.update(name="target"),
    "a name that steers the terminal": lambda r, rng: r.update(name="npo\x1b[2J\x1b]0;x\x07"),
    "a name without end": lambda r, rng: r.update(name="n" * 100_000),
    "a lone surrogate as a name": lambda r, rng: r.update(name="\ud83d"),
    "a metric twice": lambda r, rng: r["metrics"].append(r["metrics"][0]),
    "a method that is none": lambda r, rng: r.update(method=None),
    "NaN": lambda r, rng: _headline(r, rng).update(value=math.nan),
    "infinity": lambda r, rng: _estimate(r, rng).update(high=math.inf),
    "a number of 400 digits": lambda r, rng: _headline(r, rng).update(value=10**400),
    "samples that are others": lambda r, rng: r["files"].update(dict.fromkeys(r["files"], "0" * 64)),
    "samples outside its folder": lambda r, rng: r["files"].update({"../target/run.yaml": "0" * 64}),
    "a set that is no number": lambda r, rng: r["sets"]["forget"].update(num_questions="many"),
}
"""What a record may never be ranked with."""


def prepare(folder: Path) -> None:
    """Sound records, of which each case damages one."""
    write_records(folder / "runs")


def trial(folder: Path, rng: random.Random, place: Path) -> Outcome:
    """One case on a damaged copy of what lies in `folder`."""
    copy(folder / "runs", place / "runs")
    home = place / "runs" / rng.choice(("npo", "npo", "ga", "target", "retain"))
    results = next(home.glob("results_*.json"))
    kind = rng.random()
    if kind < 0.45:
        name = _lie(place / "runs" / "npo", rng=rng)
        return watched(place, lambda: _lied(place, name=name))
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
PUBLISHED = ("leaderboard", "runs/npo", "runs/ga", "--json")
SLOW = (("rescore", "runs/npo", "--json"), ("validate", "runs/npo"))


def _at(word: str, place: Path) -> str:
    return str(place / word) if word.startswith("runs") else word


def _lie(home: Path, *, rng: random.Random) -> str:
    """Makes the record in `home` say what cannot be. Returns the lie's name."""
    name = rng.choice(sorted(LIES))
    results = next(home.glob("results_*.json"))
    document = json.loads(results.read_text())
    LIES[name](document["unlearning"], rng)
    replace(results, as_json(document))
    return name


def _lied(place: Path, *, name: str) -> Outcome:
    """`contradiction` where the liar is ranked, `lost` where the others are not there all the same."""
    said = command(["leaderboard", str(place / "runs"), "--json"])
    outcome = _judged(said, what=name)
    if outcome.kind not in ("taken", "refused"):
        return outcome
    rows = {row["name"]: row for row in json.loads(said.out)["rows"]}
    if any(row["rank"] is not None for row_name, row in rows.items() if row_name != "ga"):
        return Outcome("contradiction", name, "it is ranked")
    missing = {"target", "retain", "ga"} - set(rows)
    return Outcome("lost", name, f"rows of others: {', '.join(missing)}") if missing else outcome


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
    score = row["headline"]["forget_score"]["value"]
    if row["verdict"]["status"] == "forgotten" and (score is None or score < 0.7):
        return f"forgotten with {score}"
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
