"""What liars write into run records: `LIES` may never be ranked, `QUIET` are those that samples alone deny."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

Record = dict[str, Any]
Lie = Callable[[Record, random.Random], object]


def _estimate(record: Record, rng: random.Random) -> Record:
    scored = [one["estimate"] for one in record["metrics"] if one["estimate"]["value"] is not None]
    chosen: Record = rng.choice(scored)
    return chosen


def _headline(record: Record, rng: random.Random) -> Record:
    found: Record = record["headline"][rng.choice(("overall", "forget_score", "utility", "utility_ratio"))]
    return found


def _replicates(record: Record, rng: random.Random) -> Record:
    found: Record = record["replicates"][rng.choice(("overall", "utility", "utility_ratio"))]
    return found


def _status(record: Record, rng: random.Random) -> None:
    words = ("removed", "suppressed", "remembered", "collapsed", "reference")
    record["verdict"]["status"] = rng.choice([word for word in words if word != record["verdict"]["status"]])


def _as_seed(record: Record, seed: int, *, fingerprint: str) -> None:
    """Says of a record, everywhere, that its model was trained with another seed."""
    record["method"].update(seed=seed)
    record["method"]["args"]["training.seed"] = record["provenance"]["seeds"]["training"] = seed
    record["model_info"]["fingerprint"] = fingerprint


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
    "removed without any attack": lambda r, rng: r["verdict"].update(status="removed", collapsed=False, evidence=[]),
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
    "the seed of another training": lambda r, rng: r["method"].update(seed=rng.randint(2, 9)),
    "the seed of nobody": lambda r, rng: r["method"].update(seed=rng.choice((-1, "0", None, 0.5, True))),
    "nothing trained": lambda r, rng: r["training"].update(num_planned=0),
    "one training under two seeds": lambda r, rng: _as_seed(r, rng.randint(2, 9), fingerprint="npo1" * 8),
    "replicates of another number": lambda r, rng: _replicates(r, rng).update(value=rng.random() / 2),
    "replicates without degrees": lambda r, rng: _replicates(r, rng)["degrees"].popitem(),
    "replicates out of all bounds": lambda r, rng: _replicates(r, rng)["shifts"].update(
        retain50=rng.choice((1e9, 1e300))
    ),
    "replicates without freedom": lambda r, rng: _replicates(r, rng)["degrees"].update(retain50=rng.choice((0, -3.0))),
    "overall is better when lower": lambda r, rng: r["headline"]["overall"].update(higher_is_better=False),
    "a negative variance": lambda r, rng: _replicates(r, rng).update(floor=-rng.random() - 0.1),
    "replicates of nothing": lambda r, rng: r["replicates"].update(mine=r["replicates"]["overall"]),
    "a set that is no number": lambda r, rng: r["sets"]["forget"].update(num_questions="many"),
}
"""What a record may never be ranked with."""


def _moved(estimate: Record, rng: random.Random) -> None:
    """Another value, a little nearer to the middle of its range, in an interval that holds it."""
    value, (least, most) = estimate["value"], estimate["range"]
    estimate["value"] = moved = value + rng.uniform(0.001, 0.05) * (1 if value < (least + most) / 2 else -1)
    if estimate["low"] is not None:
        estimate.update(low=min(estimate["low"], moved), high=max(estimate["high"], moved))


def _headline_moved(record: Record, rng: random.Random) -> None:
    name = rng.choice(sorted(record["replicates"]))
    _moved(record["headline"][name], rng)
    record["replicates"][name].update(value=record["headline"][name]["value"], least=None, most=None)


def _narrowed(record: Record, rng: random.Random) -> None:
    wide = [one["estimate"] for one in record["metrics"] if one["estimate"]["low"] is not None]
    chosen = rng.choice([one for one in wide if one["high"] - one["value"] > 0.1])
    chosen.update(high=chosen["value"] + 0.01)


def _turned(estimate: Record) -> None:
    estimate["higher_is_better"] = not estimate["higher_is_better"]


QUIET: Mapping[str, Lie] = {
    "a headline that is a little other": _headline_moved,
    "a metric that is a little other": lambda r, rng: _moved(_estimate(r, rng), rng),
    "an interval that is narrower": _narrowed,
    "subjects that move nothing": lambda r, rng: r["replicates"]["overall"].update(floor=0.0),
    "answers that were not scored": lambda r, rng: _estimate(r, rng).update(num_scored=rng.randrange(8)),
    "another direction": lambda r, rng: _turned(_estimate(r, rng)),
    "more subjects": lambda r, rng: _estimate(r, rng).update(num_subjects=rng.randint(5, 99)),
    "nothing trained, and no step": lambda r, rng: r["training"].update(num_planned=0, num_steps=0),
    "a metric left out": lambda r, rng: r["metrics"].pop(rng.randrange(len(r["metrics"]))),
    "a headline number left out": lambda r, rng: [r[part].pop("utility_ratio") for part in ("headline", "replicates")],
    "another target": lambda r, rng: r["gate"].update(target=rng.uniform(0.85, 0.99)),
    "another gate": lambda r, rng: r["gate"].update(minimum=rng.uniform(0.1, 0.7)),
    "a set that is smaller": lambda r, rng: r["sets"]["forget"].update(num_questions=7, num_expected=7),
    "fewer people": lambda r, rng: r["sets"]["retain5"].update(num_subjects=rng.randint(1, 3)),
    "not to be ranked": lambda r, rng: r["verdict"].update(eligible=False),
}
"""What a record may say without contradicting itself, and its samples deny."""
