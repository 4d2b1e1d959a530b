"""Mixture-of-experts blocks: where the routed experts and their routers are, and what of them is packed or adapted.

The experts of a block are 3-D parameters [experts, ...] of one module (transformers 5). They are no linear layers, so
bitsandbytes leaves them in full precision. The router beside them is a matrix with a row for each expert.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

FUSED = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}
"""What of a feed-forward network each of the experts' parameters holds."""
OLDER = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}
"""Names of Mixtral's projections in transformers 4."""


class Experts(NamedTuple):
    """The routed experts of a model.

    Attributes:
        parameters: names of their 3-D parameters.
        routers: names of the modules that weigh experts, those shared by all tokens included.
    """

    parameters: tuple[str, ...]
    routers: tuple[str, ...]


def find_experts(core: nn.Module) -> Experts:
    """Names without what PEFT puts around modules; empty for models without routed experts."""
    parameters, routers = [], []
    for name, module in core.named_modules():
        own = _stacked(module)
        if own:
            parameters += [f"{plain(name)}.{one}" for one in own]
            num_experts = len(getattr(module, own[0]))
            routers += _routers(core, plain(name), num_experts=num_experts)
    return Experts(tuple(parameters), tuple(dict.fromkeys(routers)))


def describe(core: nn.Module) -> dict[str, Any] | None:
    """What a record says of a model's experts; None where it has none.

    `num_weights` are theirs, all in full precision, and `share` is that of all weights, packed ones counted as the
    weights that they hold; `adapted` and `routers_adapted` say what of the blocks an adapter reaches.
    """
    found = find_experts(core)
    if not found.parameters:
        return None
    sizes = {plain(name): num_weights(weight) for name, weight in core.named_parameters() if "lora_" not in name}
    holders = {name.rpartition(".")[0] for name in found.parameters}
    adapted = {plain(name) for name, _ in core.named_parameters() if "lora_" in name}
    return {
        "num_weights": sum(sizes[name] for name in found.parameters),
        "share": round(sum(sizes[name] for name in found.parameters) / sum(sizes.values()), 4),
        "adapted": any(name.startswith(f"{holder}.") for holder in holders for name in adapted),
        "routers_adapted": any(name.startswith(f"{router}.") for router in found.routers for name in adapted),
    }


def plain(name: str) -> str:
    """A name without what PEFT puts around modules."""
    return name.replace(".base_layer", "")


def num_weights(weight: Any) -> int:
    """How many weights a parameter holds; packed 4-bit ones hold two a byte, and know their real shape."""
    state = getattr(weight, "quant_state", None)
    return int(weight.numel() if state is None else state.shape.numel())


def _stacked(module: nn.Module) -> list[str]:
    """Names of a module's own parameters that are a matrix for each expert."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return []
    own = module.named_parameters(recurse=False)
    return [name for name, weight in own if weight.ndim == 3 and weight.is_floating_point() and min(weight.shape) > 1]


def _routers(core: nn.Module, experts: str, *, num_experts: int) -> list[str]:
    """Modules beside the experts with a row for each of them, or one row that weighs a shared expert."""
    block, _, own = experts.rpartition(".")
    found = []
    for name, module in core.get_submodule(block).named_modules():
        if not name or f"{plain(name)}.".startswith(f"{own}.") or "lora_" in name:
            continue
        weight = getattr(module, "weight", None)
        if weight is not None and weight.ndim == 2 and weight.shape[0] in (1, num_experts):
            found.append(f"{block}.{plain(name)}")
    return found
