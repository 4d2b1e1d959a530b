"""Which releases are tried, what pytest's words come to, and that an overlay sees what is installed here."""

from __future__ import annotations

import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

import versions
from versions import Tried, counts, ends, overlay, table, write_table

ROOT = Path(__file__).resolve().parents[3]
FOUND = [Tried("peft", "0.18.0", ("accelerate 1.10.0",), 12, ()), Tried("peft", "0.21.2", (), 11, ("a.py::test_b",))]


@pytest.mark.parametrize("package", versions.PACKAGES)
def test_the_ends_are_the_oldest_and_the_newest_that_are_allowed(package: str) -> None:
    """Of releases far outside and the pinned one, the pinned one is left."""
    pins = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    pin = pins[package.replace("-", "_")] if package == "lm-eval" else pins[package]
    assert ends(package, ["0.0.1", "99.0", pin]) == [pin]
    with pytest.raises(SystemExit, match=f"no release of {package}"):
        ends(package, ["0.0.1", "99.0"])


def test_releases_go_by_their_numbers_and_not_by_their_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "requirement", lambda package: versions.Requirement("x>=1.2,<2"))
    assert ends("x", ["1.10.0", "1.2.0", "1.9.1", "2.0", "1.1"]) == ["1.2.0", "1.10.0"]


def test_each_range_has_both_its_ends() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = {one.name: one.specifier for one in map(versions.Requirement, listed)}
    for package in versions.PACKAGES:
        assert {spec.operator for spec in found[package]} == {">=", "<"}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("....\n12 passed in 3.20s\n", (12, ())),
        ("FAILED a.py::test_b[x y] - E\nERROR c.py\n1 failed, 12 passed, 2 skipped in 63.20s (0:01:03)\n",
         (12, ("a.py::test_b[x y]", "c.py"))),
        ("== 12 passed, 1 warning in 3.20s ==\n", (12, ())),
        ("no tests ran in 0.01s\n", (0, ())),
    ],
)  # fmt: skip
def test_what_pytest_says(output: str, expected: tuple[int, tuple[str, ...]]) -> None:
    assert counts(output) == expected


def test_an_overlay_sees_what_is_installed_here_behind_its_own(tmp_path: Path) -> None:
    python, site = overlay(tmp_path)
    (site / "rich").mkdir()
    (site / "rich" / "__init__.py").write_text("")
    script = "import rich, yaml; print(rich.__file__, yaml.__file__)"
    ran = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=True)
    own, ours = map(Path, ran.stdout.split())
    assert own == site / "rich" / "__init__.py"
    assert ours.is_relative_to(sysconfig.get_path("purelib"))


def test_the_table_between_its_marks_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{versions.BEGIN}\nold\n{versions.END}\nafter\n")
    write_table(path, FOUND)
    assert path.read_text() == f"before\n{versions.BEGIN}\n{table(FOUND)}\n{versions.END}\nafter\n"
    assert table(FOUND).splitlines()[2] == "| peft | 0.18.0 | accelerate 1.10.0 | 12 | 0 |"
    with pytest.raises(ValueError, match="has no marks"):
        write_table(ROOT / "Makefile", FOUND)


def test_a_failure_is_named_and_gives_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:  # type: ignore[type-arg]
    results = {one.release: one for one in FOUND}
    monkeypatch.setattr(versions, "tried", lambda package, release, *, tests: results[release])
    assert versions.main(["--only", "peft", "--releases", "0.18.0"]) == 0
    assert versions.main(["--only", "peft", "--releases", "0.18.0,0.21.2"]) == 1
    out, err = capsys.readouterr()
    assert out.rstrip().endswith("| peft | 0.21.2 |  | 11 | 1 |")
    assert "a.py::test_b" in err
    with pytest.raises(SystemExit):
        versions.main(["--releases", "1.0"])
