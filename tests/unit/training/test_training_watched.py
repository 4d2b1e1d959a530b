"""A training that is looked at: what it comes to, when rules end it, whose weights are kept, also after a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.examples import encode_all
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.scoring import score
from mmforget.training.hf_trainer import UnlearningTrainer
from mmforget.training.report import TrainReport
from mmforget.training.settings import TrainSettings
from mmforget.training.stopping import Point, kept
from mmforget.training.unlearn import unlearn
from mmforget.training.watching import Watching
from mmforget.types import Example

SETTINGS = TrainSettings(
    lr=1e-2, max_steps=6, batch_size=4, schedule="constant", lora=LoraSettings(r=2, alpha=4), order="rows", seed=5,
    eval_steps=2, keep="best:balance", save_steps=2, train_projector=False,
)  # fmt: skip


class Killed(BaseException):
    """Stands in for a kill: nothing in the code under test may catch it."""


def recalled(loaded: LoadedModel, rows: Sequence[Example]) -> float:
    """The mean probability of the answers' tokens."""
    with torch.no_grad():
        scored = score(loaded, encode_all(loaded, rows, append_eos=False, source="test"))
    return float(scored.token_logprobs[scored.mask].exp().mean())


@pytest.fixture(scope="module")
def base(llava_folder: Path) -> LoadedModel:
    return load_model(ModelSpec(pretrained=str(llava_folder), device="cpu"))


@pytest.fixture(scope="module")
def train(base: LoadedModel, examples: list[Example]) -> Callable[..., TrainReport]:
    """Gradient ascent, looked at on the rows themselves."""

    def run(folder: Path, *, validated: bool = True, **changes: Any) -> TrainReport:
        def validate(loaded: LoadedModel) -> tuple[float, float]:
            assert not loaded.model.training
            return recalled(loaded, examples[:8]), recalled(loaded, examples[8:])

        material = Material(forget=examples[:8], retain=examples[8:], validate=validate if validated else None)
        settings = replace(SETTINGS, **changes)
        return unlearn(base, material, method=build("ga", {}), settings=settings, folder=folder)

    return run


def plain(train: Callable[..., TrainReport], folder: Path, *, steps: int) -> TrainReport:
    """Nobody looks at it."""
    return train(folder, validated=False, eval_steps=None, keep="last", save_steps=None, max_steps=steps)


def weights(report: TrainReport) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(report.output / "adapter_model.safetensors")
    return found


def assert_equal(one: TrainReport, other: TrainReport) -> None:
    old, new = weights(one), weights(other)
    assert old.keys() == new.keys()
    assert [name for name in old if not torch.equal(old[name], new[name])] == []


def points(report: TrainReport) -> list[Point]:
    return [Point(**point) for point in report.curve]  # type: ignore[arg-type]


def test_a_point_is_what_a_training_of_so_many_updates_comes_to(
    train: Callable[..., TrainReport], llava_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    found = points(train(tmp_path / "watched"))
    assert [point.step for point in found] == [0, 2, 4, 6]
    for point in found:
        spec = ModelSpec(pretrained=str(llava_folder), device="cpu")
        if point.step:
            spec = replace(spec, peft=str(plain(train, tmp_path / str(point.step), steps=point.step).output))
        loaded = load_model(spec)
        assert point.forget == pytest.approx(recalled(loaded, examples[:8]), abs=1e-6)
        assert point.utility == pytest.approx(recalled(loaded, examples[8:]), abs=1e-6)
    start, last = found[0], found[-1]
    assert None not in (start.forget, last.forget)
    assert last.forget < start.forget  # type: ignore[operator]


def test_looking_changes_nothing(train: Callable[..., TrainReport], tmp_path: Path) -> None:
    watched = train(tmp_path / "watched", eval_steps=1, keep="last")
    assert watched.kept_step is None
    assert_equal(watched, plain(train, tmp_path / "plain", steps=6))


@pytest.mark.parametrize("keep", ["best:forget", "best:utility", "best:balance"])
def test_the_weights_are_those_of_the_best_step(keep: str, train: Callable[..., TrainReport], tmp_path: Path) -> None:
    found = train(tmp_path / "watched", keep=keep, eval_steps=1)
    best = kept(points(found), keep=keep)
    assert best is not None
    assert found.kept_step == best.step
    assert not (tmp_path / "watched" / "best").exists()
    if best.step:
        assert_equal(found, plain(train, tmp_path / "plain", steps=best.step))
    else:
        assert not any(tensor.any() for name, tensor in weights(found).items() if "lora_B" in name)


def test_a_rule_ends_it(train: Callable[..., TrainReport], tmp_path: Path) -> None:
    whole = points(train(tmp_path / "whole", keep="last"))
    limit = (whole[1].forget + whole[2].forget) / 2  # type: ignore[operator]
    found = train(tmp_path / "ended", keep="last", stop=f"utility>9,forget<{limit:.9f}")
    assert (found.num_steps, found.num_planned, found.stopped) == (4, 6, f"forget<{limit:.9f}")
    assert_equal(found, plain(train, tmp_path / "plain", steps=4))


@pytest.fixture(scope="module")
def calm(train: Callable[..., TrainReport], tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    """The training that nothing ends. How often it is written down changes nothing."""
    return train(tmp_path_factory.mktemp("calm"), eval_steps=1, save_steps=2)


@pytest.mark.parametrize(
    ("owner", "attribute", "call", "save_steps"),
    [
        (UnlearningTrainer, "end_update", 4, 2),
        (UnlearningTrainer, "_save_checkpoint", 1, 2),
        (Watching, "keep", 1, 2),
        (Watching, "keep", 3, None),
        (Watching, "keep", 6, 2),
        (Watching, "restore", 1, 4),
        ("mmforget.training.session", "_save", 1, 3),
    ],
)
def test_killed_it_ends_with_the_same_bits(
    owner: Any,
    attribute: str,
    call: int,
    save_steps: int | None,
    train: Callable[..., TrainReport],
    calm: TrainReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"eval_steps": 1, "save_steps": save_steps}
    with monkeypatch.context() as patch:
        kill_at(patch, owner, attribute, call=call)
        with pytest.raises(Killed):
            train(tmp_path / "killed", **changes)
    found = train(tmp_path / "killed", **changes)
    assert (found.curve, found.kept_step, found.num_steps) == (calm.curve, calm.kept_step, calm.num_steps)
    assert_equal(found, calm)
    assert not (tmp_path / "killed" / "best").exists()


def kill_at(patch: pytest.MonkeyPatch, owner: Any, attribute: str, *, call: int) -> None:
    """The `call`-th call (1-based) of a function raises, before it does anything."""
    place = f"{owner}.{attribute}" if isinstance(owner, str) else None
    original = getattr(__import__(owner, fromlist=["_"]) if isinstance(owner, str) else owner, attribute)
    counter = iter(range(1, 10**6))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if next(counter) == call:
            raise Killed
        return original(*args, **kwargs)

    if place is not None:
        patch.setattr(place, wrapped)
    else:
        patch.setattr(owner, attribute, wrapped)


@pytest.mark.parametrize("rule", [{"stop": "forget<9"}, {"stop_loss": 99.0}], ids=["by a look", "by the loss"])
def test_what_a_rule_has_ended_is_not_continued(
    rule: dict[str, Any], train: Callable[..., TrainReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the checkpoint of its last update, before anything was saved."""
    with monkeypatch.context() as patch:
        kill_at(patch, "mmforget.training.session", "_save", call=1)
        with pytest.raises(Killed):
            train(tmp_path / "killed", save_steps=1, **rule)
    found = train(tmp_path / "killed", save_steps=1, **rule)
    assert found.num_steps == (2 if "stop" in rule else 1)
    assert found.stopped == ("forget<9" if "stop" in rule else "stop_loss")


def test_nobody_to_look_is_said(train: Callable[..., TrainReport], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="eval_steps=2: this training has no validation part to look at"):
        train(tmp_path, validated=False)


@pytest.mark.parametrize("changes", [{"eval_steps": None, "stop": "forget<1"}, {"eval_steps": None}])
def test_rules_without_looks_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="reads the validation part, which is never looked at; add --eval_steps N"):
        replace(SETTINGS, **changes)
