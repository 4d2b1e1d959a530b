"""Whatever a method of another package does wrong, in any of its functions, is one line that names it and the place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mmforget.errors import PluginError
from mmforget.methods.build import build
from mmforget.methods.contract import check_method
from mmforget.methods.material import Material
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.spec import ModelSpec
from mmforget.training.guarding import put_up
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from tests.plugin_packages import installed, write_package
from tests.tiny_models import tiny_text
from tests.unit.training.conftest import make_examples
from tests.unit.training.test_one_expert import FAMILIES

CODE = """
from dataclasses import dataclass

from mmforget.methods.base import (
    Comparison, Influence, Labels, Lens, LogitStats, Scores, Source, TokenStats, WordStats,
)
from mmforget.methods.losses import token_mean_nll

FORGET = Scores("forget")


def broken(*args, **named):
    raise KeyError("broken")


def a_word(material):
    return {"person": "one"}


@dataclass(frozen=True)
class Loss:
    requests = (FORGET,)

    def loss(self, step):
        return {"forget": -token_mean_nll(step[FORGET])}


@dataclass(frozen=True)
class Own:
    requests = (Scores("own"),)

    def loss(self, step):
        return {"own": token_mean_nll(step[Scores("own")])}


def own(**more):
    return (Source(name="own", draw="each", rows=lambda material: material.forget, **more),)


@dataclass(frozen=True)
class Bare:
    pass


def made(name, kind=Loss, **has):
    return dataclass(frozen=True)(type(name, (kind,), has))


METHODS = {
    "arguments": made("A", __post_init__=broken),
    "requests": made("B", requests=property(broken)),
    "sources": made("C", sources=property(broken)),
    "base": made("D", base=property(broken)),
    "start": made("E", start=broken),
    "loss": made("F", loss=broken),
    "gradients": made("G", gradients=broken),
    "finish": made("H", finish=broken),
    "first_factors": made("I", first_factors=broken),
    "trained_part": made("J", trained_part=broken),
    "rows": made("K", Own, sources=(Source(name="own", rows=broken),)),
    "silent_words": made("L", sources=(Source(name="forget", silent_words=broken),)),
    "dictionary": made("M", Own, sources=own(labels=Labels(dictionary=broken, choose=broken))),
    "choose_label": made("N", Own, sources=own(labels=Labels(dictionary=a_word, choose=broken))),
    "influence": made("O", requests=(FORGET, Influence("forget", broken))),
    "statistic": made("P", requests=(FORGET, TokenStats("forget", broken))),
    "comparison": made("Q", requests=(FORGET, Comparison("forget", broken))),
    "logits": made("R", requests=(FORGET, LogitStats("forget", broken))),
    "words": made(
        "S", requests=(FORGET, WordStats("forget", broken)),
        sources=(Source(name="forget", silent_words=lambda material: ["name"]),),
    ),
    "lens": made("T", requests=(FORGET, Lens("forget", broken))),
    "learnt_change": made("U", Bare, learnt_change=broken),
    "reveal": made("V", Bare, rounds=1, reveal=broken),
    "rounds": made("W", Bare, rounds=property(broken), reveal=broken),
    "choose_expert": made("X", Bare, choose_expert=broken, anchor=broken),
    "anchor": made("Y", Bare, choose_expert=lambda self, affinities: (0, 0), anchor=broken),
    "beside": made("Z", Bare, gradients=broken, beside=broken),
    "check": made("AA", Bare, check=broken, edit=broken),
    "edit": made("AB", Bare, check=lambda self, **given: None, edit=broken),
    "guarded": made("AC", Bare, guard=broken),
    "keeps": made("AD", Bare, guard=broken, start=broken),
    "learn": made("AE", Bare, guard=broken, learn=broken),
    "mix": made("AF", guard=lambda self, engine: engine, mix=broken),
}
globals().update(METHODS)
"""
SAID = {
    "arguments": "", "rows": ": rows of 'own'", "keeps": ": start", "silent_words": ": silent_words of 'forget'",
    "dictionary": ": dictionary of 'own'", "choose_label": ": choose of 'own'", "influence": ": kind of Influence",
    "statistic": ": kind of TokenStats", "comparison": ": kind of Comparison", "logits": ": kind of LogitStats",
    "words": ": kind of WordStats", "lens": ": kind of Lens",
}  # fmt: skip
"""What the line says behind the method's name, where that is not the name itself."""
LOSSES = (
    "arguments", "requests", "sources", "base", "start", "loss", "gradients", "finish", "first_factors", "trained_part",
    "rows", "silent_words", "dictionary", "choose_label", "influence", "statistic", "comparison", "logits", "words",
    "lens", "edit", "keeps", "learn",
)  # fmt: skip
WRAPPERS = ("gradients", "finish", "trained_part", "learnt_change", "reveal", "rounds", "beside", "arguments")
EXPERTS = ("choose_expert", "anchor")
ROWS = make_examples(with_images=False)
SETTINGS = TrainSettings(lr=1e-2, max_steps=1, batch_size=4, lora=LoraSettings(r=2, alpha=4))


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    names = [line.split('"')[1] for line in CODE.splitlines() if line.startswith('    "') and "made(" in line]
    points = "".join(f"{name} = broken_methods:{name}\n" for name in names)
    write_package(tmp_path / "site", "broken_methods", code=CODE, points={"mmforget.methods": points})
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        yield


def told(name: str, *, loaded: LoadedModel, folder: Path, settings: TrainSettings = SETTINGS) -> str:
    """What is said of a method that fails, from its making to its end."""

    def forget() -> None:
        rows = Material(forget=ROWS[:4], retain=ROWS[8:12])
        unlearn(loaded, rows, method=build(name), settings=settings, folder=folder, label=name)

    with pytest.raises(PluginError) as caught:
        forget()
    return str(caught.value)


def check(line: str, name: str) -> None:
    own = name.rpartition("+")[2]
    assert "\n" not in line
    assert line.endswith("KeyError: 'broken'")
    assert line.startswith((f"method '{own}'", f"method '{name}'"))
    assert SAID.get(own, f": {own}") in line
    assert "(broken_methods.py:" in line


@pytest.mark.parametrize("name", LOSSES)
def test_of_a_method_alone(name: str, llama: LoadedModel, tmp_path: Path) -> None:
    check(told(name, loaded=llama, folder=tmp_path / "run"), name)


@pytest.mark.parametrize("name", WRAPPERS)
def test_of_one_that_is_joined(name: str, llama: LoadedModel, tmp_path: Path) -> None:
    joined = f"grad_diff+{name}"
    check(told(joined, loaded=llama, folder=tmp_path / "run"), joined)


@pytest.mark.parametrize("name", EXPERTS)
def test_of_one_that_trains_an_expert(name: str, tmp_path: Path) -> None:
    kind, given = FAMILIES["olmoe"]
    folder = str(tiny_text(tmp_path / "model", kind, **given))
    loaded = load_model(ModelSpec(pretrained=folder, device="cpu"))
    settings = TrainSettings(lr=1e-2, max_steps=1, batch_size=4)
    check(told(f"ga+{name}", loaded=loaded, folder=tmp_path / "run", settings=settings), f"ga+{name}")


def test_of_a_guard_and_of_what_is_asked_before_any_work(llama: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"method 'guarded': guard \(broken_methods.py:\d+\): KeyError: 'broken'"):
        check_method(build("guarded"), name="guarded")
    report = unlearn(
        llama, Material(forget=ROWS[:4], retain=ROWS[8:12]), method=build("mix"), settings=SETTINGS,
        folder=tmp_path / "mix", label="mix",
    )  # fmt: skip
    mix = put_up(llama, report.output).mix
    assert mix is not None
    with pytest.raises(PluginError, match=r"^method 'mix': mix \(broken_methods.py:\d+\): KeyError: 'broken'$"):
        mix(torch.zeros(1, 2), torch.zeros(1, 2))
