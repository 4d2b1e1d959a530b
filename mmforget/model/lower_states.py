"""Hidden states below the edits, kept: equal prompts are computed there once, under whatever edits.

Edits change nothing below the first layer that they reach. What goes into that layer is kept by what a sequence begins
with, in blocks of tokens, so that sequences which begin alike share blocks; for prompts whose text is continued keys
and values of the layers below are kept, too. What is not there is computed for all that lack it in one pass, without
gradients; then only the layers above are. Exact: the same numbers go on to the same layers.

Where edits reach nothing of that layer but the last linear map of its feed-forward part, whose result is added to the
layer's, all of it lies below: what it puts out is kept, and what goes into the linear map, from which each edit's
change is computed.

Shapes: N tokens of a layout in flat order, H hidden size, I width of a feed-forward part, D width of a head.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from mmforget.model.activations import computing, decoder_layers
from mmforget.model.encode import BLOCK_TOKENS
from mmforget.model.families import language
from mmforget.model.inputs import batch_tokens
from mmforget.model.packing import PackedRow, batches, lay_out, packed_rows, sequence_places
from mmforget.model.stack import Adding
from mmforget.model.vision import FeatureCache, image_features

if TYPE_CHECKING:
    from mmforget.model.attention import RowAttention
    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel

MAX_TOKENS = 4096
"""Tokens of one pass through the lower layers."""
BUDGET_BYTES = 256 * 2**20
ADDED = "mlp.down_proj"
"""Name in a layer of the linear map whose result is added to the layer's, in all families that share rows."""


class Cut(NamedTuple):
    """Where what lies below the edits ends.

    Attributes:
        layer: number of the lowest layer above.
        edited: path of the linear map in the layer below it that edits change; None where they reach none there.
    """

    layer: int
    edited: str | None


class Lower(NamedTuple):
    """What stands below the edits.

    Attributes:
        states: [N, H], what goes into the lowest layer above, edits left out.
        keys: by number of a layer below it, its keys and values [N, heads of keys, D]; empty unless asked for.
        inner: [N, I], what goes into the linear map that edits change there; None where they change none.
    """

    states: Tensor
    keys: Mapping[int, tuple[Tensor, Tensor]]
    inner: Tensor | None = None


class LowerStates:
    """States of the sequences used last, up to `budget_bytes`; a model's trainings, engines and stacks may share them.

    Attributes:
        num_computed: tokens that went through the lower layers.
        num_found: tokens that were here instead.
        size_bytes: of what is kept.
        is_computing: whether a pass through the lower layers is under way.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self.num_computed = self.num_found = self.size_bytes = 0
        self.is_computing = False
        self._blocks: OrderedDict[tuple[Any, ...], Lower] = OrderedDict()

    def of(
        self,
        loaded: LoadedModel,
        encoded: Sequence[Encoded],
        rows: Sequence[PackedRow],
        *,
        features: FeatureCache | None,
        with_keys: bool = False,
    ) -> Lower:
        """What stands below the edits of a model for the flat layout of these rows."""
        owner = (loaded.base_fingerprint, _cut(loaded), _precision(loaded))
        members = [
            (encoded[member], shared) for row in rows for member, shared in zip(row.members, row.shared, strict=True)
        ]
        found: dict[tuple[Any, ...], Lower] = {}
        missing: dict[bytes, Encoded] = {}
        for one, _ in members:
            known = [self._blocks.get((*owner, key)) for key in one.prefixes]
            if any(block is None or (with_keys and not block.keys) for block in known):
                missing.setdefault(one.prefixes[-1], one.under(None))
            found |= {(*owner, key): block for key, block in zip(one.prefixes, known, strict=True) if block is not None}
        self.num_found += sum(len(one) - shared for one, shared in members if one.prefixes[-1] not in missing)
        found |= self._computed(loaded, list(missing.values()), owner=owner, features=features, with_keys=with_keys)
        self._keep(found)
        parts = [
            _tail(found[(*owner, key)], max(shared - at * BLOCK_TOKENS, 0))
            for one, shared in members
            for at, key in enumerate(one.prefixes)
            if shared < min((at + 1) * BLOCK_TOKENS, len(one))
        ]
        return _joined(parts)

    def _computed(
        self,
        loaded: LoadedModel,
        missing: Sequence[Encoded],
        *,
        owner: tuple[Any, ...],
        features: FeatureCache | None,
        with_keys: bool,
    ) -> dict[tuple[Any, ...], Lower]:
        """The blocks of sequences that are not here, computed below the edits, where all edits are one."""
        found: dict[tuple[Any, ...], Lower] = {}
        for rows in batches(packed_rows(missing, max_tokens=MAX_TOKENS), max_tokens=MAX_TOKENS) if missing else ():
            lower = self._pass(loaded, missing, rows, cut=owner[1], features=features, with_keys=with_keys)
            own = [missing[member] for row in rows for member in row.members]
            for one, places in zip(own, sequence_places(missing, rows), strict=True):
                for at, key in enumerate(one.prefixes):
                    if (*owner, key) not in found:
                        chosen = places[at * BLOCK_TOKENS : (at + 1) * BLOCK_TOKENS]
                        found[(*owner, key)] = _chosen(lower, torch.from_numpy(chosen))
        return found

    def _pass(
        self,
        loaded: LoadedModel,
        encoded: Sequence[Encoded],
        rows: Sequence[PackedRow],
        *,
        cut: Cut,
        features: FeatureCache | None,
        with_keys: bool,
    ) -> Lower:
        """One pass through the layers below."""
        own = [encoded[member] for row in rows for member in row.members]
        distinct = {key: image for one in own for key, image in zip(one.image_keys, one.images, strict=True)}
        layout = lay_out(encoded, rows, first=[len(one) for one in encoded], width=0)
        tokens = batch_tokens(loaded, layout, images=image_features(loaded, distinct, cache=features))
        recorded = _Recorded(tokens.rows) if tokens.rows is not None and with_keys else None
        self.num_computed += layout.ids.size
        self.is_computing = True
        try:
            with torch.no_grad(), _stopping(loaded, cut) as inner:
                loaded.family.hidden(loaded.core, tokens if recorded is None else tokens._replace(rows=recorded))
        except _Reached as reached:
            keys = {} if recorded is None else recorded.keys
            return Lower(reached.states[0], keys, inner[0][0] if inner else None)
        finally:
            self.is_computing = False
        raise RuntimeError(f"{type(loaded.core).__name__} never came to layer {cut.layer}")

    def _keep(self, blocks: Mapping[tuple[Any, ...], Lower]) -> None:
        """Drops what was used longest ago where the budget is exceeded."""
        for key, block in blocks.items():
            before = self._blocks.pop(key, None)
            self.size_bytes += _num_bytes(block) - (0 if before is None else _num_bytes(before))
            self._blocks[key] = block
        while self.size_bytes > self.budget_bytes and self._blocks:
            _, old = self._blocks.popitem(last=False)
            self.size_bytes -= _num_bytes(old)


def _cut(loaded: LoadedModel) -> Cut:
    """Where what lies below a model's edits ends."""
    if loaded.stack is None:
        raise RuntimeError("a model without edits has nothing below them")
    layers, first = decoder_layers(loaded.core), loaded.stack.first_layer
    within = {id(module): name for name, module in layers[first].named_modules()}
    edited = {within.get(id(loaded.core.get_submodule(path))): path for path in loaded.stack.factors}
    if first + 1 < len(layers) and edited.keys() - {None} == {ADDED}:
        return Cut(first + 1, edited[ADDED])
    return Cut(first, None)


def usable(loaded: LoadedModel, *, is_flat: bool, layers: Sequence[int] = ()) -> LowerStates | None:
    """Where the states below the edits of a model are kept; None where they have to be computed.

    Args:
        layers: numbers of the layers whose own states are wanted, which have to lie above.
    """
    stack = loaded.stack
    if stack is None or stack.lower is None or not is_flat:
        return None
    if loaded.core.config.get_text_config().model_type not in language.KNOWN:
        return None
    every, cut = decoder_layers(loaded.core), _cut(loaded)
    if not cut.layer or any(layer % len(every) < cut.layer for layer in layers):
        return None
    watched = (module for layer in every[: cut.layer] for module in layer.modules())
    hooks = (hook for one in watched for own in (one._forward_hooks, one._forward_pre_hooks) for hook in own.values())
    return stack.lower if all(isinstance(hook, Adding) for hook in hooks) else None


@contextmanager
def starting_above(loaded: LoadedModel, lower: Lower | None) -> Iterator[None]:
    """Inside, forward passes begin above what lies below the edits, with what stands there; None: at the beginning."""
    if lower is None:
        yield
        return
    layers, cut = decoder_layers(loaded.core), _cut(loaded)

    def given(
        _module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        states = _changed(loaded, lower, edited=cut.edited)[None]
        return ((states, *args[1:]), named) if args else (args, {**named, "hidden_states": states})

    with ExitStack() as undo:
        for layer in layers[: cut.layer]:
            undo.enter_context(computing(layer, _unchanged))
        undo.callback(layers[cut.layer].register_forward_pre_hook(given, with_kwargs=True).remove)
        yield


def _changed(loaded: LoadedModel, lower: Lower, *, edited: str | None) -> Tensor:
    """States [N, H] with what the selected edits add to the linear map below them."""
    stack = loaded.stack
    if edited is None or lower.inner is None or stack is None or stack.selected is None:
        return lower.states
    return lower.states + stack.change(edited, lower.inner, selection=stack.selected).to(lower.states.dtype)


def _unchanged(hidden_states: Tensor, *args: Any, **named: Any) -> Tensor:
    """What a layer that is passed over puts out: what it takes in."""
    return hidden_states


class _Reached(Exception):
    """The forward pass has come to the layer where it ends."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


@contextmanager
def _stopping(loaded: LoadedModel, cut: Cut) -> Iterator[list[Tensor]]:
    """Inside, a forward pass ends, with `_Reached`, where it comes to the cut; gives what goes into the edited map."""
    inner = list[Tensor]()

    def stop(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Reached(args[0] if args else named["hidden_states"])

    with ExitStack() as undo:
        layer = decoder_layers(loaded.core)[cut.layer]
        undo.callback(layer.register_forward_pre_hook(stop, with_kwargs=True).remove)
        if cut.edited is not None:
            edited = loaded.core.get_submodule(cut.edited)
            undo.callback(edited.register_forward_pre_hook(lambda _module, args: inner.append(args[0])).remove)
        yield inner


@dataclass(frozen=True, eq=False)
class _Recorded:
    """Attention that keeps keys and values."""

    seen: RowAttention
    keys: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, dropout: float
    ) -> Tensor:
        self.keys[layer] = (key, value)
        return self.seen.attend(layer, query, key, value, scaling=scaling, dropout=dropout)


def _precision(loaded: LoadedModel) -> str:
    """What decides numbers beside the weights."""
    kind = loaded.device.type
    return str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else ""


def _chosen(lower: Lower, places: Tensor) -> Lower:
    """A copy of some tokens."""
    return _of_each(lower, lambda part: part.index_select(0, places.to(part.device)))


def _tail(lower: Lower, start: int) -> Lower:
    return _of_each(lower, lambda part: part[start:]) if start else lower


def _of_each(lower: Lower, taken: Callable[[Tensor], Tensor]) -> Lower:
    keys = {layer: (taken(key), taken(value)) for layer, (key, value) in lower.keys.items()}
    return Lower(taken(lower.states), keys, None if lower.inner is None else taken(lower.inner))


def _joined(parts: Sequence[Lower]) -> Lower:
    keys = {
        layer: (torch.cat([part.keys[layer][0] for part in parts]), torch.cat([part.keys[layer][1] for part in parts]))
        for layer in (parts[0].keys if all(part.keys for part in parts) else ())
    }
    inner = [part.inner for part in parts if part.inner is not None]
    return Lower(torch.cat([part.states for part in parts]), keys, torch.cat(inner) if inner else None)


def _num_bytes(lower: Lower) -> int:
    pairs = sum(part.nbytes for pair in lower.keys.values() for part in pair)
    return lower.states.nbytes + pairs + (0 if lower.inner is None else lower.inner.nbytes)
