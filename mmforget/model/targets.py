"""Which layers a LoRA adapter reaches: what was asked for, by name or expression, looked up in the model."""

from __future__ import annotations

import re

from torch import nn

from mmforget.errors import UserError
from mmforget.model.loaded import LoadedModel


def targets(loaded: LoadedModel, *, wanted: tuple[str, ...] | str | None) -> str | list[str]:
    """The layers to adapt, as the family's expression or one by one.

    Raises UserError where nothing matches, or one of several names matches nothing.
    """
    linear = _linear_layers(loaded)
    if wanted is None:
        chosen = [name for name in linear if not _is_outside(loaded, name)]
        if chosen and all(re.fullmatch(loaded.family.LANGUAGE_TARGETS, name) for name in chosen):
            return loaded.family.LANGUAGE_TARGETS
    elif isinstance(wanted, str):
        chosen = [name for name in linear if _fullmatch(wanted, name)]
        if not re.search("vision|tower", wanted):
            chosen = [name for name in chosen if not _is_outside(loaded, name)]
    else:
        chosen = [name for name in linear if any(_is_named(loaded, name, wanted=one) for one in wanted)]
        _require_each(loaded, wanted, linear=linear)
    if not chosen:
        raise _nothing(loaded, wanted, linear=linear)
    return chosen


def _require_each(loaded: LoadedModel, wanted: tuple[str, ...], *, linear: list[str]) -> None:
    for one in wanted:
        if not any(_is_named(loaded, name, wanted=one) for name in linear):
            raise _nothing(loaded, one, linear=linear)


def _nothing(loaded: LoadedModel, wanted: tuple[str, ...] | str | None, *, linear: list[str]) -> UserError:
    ends = sorted({name.rsplit(".", 1)[-1] for name in linear if not _is_outside(loaded, name)})
    return UserError(f"LoRA target_modules {wanted} match no layer of the language model; it has {', '.join(ends)}")


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
