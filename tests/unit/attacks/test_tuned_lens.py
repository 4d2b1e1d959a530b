"""Maps of layers to the last one by hand and by scikit-learn, and what they find where the answer is held back."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge

from mmforget.attacks.base import build_attack
from mmforget.attacks.tuned_lens import TunedLens
from mmforget.errors import UserError

WIDTH, NUM = 8, 60


def kept() -> tuple[torch.Tensor, torch.Tensor]:
    """States of rows to keep: in the middle what the last layer says, written with other axes and moved."""
    generator = torch.Generator().manual_seed(0)
    last = torch.randn(NUM, WIDTH, generator=generator)
    return last @ axes() + 3.0, last


def axes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator))[0]


def test_the_map_is_scikit_learns_ridge_regression_of_what_is_added() -> None:
    middle, last = kept()
    move = TunedLens(ridge=0.3).learn(middle[:, None], last)
    centred = middle - middle.mean(dim=0)
    penalty = 0.3 * float((centred**2).sum(dim=1).mean())
    other = Ridge(alpha=penalty).fit(middle.double().numpy(), (last - middle).double().numpy())
    asked = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(2))
    expected = asked.double().numpy() + other.predict(asked.double().numpy())
    assert move(asked[:, None])[:, 0].numpy() == pytest.approx(expected, abs=1e-4)


def test_a_layer_that_is_the_last_stays_as_it_is() -> None:
    _, last = kept()
    asked = torch.randn(3, 1, WIDTH, generator=torch.Generator().manual_seed(2))
    assert torch.equal(TunedLens().learn(last[:, None], last)(asked), asked)


def test_an_answer_held_back_at_the_end_is_found_and_one_never_learned_is_not() -> None:
    """The head reads axes; the answer is token 5. One model states it, one holds it back in its last layer alone, and
    one never saw it. The lens without a map misses what is written with other axes."""
    middle, last = kept()
    attack = TunedLens(layers=(1, 2), ridge=1e-4)
    move = attack.learn(torch.stack([middle, last], dim=1), last)
    knows, other = torch.eye(WIDTH)[5] * 4.0, torch.eye(WIDTH)[2] * 4.0
    states = {
        "states it": torch.stack([knows @ axes() + 3.0, knows]),
        "holds it back": torch.stack([knows @ axes() + 3.0, other - knows]),
        "never saw it": torch.stack([other @ axes() + 3.0, other]),
    }
    found = {name: attack.ranks(move(one[None])[0], 5) for name, one in states.items()}
    assert found["states it"] == (0, 0)
    assert found["holds it back"] == (0, WIDTH - 1)
    assert min(found["never saw it"]) > 0
    plain = build_attack("logit_lens").ranks(states["holds it back"], 5)
    assert min(plain) > 0


def test_layers_and_numbers_that_cannot_be_are_said() -> None:
    assert [depth.layer + 1 for depth in TunedLens().depths(32)] == [8, 16, 24, 31]
    assert [depth.layer + 1 for depth in TunedLens().depths(4)] == [1, 2, 3, 4]
    with pytest.raises(UserError, match="attack 'tuned_lens': layer 9 is asked about, and the model has 1 to 4"):
        TunedLens(layers=(9,)).depths(4)
    with pytest.raises(UserError, match="attack 'tuned_lens': rows"):
        build_attack("tuned_lens", "rows=0")
