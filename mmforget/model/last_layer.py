"""The last layer, computed where somebody reads its result alone.

Of the last layer only the tokens that predict one are read; all others serve as keys and values of its attention. What
is read does not change: queries, what attention puts out and the feed-forward part look at one token at a time. So it
is in scoring, in training and where generation begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from mmforget.model.activations import computing, decoder_layers
from mmforget.model.attention import RowAttention, TreeRows, rows_at
from mmforget.model.families import language
from mmforget.model.loaded import LoadedModel

if TYPE_CHECKING:
    from mmforget.model.packing import Ints, Layout

MAX_SHARE_READ = 0.75
"""Where more places are read than this share, all are computed: putting them in order would cost what is saved."""

BY_TOKEN = ("mlp", "self_attn.q_proj", "self_attn.o_proj")
"""Parts of a layer whose result at one token depends on that token alone, and is no key or value of others."""


class LastLayer(NamedTuple):
    """The last layer of a model whose states are read at few places: its number, and its parts that work by token."""

    number: int
    parts: tuple[nn.Module, ...]


def last_layer(loaded: LoadedModel) -> LastLayer | None:
    """That of a model; None where all of it may be read, is drawn at random, or is computed twice by checkpoints."""
    if loaded.core.config.get_text_config().model_type not in language.KNOWN or loaded.core.is_gradient_checkpointing:
        return None
    layers = decoder_layers(loaded.core)
    if any(_looks_at_all(one) for one in layers[-1].modules()):
        return None
    named = dict(layers[-1].named_modules())
    return LastLayer(len(layers) - 1, tuple(named[name] for name in BY_TOKEN if name in named))


def _looks_at_all(module: nn.Module) -> bool:
    """Whether a part has hooks, which may read all it puts out, or drops inputs, which draws for all of them."""
    drops = isinstance(module, nn.Dropout) and module.training and module.p > 0
    return drops or bool(module._forward_hooks or module._forward_pre_hooks)


def where_few_are_read(last: LastLayer | None, *, num_read: int, num_places: int) -> LastLayer | None:
    """The same where computing some places alone saves something, else None."""
    return last if num_read <= MAX_SHARE_READ * num_places else None


@contextmanager
def only_at(last: LastLayer | None, places: Tensor) -> Iterator[None]:
    """Inside, parts put out 0 but at these places, int64 [n], of the flattened rows; None leaves all as it is."""
    with ExitStack() as undo:
        for part in last.parts if last is not None else ():
            undo.enter_context(computing(part, _at(part.forward, places)))
        yield


def _at(forward: Callable[[Tensor], Tensor], places: Tensor) -> Callable[[Tensor], Tensor]:
    """The same function at these places alone."""

    def computed(x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        at = places.to(flat.device)
        found = forward(flat.index_select(0, at))
        return found.new_zeros(len(flat), found.shape[-1]).index_copy(0, at, found).view(*x.shape[:-1], -1)

    return computed


def seen_at(
    loaded: LoadedModel, last: LastLayer | None, rows: RowAttention, *, layout: Layout, places: Ints
) -> RowAttention:
    """The attention of flat rows, which in the last layer is that of these places alone, in rising order."""
    if last is None:
        return rows
    dtype = loaded.core.get_input_embeddings().weight.dtype
    return _Seen(rows, last.number, rows_at(layout, places, device=loaded.device, dtype=dtype))


@dataclass(frozen=True)
class _Seen:
    """The attention of all layers, and what takes its place in the last one."""

    rows: RowAttention
    last: int
    read: TreeRows

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, dropout: float
    ) -> Tensor:
        seen = self.read if layer == self.last else self.rows
        return seen.attend(layer, query, key, value, scaling=scaling, dropout=dropout)
