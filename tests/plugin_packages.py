"""Packages of other authors, installed for one test: a module, and the entry points that name what is in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmforget import plugins
from mmforget.attacks.base import ATTACKS
from mmforget.judges.base import JUDGES
from mmforget.methods.base import METHODS
from mmforget.metrics.base import METRICS

MILD = """
from dataclasses import dataclass
from mmforget.methods.base import Scores

FORGET = Scores("forget")

@dataclass(frozen=True)
class Mild:
    weight: float = 1.0

    @property
    def requests(self):
        return (FORGET,)

    def loss(self, step):
        total = step[FORGET].token_logprobs.mean() * self.weight
        return {"forget": total}

METHOD = Mild
"""
"""A method that does what it must."""

AT_MOST = """
from dataclasses import dataclass
from typing import Literal

from mmforget.metrics.estimate import mean_estimate
from mmforget.types import Score

@dataclass(frozen=True)
class AtMost:
    limit: int = 3
    unit: Literal["words", "signs"] = "words"

    name = "at_most"
    kind = "gen"
    profiles = {"openunlearning": "open-unlearning, official code"}
    range = (0.0, 1.0)
    higher_is_better = False
    aggregate = mean_estimate

    def __post_init__(self):
        1 / self.limit

    def score(self, sample, *, profile="openunlearning"):
        said = sample.response.split() if self.unit == "words" else sample.response
        return Score(float(len(said) <= self.limit), sample.subject)

METRIC = AtMost()
"""
"""A metric with arguments, and with a profile that no other has."""


GUARD = """
from dataclasses import dataclass
from mmforget.asking import GuardEngine
from mmforget.types import TokenScores

@dataclass(frozen=True)
class Hushing(GuardEngine):
    word: str

    def generate(self, asks):
        return [self.word for _ in asks]

    def score(self, asks):
        return [TokenScores(tuple(2 * x for x in one.token_logprobs), one[1]) for one in self.engine.score(asks)]

@dataclass(frozen=True)
class Hushed:
    word: str = "nothing"

    def guard(self, engine):
        return Hushing(engine, self.word)

METHOD = Hushed
"""
"""A guard that answers every question by one word, and makes every answer less likely."""
ATTACK = """
from dataclasses import dataclass, replace
from typing import ClassVar

@dataclass(frozen=True)
class Twice:
    polite: str = "please: "
    access: ClassVar = "black_box"
    modality: ClassVar = "any"
    label: ClassVar = "asked twice"

    def asks(self, ask):
        return [replace(ask, context=begin + ask.context) for begin in (self.polite, "say it. ")]

ATTACK = Twice
"""
"""An attack with two attempts."""


def write_package(site: Path, name: str, *, code: str, points: Mapping[str, str]) -> Path:
    """A package of one module in the folder `site`; `points` maps groups to lines of entry points. Returns its file."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\n{lines}\n" for group, lines in points.items()))
    path = site / f"{name}.py"
    path.write_text(code)
    return path


@contextmanager
def installed(site: Path, *, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, the packages in `site` are installed; afterwards nothing remembers them."""
    before = set(sys.modules)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        _forget_registered()
        try:
            yield
        finally:
            _forget_registered()
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(str(site)):
                    del sys.modules[name]


def _forget_registered() -> None:
    plugins._source_hash.cache_clear()
    for registry in (METHODS, METRICS, ATTACKS, JUDGES):
        vars(registry).pop("_found", None)
