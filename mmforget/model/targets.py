"""Which layers a LoRA adapter reaches: what was asked for, by name or expression, looked up in the model."""

from __future__ import annotations

import re
from typing import NamedTuple

from torch import nn

from mmforget.errors import UserError
from mmforget.model.experts import FUSED, OLDER, Experts, find_experts
from mmforget.model.loaded import LoadedModel


class Targets(NamedTuple):
    """What LoRA is put on.

    Attributes:
        modules: linear layers, as the family's expression or one by one.
        parameters: weights of routed experts, which are no layers, one by one.
    """

    modules: str | list[str]
    parameters: list[str]


def targets(loaded: LoadedModel, *, wanted: tuple[str, ...] | str | None) -> Targets:
    """The layers to adapt: of every family the same parts for the same request.

    None is all attention and feed-forward projections of the language model, shared experts included. Routed experts
    are reached where they are named, as `gate_proj` and `up_proj`, `down_proj`, or by a whole name; routers never.

    Raises UserError where nothing matches, one of several names matches nothing, or an expert's half alone is named.
    """
    experts = find_experts(loaded.core)
    linear = [name for name in _linear_layers(loaded) if name not in experts.routers]
    if wanted is None:
        chosen = [name for name in linear if not _is_outside(loaded, name)]
        if chosen and all(re.fullmatch(loaded.family.LANGUAGE_TARGETS, name) for name in chosen):
            return Targets(loaded.family.LANGUAGE_TARGETS, [])
        parameters = []
    elif isinstance(wanted, str):
        chosen = [name for name in linear if _fullmatch(wanted, name)]
        if not re.search("vision|tower", wanted):
            chosen = [name for name in chosen if not _is_outside(loaded, name)]
        parameters = [name for name in experts.parameters if _fullmatch(wanted, name)]
    else:
        names = {one: [name for name in linear if _is_named(loaded, name, wanted=one)] for one in wanted}
        parameters = _expert_parameters(experts, wanted=wanted)
        for one, found in names.items():
            if not found and not any(_is_in(name, wanted=one) for name in parameters):
                raise _nothing(loaded, one, linear=linear, experts=experts)
        chosen = [name for name in linear if any(name in found for found in names.values())]
    if not chosen and not parameters:
        raise _nothing(loaded, wanted, linear=linear, experts=experts)
    return Targets(chosen, parameters)


def _expert_parameters(experts: Experts, *, wanted: tuple[str, ...]) -> list[str]:
    """Experts' weights that are named; of a gate and an up projection in one weight, both have to be."""
    given = {OLDER.get(one, one) for one in wanted}
    found = []
    for name in experts.parameters:
        leaf = name.rpartition(".")[2]
        halves = set(FUSED.get(leaf, ()))
        if any(name == one or name.endswith(f".{one}") for one in wanted) or (halves and halves <= given):
            found.append(name)
        elif halves & given:
            raise UserError(
                f"LoRA target_modules {', '.join(sorted(halves & given))}: the experts ({name}) hold "
                f"{' and '.join(sorted(halves))} as one weight; name both, or neither"
            )
    return found


def _is_in(parameter: str, *, wanted: str) -> bool:
    """Whether an expert's weight is what a name asks for, or holds it."""
    return parameter.endswith(wanted) or OLDER.get(wanted, wanted) in FUSED.get(parameter.rpartition(".")[2], ())


def _nothing(
    loaded: LoadedModel, wanted: tuple[str, ...] | str | None, *, linear: list[str], experts: Experts
) -> UserError:
    if any(isinstance(wanted, str) and (name == wanted or name.endswith(f".{wanted}")) for name in experts.routers):
        return UserError(f"LoRA target_modules {wanted}: routers are not adapted; leave {wanted} out")
    ends = {name.rsplit(".", 1)[-1] for name in linear if not _is_outside(loaded, name)}
    ends |= {name.rsplit(".", 1)[-1] for name in experts.parameters}
    return UserError(
        f"LoRA target_modules {wanted} match no layer of the language model; it has {', '.join(sorted(ends))}"
    )


def _linear_layers(loaded: LoadedModel) -> list[str]:
    head = loaded.core.get_output_embeddings()
    return [name for name, module in loaded.core.named_modules() if _is_linear(module) and module is not head]


def _is_linear(module: nn.Module) -> bool:
    # Quantised layers are subclasses; GPT-2 writes its projections as Conv1D.
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _is_outside(loaded: LoadedModel, name: str) -> bool:
    """Whether a layer is no part of the language model, but of the vision tower or the projector."""
    layer = loaded.core.get_submodule(name)
    return not any(layer is inner for part in loaded.family.language_parts(loaded.core) for inner in part.modules())


def _is_named(loaded: LoadedModel, name: str, *, wanted: str) -> bool:
    if name != wanted and not name.endswith(f".{wanted}"):
        return False
    return re.search("vision|tower", wanted) is not None or not _is_outside(loaded, name)


def _fullmatch(pattern: str, name: str) -> bool:
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as error:
        raise UserError(f"LoRA target_modules '{pattern}' is not a regular expression: {error}") from error
