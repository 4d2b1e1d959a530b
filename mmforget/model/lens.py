"""The logit lens: what the head would say at deeper layers, read off their states as if they were the last.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; as attack and defence in Patil et al. 2023,
https://arxiv.org/abs/2309.17410.
Shapes: U places that predict a scored token, S scored tokens, K layers, V vocabulary, H hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers
from mmforget.model.head import Statistic, statistic_of

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel
    from mmforget.model.packing import Layout

NORMS = ("norm", "final_layer_norm", "final_layernorm", "ln_f")
"""What language models call the norm between their last layer and their head."""


class LensRead(NamedTuple):
    """What is read off which layers.

    Attributes:
        statistic: of each distribution.
        from_depth: see `layers_from`.
        is_double: the last layer's states are normalised twice.
    """

    statistic: Statistic
    from_depth: float
    is_double: bool = False


def layers_from(core: Any, depth: float) -> range:
    """Numbers of the decoder layers, 0 the first, whose output has passed at least `depth` of all layers.

    Of 32 layers, 22/32 gives what Hugging Face calls hidden states 22 to 32. The last one is always there.
    Raises UserError for a depth that is no share.
    """
    if not 0 <= depth <= 1:
        raise UserError(f"from_depth={depth} is not allowed; give a share of the layers, 0 to 1")
    num_layers = int(core.config.get_text_config().num_hidden_layers)
    # 0.7 * 10 is a little more than 7.
    first = math.ceil(round(depth * num_layers, 6))
    return range(min(max(first, 1), num_layers) - 1, num_layers)


def final_norm(core: Any) -> nn.Module:
    """The norm between the last decoder layer and the head. Raises UserError where none has a known name."""
    layers = decoder_layers(core)
    for module in core.get_decoder().modules():
        lists = [one for one in module.children() if isinstance(one, nn.ModuleList)]
        if any(len(one) == len(layers) and one[0] is layers[0] for one in lists):
            for name in NORMS:
                if isinstance(found := getattr(module, name, None), nn.Module):
                    return found
    raise UserError(
        f"models of type '{core.config.model_type}' cannot be read layer by layer: their final norm is none of "
        f"{', '.join(NORMS)}"
    )


def as_last(loaded: LoadedModel, state: Tensor, *, times: int = 1) -> Tensor:
    """What the head takes, [..., H], from what a decoder layer puts out.

    Args:
        times: how often the final norm is applied.

    Raises UserError for a model whose logits are not its head's alone.
    """
    if loaded.family.OWN_FORWARD:
        raise UserError(
            f"models of type '{loaded.core.config.model_type}' make their logits in a forward of their own, so their "
            "layers cannot be read by their head; choose a method or an attack that reads answers alone"
        )
    norm = final_norm(loaded.core)
    device = next(norm.parameters()).device
    for _ in range(times):
        state = norm(state.to(device))
    return state


def layer_values(loaded: LoadedModel, states: Sequence[Tensor], *, layout: Layout, lens: LensRead) -> Tensor:
    """The lens's statistic of a layout's targets at every layer, float32 [S, K].

    Args:
        states: by layer, of which the last one is the model's last, [U, H] each.
    """
    found = []
    for number, state in enumerate(states):
        is_last = number == len(states) - 1
        hidden = as_last(loaded, state, times=2 if is_last and lens.is_double else 1)
        found.append(statistic_of(loaded, hidden, layout=layout, statistic=lens.statistic))
    return torch.stack(found, dim=1)
