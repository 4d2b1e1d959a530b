"""How long a command took that was interrupted and continued: the seconds of each leg lie in its output folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.results.files import RESTORE, read_json, write_json
from mmforget.types import Progress

LEGS_FILE = "legs.json"
EVERY_S = 30.0
"""So often the seconds of the leg that goes on are written: whoever is killed loses no more of them."""


class Legs:
    """The legs of what is done in a folder, of which this process is the last.

    Attributes:
        before: seconds of each leg before this one.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = folder / LEGS_FILE, clock
        self._started = self._written = clock()
        self.before: list[float] = parallel.on_main(lambda: _read(self._path))

    @property
    def seconds(self) -> list[float]:
        """Of each leg, this one last."""
        return [*self.before, self._clock() - self._started]

    def told(self, progress: Progress) -> Progress:
        """The same, noting the time on the way."""

        def tell(done: int, total: int, label: str) -> None:
            if self._clock() - self._written >= EVERY_S:
                self.note()
            progress(done, total, label)

        return tell

    def note(self) -> None:
        """Writes how long this leg has taken so far."""
        self._written = self._clock()
        if parallel.is_main():
            write_json(self._path, {"legs_s": self.seconds})


@contextmanager
def timed(folder: Path) -> Iterator[Legs]:
    """Inside is a leg of what is done in a folder that is there; its seconds are kept however it ends."""
    legs = Legs(folder)
    try:
        yield legs
    finally:
        legs.note()


def _read(path: Path) -> list[float]:
    """Raises UserError for a file that is none of ours."""
    document = read_json(path) if path.is_file() else {"legs_s": []}
    found = document.get("legs_s") if isinstance(document, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, float | int) for one in found):
        raise UserError(f"{path}: {RESTORE}")
    return [float(one) for one in found]
