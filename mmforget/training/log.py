"""`train_log.jsonl`: one line an update, cut back to the checkpoint when a killed run resumes."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from mmforget.results.files import write_text, writing
from mmforget.training.stopping import Point, point_from

POINT = "validation"
"""Key of a line that tells of the validation part."""


class TrainLog:
    """Appends updates to a JSON-lines file. Not-a-numbers and infinities are written as null.

    Every line holds `step` (1-based), `loss`, `parts` (weighted terms of the loss), `forget_nll` and `retain_nll` (nats
    a token, where measured), `lr`, `grad_norm` (before clipping) and `wall_s` (seconds of training so far, over all
    sessions); `state` where the method keeps numbers from one update to the next; `validation` where the validation
    part was looked at, with a line of step 0, before the first update, that holds nothing else.

    Args:
        path: the file; None keeps the last update in memory only, for processes that leave writing to another.
    """

    def __init__(self, path: Path | None, *, resume_step: int = 0) -> None:
        kept = [line for line in read_log(path) if line["step"] <= resume_step] if path else []
        self.last: dict[str, Any] = kept[-1] if kept else {}
        self.points: list[Point] = [point_from({"step": line["step"], **line[POINT]}) for line in kept if POINT in line]
        self._before_s = float(self.last.get("wall_s", 0.0))
        self._start_s = time.perf_counter()
        self._file: TextIO | None = None
        if path is not None:
            write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
            self._file = path.open("a", encoding="utf-8")

    @property
    def wall_s(self) -> float:
        """Seconds of training, earlier sessions included as far as their updates were kept."""
        return self._before_s + time.perf_counter() - self._start_s

    def write(self, values: Mapping[str, Any]) -> None:
        """Adds a line and hands it to the operating system, so that a killed process loses none."""
        self.last = {**_finite(values), "wall_s": round(self.wall_s, 4)}
        if POINT in self.last:
            self.points.append(point_from({"step": self.last["step"], **self.last[POINT]}))
        if self._file is not None:
            with writing(Path(self._file.name)):
                self._file.write(json.dumps(self.last, allow_nan=False) + "\n")
                self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            # What could not be written was said when it was.
            with contextlib.suppress(OSError):
                self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line cut short by a kill is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
