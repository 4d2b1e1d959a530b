"""Adapters one upon another: several as one that anybody can load, and a model that trains the next upon them.

LoRA (arXiv 2106.09685) adds s B A x to a layer; several add s1 B1 A1 x + s2 B2 A2 x = [s1 B1, s2 B2] [A1; A2] x, which
is one adapter of the ranks' sum and scale 1, exactly. A layer that is saved whole, as a projector, is that of the last.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.model import adapter_files
from mmforget.model.adapter_files import Saved
from mmforget.model.adapter_names import PREFIX
from mmforget.model.loaded import LoadedModel, with_adapter

DOWN, UP = ".lora_A.weight", ".lora_B.weight"
OTHER_WAYS = ("target_parameters", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "trainable_token_indices")
"""Settings of PEFT that make a LoRA something else."""


def joined(first: Path, second: Path, *, folder: Path) -> Path:
    """Two adapters of one base as one in `folder`, which changes what both together do.

    Raises UserError for adapters that are no plain LoRA, or reach other layers than one another.
    """
    below, above = (_plain(folder) for folder in (first, second))
    names = [{name for name in one.tensors if name.endswith((DOWN, UP))} for one in (below, above)]
    if names[0] != names[1]:
        raise UserError(f"{second} reaches other layers than {first} ({sorted(names[0] ^ names[1])[0]}); merge them")
    tensors = {name: tensor for one in (below, above) for name, tensor in one.tensors.items()}
    for name in names[0]:
        if name.endswith(DOWN):
            tensors[name] = torch.cat([one.tensors[name] for one in (below, above)])
        else:
            tensors[name] = torch.cat([one.tensors[name] * _scale(one) for one in (below, above)], dim=1)
    config = copy.deepcopy(above.config)
    config.r = config.lora_alpha = below.config.r + above.config.r
    note = above.note or adapter_files.Note("the base of both", None)
    return adapter_files.write(folder, config=config, tensors=tensors, note=note)


@contextmanager
def upon(loaded: LoadedModel, folder: Path) -> Iterator[LoadedModel]:
    """Inside, the model as a saved adapter makes it, frozen, for the next adapter to be trained upon; then as before.

    With the next adapter switched off it is this model again, in whatever quantisation. Raises UserError for an adapter
    that is no plain LoRA.
    """
    saved = _plain(folder)
    base = loaded.base_fingerprint or loaded.fingerprint
    fingerprint = with_adapter(base, config=saved.config, tensors=saved.tensors)
    layers = {name.removesuffix(DOWN) for name in saved.tensors if name.endswith(DOWN)}
    with ExitStack() as held:
        for name in layers:
            factors = _factors(saved, name, device=loaded.device)
            module = loaded.core.get_submodule(name.removeprefix(PREFIX))
            held.callback(module.register_forward_hook(_Adding(*factors)).remove)
        held.enter_context(_replaced(loaded, saved))
        yield replace(loaded, fingerprint=fingerprint, base_fingerprint=fingerprint)


class _Adding(NamedTuple):
    """A hook that adds an adapter's change to what a linear layer puts out: down [r, I], up [O, r], with its scale."""

    down: Tensor
    up: Tensor

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        change = inputs[0].to(self.down.dtype) @ self.down.T @ self.up.T
        return output + change.to(output.dtype)


@contextmanager
def _replaced(loaded: LoadedModel, saved: Saved) -> Iterator[None]:
    """Inside, layers that the adapter holds whole are in the place of the base's."""
    whole = {name: tensor for name, tensor in saved.tensors.items() if not name.endswith((DOWN, UP))}
    own = {name: loaded.core.get_parameter(name.removeprefix(PREFIX)) for name in whole}
    before = {name: weight.detach().cpu().clone() for name, weight in own.items()}
    try:
        _fill(own, whole)
        yield
    finally:
        _fill(own, before)


@torch.no_grad()
def _fill(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, weight in weights.items():
        weight.copy_(values[name])


def _factors(saved: Saved, name: str, *, device: torch.device) -> tuple[Tensor, Tensor]:
    down, up = saved.tensors[f"{name}{DOWN}"], saved.tensors[f"{name}{UP}"]
    return down.to(device), (up * _scale(saved)).to(device)


def _scale(saved: Saved) -> float:
    return float(saved.config.lora_alpha) / float(saved.config.r)


def _plain(folder: Path) -> Saved:
    """An adapter that does what the formula says, in every layer alike."""
    saved = adapter_files.read(folder)
    other = [name for name in OTHER_WAYS if getattr(saved.config, name, None)]
    if other:
        raise UserError(f"{folder} is no plain LoRA ({other[0]}), so nothing can be stacked upon it; merge it")
    return saved
