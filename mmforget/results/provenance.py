"""Where a run came from: code, packages, device, seeds, command, time. Never a user name, host name or environment."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import mmforget
from mmforget.results.schema import Provenance

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "lm_eval",
    "evaluate",
    "tokenizers",
    "numpy",
    "scipy",
    "rouge_score",
    "pillow",
)
CODE_PATHS = ("mmforget", "tasks", "pyproject.toml")
OWN_FOLDERS = ("model", "adapter", "merged")
"""What mmforget calls the folders it saves models in: the folder above says which model it is."""


class Begun(NamedTuple):
    """The moment a run began.

    Attributes:
        utc: ISO 8601, in UTC.
        clock: monotonic seconds, for durations.
    """

    utc: str
    clock: float


class Commit(NamedTuple):
    """State of the clone that the code runs from.

    Attributes:
        sha: commit, or None outside a clone.
        dirty: whether code or tasks differ from that commit, or None outside a clone.
    """

    sha: str | None
    dirty: bool | None


def begin() -> Begun:
    """Call it when a run starts; `collect` turns it into start and wall time."""
    return Begun(datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic())


def collect(
    begun: Begun, *, device: str = "cpu", seeds: Mapping[str, int] | None = None, command: Sequence[str] | None = None
) -> Provenance:
    """Provenance of what runs now. `command` is this process's own unless given."""
    commit = code_commit()
    return Provenance(
        version=mmforget.__version__,
        commit=commit.sha,
        dirty=commit.dirty,
        packages=package_versions(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        device=device_name(device),
        num_threads=_num_threads(),
        seeds=dict(seeds or {}),
        command=tuple(command) if command is not None else (Path(sys.argv[0]).name, *sys.argv[1:]),
        started=begun.utc,
        wall_s=round(time.monotonic() - begun.clock, 3),
        peak_memory_bytes=peak_memory_bytes(),
    )


def package_versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Installed versions by package name; absent packages are left out."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def code_commit(root: Path | None = None) -> Commit:
    """Commit and dirty flag of the clone around the package (or `root`); (None, None) for an installed package.

    Only changes to code and tasks count as dirty: a results folder inside the clone does not.
    """
    root = root or Path(mmforget.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return Commit(None, None)
    sha = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--", *CODE_PATHS)
    return Commit(sha or None, None if sha is None or status is None else bool(status))


def model_name(place: str) -> str:
    """A model as records name it: a hub id as it is, a local folder by its name alone, since paths name people."""
    path = Path(place).expanduser()
    if not path.exists():
        return place
    parts = path.resolve().parts[-2:] if path.name in OWN_FOLDERS else path.resolve().parts[-1:]
    return "/".join(parts)


def device_name(device: str) -> str:
    """The device with the name of its hardware, e.g. `cuda:0 (NVIDIA H200)`. Does not load torch by itself."""
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return device


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _num_threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else 0


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command; None where git is missing or refuses."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
