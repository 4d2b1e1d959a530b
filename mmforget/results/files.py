"""Files that are either whole or not there: written beside their place, flushed to disk, then renamed over it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmforget.errors import UserError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def prepare_folder(folder: Path) -> Path:
    """Make an output folder and prove that it can be written. Raises UserError where it cannot."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(dir=folder, prefix=".probe-")
        os.close(handle)
        os.unlink(probe)
    return folder


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file atomically: after a kill at any moment the old or the new content is there, never a part.

    Raises UserError when the folder is not writable, the disk is full or something else stands at `path`.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            with part.open("xb") as file:
                file.write(data)
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
    """`write_text` of indented JSON. Raises ValueError on NaN, which JSON does not know."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """A JSON file's value. Raises UserError that names the file and the line that does not parse."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: not valid JSON at line {error.lineno} ({error.msg}); the file is damaged: "
            "restore it, or delete it and run the same command again"
        ) from error


def read_text(path: Path) -> str:
    """A file's text. Raises UserError where it is missing, unreadable or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}; the file is damaged, run again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({_why(error)}); check the path") from error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what a file system can refuse into a message that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            advice = "the disk is full; free some space or give another --output_path"
        elif error.errno in NOT_ALLOWED:
            advice = "it is not writable; give another --output_path or change its permissions"
        elif error.errno in IN_THE_WAY:
            advice = "a file stands where a folder is needed, or the reverse; move it or give another --output_path"
        else:
            advice = "give another --output_path"
        raise UserError(f"cannot write {path} ({_why(error)}): {advice}") from error


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the platform can open folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
