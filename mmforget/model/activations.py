"""Reading and steering what a model's modules compute, and changing their weights for a while.

    layers = decoder_layers(loaded.core)
    with reading({"7": layers[7]}) as read:
        scored = score(loaded, encoded)
    slopes = gradients(scored.token_logprobs.sum(), read)["7"]

Modules are those of the bare model, `loaded.core`; with LoRA, a linear layer's output is that with its adapters. What
is read is what a forward pass computed there, laid out as the pass was: a packed one is one row, [1, N, H], and a
family with a forward of its own has one call for each sequence. It is differentiable where the pass was. Layers that
are computed again in the backward pass (gradient checkpointing) are read once, and steered both times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmforget.errors import UserError

Take = Callable[[str, Tensor], None]
Steer = Callable[[Tensor], Tensor]


def decoder_layers(core: Any) -> list[nn.Module]:
    """The language model's layers, first one first. Layer k puts out what Hugging Face calls `hidden_states[k + 1]`,
    but for the last, where that has gone through the final norm.

    Raises UserError for a model that has no such list.
    """
    return list(layer_list(core))


def layer_list(core: Any) -> nn.ModuleList:
    """The list of the language model's layers itself. Raises UserError for a model that has none."""
    wanted = int(core.config.get_text_config().num_hidden_layers)
    for module in core.get_decoder().modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise UserError(
        f"models of type '{core.config.model_type}' cannot be looked into layer by layer: none of their parts is a "
        f"list of the {wanted} layers that the configuration names"
    )


def layer_number(core: Any, layer: int | float) -> int:
    """The number of a decoder layer, of which a float names the share of all layers that lies below it."""
    if isinstance(layer, int):
        return layer
    num_layers = int(core.config.get_text_config().num_hidden_layers)
    # A share that is rounded down, as 0.29 * 100 is, must not lose a layer.
    return min(math.floor(round(layer * num_layers, 6)), num_layers - 1)


def num_first(core: Any, wanted: int | float) -> int:
    """How many of the first decoder layers are wanted, of which a float names a share, and at least one.

    Raises UserError for more than there are.
    """
    num_layers = len(layer_list(core))
    number = wanted if isinstance(wanted, int) else max(1, round(wanted * num_layers))
    if not 1 <= number <= num_layers:
        raise UserError(
            f"the first {number} layers are wanted, and the model has {num_layers}; give layers=1 to "
            f"layers={num_layers}"
        )
    return number


def require_layers(core: Any, layers: Iterable[int | float]) -> None:
    """Raises UserError where the model has no decoder layer of a number."""
    wanted = {layer_number(core, layer) for layer in layers}
    num_layers = len(decoder_layers(core)) if wanted else 0
    wrong = sorted(layer for layer in wanted if not -num_layers <= layer < num_layers)
    if wrong:
        raise UserError(f"layer {wrong[0]} is asked about, and the model has {num_layers}: 0 to {num_layers - 1}")


@contextmanager
def watching(modules: Mapping[str, nn.Module], *, take: Take, inputs: bool = False) -> Iterator[None]:
    """Inside, `take(name, tensor)` is told what a module puts out, or takes in, whenever the model computes it.

    Of several outputs or inputs it is the first. Raises TypeError in the forward pass where that is no tensor.
    """

    def told(name: str, found: Any) -> None:
        if not _is_repeating():
            take(name, _first(found, name=name))

    with ExitStack() as hooks:
        for name, module in modules.items():
            if inputs:
                hook = module.register_forward_pre_hook(_input_hook(name, told), with_kwargs=True)
            else:
                hook = module.register_forward_hook(_output_hook(name, told))
            hooks.callback(hook.remove)
        yield


@contextmanager
def reading(modules: Mapping[str, nn.Module], *, inputs: bool = False) -> Iterator[Mapping[str, list[Tensor]]]:
    """By name, what each module puts out or takes in, call by call; empty for a module that is not computed."""
    read: dict[str, list[Tensor]] = {name: [] for name in modules}
    with watching(modules, take=lambda name, found: read[name].append(found), inputs=inputs):
        yield read


def gradients(value: Tensor, read: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor | None]]:
    """The gradient of a scalar by everything that was read; None for what has no part in it."""
    every = [one for calls in read.values() for one in calls]
    found = iter(torch.autograd.grad(value, every, retain_graph=True, allow_unused=True))
    return {name: [next(found) for _ in calls] for name, calls in read.items()}


@contextmanager
def steering(functions: Mapping[nn.Module, Steer]) -> Iterator[None]:
    """Inside, each module puts out what its function makes of its output; of several outputs that is the first.

    With gradient checkpointing the backward pass belongs inside, too: it computes layers again. `reading` opened inside
    reads what was steered. Raises TypeError for an output of another shape.
    """
    with ExitStack() as hooks:
        for module, function in functions.items():
            hooks.callback(module.register_forward_hook(_steering_hook(function)).remove)
        yield


@contextmanager
def computing(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside, a module's forward is another function; hooks stay. Whatever stood in its place before comes back."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Inside, modules are in evaluation mode, without dropout; afterwards each is in whichever it was."""
    before = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, was_training in zip(modules, before, strict=True):
            module.train(was_training)


@contextmanager
def replaced(module: nn.Module, **weights: Tensor | None) -> Iterator[None]:
    """Inside, the module's parameters of these names hold these values, rounded to its dtype; then they are as before,
    bit by bit. None leaves one as it is.

    Raises UserError for weights that are quantised, ValueError for another shape.
    """
    new = {name: value for name, value in weights.items() if value is not None}
    before = _kept(module, new)
    try:
        overwrite(module, **new)
        # Inside, only what was before is kept, not what stands in the module now.
        del weights, new
        yield
    finally:
        overwrite(module, **before)


def _kept(module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU of what will be replaced."""
    before = {}
    for name, value in weights.items():
        parameter = module.get_parameter(name)
        if not parameter.is_floating_point():
            raise UserError("weights are replaced in full precision, and these are quantised; load the model without")
        if parameter.shape != value.shape:
            raise ValueError(f"{name} is {list(parameter.shape)}, and what should replace it {list(value.shape)}")
        before[name] = parameter.detach().cpu().clone()
    return before


@torch.no_grad()
def overwrite(module: nn.Module, **weights: Tensor | None) -> None:
    """Puts values in the place of the module's parameters of these names, for good; None leaves one as it is."""
    for name, value in weights.items():
        if value is not None:
            module.get_parameter(name).copy_(value)


def _output_hook(name: str, told: Callable[[str, Any], None]) -> Callable[[nn.Module, Any, Any], None]:
    return lambda _module, _inputs, output: told(name, output)


def _input_hook(name: str, told: Callable[[str, Any], None]) -> Callable[[nn.Module, Any, Any], None]:
    return lambda _module, args, named: told(name, args or tuple(named.values()))


def _steering_hook(function: Steer) -> Callable[[nn.Module, Any, Any], Any]:
    def steered(module: nn.Module, _inputs: Any, output: Any) -> Any:
        old = _first(output, name=type(module).__name__)
        new = function(old)
        if new.shape != old.shape:
            raise TypeError(f"{type(module).__name__} puts out {list(old.shape)}, steered it is {list(new.shape)}")
        return (new, *output[1:]) if isinstance(output, tuple) else new

    return steered


def _first(found: Any, *, name: str) -> Tensor:
    one = found[0] if isinstance(found, tuple) and found else found
    if not isinstance(one, Tensor):
        raise TypeError(f"{name} gives a {type(one).__name__}, not a tensor")
    return one


def _is_repeating() -> bool:
    """Whether a backward pass is under way, which computes what was not kept once more."""
    return torch._C._current_graph_task_id() != -1
