"""Damaged copies of a model, adapter or processor folder, drawn from a seed: one wrong value or file in each.

    for case in cases(0, folder):               # endless, the same for the same seed and folder
        damaged = case.write(folder, tmp_path / "copy")

What reads such a folder takes it or says in one line what is wrong; it neither raises nor waits.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRONG: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 10**6, 10**12, 10**30, 0.5, 1e308, float("nan"), float("inf")),
    *("", "nonsense", "7", "../../x", "a\nb", "\u2028", "x" * 2000, [], [0], ["a", 1], {}, {"a": 1}, [[[]]]),
)
"""Values of every kind, for keys that want another."""
TEXTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty": lambda text, rng: b"",
    "cut": lambda text, rng: text[: rng.randrange(len(text) + 1)],
    "a list": lambda text, rng: b"[1, 2]",
    "a number of 5,000 digits": lambda text, rng: b'{"vocab_size": ' + b"9" * 5000 + b"}",
    "nested deeply": lambda text, rng: b'{"a": ' * 20_000 + b"1" + b"}" * 20_000,
    "no UTF-8": lambda text, rng: b'{"a": "\xff\xfe"}',
    "a lone surrogate": lambda text, rng: b'{"model_type": "\\ud800", "peft_type": "\\ud800"}',
    "not JSON": lambda text, rng: b"<html>404</html>",
}
"""What may stand in a file in place of its text."""


@dataclass(frozen=True)
class Case:
    """One damage. `name` says what was done; `change` does it to a folder."""

    name: str
    change: Callable[[Path], None]

    def write(self, source: Path, target: Path) -> Path:
        """A damaged copy of `source`, made anew as `target`."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        self.change(target)
        return target


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Damages of the files that `folder` has, without end: two of three times a value of a JSON file."""
    rng = random.Random(seed)
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    documents = [name for name in files if name.endswith(".json")]
    weights = [name for name in files if name.endswith(".safetensors")]
    while True:
        kind = rng.random()
        if documents and kind < 0.67:
            yield _value(folder, rng.choice(documents), rng=rng)
        elif documents and kind < 0.8:
            yield _text(folder, rng.choice(documents), rng=rng)
        elif weights and kind < 0.9:
            yield _weights(folder, rng.choice(weights), rng=rng)
        else:
            yield _file(rng.choice(files), rng=rng)


def _value(folder: Path, name: str, *, rng: random.Random) -> Case:
    """A key of a JSON file missing, under another name or with a value from `WRONG`."""
    values = json.loads((folder / name).read_text(encoding="utf-8"))
    keys = _drawn_keys(values, rng=rng)
    inner = values
    for key in keys[:-1]:
        inner = inner[key]
    how = rng.choice(["missing", "renamed", "wrong", "wrong", "wrong", "wrong"]) if keys else "as it was"
    shown = ".".join(map(str, keys))
    if how == "missing":
        del inner[keys[-1]]
    elif how == "renamed" and isinstance(inner, dict):
        inner[f"{keys[-1]}_"] = inner.pop(keys[-1])
    elif keys:
        inner[keys[-1]] = rng.choice(WRONG)
        how = f"= {str(inner[keys[-1]])[:40]!r}"
    text = json.dumps(values)
    return Case(f"{name}: {shown} {how}", lambda target: _write(target / name, text.encode()))


def _drawn_keys(values: Any, *, rng: random.Random) -> list[Any]:
    """The way to a value inside a document: a key of each level, and at each level a chance to stop there."""
    keys: list[Any] = []
    while isinstance(values, dict | list) and values and (not keys or rng.random() < 0.6):
        key = rng.choice(list(values)) if isinstance(values, dict) else rng.randrange(len(values))
        keys.append(key)
        values = values[key]
    return keys


def _text(folder: Path, name: str, *, rng: random.Random) -> Case:
    how = rng.choice(list(TEXTS))
    damaged = TEXTS[how]((folder / name).read_bytes(), rng)
    return Case(f"{name}: {how}", lambda target: _write(target / name, damaged))


def _weights(folder: Path, name: str, *, rng: random.Random) -> Case:
    """Safetensors cut, with another header, or with a name or a shape that its header does not mean."""
    data = (folder / name).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensor = rng.choice([key for key in header if key != "__metadata__"])
    how = rng.choice(["cut", "huge header", "no header", "renamed", "shape", "dtype", "offsets"])
    if how == "cut":
        data = data[: rng.randrange(len(data))]
    elif how == "huge header":
        data = (2**63).to_bytes(8, "little") + data[8:]
    elif how == "no header":
        data = bytes(len(data))
    else:
        entry = header.pop(tensor)
        changed = {"shape": [7, 7], "dtype": rng.choice(["F99", 3, "I64"]), "offsets": [-1, 2**60]}
        key = {"offsets": "data_offsets"}.get(how, how)
        header[f"{tensor}_" if how == "renamed" else tensor] = entry | ({} if how == "renamed" else {key: changed[how]})
        text = json.dumps(header).encode()
        data = len(text).to_bytes(8, "little") + text + data[8 + size :]
    return Case(f"{name}: {how} ({tensor})", lambda target: _write(target / name, data))


def put_in_place(path: Path, how: str) -> None:
    """Something else where a file was: a pipe, a folder or a link; nothing for any other word."""
    if how == "a pipe":
        os.mkfifo(path)
    elif how == "a folder":
        path.mkdir()
    elif how == "a link to nowhere":
        path.symlink_to(path.with_name("nowhere"))
    elif how == "a link to itself":
        path.symlink_to(path)


def _file(name: str, *, rng: random.Random) -> Case:
    """A file missing, or something else in its place: a pipe that nobody writes to, a folder, a link to nowhere."""
    how = rng.choice(["missing", "a pipe", "a folder", "a link to nowhere", "a link to itself"])

    def change(target: Path) -> None:
        path = target / name
        path.unlink()
        put_in_place(path, how)

    return Case(f"{name}: {how}", change)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
