"""Paths between models: barriers by hand, weights on the way, and a model against itself in another order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmforget.errors import UserError
from mmforget.evaluation.connectivity import ModeConnectivity, PathResult, Rows, barrier, walked
from mmforget.model.encode import encode
from mmforget.model.line import end_of, line_to
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from tests.helpers import TEXTS, tiny_llama

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
SUBJECTS = [f"s{at}" for at in range(4)]


def test_barriers_of_parabolas_by_hand() -> None:
    """Weights -1 to 1; loss 2 - w^2 is 1 at both ends and 2 in the middle, loss 1 + w^2 falls from 2 to 1."""
    weights = [2.0 * place - 1.0 for place in PLACES]
    hill = barrier([[2.0 - w * w] * 4 for w in weights], places=PLACES, subjects=SUBJECTS, sign=1)
    assert (hill.height.value, hill.height.low, hill.height.high, hill.excess) == (1.0, 1.0, 1.0, 1.0)
    assert hill.losses == (1.0, 1.75, 2.0, 1.75, 1.0)
    valley = [[1.0 + w * w] * 4 for w in weights]
    assert barrier(valley, places=PLACES, subjects=SUBJECTS, sign=1).height.value == 0.0
    assert barrier(valley, places=PLACES, subjects=SUBJECTS, sign=-1).height.value == 1.0


def test_a_slope_is_no_barrier_and_a_step_over_the_higher_end_is_the_excess() -> None:
    """Ends 0 and 2. On the straight line between: none. 2.5 at 3/4, where the line has 1.5: height 1, excess 0.5."""
    slope = [[2.0 * place] * 4 for place in PLACES]
    found = barrier(slope, places=PLACES, subjects=SUBJECTS, sign=1)
    assert (found.height.value, found.excess) == (0.0, 0.0)
    slope[3] = [2.0, 3.0, 2.0, 3.0]
    found = barrier(slope, places=PLACES, subjects=SUBJECTS, sign=1)
    assert (found.height.value, found.excess) == (1.0, 0.5)
    assert found.height.low == pytest.approx(1.0 - 3.1824 * 0.5 / 3**0.5, abs=1e-3)  # t with 3 degrees
    none = barrier([[0.0], [float("inf")], [0.0]], places=(0.0, 0.5, 1.0), subjects=["s"], sign=1)
    assert (none.height.value, none.excess) == (None, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "llama", num_layers=1)


def loaded_from(folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(folder), device="cpu"))


def weights_of(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in loaded.model.named_parameters()}


def test_weights_on_the_way_are_those_between_and_both_ends_come_back(folder: Path, tmp_path: Path) -> None:
    """An adapter at the second end: the half of the way has half of what it adds to the merged weight."""
    start = end_of(loaded_from(folder), folder=tmp_path / "start")
    loaded = attach(loaded_from(folder), LoraSettings(r=2, alpha=4))
    torch.manual_seed(0)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    before = weights_of(loaded)
    name = "model.layers.0.mlp.up_proj.weight"
    base, down, up = (
        before[f"base_model.model.{name.removesuffix('.weight')}.{part}.weight"]
        for part in ("base_layer", "lora_A.default", "lora_B.default")
    )
    with line_to(loaded, start=start, folder=tmp_path / "way") as line:
        assert all(any(key in one for key in ("proj",)) for one in line.pairs)
        half = dict(line.go(0.5).core.named_parameters())[name]
        assert torch.allclose(half, base + 0.5 * 2.0 * (up @ down), atol=1e-5)
        assert torch.equal(dict(line.go(0.0).core.named_parameters())[name], base)
        assert line.go(0.0).fingerprint != line.go(1.0).fingerprint
    after = weights_of(loaded)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def walk(first: Path, second: LoadedModel, folder: Path, how: ModeConnectivity) -> PathResult:
    rows = [encode(second, text.partition("?")[0] + "?", text.partition("?")[2]) for text in TEXTS[:4]]
    with line_to(second, start=end_of(loaded_from(first), folder=folder / "a"), folder=folder / "b") as line:
        some = Rows(rows, SUBJECTS)
        return walked(line, how=how, retain=some, forget=some, batch_size=8, progress=lambda *_: None)


def permuted(folder: Path) -> LoadedModel:
    """The same function: the neurons of its feed-forward block are in reverse order."""
    loaded = loaded_from(folder)
    with torch.no_grad():
        block = loaded.core.model.layers[0].mlp
        for layer in (block.up_proj, block.gate_proj):
            layer.weight.copy_(layer.weight.flip(0).clone())
        block.down_proj.weight.copy_(block.down_proj.weight.flip(1).clone())
    return loaded


def test_a_model_has_no_barrier_to_itself_and_one_to_itself_in_another_order(folder: Path, tmp_path: Path) -> None:
    same = walk(folder, loaded_from(folder), tmp_path / "same", ModeConnectivity(points=3))
    assert (same.retain.height.value, same.forget.height.value) == (0.0, 0.0)
    found = walk(folder, permuted(folder), tmp_path / "other", ModeConnectivity(points=5))
    assert found.retain.losses[0] == pytest.approx(found.retain.losses[-1], abs=1e-5)
    assert found.retain.losses[0] == pytest.approx(same.retain.losses[0], abs=1e-6)
    ends = found.retain.losses[0]
    lies = [one - ends for one in found.retain.losses[1:-1]]
    assert found.retain.height.value == pytest.approx(max(0.0, *lies), abs=1e-5)
    assert found.forget.height.value == pytest.approx(max(0.0, *(-one for one in lies)), abs=1e-5)
    assert max(map(abs, lies)) > 1e-3


def test_a_bent_path_keeps_its_ends_and_loses_less_between(folder: Path, tmp_path: Path) -> None:
    straight = walk(folder, permuted(folder), tmp_path / "straight", ModeConnectivity(points=3))
    second = permuted(folder)
    before = weights_of(second)
    how = ModeConnectivity("bezier", points=3, updates=30, lr=1e-2, batch_size=4)
    found = walk(folder, second, tmp_path / "bent", how)
    assert found.evidence == "reconstruction"
    for at in (0, -1):
        assert found.retain.losses[at] == pytest.approx(straight.retain.losses[at], abs=1e-5)
    assert found.retain.losses[1] < straight.retain.losses[1] - 0.1
    after = weights_of(second)
    assert all(torch.equal(before[key], after[key]) for key in {*before, *after})


def test_what_has_no_path_is_refused(folder: Path, tmp_path: Path) -> None:
    start = end_of(loaded_from(tiny_llama(tmp_path / "wide", num_layers=1, hidden_size=32)), folder=tmp_path / "a")
    with (
        pytest.raises(UserError, match="two models of different shapes have no path between them"),
        line_to(loaded_from(folder), start=start, folder=tmp_path / "b"),
    ):
        pass
    with pytest.raises(UserError, match="points=2 leave nothing between both ends; give at least 3"):
        ModeConnectivity(points=2)
