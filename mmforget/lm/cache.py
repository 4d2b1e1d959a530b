"""Answers that were computed before, kept on disk so that an interrupted evaluation continues where it stopped.

The key of an answer holds the fingerprint of the model, so two models never share one (see `requests.Ask.key`). A batch
is written in one transaction: whoever is killed loses at most the batch in hand.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmforget.errors import UserError

logger = logging.getLogger(__name__)

CHUNK = 500
"""Keys asked for in one statement; SQLite allows 999 parameters in its oldest builds."""


class ResponseCache:
    """A file of JSON answers by key. Values keep their floats to the last bit, NaN included.

    Args:
        path: SQLite file, made with its folder where missing. A file that is no SQLite database or is damaged is moved
            aside to `<name>.damaged-<n>`, reported, and a new one is begun.

    Raises UserError where the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.set_aside: Path | None = None
        self._connection = self._open()

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The answers that are there, by key."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Any] = {}
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            marks = ",".join("?" * len(part))
            rows = self._connection.execute(f"SELECT key, value FROM responses WHERE key IN ({marks})", part)  # noqa: S608
            found.update((key, json.loads(value)) for key, value in rows)
        return found

    def put_many(self, answers: Mapping[str, Any]) -> None:
        """Writes answers in one transaction: all of them or none. Raises UserError where the disk refuses."""
        rows = [(key, json.dumps(value)) for key, value in answers.items()]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO responses (key, value) VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            raise UserError(
                f"response cache {self.path} cannot be written: {error}; free space or give --use_cache another file"
            ) from error

    def __len__(self) -> int:
        (count,) = self._connection.execute("SELECT COUNT(*) FROM responses").fetchone()
        return int(count)

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"folder {self.path.parent} of the response cache cannot be made: {error}") from error
        try:
            return _connect(self.path)
        except sqlite3.OperationalError as error:
            raise UserError(
                f"response cache {self.path} cannot be opened: {error}; give --use_cache a file in a writable folder"
            ) from error
        except sqlite3.DatabaseError as error:
            self.set_aside = _move_aside(self.path)
            logger.warning(
                "response cache %s is damaged (%s); moved to %s, starting a new one",
                self.path,
                error,
                self.set_aside.name,
            )
            return _connect(self.path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60)
    try:
        # WAL keeps every committed batch when the process is killed, without an fsync a batch.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(state)
    except BaseException:
        connection.close()
        raise
    return connection


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside
