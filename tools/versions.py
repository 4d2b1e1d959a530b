"""Runs tests with the oldest and the newest release that pyproject.toml allows of libraries whose inside is relied on.

    tools/versions.py
    tools/versions.py --only transformers --releases 5.9.0,5.12.0
    tools/versions.py --all --write docs/versions.md

Each release gets a virtual environment of its own, for the time of its tests, that lies over the one this runs in:
only the release and what it needs otherwise are installed, by pip from the index that it is set up for. Prints
a table in Markdown; with `--write` the one between two marks of a file is written anew. The exit status is 1 where a
test failed, and the names of such tests are on stderr.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lm-eval", "transformers", "peft")
TESTS = (
    "tests/contracts/test_every_flag_of_lm_eval.py",
    "tests/unit/evaluation/test_evaluate_run.py",
    "tests/unit/lm/test_lm_adapter.py",
    "tests/unit/metrics/test_metric_lm_eval.py",
    "tests/unit/model/test_families.py",
    "tests/unit/model/test_foreign_adapters.py",
    "tests/unit/model/test_load.py",
    "tests/unit/model/test_lora.py",
    "tests/unit/training/test_training_of_ones_own.py",
    "tests/unit/training/test_training_runs.py",
    "tests/unit/training/test_training_shares.py",
)
"""Loading, adapters, scoring, training in one process and several, and tasks in mmforget and in stock lm_eval."""
ALL_TESTS = ("tests/contracts", "tests/unit")
BEGIN, END = "<!-- versions -->", "<!-- /versions -->"
HEAD = ("package", "release", "with it", "passed", "failed")
LIMIT_S = 3600


class Tried(NamedTuple):
    """What came of one release.

    Attributes:
        others: packages that came with it in another release than elsewhere, as `name version`.
        failed: the tests that failed or could not be run; more than none where pytest itself did not end well.
    """

    package: str
    release: str
    others: tuple[str, ...]
    num_passed: int
    failed: tuple[str, ...]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="versions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PACKAGES, help="one package")
    parser.add_argument("--releases", metavar="LIST", help="these releases of it, allowed or not; needs --only")
    parser.add_argument("--all", action="store_true", help="all contract and unit tests, not only the usual files")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file whose table is written anew")
    args = parser.parse_args(words)
    if args.releases and not args.only:
        parser.error("--releases are those of one package; add --only NAME")
    found = []
    for package in [args.only] if args.only else PACKAGES:
        releases = args.releases.split(",") if args.releases else ends(package, released(package))
        for release in releases:
            found.append(tried(package, release, tests=ALL_TESTS if args.all else TESTS))
            print(f"{package} {release}: {found[-1].num_passed} passed", *found[-1].failed, sep="\n  ", file=sys.stderr)
    print(table(found))
    if args.write:
        write_table(args.write, found)
    return int(any(one.failed for one in found))


def requirement(package: str) -> Requirement:
    """What pyproject.toml asks for."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return next(one for one in map(Requirement, listed) if one.name == package)


def released(package: str) -> list[str]:
    """All releases that the index has."""
    told = _run([sys.executable, "-m", "pip", "index", "versions", package]).stdout
    return re.findall(r"[\w.]+", told.partition("Available versions:")[2].partition("\n")[0])


def ends(package: str, releases: Iterable[str]) -> list[str]:
    """The oldest and the newest release that is allowed; one where they are the same."""
    allowed = sorted(requirement(package).specifier.filter(releases), key=Version)
    if not allowed:
        raise SystemExit(f"the index has no release of {package} that pyproject.toml allows")
    return list(dict.fromkeys([allowed[0], allowed[-1]]))


def tried(package: str, release: str, *, tests: tuple[str, ...]) -> Tried:
    """Installs a release over what is installed here, and runs the tests; here, once, where it is the one installed."""
    if version(package) == release:
        return Tried(package, release, (), *tested(Path(sys.executable), tests=tests))
    with tempfile.TemporaryDirectory(prefix="versions-") as folder:
        python, site = overlay(Path(folder))
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq", f"{package}=={release}"]
        installed = _run(pip)
        if installed.returncode:
            raise SystemExit(f"{package} {release} cannot be installed: {installed.stderr.strip()}")
        others = [f"{one.name} {one.version}" for one in distributions(path=[str(site)]) if one.name != _name(package)]
        return Tried(package, release, tuple(sorted(others)), *tested(python, tests=tests))


@cache
def tested(python: Path, *, tests: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """How many tests pass in an environment, and which do not."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    num_passed, failed = counts(ran.stdout)
    if ran.returncode and not failed:
        failed = (f"pytest: {(ran.stdout + ran.stderr).strip()[-500:]}",)
    return num_passed, failed


def overlay(folder: Path) -> tuple[Path, Path]:
    """A virtual environment that sees all that is installed here, behind its own: its Python and its packages."""
    venv.create(folder, symlinks=True)
    paths = {name: sysconfig.get_path(name, "venv", {"base": str(folder)}) for name in ("scripts", "purelib")}
    site = Path(paths["purelib"])
    (site / "base.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Path(paths["scripts"]) / "python", site


def counts(output: str) -> tuple[int, tuple[str, ...]]:
    """How many tests passed, and which did not, by what pytest prints."""
    passed = re.findall(r"^(?:.* )?(\d+) passed.* in [\d.]+s", output, re.MULTILINE)
    failed = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    return int(passed[-1]) if passed else 0, tuple(failed)


def table(found: Iterable[Tried]) -> str:
    """Markdown, one line a release."""
    rows = [(one.package, one.release, ", ".join(one.others), one.num_passed, len(one.failed)) for one in found]
    lines = [HEAD, ("---", "---", "---", "--:", "--:"), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write_table(path: Path, found: Iterable[Tried]) -> None:
    """Puts the table between its marks. Raises ValueError where the file has none."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no marks '{BEGIN}' and '{END}'")
    path.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")


def _name(package: str) -> str:
    return package.replace("-", "_")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)


if __name__ == "__main__":
    raise SystemExit(main())
