"""What every format shares: which rows, under which names, and what is told of what a format cannot say."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mmforget.leaderboard import words
from mmforget.leaderboard.board import Board, BoardRow
from mmforget.results.store import safe_name
from mmforget.types import Estimate

HEADLINE = ("overall", "forget_score", "utility", "utility_ratio")
"""What tables and model pages show."""
MAX_STEM = 80


class Written(NamedTuple):
    """What a format made of some boards.

    Attributes:
        paths: the files.
        notes: what was left out, and why.
    """

    paths: list[Path]
    notes: list[str]


Writer = Callable[[Sequence[Board], Path, str], Written]
"""Gets the boards, the folder and the time of writing (ISO 8601)."""


class Placed(NamedTuple):
    """A row with its board and a name for files and folders that no other has."""

    board: Board
    row: BoardRow
    stem: str


def placed(boards: Sequence[Board]) -> Iterator[Placed]:
    """All rows of all boards, in order."""
    seen: Counter[str] = Counter()
    for board in boards:
        for row in board.rows:
            plain = stem = safe_name(f"{board.name}-{row.label}")[:MAX_STEM]
            while stem.lower() in seen:
                seen[plain.lower()] += 1
                stem = f"{plain}-{seen[plain.lower()]}"
            seen[stem.lower()] = 1
            yield Placed(board, row, stem)


def model_of(row: BoardRow) -> str:
    """The base model as it is named on the Hub, or what stands in its place."""
    return str(row.record.model_info.get("pretrained") or row.record.benchmark.name)


def setup(row: BoardRow) -> str:
    """In a line what a single number cannot say: interval apart, what made the model, and how far it can be trusted."""
    method = row.record.method
    verdict = row.record.verdict
    parts = [f"method {method.name}" if method else row.record.role, words.seeds(row)]
    parts += [f"verdict {verdict.status}"] if verdict else []
    parts += [f"not ranked: {'; '.join(row.eligibility.reasons)}"] if not row.eligibility.eligible else []
    return "; ".join(part for part in parts if part)


def interval_words(estimate: Estimate) -> str:
    """`higher is better; 95 % interval [0.1, 0.3]; 28 scored, 0 unscored`."""
    better = {True: "higher is better", False: "lower is better", None: "near the retain model is better"}
    parts = [better[estimate.higher_is_better]]
    parts += [f"95 % interval [{estimate.low:.6g}, {estimate.high:.6g}]"] if _is_known(estimate) else ["no interval"]
    return "; ".join([*parts, f"{estimate.num_scored} scored, {estimate.num_unscored} unscored"])


def digest(*parts: object) -> str:
    """Hex digits that some things decide."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _is_known(estimate: Estimate) -> bool:
    return estimate.low is not None and estimate.high is not None
