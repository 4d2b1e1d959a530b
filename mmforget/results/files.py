"""Files that are either whole or not there: written beside their place, flushed to disk, then renamed over it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mmforget.errors import UserError, one_line
from mmforget.reading import MAX_DEPTH, MAX_TEXT_BYTES, is_deep, read_text, why
from mmforget.results.codec import to_jsonable
from mmforget.unfinished import unfinished
from mmforget.yaml_text import parse_yaml

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
TORCH_WRITER = re.compile(r"inline_container|PytorchStreamWriter|write\(\): fd")
ROOM_BYTES = 2**20
"""Less than this is a full disk."""
RESTORE = "the file is damaged: restore it, or delete it and run the same command again"
"""What to do about a damaged file of our own."""
IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Inside, no other process of mmforget works in the folder. Raises UserError where one does so already.

    The system lets go of the folder when the process ends, however it ends. A file system without locks allows all.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: another run works in this folder; wait for it, or give another --output_path"
            ) from error
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Inside, no other process of mmforget is inside with the same folder; waits until none is.

    For what one process makes and the others then find made. Where the folder cannot be made or locked, all go ahead.
    """
    handle = _locked(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _locked(folder: Path) -> int | None:
    """What keeps the folder locked until it is closed; None where there is no folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def prepare_folder(folder: Path) -> Path:
    """Make an output folder and prove that it can be written. Raises UserError where it cannot."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = unfinished(folder / "probe")
        probe.touch()
        probe.unlink()
    return folder


def write_bytes(path: Path, data: bytes) -> Path:
    """`write_pieces` of one."""
    return write_pieces(path, [data])


def write_pieces(path: Path, pieces: Iterable[bytes]) -> Path:
    """Write a file atomically: after a kill at any moment the old or the new content is there, never a part.

    Raises UserError when the folder is not writable, the disk is full or something else stands at `path`.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = unfinished(path)
        try:
            with part.open("xb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        _sync_folder(path.parent)
    return path


def write_text(path: Path, text: str) -> Path:
    """`write_bytes` of UTF-8 text. Lone surrogates, which a tokenizer can produce, are kept as escapes."""
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> Path:
    """`write_text` of indented JSON, NaN and infinity as null: a number that is none ends no run when it is written."""
    plain = to_jsonable(value, strict=False).value
    return write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, *, max_bytes: int = MAX_TEXT_BYTES, takes_nan: bool = False, advice: str = RESTORE) -> Any:
    """A JSON file's value. Raises UserError as `parse_json` does, with the file's name."""
    return parse_json(read_text(path, max_bytes=max_bytes), place=str(path), takes_nan=takes_nan, advice=advice)


def parse_json(
    text: str, *, place: str, takes_nan: bool = False, takes_depth: bool = False, advice: str = RESTORE
) -> Any:
    """The value of JSON from a stranger. Raises UserError naming `place` and why it is refused.

    Refused are, besides what is no JSON: NaN and infinity, numbers of thousands of digits, and nesting deeper than
    `MAX_DEPTH`.

    Args:
        takes_nan: NaN and infinity are numbers, as other programs write them.
        takes_depth: whoever decodes the value looks at how deep it is.
        advice: what to do about a file that is refused.
    """
    if not text.strip():
        raise UserError(f"{place}: is empty; {advice}")
    try:
        value = json.loads(text, parse_constant=float if takes_nan else _not_a_number)
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: not valid JSON at line {error.lineno} ({error.msg}); {advice}") from error
    except ValueError as error:
        raise UserError(f"{place}: holds a number that cannot be ({one_line(error)}); {advice}") from error
    except RecursionError:
        raise UserError(f"{place}: nested deeper than {MAX_DEPTH} levels; {advice}") from None
    if not takes_depth and is_deep(value):
        raise UserError(f"{place}: nested deeper than {MAX_DEPTH} levels; {advice}")
    return value


def read_yaml(path: Path) -> Any:
    """A YAML file's value. Raises UserError that names the file and what does not parse."""
    text = read_text(path)
    try:
        return parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML ({one_line(error)[:200]}); restore it, or delete it") from error


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what a file system can refuse, whichever library was told so, into a message that says what to do."""
    try:
        yield
    except Exception as error:
        refused = _refused(error, path=path)
        if refused is None:
            raise
        if refused.errno in NO_SPACE:
            advice = "the disk is full; free some space or give another --output_path"
        elif refused.errno in NOT_ALLOWED:
            advice = "it is not writable; give another --output_path or change its permissions"
        elif refused.errno in IN_THE_WAY:
            advice = "a file stands where a folder is needed, or the reverse; move it or give another --output_path"
        else:
            advice = "give another --output_path"
        raise UserError(f"cannot write {path} ({why(refused)}): {advice}") from error


def _refused(error: Exception, *, path: Path) -> OSError | None:
    """What the operating system said; None where an error is of another kind."""
    if isinstance(error, OSError):
        return error
    text = str(error)
    if type(error).__name__ == "SafetensorError":
        number = re.search(r"\(os error (\d+)\)", text)
        return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None
    if isinstance(error, RuntimeError) and TORCH_WRITER.search(text):
        # torch does not pass on why.
        is_full = shutil.disk_usage(_existing(path)).free < ROOM_BYTES
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if is_full else OSError(errno.EIO, text.splitlines()[0])
    return None


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the platform can open folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
