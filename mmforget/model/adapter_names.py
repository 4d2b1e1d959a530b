"""Adapters that were saved under the names an older transformers gave to the model's parts.

`language_model.model.layers` of LLaVA and `model.layers` of Qwen2-VL are `model.language_model.layers` since 4.52. How
names have changed is for transformers to say (`conversion_mapping`); where PEFT translates by itself, e.g. the experts
of Mixtral, nothing is done here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

PREFIX = "base_model.model."


class Named(NamedTuple):
    """An adapter's PEFT configuration and its tensors, under matching names."""

    config: Any
    tensors: Mapping[str, Tensor]


class _Key(NamedTuple):
    """A tensor's name in two parts: the module it belongs to, and the rest, e.g. `lora_A.weight`."""

    module: str
    rest: str
    is_adapter: bool


def renamed(core: nn.Module, saved: Named) -> Named | None:
    """The same adapter under the names that the parts of `core` have now; None where that changes nothing.

    Layers are then named one by one, each with its own rank and scale: what a pattern says of old names is looked up
    under the old name.
    """
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    marks = PEFT_TYPE_TO_PREFIX_MAPPING[saved.config.peft_type]
    keys = {name: _split(name, marks=marks) for name in saved.tensors}
    modules = {name for name, _ in core.named_modules()}
    places = _places({key.module for key in keys.values()}, core=core, modules=modules)
    tensors = {f"{PREFIX}{places[key.module]}.{key.rest}": saved.tensors[name] for name, key in keys.items()}
    if tensors.keys() == saved.tensors.keys():
        return None
    config = copy.deepcopy(saved.config)
    adapted = {key.module for key in keys.values() if key.is_adapter}
    if str(config.peft_type.value) == "LORA" and {places[module] for module in adapted} <= modules:
        _retarget(config, adapted=adapted, places=places)
    if getattr(config, "modules_to_save", None):
        config.modules_to_save = [_whole(name, core=core, modules=modules) for name in config.modules_to_save]
    return Named(config, tensors)


def _split(name: str, *, marks: str) -> _Key:
    name = name.removeprefix(PREFIX)
    found = re.fullmatch(rf"(.+?)\.({re.escape(marks)}.*)", name)
    if found is not None:
        return _Key(found[1], found[2], is_adapter=True)
    module, _, rest = name.rpartition(".")
    if module.endswith(".base_layer"):
        return _Key(module.removesuffix(".base_layer"), f"base_layer.{rest}", is_adapter=False)
    return _Key(module, rest, is_adapter=False)


def _places(names: Iterable[str], *, core: nn.Module, modules: set[str]) -> dict[str, str]:
    """Where each module is now; its old name where that is not known."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    steps = [one for one in get_model_conversion_mapping(core) if isinstance(one, WeightRenaming)]
    found = {}
    for name in names:
        now = rename_source_key(f"{name}.weight", steps, [])[0].removesuffix(".weight")
        found[name] = now if name not in modules and now in modules else name
    return found


def _whole(name: str, *, core: nn.Module, modules: set[str]) -> str:
    """A module that is saved whole, by its name or the end of it."""
    if any(module == name or module.endswith(f".{name}") for module in modules):
        return name
    return _places([name], core=core, modules=modules)[name]


def _retarget(config: Any, *, adapted: set[str], places: Mapping[str, str]) -> None:
    """Names the adapted layers one by one."""
    from peft.utils.other import get_pattern_key

    for field in ("rank_pattern", "alpha_pattern"):
        pattern = getattr(config, field) or {}
        matched = {module: get_pattern_key(list(pattern), module) for module in sorted(adapted)}
        values = {re.escape(places[module]): pattern[key] for module, key in matched.items() if key in pattern}
        setattr(config, field, values)
    config.target_modules = {places[module] for module in adapted}
    config.layers_to_transform = config.layers_pattern = config.exclude_modules = None
