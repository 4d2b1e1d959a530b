"""What a trial is, how its end is told, and how wrong values are drawn: what all kinds of fuzzing share."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import re
import shutil
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.errors import RunFailed, UserError, printable
from tools.fuzzing.model_folders import TEXTS, WRONG, put_in_place

GOOD = ("taken", "refused", "failed")
"""How a trial may end: the input was used, or a message said what is wrong with it (status 2), or with the run (1)."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MAX_MESSAGE = 20_000
SCRATCH = "out"
"""The folder inside a trial's that may change."""


class Outcome(NamedTuple):
    """How a trial ended.

    Attributes:
        kind: one of `GOOD`, or `traceback`, `hang`, `died`, `escape` (a control character reached the terminal), `long`
            (a message without end), `silent` (a refusal without a word), `lost` (a file of the input is gone or
            changed), `contradiction` (a lie was believed).
        what: what was done to the input.
        detail: the message, or where the traceback ends.
    """

    kind: str
    what: str
    detail: str = ""


class Said(NamedTuple):
    """What a command printed, and its exit status; `fault` is empty or what a traceback ends with."""

    status: int
    out: str
    err: str
    fault: str = ""


Trial = Callable[[Path, random.Random, Path], Outcome]
"""Runs one case in an empty folder of its own: what lies in a folder of sound inputs, as the generator damages it."""


@dataclass(frozen=True)
class Kind:
    """A kind of input that is fuzzed. `prepare` makes sound inputs in a folder once, `trial` runs one case."""

    name: str
    prepare: Callable[[Path], None]
    trial: Trial


def run(action: Callable[[], object]) -> Said:
    """Runs an action, and says how it ended as the command line would."""
    out, err = io.StringIO(), io.StringIO()
    status, fault = 0, ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = int(action() or 0)  # type: ignore[call-overload]
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except UserError as error:
            status = 2
            err.write(printable(f"{error}\n"))
        except RunFailed as error:
            status = 1
            err.write(printable(f"{error}\n"))
        except Exception as error:
            fault = where(error)
    return Said(status, out.getvalue(), err.getvalue(), fault)


def command(words: Sequence[str]) -> Said:
    """`mmforget WORDS`, in this process."""
    from mmforget.cli.main import main

    return run(lambda: main(list(words)))


def told(said: Said, *, what: str) -> Outcome:
    """The outcome of what a command said."""
    text = COLOUR.sub("", said.out + said.err)
    if said.fault:
        return Outcome("traceback", what, said.fault)
    if CONTROL.search(text):
        return Outcome("escape", what, repr(text[max(0, CONTROL.search(text).start() - 40) :][:120]))  # type: ignore[union-attr]
    if said.status and not said.err.strip() and not said.out.strip():
        return Outcome("silent", what, f"status {said.status}")
    if len(said.err) > MAX_MESSAGE:
        return Outcome("long", what, said.err[:200])
    kind = {0: "taken", 1: "failed"}.get(said.status, "refused")
    return Outcome(kind, what, " ".join(said.err.split())[:300])


def watched(folder: Path, action: Callable[[], Outcome]) -> Outcome:
    """The outcome, or `lost` where a file below `folder` is gone or changed afterwards; new files are no fault."""
    before = state(folder)
    outcome = action()
    after = state(folder)
    changed = [name for name, mark in before.items() if after.get(name) != mark]
    return Outcome("lost", outcome.what, ", ".join(changed[:5])) if changed else outcome


def state(folder: Path) -> dict[str, str]:
    """Every file below a folder with a hash of what it holds; pipes, links and folders with what they are."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == SCRATCH:
            continue
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "special"
    return found


def where(error: BaseException) -> str:
    """Type, message and the last places in mmforget of a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "mmforget" in frame.filename]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]} at {' < '.join(own[::-1][:4])}"


def copy(source: Path, target: Path) -> Path:
    """A copy that shares the files of `source`, so that it costs little: files are replaced in it, never changed."""
    shutil.copytree(source, target, copy_function=os.link, symlinks=True)
    return target


def replace(path: Path, data: bytes) -> None:
    """Other bytes in place of a file that is shared with the sound input."""
    path.unlink()
    path.write_bytes(data)


def damage_file(path: Path, rng: random.Random) -> str:
    """A file missing, cut, empty, of other bytes, or something else in its place. Returns what was done."""
    how = rng.choice(("missing", "a pipe", "a folder", "a link to nowhere", "a link to itself", "bytes", *TEXTS))
    data = path.read_bytes()
    path.unlink()
    put_in_place(path, how)
    if how == "bytes":
        path.write_bytes(flipped(data, rng))
    elif how in TEXTS:
        path.write_bytes(TEXTS[how](data, rng))
    return f"{path.name}: {how}"


def flipped(data: bytes, rng: random.Random) -> bytes:
    """A few bytes of other values."""
    changed = bytearray(data or b"\0")
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def damage_value(document: Any, rng: random.Random) -> str:
    """One value of nested lists and mappings missing, renamed or wrong, in place. Returns where and what."""
    inner, keys = document, []
    while True:
        known = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not known:
            return "nothing to damage"
        key = rng.choice(known)
        keys.append(key)
        if not (isinstance(inner[key], (dict, list)) and inner[key] and rng.random() < 0.75):
            break
        inner = inner[key]
    place, how = ".".join(map(str, keys)), rng.choice(("missing", "renamed", "wrong", "wrong", "wrong", "near"))
    if how == "missing":
        del inner[key]
    elif how == "renamed" and isinstance(inner, dict):
        inner[f"{key}\x1b[2J"] = inner.pop(key)
    elif how == "near" and isinstance(inner[key], (int, float)) and not isinstance(inner[key], bool):
        inner[key] = rng.choice((-inner[key], inner[key] + 1, inner[key] * 1e6, inner[key] - 0.5))
    else:
        inner[key] = rng.choice((*WRONG, "\x1b]0;x\x07", "\ud800", "x" * 100_000, 10**400))
    return f"{place}: {how} ({str(inner.get(key) if isinstance(inner, dict) else '')[:40]!r})"


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
