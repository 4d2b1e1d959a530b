"""A model that trains divided among processes (FSDP2): each holds a part of every weight, gradient and optimiser state.

A layer is put together when it computes and taken apart again. accelerate's own preparation is not used: it divides
nothing on the CPU, averages gradients where ours are summed, and leaves no way back to the whole model.
Source: PyTorch FSDP (arXiv 2304.11277) and its successor `torch.distributed.fsdp.fully_shard`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.model.loaded import LoadedModel


@contextmanager
def divided(module: nn.Module, *, loaded: LoadedModel) -> Iterator[None]:
    """Inside, the weights of `loaded`, which `module` holds, are divided, where the launcher asked for that.

    They may be looked at in `module.forward` alone. Afterwards they are whole again in every process, on the same
    device, and the model is an ordinary one; not so after an error, when the processes may not find together.
    """
    if not parallel.is_sharded():
        yield
        return
    before = [_as_is(part) for part in module.modules()]
    loaded.core.enable_input_require_grads()
    _divide(module, loaded=loaded)
    yield
    _join(module)
    for part in before:
        _restore(part)
    loaded.core.disable_input_require_grads()


def whole(tensor: Tensor) -> Tensor:
    """A weight put together from all processes, all of which have to ask; any other tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided_like(tensor: Tensor, *, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, divided as a weight is; all processes have to ask."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def reaching_all(loss: Tensor, *, module: nn.Module) -> Tensor:
    """The loss with nothing added, from every weight that is put together with the whole module; call it in `forward`.

    The processes exchange gradients of the weights that have one: without images, a projector has none, which would
    leave the others waiting.
    """
    if not parallel.is_sharded():
        return loss
    used = [weight for weight in module.parameters() if weight.requires_grad and not isinstance(weight, DTensor)]
    return loss + sum(0 * weight.sum() for weight in used)


def save_whole_states(optimizer: torch.optim.Optimizer) -> None:
    """Lets an optimiser's state be saved whole and loaded into parts, so that a checkpoint fits any launch."""
    optimizer.register_state_dict_post_hook(_with_whole_states)
    optimizer.register_load_state_dict_pre_hook(_with_divided_states)


def _with_whole_states(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    return {**saved, "state": {index: _mapped(state, whole) for index, state in saved["state"].items()}}


def _with_divided_states(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return {
        **saved,
        "state": {
            index: _mapped(state, lambda value, like=weights[index]: divided_like(value, like=like))
            for index, state in saved["state"].items()
        },
    }


def _mapped(state: Mapping[str, Any], change: Any) -> dict[str, Any]:
    return {name: change(value) if isinstance(value, Tensor) else value for name, value in state.items()}


def _divide(module: nn.Module, *, loaded: LoadedModel) -> None:
    """Each layer of the language model is put together by itself, everything else together with the whole."""
    if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
        raise UserError(f"FSDP needs torch 2.9 or newer, and this is {torch.__version__}; launch with configs/ddp.yaml")
    mesh = init_device_mesh(loaded.device.type, (parallel.world_size(),))
    shared: dict[str, Any] = {"mesh": mesh, "ignored_params": _undivided(module, loaded=loaded)}
    reshards = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false"
    for layer in _layers(loaded):
        fully_shard(layer, reshard_after_forward=reshards, **shared)
    fully_shard(module, **shared)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            # What each process computes is its share of one gradient: a sum, see `shares.py`.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)


def _undivided(module: nn.Module, *, loaded: LoadedModel) -> set[nn.Parameter]:
    """Weights that every process keeps whole: packed ones, bytes with a state of their own, and a frozen tower's."""
    towers = (weight for tower in loaded.family.tower_parts(loaded.core) for weight in tower.parameters())
    packed = (weight for weight in module.parameters() if not weight.is_floating_point())
    return {weight for weight in towers if not weight.requires_grad} | set(packed)


def _layers(loaded: LoadedModel) -> list[nn.Module]:
    """The layers of the language model; none where a process may run them more often than another does."""
    if loaded.family.OWN_FORWARD:
        return []
    outside = {id(part) for tower in loaded.family.tower_parts(loaded.core) for part in tower.modules()}
    found: list[nn.Module] = []
    for part in loaded.family.language_parts(loaded.core):
        for stack in part.modules():
            if isinstance(stack, nn.ModuleList) and not {id(stack), *map(id, found)} & outside:
                found += [layer for layer in stack if id(layer) not in outside]
                outside |= {id(inner) for inner in stack.modules()}
    return found


def _join(module: nn.Module) -> None:
    """Makes every weight whole again, where it stands."""
    made: dict[Tensor, nn.Parameter] = {}
    for part in module.modules():
        if isinstance(part, FSDPModule):
            # A training that ends before its backward pass leaves weights put together.
            part.reshard()
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if isinstance(weight, DTensor) and weight not in made:
                made[weight] = nn.Parameter(whole(weight.detach()), requires_grad=weight.requires_grad)
            if weight in made:
                part.register_parameter(name, made[weight])


class _AsIs(NamedTuple):
    """A module before it is divided: its class, the names of its attributes, its hooks."""

    module: nn.Module
    kind: type[nn.Module]
    names: frozenset[str]
    hooks: dict[str, Any]


def _as_is(module: nn.Module) -> _AsIs:
    hooks = {name: value.copy() for name, value in vars(module).items() if name.endswith(("_hooks", "_with_kwargs"))}
    return _AsIs(module, type(module), frozenset(vars(module)), hooks)


def _restore(before: _AsIs) -> None:
    module = before.module
    module.__class__ = before.kind
    for name in vars(module).keys() - before.names:
        delattr(module, name)
    vars(module).update(before.hooks)
