"""Chooses a method's recipe for micro models on people who are not the test's, by one rule for all methods.

    tools/tune_recipes.py fiubench grad_diff --grid lr=1e-4,2.5e-4,5e-4 --grid max_steps=20,40,80 --output tuning
    tools/tune_recipes.py fiubench npo --grid lr=2e-4,4e-4 --grid beta=0.1,0.3 --output tuning -- --workers 1

The rule is in docs/seeds.md: data drawn with other seeds (1 unless --data_seeds says more, the benchmark's own is 0),
so other people, other target and retain models; every candidate of the grid with two training seeds; of those that
collapse with no seed, and come nowhere near it while they forget in part, the one with the best mean overall, else the
one with the best mean forget score. Candidates run one after another, each in a folder of its own, and continue where
they were stopped. Words after `--` go to every `mmforget run`. Prints a table and the line for the recipe.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmforget.evaluation.choosing import EDGE, sound, worst_share
from mmforget.methods.grids import points

NUMBERS = ("forget_score", "utility_ratio", "overall")
DATA_SEEDS = "1"
SEEDS = "0,1"
FLAGS = ("lr", "epochs", "max_steps", "lora_r", "lora_alpha", "train_batch_size")
"""Settings of training that `mmforget run` has a flag for; all others are arguments of the method."""


@dataclass(frozen=True)
class Trial:
    """What one seed of a candidate came to."""

    forget_score: float
    utility_ratio: float
    overall: float
    collapsed: bool
    degenerate: float = 0.0
    """Share of the answers of a task, the worst of all."""


@dataclass(frozen=True)
class Candidate:
    """A point of the grid, with what each seed on each target came to."""

    settings: Mapping[str, str]
    trials: tuple[Trial, ...]

    @property
    def collapses(self) -> bool:
        return any(one.collapsed for one in self.trials)

    @property
    def is_on_the_edge(self) -> bool:
        return any(one.degenerate >= EDGE for one in self.trials)

    @property
    def forget_score(self) -> float:
        return math.fsum(one.forget_score for one in self.trials) / len(self.trials)

    @property
    def overall(self) -> float:
        return math.fsum(one.overall for one in self.trials) / len(self.trials)


def chosen(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate that the rule picks; the first of equals. Raises ValueError without candidates."""
    if not candidates:
        raise ValueError("no candidates")
    left = sound(candidates, forget_score=lambda one: one.forget_score)
    if left:
        return max(left, key=lambda one: one.overall)
    return max(candidates, key=lambda one: one.forget_score)


def grid(parts: Sequence[str]) -> list[dict[str, str]]:
    """Every combination of `name=value,value,...`. Raises ValueError for a part without values or a name twice."""
    axes: dict[str, list[str]] = {}
    for part in parts:
        name, _, text = part.partition("=")
        values = [value.strip() for value in text.split(",") if value.strip()]
        if not name or not values:
            raise ValueError(f"--grid {part}: write e.g. --grid lr=1e-4,5e-4")
        if name in axes:
            raise ValueError(f"--grid names one setting twice: {name}")
        axes[name] = values
    return points(axes)


@dataclass(frozen=True)
class Place:
    """Where the runs are kept, the seeds that draw the data, and words for every run."""

    home: Path
    data_seeds: tuple[int, ...]
    more: tuple[str, ...] = ()


def command(
    tasks: str, method: str, *, settings: Mapping[str, str], data_seed: int, folder: Path, more: Sequence[str]
) -> list[str]:
    """The words of the run of one candidate on the target of one draw."""
    words = ["run", "--model", "micro", "--tasks", tasks, "--methods", method, "--seeds", SEEDS, "--json"]
    words += ["--metadata", json.dumps({"seed": data_seed}), "--output_path", str(folder)]
    words += ["--use_cache", str(folder.parent / "responses.sqlite")]
    words += [word for name in FLAGS if name in settings for word in (f"--{name}", settings[name])]
    arguments = [f"{name}={value}" for name, value in settings.items() if name not in FLAGS]
    return [*words, *(["--method_args", ",".join(arguments)] if arguments else []), *more]


def measured(tasks: str, method: str, *, settings: Mapping[str, str], place: Place) -> Candidate:
    """Runs one candidate on every target, or finds it run. Raises RuntimeError where a run fails."""
    name = "_".join(f"{key}-{value}" for key, value in settings.items()) or "recipe"
    found: list[Trial] = []
    for seed in place.data_seeds:
        folder = place.home / method / f"{name}_data-{seed}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        words = command(tasks, method, settings=settings, data_seed=seed, folder=folder, more=place.more)
        done = subprocess.run(
            [sys.executable, "-m", "mmforget", *words],
            stdout=subprocess.PIPE, text=True, env={**os.environ}, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{method} with {name}: mmforget run ended with status {done.returncode}")
        found += trials(json.loads(done.stdout), folder=folder)
    return Candidate(settings, tuple(found))


def trials(document: Mapping[str, Any], *, folder: Path) -> tuple[Trial, ...]:
    """What each seed came to, from the records of the row that a leaderboard.json has of the method.

    A method in which nothing is random has one record and no seeds.
    """
    (row,) = [row for row in document["rows"] if row["role"] == "unlearned"]
    found = []
    for one in row["seeds"] or [row["provenance"]]:
        whole = json.loads((folder / one["record"]).read_text(encoding="utf-8"))
        record = whole["unlearning"]
        numbers = {name: record["headline"].get(name, {}).get("value") for name in NUMBERS}
        values = {name: float(number or 0.0) for name, number in numbers.items()}
        found.append(
            Trial(**values, collapsed=bool(record["verdict"]["collapsed"]), degenerate=worst_share(whole["results"]))
        )
    return tuple(found)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", help="a benchmark, e.g. fiubench")
    parser.add_argument("method")
    parser.add_argument("--grid", action="append", default=[], metavar="NAME=V,V,...", help="values to try; repeatable")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the runs; continued if there")
    parser.add_argument("--data_seeds", type=_seeds, default=DATA_SEEDS, metavar="N,N,...", help="a target model each")
    own, more = _split(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(own)
    try:
        points = grid(args.grid)
    except ValueError as error:
        parser.error(str(error))
    place = Place(args.output.resolve(), args.data_seeds, tuple(more))
    found = [measured(args.tasks, args.method, settings=point, place=place) for point in points]
    best = chosen(found)
    for one in found:
        print(_line(one, is_best=one is best))
    print(f"{args.method}: {{{', '.join(f'{name}: {value}' for name, value in best.settings.items())}}}")
    return 0


def _seeds(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words) or "0" in words:
        raise argparse.ArgumentTypeError(f"'{text}': write whole numbers above 0, the benchmark's own, e.g. 1,2,3")
    return tuple(map(int, words))


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    if "--" not in words:
        return words, ()
    place = list(words).index("--")
    return words[:place], words[place + 1 :]


def _line(one: Candidate, *, is_best: bool) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in one.settings.items()) or "as in the recipe"
    ratios = ", ".join("collapsed" if trial.collapsed else f"{trial.utility_ratio:.3f}" for trial in one.trials)
    mark = "*" if is_best else " "
    return f"{mark} {settings}: forget score {one.forget_score:.3f}, utility left {ratios}, overall {one.overall:.3f}"


if __name__ == "__main__":
    sys.exit(main())
