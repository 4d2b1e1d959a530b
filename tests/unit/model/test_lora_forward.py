"""The lean LoRA layer against PEFT's own forward and autograd's own gradients, in float64."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from mmforget.model.lora_forward import LeanLinear, use_lean_forward


class Two(nn.Module):
    """Two linear layers, one of them without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.second(torch.tanh(self.first(x)))
        return result


def pair(**settings: Any) -> tuple[Any, Any]:
    """The same model with PEFT's layers and with lean ones; adapters that do something."""
    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=3, target_modules=["first", "second"], init_lora_weights=False, **settings)
    plain = get_peft_model(Two(), config).double()
    lean = deepcopy(plain)
    use_lean_forward(lean)
    return plain, lean


def results(model: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, then gradients of the input and of every trainable weight."""
    own = x.clone().requires_grad_()
    model.zero_grad()
    out = model(own)
    (out**3).sum().backward()
    return [out.detach(), own.grad, *(w.grad for w in model.parameters() if w.requires_grad)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(one, other, strict=True))


X = torch.randn(2, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_output_and_gradients_are_those_of_peft() -> None:
    plain, lean = pair()
    assert [type(module) for module in lean.modules() if isinstance(module, LoraLinear)] == [LeanLinear, LeanLinear]
    assert same(results(plain, X), results(lean, X))


def test_a_base_that_is_trained_too_gets_its_gradients() -> None:
    plain, lean = pair()
    for model in (plain, lean):
        for weight in model.parameters():
            weight.requires_grad_(True)
    assert same(results(plain, X), results(lean, X))


def test_gradients_of_gradients() -> None:
    """d/dx of the gradient of the weights, as penalties on gradients need it."""
    found = []
    for model in pair():
        own = X.clone().requires_grad_()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        grads = torch.autograd.grad((model(own) ** 2).sum(), weights, create_graph=True)
        found.append(list(torch.autograd.grad(sum((grad**2).sum() for grad in grads), [own, *weights])))
    assert same(*found)


@pytest.mark.parametrize("case", ["off", "merged", "second adapter", "both adapters", "dora", "rslora", "lora bias"])
def test_every_other_case_is_pefts(case: str) -> None:
    extra = {"dora": {"use_dora": True}, "rslora": {"use_rslora": True}, "lora bias": {"lora_bias": True}}
    plain, lean = pair(**extra.get(case, {}))
    found = []
    for model in (plain, lean):
        if "adapter" in case:
            torch.manual_seed(1)
            model.add_adapter("other", LoraConfig(r=3, target_modules=["first"], init_lora_weights=False))
            model.base_model.set_adapter(["default", "other"] if case == "both adapters" else "other")
            model.double()
        if case == "merged":
            model.merge_adapter()
        if case == "off":
            with model.disable_adapter():
                found.append([model(X)])
        else:
            found.append([model(X)])
    assert same(*found)


def test_dropout_is_drawn_as_peft_draws_it() -> None:
    plain, lean = pair(lora_dropout=0.5)
    found = []
    for model in (plain, lean):
        model.train()
        torch.manual_seed(3)
        found.append([model(X)])
    assert same(*found)
    assert same([plain.eval()(X)], [lean.eval()(X)])


def test_under_autocast_the_result_has_its_dtype() -> None:
    plain, lean = pair()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted, found = plain.float()(X.float()), lean.float()(X.float())
    assert found.dtype == wanted.dtype == torch.bfloat16
    assert torch.equal(found, wanted)


def test_a_number_worked_by_hand() -> None:
    """W = 2, A = 3, B = 5, s = .5, x = 7: y = 14 + .5 * 5 * 21 = 66.5; gradients 2 + 7.5 of x, 17.5 of A, 10.5 of B."""
    config = LoraConfig(r=1, lora_alpha=0.5, target_modules=["0"], init_lora_weights=False)
    model = get_peft_model(nn.Sequential(nn.Linear(1, 1, bias=False)), config)
    use_lean_forward(model)
    (layer,) = [module for module in model.modules() if isinstance(module, LeanLinear)]
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        for weight, value in ((layer.base_layer.weight, 2.0), (down, 3.0), (up, 5.0)):
            weight.fill_(value)
    x = torch.tensor([[7.0]], requires_grad=True)
    out = model(x)
    out.backward()
    assert (out.item(), x.grad.item(), down.grad.item(), up.grad.item()) == (66.5, 9.5, 17.5, 10.5)
