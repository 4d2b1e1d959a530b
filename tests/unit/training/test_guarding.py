"""What is left of a guard, and what puts it up again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mmforget.asking import Ask
from mmforget.errors import PluginError, UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.engine import ModelEngine
from mmforget.methods.build import build
from mmforget.methods.contract import check_method
from mmforget.methods.material import Material
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.models import Models
from mmforget.training.edited import edited
from mmforget.training.guarding import FILE, put_up
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.plugin_packages import GUARD, installed, write_package

SETTINGS = TrainSettings(lr=1.0)


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


REMINDED = """
from dataclasses import dataclass, replace
from mmforget.asking import GuardEngine

@dataclass(frozen=True)
class Reminding(GuardEngine):
    told: str

    def score(self, asks):
        return self.engine.score([replace(ask, context=self.told + ask.context) for ask in asks])

@dataclass(frozen=True)
class Reminded:
    num: int = 2

    def start(self, material):
        return {"told": " ".join(row.subject for row in material.forget[: self.num]), "kept": (len(material.retain),)}

    def guard(self, engine, state):
        return Reminding(engine, state["told"])

METHOD = Reminded
"""
"""A guard that keeps the first names to forget, and writes them before every question."""


def test_what_a_guard_keeps_of_the_rows_is_there_again(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "site", "theirs", code=REMINDED, points={"mmforget.methods": "reminded = theirs"})
    ask = Ask("score", "", "who?", " Anna.", (), ())
    (plain, wanted) = ModelEngine(llava, batch_size=1).score([ask, replace(ask, context="person 1 person 2who?")])
    assert plain.token_logprobs != wanted.token_logprobs
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        method = build("reminded")
        check_method(method, name="reminded")
        found = []
        for start in (4, 8):
            rows = Material(forget=examples[start : start + 8 : 4], retain=examples[:3])
            report = unlearn(llava, rows, method=method, settings=SETTINGS, folder=tmp_path / str(start))
            found.append(put_up(llava, report.output))
        about = json.loads((tmp_path / "4" / "guard" / FILE).read_text())
        assert about["state"] == {"told": "person 1 person 2", "kept": [3]}
        (said,) = MMForgetLM(found[0], progress=False).asked.score([ask])
        assert said.token_logprobs == pytest.approx(wanted.token_logprobs, abs=1e-5)
        with edited(llava, Material(forget=examples[4:12:4], retain=examples[:3]), method=method, settings=SETTINGS,
                    label="reminded") as other:  # fmt: skip
            assert other.fingerprint == found[0].fingerprint
    assert len({llava.fingerprint, *(one.fingerprint for one in found)}) == 3


def test_what_a_guard_keeps_has_to_be_plain(llava: LoadedModel, tmp_path: Path) -> None:
    for kept, message in (([1], "gives a list, not a mapping"), ({"a": object()}, "start .*: a object cannot be")):

        class Keeps(Nobodys):
            def start(self, material: Material, kept: Any = kept) -> Any:
                return kept

        with pytest.raises(PluginError, match=message):
            check_method(Keeps(), name="keeps")


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
