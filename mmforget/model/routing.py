"""What routers of a mixture of experts make of tokens: probabilities of the experts of each block. E experts, n tokens.

Probabilities are the softmax of a router's logits, whatever a family makes of them afterwards. Shared experts, which
see every token, have no router and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.model.activations import reading
from mmforget.model.experts import find_experts


class Block(NamedTuple):
    """A block of routed experts.

    Attributes:
        parameters: names of the experts' 3-D weights, [E, ...] each.
        router: name of the module whose weight is [E, H].
    """

    parameters: tuple[str, ...]
    router: str


def expert_blocks(core: nn.Module) -> list[Block]:
    """All of them, first one first. Raises UserError for a model without routed experts."""
    found = find_experts(core)
    holders = dict.fromkeys(name.rpartition(".")[0] for name in found.parameters)
    blocks = []
    for holder in holders:
        own = tuple(name for name in found.parameters if name.rpartition(".")[0] == holder)
        num_experts = len(core.get_parameter(own[0]))
        block = holder.rpartition(".")[0]
        beside = (name for name in found.routers if name.startswith(f"{block}."))
        router = next((name for name in beside if _weight(core, name).shape[0] == num_experts), None)
        if router is not None:
            blocks.append(Block(own, router))
    if not blocks:
        raise UserError(
            f"this method trains one routed expert, and a model of type '{_kind(core)}' has none; take a mixture of "
            "experts, such as OLMoE or Qwen-MoE, or another method"
        )
    return blocks


@contextmanager
def routed(core: nn.Module, blocks: Sequence[Block]) -> Iterator[list[list[Tensor]]]:
    """By block, the probabilities float32 [n, E] of what goes through its router inside, call by call."""
    modules = {block.router: core.get_submodule(block.router) for block in blocks}
    found: list[list[Tensor]] = [[] for _ in blocks]
    with reading(modules, inputs=True) as read:
        yield found
    for block, calls in zip(blocks, found, strict=True):
        calls += [probabilities(core, block, states) for states in read[block.router]]


def probabilities(core: nn.Module, block: Block, states: Tensor) -> Tensor:
    """Of the experts of a block for tokens' states [..., H]: float32 [n, E], differentiable."""
    router = core.get_submodule(block.router)
    logits = functional.linear(states.flatten(0, -2), _weight(core, block.router), getattr(router, "bias", None))
    return logits.float().softmax(-1)


def num_chosen(core: nn.Module) -> int:
    """How many experts see a token."""
    config: Any = core.config
    return int(getattr(config.get_text_config(), "num_experts_per_tok", 1))


def _weight(core: nn.Module, router: str) -> Tensor:
    weight: Tensor = core.get_submodule(router).weight  # type: ignore[assignment]
    return weight


def _kind(core: Any) -> str:
    return str(core.config.model_type)
