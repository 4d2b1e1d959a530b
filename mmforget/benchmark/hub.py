"""A pinned revision of a data set on the Hugging Face Hub, fetched once into a folder."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmforget.benchmark.cache import cache_folder
from mmforget.errors import UserError
from mmforget.unfinished import unfinished

_COMMIT = re.compile(r"[0-9a-f]{40}")


class Snapshot(NamedTuple):
    """Files of a data set and the commit they are from."""

    folder: Path
    commit: str


def fetch(repo: str, *, revision: str | None, patterns: Sequence[str]) -> Snapshot:
    """Download the files of `repo` that match `patterns`, as of `revision`, or take them from the cache.

    Raises UserError where the revision is not a full commit (branches and tags move, and a record must say what was
    used), does not exist, or cannot be reached.
    """
    if revision is None or not _COMMIT.fullmatch(revision):
        was = "no revision is named" if revision is None else f"revision '{revision}' is not a full commit hash"
        raise UserError(
            f"--data hub: {was}; pin one of https://huggingface.co/datasets/{repo}/commits/main with "
            '--metadata \'{"revision": "<40 hex digits>"}\', or use --data FOLDER or --data synthetic'
        )
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=list(patterns))
    except (OSError, ValueError) as error:
        raise UserError(
            f"--data hub: {repo} at {revision} cannot be fetched: {_first_line(error)}\n"
            "without a network: download it elsewhere and give --data FOLDER, or use --data synthetic"
        ) from error
    return Snapshot(Path(folder), Path(folder).name)


def unpack(archive: Path, *, commit: str) -> Path:
    """The folder with a zip archive's files, unpacked once per commit. Raises UserError where it is broken."""
    target = cache_folder() / "data" / commit / archive.stem
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = unfinished(target)
    work.mkdir()
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(work)
        work.rename(target)
    except (OSError, zipfile.BadZipFile) as error:
        # Another process may have finished first, and then its folder is as good as ours.
        if not target.is_dir():
            raise UserError(f"{archive}: cannot be unpacked into {target}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
