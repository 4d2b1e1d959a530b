"""How often the intervals of a scenario hold its truth, and the table of that."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulation.scenarios import Scenario, scenarios

SUBJECTS = (4, 8, 20, 40)
WANTED = (0.92, 0.98)
BEGIN, END = "<!-- coverage -->", "<!-- end of coverage -->"


def covered(scenario: Scenario, *, num_subjects: int, rounds: int, seed: int) -> dict[str, Any]:
    """How often the interval holds the truth, and how often it lies below or above it; the mean width."""
    name = zlib.crc32(f"{scenario.kind}/{scenario.case}/{scenario.truth}".encode())
    generator = np.random.default_rng([seed, name, num_subjects])
    below = above = 0
    widths = []
    for _ in range(rounds):
        low, high, reason = scenario.draw(generator, num_subjects)
        if low is None or high is None:
            raise ValueError(f"{scenario.kind}, {scenario.case}: {reason}")
        below += high < scenario.truth - 1e-9
        above += low > scenario.truth + 1e-9
        widths.append(high - low)
    return {
        "coverage": round(1.0 - (below + above) / rounds, 4),
        "below": round(below / rounds, 4),
        "above": round(above / rounds, 4),
        "width": round(float(np.mean(widths)), 4),
    }


def measured(chosen: Sequence[Scenario], *, rounds: int, seed: int) -> Iterator[dict[str, Any]]:
    """One line for each scenario, told on stderr as it comes."""
    for scenario in chosen:
        by_num = {str(num): covered(scenario, num_subjects=num, rounds=rounds, seed=seed) for num in SUBJECTS}
        line = {
            "kind": scenario.kind,
            "case": scenario.case,
            "truth": round(scenario.truth, 3),
            "bound": scenario.bound,
            "rounds": rounds,
            "seed": seed,
            "by_subjects": by_num,
        }
        print(row(line), file=sys.stderr, flush=True)
        yield line


def merged(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All cases there are, in order, newly measured ones in place of old ones."""
    found = {_name(line): line for line in (*old, *new)}
    names = [(scenario.kind, scenario.case, round(scenario.truth, 3)) for scenario in scenarios()]
    return [found[name] for name in names if name in found]


def _name(line: dict[str, Any]) -> tuple[str, str, float]:
    return line["kind"], line["case"], line["truth"]


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The Markdown table; what lies outside of what is wanted is bold."""
    heads = ["kind", "case", "truth", *(f"{num} subjects" for num in SUBJECTS)]
    return "\n".join(
        ["| " + " | ".join(heads) + " |", "|:---|:---|---:|" + "---:|" * len(SUBJECTS), *(row(line) for line in lines)]
    )


def row(line: dict[str, Any]) -> str:
    cells = [_cell(line["by_subjects"][str(num)]["coverage"], bound=line["bound"]) for num in SUBJECTS]
    return "| " + " | ".join([line["kind"], line["case"], f"{line['truth']:.2f}", *cells]) + " |"


def _cell(coverage: float, *, bound: bool) -> str:
    text = f"{coverage:.3f}"
    return text if WANTED[0] <= coverage <= (1.0 if bound else WANTED[1]) else f"**{text}**"


def write_table(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Puts the table between its marks. Raises ValueError where the file has none."""
    text = path.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path} has no marks '{BEGIN}' and '{END}'")
    before, rest = text.split(BEGIN, 1)
    path.write_text(f"{before}{BEGIN}\n{table(lines)}\n{END}{rest.split(END, 1)[1]}")
