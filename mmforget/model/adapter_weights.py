"""Tensors of a saved adapter put into the model: also those that replace weights of the base, embeddings and biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from mmforget.errors import UserError, one_line
from mmforget.model.adapter_files import begins_by_changing_the_base
from mmforget.model.adapter_names import PREFIX
from mmforget.model.loaded import ADAPTER, LoadedModel

INITIAL = "initialisation"


def put_on(core: Any, config: Any, *, as_named: bool) -> Any:
    """A `PeftModel` around a model, with fresh layers.

    Args:
        as_named: names mean what they say. Else PEFT takes `gate_proj`, `up_proj`, `down_proj` and `gate` of some
            mixtures of experts for those of transformers 4: of experts and router, even where a shared expert's are
            spelled out.
    """
    from peft import get_peft_model
    from peft.utils import transformers_weight_conversion as conversion

    if not as_named:
        return get_peft_model(core, config, adapter_name=ADAPTER)
    convert = conversion.convert_peft_config_for_transformers
    conversion.convert_peft_config_for_transformers = lambda *args, **kwargs: None
    try:
        return get_peft_model(core, config, adapter_name=ADAPTER)
    finally:
        conversion.convert_peft_config_for_transformers = convert


def embedding_names(core: Any) -> set[str]:
    """Names, as in an adapter's file, of the weights of input embeddings and output head as the model has them now."""
    layers = [layer for layer in (core.get_input_embeddings(), core.get_output_embeddings()) if layer is not None]
    found = set()
    for name, module in core.named_modules():
        if any(module is layer for layer in layers):
            inner = f"{name}.base_layer" if hasattr(module, "base_layer") else name
            found |= {f"{PREFIX}{inner}.weight", f"{PREFIX}{inner}.bias"}
    return found


def enlarge_vocabulary(core: Any, tensors: Mapping[str, Tensor]) -> int | None:
    """Gives the model as many token embeddings as the adapter has, where those are more.

    Returns how many there were, for `core.resize_token_embeddings`, or None where nothing was changed.
    """
    num_rows = int(core.get_input_embeddings().weight.shape[0])
    names = {name.removeprefix(PREFIX): name for name in tensors}
    wanted = num_rows
    for name in embedding_names(core):
        place, _, rest = name.removeprefix(PREFIX).rpartition(".")
        for spelling in (f"{place}.{rest}", f"{place}.base_layer.{rest}"):
            if rest == "weight" and spelling in names:
                wanted = max(wanted, len(tensors[names[spelling]]))
    if wanted == num_rows:
        return None
    core.resize_token_embeddings(wanted, mean_resizing=False)
    return num_rows


def translated(model: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names of today, as far as PEFT knows them, e.g. of experts that have become one weight.

    Raises UserError for tensors that PEFT cannot put together.
    """
    from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers

    try:
        found = convert_peft_adapter_state_dict_for_transformers(
            model=model,
            peft_config=model.peft_config[ADAPTER],
            adapter_state_dict=dict(tensors),
            adapter_name=ADAPTER,
        )
    except (ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"its tensors cannot be put together for this version: {one_line(error)}") from error
    return _as_the_embeddings_are(model.get_base_model(), found)


def _as_the_embeddings_are(core: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Embeddings saved whole, with or without `base_layer` in their name as the model has it now."""
    now = {name.replace(".base_layer.", "."): name for name in embedding_names(core)}
    return {
        name if name in now.values() else now.get(name.replace(".base_layer.", "."), name): tensor
        for name, tensor in tensors.items()
    }


def fill(fitted: LoadedModel, tensors: Mapping[str, Tensor], *, embeddings: set[str]) -> LoadedModel:
    """Puts all tensors in place; the model then knows which weights of the base they have replaced."""
    from peft import set_peft_model_state_dict

    config = fitted.model.peft_config[ADAPTER]
    set_peft_model_state_dict(fitted.model, dict(tensors), adapter_name=ADAPTER)
    replaced = set(embeddings)
    if getattr(config, "bias", "none") != "none":
        replaced |= {name for name in tensors if name.endswith(".bias")}
    if begins_by_changing_the_base(config):
        replaced.add(INITIAL)
    return replace(fitted, replaced=frozenset(replaced))
