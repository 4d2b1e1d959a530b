"""Independent low-rank edits of one model side by side: every token is computed under the edit of its own sequence.

    with attached(loaded, stack) as stacked:
        scored = score(stacked, [one.under(0), other.under(1), third.under(None)])

An edit adds `scaling B A x` to what some linear layers put out. The factors of all edits of a batch are one batched
product a layer; nothing of one edit reaches tokens of another, not even where its numbers are not finite. A sequence
under no edit, and every one while the stack is off, is computed by the model before. Source: LoRA (arXiv 2106.09685);
rows with adapters of their own: punica (arXiv 2310.18547).

Shapes: E edits, P pieces of L tokens, N tokens of a forward pass, r rank, I and O widths of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel
    from mmforget.model.lower_states import LowerStates

Ints = NDArray[np.int64]


class Factors(NamedTuple):
    """One edit of one layer: down [r, I] and up [O, r]."""

    down: Tensor
    up: Tensor


class Selection(NamedTuple):
    """Which tokens of a forward pass are computed under which edit.

    Attributes:
        edits: [P] number of the edit of each piece; None where there is none.
        counts: [P] tokens of each piece; empty where nothing is trained.
        at: int64 [P * L] the place of each token in the flattened rows, padded with the piece's own first; None where
            the pieces are as long as one another and lie one behind the other.
        back: int64 [N] where each place is among the pieces; None as well.
    """

    edits: tuple[int | None, ...]
    counts: tuple[int, ...] = ()
    at: Tensor | None = None
    back: Tensor | None = None


class Numbers:
    """Random numbers that each edit draws for itself, so that it draws what it would alone."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._states: dict[int, Tensor] = {}

    def begin(self, edit: int) -> None:
        """The edit's numbers begin where torch's own generator is now."""
        self._states[edit] = self._generator.get_state()

    @contextmanager
    def of(self, edit: int) -> Iterator[None]:
        """Inside, torch draws this edit's next numbers; its own go on afterwards."""
        generator = self._generator
        before = generator.get_state()
        generator.set_state(self._states[edit])
        try:
            yield
        finally:
            self._states[edit] = generator.get_state()
            generator.set_state(before)

    @property
    def _generator(self) -> torch.Generator:
        if self.device.type == "cuda":
            return torch.cuda.default_generators[self.device.index or 0]
        return torch.default_generator


@dataclass(eq=False)
class Stack:
    """Edits of one model, by number.

    Attributes:
        names: of the edits.
        factors: by path of the edited layer, those of each edit.
        scaling: what the product of the factors is multiplied by.
        dropout: in [0, 1), on the input of `down` while `numbers` are there to draw it from.
        first_layer: number of the lowest decoder layer that is edited.
        config: PEFT's configuration of each edit.
        lower: where states below the edits are kept; None computes them in every pass.
        fingerprints: identify what the model computes under each edit, once they are made.
        numbers: set while the edits are trained.
        is_on: whether edits count; switched by `off`.
        selected: set during a forward pass.
    """

    names: tuple[str, ...]
    factors: Mapping[str, list[Factors]]
    scaling: float
    dropout: float
    first_layer: int
    config: Any
    lower: LowerStates | None = None
    fingerprints: tuple[str, ...] = ()
    numbers: Numbers | None = None
    is_on: bool = True
    selected: Selection | None = field(default=None, repr=False)

    def number(self, name: str) -> int:
        """Of the edit with this name. Raises UserError where there is none."""
        if name not in self.names:
            raise UserError(f"'{name}' is not among the {len(self.names)} edits that are loaded ({_few(self.names)})")
        return self.names.index(name)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside, the model is the one before all edits."""
        before, self.is_on = self.is_on, False
        try:
            yield
        finally:
            self.is_on = before

    @contextmanager
    def selecting(self, selection: Selection | None) -> Iterator[None]:
        """Inside, forward passes are computed under these edits."""
        active = selection is not None and self.is_on and any(edit is not None for edit in selection.edits)
        before, self.selected = self.selected, selection if active else None
        try:
            yield
        finally:
            self.selected = before

    def change(self, layer: str, x: Tensor, *, selection: Selection) -> Tensor:
        """What the edits add to a layer's output [..., O], from its input x [..., I]."""
        own = [self._of(layer, edit) for edit in selection.edits]
        down, up = torch.stack([one.down for one in own]), torch.stack([one.up for one in own])
        flat = x.reshape(-1, x.shape[-1]).to(down.dtype)
        pieces = flat if selection.at is None else flat.index_select(0, selection.at.to(x.device))
        pieces = self._dropped(pieces.view(len(own), -1, x.shape[-1]), selection=selection)
        low = torch.bmm(pieces, down.transpose(1, 2)) * self.scaling
        found = torch.bmm(low, up.transpose(1, 2)).flatten(0, 1)
        if selection.back is not None:
            found = found.index_select(0, selection.back.to(x.device))
        return found.view(*x.shape[:-1], -1)

    def _of(self, layer: str, edit: int | None) -> Factors:
        factors = self.factors[layer]
        return factors[edit] if edit is not None else Factors(*(torch.zeros_like(part) for part in factors[0]))

    def _dropped(self, pieces: Tensor, *, selection: Selection) -> Tensor:
        """Each piece [L, I] with dropout by its own edit's numbers, as many as it has tokens."""
        if not self.dropout or self.numbers is None:
            return pieces
        found = []
        for piece, edit, count in zip(pieces, selection.edits, selection.counts, strict=True):
            if edit is not None:
                with self.numbers.of(edit):
                    dropped = functional.dropout(piece[:count].contiguous(), self.dropout)
                piece = functional.pad(dropped, (0, 0, 0, len(piece) - count))
            found.append(piece)
        return torch.stack(found)


def first_edited_layer(core: Any, layers: Sequence[str]) -> int:
    """The number of the lowest decoder layer that any of these linear layers belongs to.

    Raises UserError for one outside the decoder, and for one that is quantised or no plain linear layer.
    """
    numbered = {id(module): number for number, layer in enumerate(decoder_layers(core)) for module in layer.modules()}
    for name in layers:
        module = core.get_submodule(name)
        if id(module) not in numbered:
            raise UserError(f"edits many at a time change decoder layers, and {name} is in none; leave it out")
        if not isinstance(module, nn.Linear) or not module.weight.is_floating_point():
            kind = type(module).__name__
            raise UserError(
                f"{name} is quantised ({kind}), and edits are made in full precision; leave load_in_4bit and "
                "load_in_8bit out"
            )
    return min(numbered[id(core.get_submodule(name))] for name in layers)


@contextmanager
def attached(loaded: LoadedModel, stack: Stack, *, fingerprint: str) -> Iterator[LoadedModel]:
    """Inside, the model with the edits of a stack, for sequences `Encoded.under` one of them; `loaded` stays as it is.

    Args:
        fingerprint: names what all edits together compute.
    """
    with ExitStack() as hooks:
        for name in stack.factors:
            hook = loaded.core.get_submodule(name).register_forward_hook(Adding(stack, name))
            hooks.callback(hook.remove)
        yield replace(loaded, stack=stack, fingerprint=fingerprint, base_fingerprint=loaded.fingerprint)


class Adding(NamedTuple):
    """A hook that adds to what a linear layer puts out the changes of the edits that are selected."""

    stack: Stack
    layer: str

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        selection = self.stack.selected
        if selection is None:
            return None
        return output + self.stack.change(self.layer, inputs[0], selection=selection).to(output.dtype)


def selecting(loaded: LoadedModel, selection: Selection | None) -> Any:
    """A context in which forward passes of `loaded` are computed under these edits; None: under none."""
    return nullcontext() if loaded.stack is None else loaded.stack.selecting(selection)


def by_row(edits: Sequence[int | None]) -> Selection:
    """For rows of one sequence each, of any length: the edit of each."""
    return Selection(tuple(edits))


def by_place(edits: Ints | None, *, device: torch.device) -> Selection | None:
    """From the edit of each place of the flattened rows, -1 where there is none; None where there is none anywhere."""
    if edits is None:
        return None
    flat = edits.ravel()
    numbers = np.unique(flat)
    places = [np.flatnonzero(flat == number) for number in numbers]
    counts = tuple(map(len, places))
    chosen = tuple(None if number < 0 else int(number) for number in numbers)
    order = np.concatenate(places)
    if len(set(counts)) == 1 and bool((order == np.arange(len(order))).all()):
        return Selection(chosen, counts)
    at = np.stack([np.pad(one, (0, max(counts) - len(one)), constant_values=one[0]) for one in places])
    back = np.empty(len(flat), dtype=np.int64)
    for piece, one in enumerate(places):
        back[one] = piece * at.shape[1] + np.arange(len(one))
    return Selection(chosen, counts, *(torch.from_numpy(part).to(device) for part in (at.ravel(), back)))


def _few(names: Sequence[str], *, limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
