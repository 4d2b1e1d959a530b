"""The last layer's feed-forward part, computed where somebody reads its result alone.

Of the last layer only the tokens that predict one are read; all others serve as keys and values of its attention. What
is read does not change: a feed-forward part looks at one token at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from mmforget.model.activations import decoder_layers
from mmforget.model.families import language
from mmforget.model.loaded import LoadedModel


def feed_forward(loaded: LoadedModel) -> nn.Module | None:
    """The last layer's feed-forward part of a model with edits; None where all of it may be read, or edits reach it."""
    if loaded.stack is None or loaded.core.config.get_text_config().model_type not in language.KNOWN:
        return None
    layer = decoder_layers(loaded.core)[-1]
    part = getattr(layer, "mlp", None)
    if part is None or any(one._forward_hooks or one._forward_pre_hooks for one in layer.modules()):
        return None
    return part if isinstance(part, nn.Module) else None


@contextmanager
def only_at(part: nn.Module | None, places: Tensor) -> Iterator[None]:
    """Inside, a part puts out 0 but at these places, int64 [n], of the flattened rows; None leaves all as it is."""
    if part is None:
        yield
        return
    before, own = part.forward, vars(part).get("forward")

    def computed(x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        at = places.to(flat.device)
        return flat.new_zeros(flat.shape).index_copy(0, at, before(flat.index_select(0, at))).view_as(x)

    part.forward = computed
    try:
        yield
    finally:
        if own is None:
            del part.forward
        else:
            part.forward = own
