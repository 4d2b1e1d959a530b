"""Ranks by hand: which layers are looked at, what comes before a token, ties, and half precision as released."""

from __future__ import annotations

import math

import pytest
import torch

from mmforget.asking import Depth
from mmforget.attacks.base import Retraining, build_attack
from mmforget.errors import UserError
from mmforget.methods.material import Material
from mmforget.types import Example

TWO = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]]))
"""Probabilities of four tokens at two layers; the changes are -0.4, -0.1, 0.15, 0.35."""
THREE = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.4, 0.15, 0.25, 0.2]]))
"""Changes -0.3, -0.1, 0.1, 0.3, then 0.3, -0.05, -0.05, -0.2: they differ by 0.6, 0.05, -0.15, -0.5."""


def layers(name: str, num_layers: int, args: str = "") -> list[int]:
    """As Hugging Face numbers hidden states."""
    return [depth.layer + 1 for depth in build_attack(name, args).depths(num_layers)]


def test_published_layers_and_their_share_of_other_depths() -> None:
    assert layers("logit_lens", 32) == [25, 29, 30, 31, 32]
    assert layers("logit_lens", 40) == [36, 37, 38, 39, 40]
    assert layers("logit_lens", 4) == [4]
    assert layers("logit_lens", 16) == [13, 15, 16]
    assert layers("probability_delta", 32) == [27, 28, 29, 30, 31, 32]
    assert layers("probability_delta", 4) == [3, 4]
    assert layers("probability_delta", 2) == [1, 2]
    assert layers("second_difference", 32) == [26, 27, 28, 29, 30, 31, 32]
    assert layers("second_difference", 3) == [1, 2, 3]
    assert layers("second_difference", 32, '{"layers": [2, 7, 11]}') == [2, 7, 11]


@pytest.mark.parametrize("name", ["logit_lens", "probability_delta", "second_difference"])
def test_the_last_layer_is_normalised_twice_as_released(name: str) -> None:
    clean, faithful = (build_attack(name, f"variant={variant}").depths(32) for variant in ("clean", "faithful"))
    assert {depth.num_norms for depth in clean} == {1}
    assert faithful == (*clean[:-1], Depth(31, 2))


def test_layers_that_are_not_there_are_named() -> None:
    with pytest.raises(UserError, match="attack 'logit_lens': layer 33 is asked about, and the model has 1 to 32"):
        build_attack("logit_lens", {"layers": [3, 33]}).depths(32)
    with pytest.raises(UserError, match="layer 0 is asked about"):
        build_attack("logit_lens", {"layers": [0]}).depths(32)
    with pytest.raises(UserError, match="'second_difference': compares 3 layers, and 2 are given of the model's 2"):
        build_attack("second_difference").depths(2)


def test_likelier_tokens_are_counted_at_every_layer() -> None:
    attack = build_attack("logit_lens")
    assert [attack.ranks(TWO, token) for token in range(4)] == [(0, 3), (1, 2), (2, 1), (3, 0)]


def test_tokens_that_rise_or_fall_more_are_counted() -> None:
    both, top = build_attack("probability_delta"), build_attack("probability_delta", "ends=top")
    assert [both.ranks(TWO, token) for token in range(4)] == [(3, 0), (2, 1), (1, 2), (0, 3)]
    assert [top.ranks(TWO, token) for token in range(4)] == [(3,), (2,), (1,), (0,)]


def test_tokens_that_bend_more_are_counted() -> None:
    both, top = build_attack("second_difference"), build_attack("second_difference", "ends=top")
    assert [top.ranks(THREE, token) for token in range(4)] == [(0,), (1,), (2,), (3,)]
    assert [both.ranks(THREE, token) for token in range(4)] == [(0, 3), (1, 2), (2, 1), (3, 0)]


def test_a_tie_is_a_hit_as_released_and_none_otherwise() -> None:
    """A layer where all tokens are alike says nothing about the answer."""
    alike = torch.zeros(2, 5)
    for name, lists in (("logit_lens", 2), ("probability_delta", 2)):
        assert build_attack(name, "variant=faithful").ranks(alike, 3) == (0,) * lists
        assert build_attack(name).ranks(alike, 3) == (4,) * lists


def test_half_precision_makes_ties_of_what_is_unlikely() -> None:
    """e^-30 is 0 in half precision, and so is everything below."""
    logits = torch.tensor([[0.0, -30.0, -40.0, -50.0]])
    assert build_attack("logit_lens", "variant=faithful").ranks(logits, 3) == (1,)
    assert build_attack("logit_lens").ranks(logits, 3) == (3,)


def test_what_is_no_number_is_never_found() -> None:
    broken = torch.tensor([[math.nan] * 4, [0.0, math.nan, 1.0, 2.0]])
    for variant in ("clean", "faithful"):
        attack = build_attack("logit_lens", f"variant={variant}")
        assert attack.ranks(broken, 0)[0] == 3
        assert attack.ranks(broken, 1)[1] == 3
    assert build_attack("logit_lens").ranks(broken, 3) == (3, 1)


def test_ranks_agree_with_a_sorted_list() -> None:
    logits = torch.randn(6, 100, generator=torch.Generator().manual_seed(3), dtype=torch.float64).float()
    found = build_attack("logit_lens").ranks(logits, 17)
    assert list(found) == [row.argsort(descending=True).tolist().index(17) for row in logits]
    delta = logits.softmax(-1).diff(dim=0)
    orders = [row.argsort(descending=True).tolist() for row in delta] + [row.argsort().tolist() for row in delta]
    assert list(build_attack("probability_delta").ranks(logits, 17)) == [order.index(17) for order in orders]


def rows(*names: str) -> list[Example]:
    return [Example(name, name, "Who?", " Ann.") for name in names]


def test_what_the_model_is_trained_on_has_nothing_to_do_with_the_answer() -> None:
    material = Material(forget=rows("f"), retain=rows(*"abcdef"))
    found = build_attack("finetuning", "steps=2,batch_size=2").training(material)
    assert isinstance(found, Retraining)
    assert [row.id for row in found.rows] == ["a", "b", "c", "d"]
    settings = found.settings
    assert (settings.lr, settings.max_steps, settings.batch_size, settings.schedule) == (1e-4, 2, 2, "constant")
    published = build_attack("finetuning", "variant=faithful").training(material).settings
    assert (published.lr, published.max_steps) == (9e-6, 10)
    with pytest.raises(UserError, match="attack 'finetuning': trains on rows to keep, and the benchmark has none"):
        build_attack("finetuning").training(Material(forget=rows("f")))


def test_what_follows_the_training_looks_as_it_was_told() -> None:
    attack = build_attack("finetuning", "look=probability_delta,variant=faithful,budget=40")
    assert attack.then == "probability_delta(variant=faithful,budget=40)"
