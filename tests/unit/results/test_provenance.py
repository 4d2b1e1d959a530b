"""Provenance: the clone's commit and whether it was changed, and nothing about the person."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

import mmforget
from mmforget.results import provenance
from mmforget.results.codec import to_jsonable


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one commit of a package."""
    (tmp_path / "mmforget").mkdir()
    (tmp_path / "mmforget" / "code.py").write_text("x = 1\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)
    return tmp_path


def test_a_local_model_is_named_without_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target-1" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert provenance.model_name(str(tmp_path / "target-1")) == "target-1"
    assert provenance.model_name("target-1/model") == "target-1/model"
    assert provenance.model_name("llava-hf/llava-1.5-7b-hf") == "llava-hf/llava-1.5-7b-hf"


def test_a_clean_clone(clone: Path) -> None:
    head = subprocess.run(["git", "-C", str(clone), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert provenance.code_commit(clone) == (head.stdout.strip(), False)


def test_results_inside_the_clone_do_not_make_it_dirty(clone: Path) -> None:
    (clone / "demo").mkdir()
    (clone / "demo" / "index.html").write_text("")
    assert provenance.code_commit(clone).dirty is False


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_changed_and_new_code_makes_it_dirty(clone: Path, name: str) -> None:
    (clone / "mmforget" / name).write_text("x = 2\n")
    assert provenance.code_commit(clone).dirty is True


def test_an_installed_package_has_no_commit(tmp_path: Path) -> None:
    """Even where the environment lies inside some other repository: that commit is not ours."""
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    site = tmp_path / "lib" / "site-packages"
    site.mkdir(parents=True)
    assert provenance.code_commit(site) == (None, None)


def test_collect() -> None:
    begun = provenance.begin()
    found = provenance.collect(begun, device="cpu", seeds={"training": 3}, command=["mmforget", "run"])
    assert found.version == mmforget.__version__
    assert found.started == begun.utc
    assert found.started.endswith("+00:00")
    assert found.wall_s >= 0
    assert found.peak_memory_bytes > 1_000_000
    assert found.seeds == {"training": 3}
    assert found.command == ("mmforget", "run")
    assert found.packages["numpy"].count(".") >= 1


def test_no_machine_name_and_no_home_folder() -> None:
    text = repr(to_jsonable(provenance.collect(provenance.begin(), command=["mmforget"])).value)
    assert platform.node() not in text
    assert str(Path.home()) not in text


def test_absent_packages_are_left_out() -> None:
    assert list(provenance.package_versions(["numpy", "surely-not-installed"])) == ["numpy"]
