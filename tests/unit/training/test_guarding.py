"""What is left of a guard, and what puts it up again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.models import Models
from mmforget.training.guarding import FILE, put_up
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from tests.plugin_packages import GUARD, installed, write_package


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    write_package(tmp_path / "site", "theirs", code=GUARD, points={"mmforget.methods": "hushed = theirs"})
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        yield tmp_path


def made(loaded: LoadedModel, folder: Path, *, method: Any = None) -> Any:
    method = method or build("hushed", "word=shh")
    return unlearn(loaded, Material(forget=[]), method=method, settings=TrainSettings(lr=1.0), folder=folder)


def test_a_guard_is_a_small_file_and_the_model_stays(llava: LoadedModel, theirs: Path) -> None:
    report = made(llava, theirs / "out")
    assert (report.artifact.kind, report.num_steps, report.num_trainable) == ("guard", 0, 0)
    assert report.num_parameters == llava.core.num_parameters()
    assert [path.name for path in report.output.iterdir()] == [FILE]
    about = json.loads((report.output / FILE).read_text())
    assert (about["method"], about["arguments"]) == ("hushed", {"word": "shh"})
    assert made(llava, theirs / "out") == report
    with pytest.raises(UserError, match="holds another training"):
        made(llava, theirs / "out", method=build("hushed"))
    assert report.artifact.on(llava.spec) == replace(llava.spec, guard=str(report.output))


def test_it_is_put_up_on_the_one_model_that_a_process_holds(llava: LoadedModel, theirs: Path) -> None:
    report, models = made(llava, theirs / "out"), Models()
    bare = models.get(llava.spec)
    behind = models.get(report.artifact.on(llava.spec))
    assert behind.core is bare.core
    assert behind.guard is not None
    assert behind.fingerprint not in (bare.fingerprint, llava.fingerprint)
    assert behind.fingerprint == put_up(llava, report.output).fingerprint
    assert models.get(llava.spec) is bare
    with pytest.raises(UserError, match="a guard \\(hushed\\) stands before the model"):
        made(behind, theirs / "again")
    with pytest.raises(UserError, match="guards are put before models by eval"):
        load_model(behind.spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "quiet"}, "unknown method 'quiet'"),
        ({"method": "npo", "arguments": {}}, "the method 'npo' is not the one"),
        ({"arguments": {"word": "a", "loud": 1}}, "loud"),
        ({"code": "0" * 64}, "the method 'hushed' is not the one that this guard was made with"),
    ],
)
def test_another_guard_than_was_made_is_refused(
    llava: LoadedModel, theirs: Path, change: dict[str, Any], message: str
) -> None:
    path = made(llava, theirs / "out").output / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        put_up(llava, path.parent)


@pytest.mark.parametrize("text", [None, "[]", '{"method": "hushed"}'])
def test_a_folder_without_a_guard_is_named(llava: LoadedModel, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=r"holds no guard \(guard\.json\)"):
        put_up(llava, tmp_path)


@dataclass(frozen=True)
class Nobodys:
    def guard(self, engine: Any) -> Any:
        return engine


def test_a_guard_that_nobody_could_put_up_is_refused(llava: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Nobodys is no registered method"):
        made(llava, tmp_path, method=Nobodys())
    assert not list(tmp_path.iterdir())
