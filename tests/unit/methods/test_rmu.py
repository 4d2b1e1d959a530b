"""Representation misdirection by hand: three tokens of two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.base import Beginning, Hidden, Step
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.methods.rmu import DEPTH
from mmforget.model.activations import layer_number

FORGET = torch.tensor([[[[1.0, 0.0], [3.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]]]])
"""Two answers, of two tokens and of one."""
NOW, BEFORE = torch.tensor([[[[1.0, 1.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
ALONG = torch.tensor([1.0, 0.0])
BEGINNING = Beginning(num_updates=4, seed=3, hidden_size=16, num_layers=2)


def states(source: str, *, before: bool = False, layer: float = DEPTH) -> Hidden:
    return Hidden(source, (layer,), before)


def step(state: Mapping[str, Tensor], **more: Tensor) -> Step:
    found: dict[Any, Any] = {
        states("forget"): FORGET,
        states("retain"): NOW,
        states("retain", before=True): BEFORE,
        **{states(name, before=True): one for name, one in more.items()},
    }
    return Step(found, state=dict(state))


def test_states_are_moved_to_a_vector_and_held_elsewhere() -> None:
    """To (2, 0): squared differences a dimension 0.5 and 0.5 of the first answer, (4 + 4) / 2 of the second: (0.5 + 4)
    / 2. Retain states differ by 1 in one of two dimensions: 0.5, weighed by 3.
    """
    terms = build("rmu", "coefficient=2,retain_weight=3").loss(step({"direction": ALONG}))
    assert {name: value.item() for name, value in terms.items()} == pytest.approx({"forget": 2.25, "retain": 1.5})


def test_an_adaptive_coefficient_is_a_multiple_of_the_first_mean_norm() -> None:
    """Norms 1, 3 and 2: mean 2, which stays whatever states become."""
    method = build("rmu", "adaptive=True,coefficient=1.0")
    made = step(method.start(BEGINNING) | {"direction": ALONG})
    assert method.loss(made)["forget"].item() == pytest.approx(2.25)
    assert made.state["norm"].item() == pytest.approx(2.0)
    later = Step({**made.found, states("forget"): 2 * FORGET}, state=made.state)
    # To (2, 0) from (2, 0) and (6, 0), and from (0, 4): ((0 + 8) / 2 + 10) / 2.
    assert method.loss(later)["forget"].item() == pytest.approx(7.0)
    assert made.state["norm"].item() == pytest.approx(2.0)


def test_a_concept_shifts_the_states_before_training() -> None:
    """From the expert's (0, 0) to the novice's (0, 3) points (0, 1); with coefficient 2 targets lie 2 above what was.
    Nothing has moved yet: (0 + 4) / 2 for every token.
    """
    method = build("rmu", "target=concept,topic=chess,coefficient=2")
    expert, novice = torch.zeros(1, 2, 1, 2), torch.tensor([[[[0.0, 3.0]]]])
    made = step({}, forget=FORGET, expert=expert, novice=novice)
    assert set(method.requests) == set(made.found)
    assert method.loss(made)["forget"].item() == pytest.approx(2.0)
    assert method.start(BEGINNING) == {}


def test_the_concept_is_read_off_two_prompts() -> None:
    method = build("rmu", "target=concept,topic=chess")
    rows = [row for source in method.sources for row in source.rows(Material(forget=[]))]
    assert [row.context for row in rows] == ["You are a world-class expert in chess", "You are a novice at chess"]
    assert {row.answer for row in rows} == {"."}
    assert build("rmu").sources == ()


def test_the_direction_is_a_unit_vector_of_the_seed() -> None:
    method = build("rmu")
    first, again = method.start(BEGINNING)["direction"], method.start(BEGINNING)["direction"]
    other = method.start(Beginning(num_updates=4, seed=4, hidden_size=16, num_layers=2))["direction"]
    assert first.norm().item() == pytest.approx(1.0)
    assert first.shape == (16,)
    assert bool((first >= 0).all())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("num_layers", "number"), [(32, 7), (16, 3), (28, 6), (4, 0), (2, 0)])
def test_the_layer_is_that_of_the_same_depth(num_layers: int, number: int) -> None:
    class Config:
        num_hidden_layers = num_layers

        def get_text_config(self) -> Config:
            return self

    class Core:
        config = Config()

    assert layer_number(Core(), DEPTH) == number
    assert layer_number(Core(), -1) == -1
    assert layer_number(Core(), 1.0) == num_layers - 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("coefficient=0", "coefficient=0.0"),
        ("retain_weight=-1", "retain_weight=-1.0"),
        ("target=concept", "topic=virology"),
        ("topic=chess", "goes with target=concept"),
        ("layer=first", "'first'"),
    ],
)
def test_values_that_make_no_sense_are_refused(args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build("rmu", args)
