"""The formats by name, as `--formats` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mmforget.errors import UnknownName
from mmforget.leaderboard.board import Board
from mmforget.leaderboard.formats.base import Writer, Written
from mmforget.leaderboard.formats.every_eval_ever import write_every_eval_ever
from mmforget.leaderboard.formats.harnesses import write_inspect, write_lm_eval
from mmforget.leaderboard.formats.hub import write_eval_results, write_model_index
from mmforget.leaderboard.formats.tables import write_csv, write_latex

FORMATS: Mapping[str, Writer] = {
    "csv": write_csv,
    "latex": write_latex,
    "eval_results": write_eval_results,
    "model_index": write_model_index,
    "every_eval_ever": write_every_eval_ever,
    "lm_eval": write_lm_eval,
    "inspect": write_inspect,
}
ALL = "all"


def formats_of(text: str) -> list[str]:
    """The names in `csv,latex` or `all`. Raises UnknownName."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in (*FORMATS, ALL):
            raise UnknownName("format", name=name, known=(*FORMATS, ALL))
    return list(FORMATS) if ALL in names else list(dict.fromkeys(names))


def write(boards: Sequence[Board], *, folder: Path, formats: Iterable[str], generated: str | None = None) -> Written:
    """Write boards in some formats. Raises UserError where the folder cannot be written.

    Args:
        generated: ISO 8601 time; now unless given.
    """
    time = generated or datetime.now(UTC).isoformat(timespec="seconds")
    written = [FORMATS[name](boards, folder, time) for name in formats]
    return Written([path for one in written for path in one.paths], [note for one in written for note in one.notes])
