"""The settings that are tried of a method: the recipe's first, what the user has set untouched, refused where wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from mmforget.benchmark.find import find_all
from mmforget.benchmark.spec import Benchmark
from mmforget.errors import PluginError
from mmforget.methods.base import METHODS, Times
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.trials import Trials, trials_of


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    (found,) = find_all(("fiubench",))
    return found


def tried(name: str, benchmark: Benchmark, **given: Any) -> Trials:
    settings = {"model": "micro", "tasks": ("fiubench",), "methods": (name,), "recipe": "micro", "tune": 99, **given}
    return trials_of(name, config=RunConfig(**settings), benchmark=benchmark)


def test_a_method_without_a_grid_is_tried_faster_and_slower_longer_and_shorter(benchmark: Benchmark) -> None:
    found = tried("ga", benchmark)
    assert dict(found.grid) == {"lr": (5e-4, 2.5e-4, 1e-3), "max_steps": (40, 20, 80)}
    assert not found.is_own
    assert len(found.trials) == 9
    assert dict(found.trials[0].settings) == {"lr": 5e-4, "max_steps": 40}
    for one in found.trials:
        assert (one.plan.settings.lr, one.plan.settings.max_steps) == tuple(one.settings.values())


def test_a_recipe_of_epochs_is_varied_in_epochs(benchmark: Benchmark) -> None:
    assert "epochs" in tried("ga", benchmark, recipe="released").grid


def test_what_the_user_has_set_is_in_every_trial(benchmark: Benchmark) -> None:
    found = tried("npo", benchmark, training={"epochs": 3.0, "lr": 1e-3}, method_args={"beta": 0.7})
    assert set(found.grid) == {"retain_weight"}
    assert {one.plan.settings.lr for one in found.trials} == {1e-3}
    assert {one.plan.method.beta for one in found.trials} == {0.7}
    joined = tried("npo+retain_ft", benchmark, method_args={"beta": 0.7, "npo.retain_weight": 2.0})
    assert not {"npo.beta", "npo.retain_weight"} & set(joined.grid)


def test_all_train_with_the_first_seed(benchmark: Benchmark) -> None:
    found = tried("ga", benchmark, seeds=(5, 6), tune=3)
    assert {one.plan.settings.seed for one in found.trials} == {5}
    assert (found.seed, len(found.trials)) == (5, 3)
    assert tried("ga", benchmark, tune=3).trials != found.trials


def test_an_edit_is_tried_with_its_own_arguments_alone(benchmark: Benchmark) -> None:
    found = tried("chip", benchmark)
    assert dict(found.grid) == {"neurons": (0.1, 0.05, 0.2), "tau": (0.95, 0.9), "layers": (6, 3, 12)}
    assert len(found.trials) == 18


@dataclass(frozen=True)
class Toy:
    """A method of another package, whose grid a test sets."""

    grid: ClassVar[Any] = None
    weight: float = 1.0
    loss: ClassVar[Any] = staticmethod(lambda step: {})
    requests: ClassVar[Any] = ()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Toy]]:
    known = METHODS.get
    monkeypatch.setattr(METHODS, "get", lambda name: Toy if name == "toy" else known(name))
    yield Toy
    Toy.grid = None


def test_a_grid_of_another_package(toy: type[Toy], benchmark: Benchmark) -> None:
    toy.grid = {"weight": Times((0.5,)), "warmup_ratio": (0.1,)}
    assert dict(tried("toy", benchmark).grid) == {"weight": (1.0, 0.5), "warmup_ratio": (0.0, 0.1)}


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"wieght": (1.0,)}, "method 'toy': its grid names 'wieght', which is no argument or setting of it"),
        ({"weight": 2.0}, "method 'toy': grid has to be a mapping of names to tuples of values or Times"),
        ("weight", "method 'toy': grid has to be a mapping"),
        ({"lr": (-1.0,)}, "method 'toy': its grid has {'lr': -1.0}: lr=-1.0 is not allowed; give a number above 0"),
    ],
)
def test_a_grid_that_is_wrong_is_one_line(grid: Any, said: str, toy: type[Toy], benchmark: Benchmark) -> None:
    toy.grid = grid
    with pytest.raises(PluginError) as error:
        tried("toy", benchmark)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
