"""4-bit and 8-bit loading through bitsandbytes: what is quantised, and where it cannot be.

The vision tower, the projector and the output head stay in full precision. Source: QLoRA (arXiv 2305.14314),
LLM.int8() (arXiv 2208.07339), of which the mixed precision is left out: a column in which any row of a batch has a
large activation would leave int8 for all of them, and scores would depend on what else is asked.
"""

from __future__ import annotations

import logging
from importlib import metadata, util
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmforget.errors import UserError

if TYPE_CHECKING:
    from mmforget.model.families import Family
    from mmforget.model.spec import ModelSpec

PACKED = {"Params4bit": "4bit", "Int8Params": "8bit"}
"""Parameters of bitsandbytes by the name of their class, and how they are packed."""
DEVICES = ("cuda", "cpu", "xpu", "hpu", "npu")


def quantisation_config(spec: ModelSpec, *, family: Family, config: Any, dtype: torch.dtype) -> Any | None:
    """A `BitsAndBytesConfig`, or None where nothing is to be quantised.

    Raises UserError where the device, the packages or the checkpoint do not allow it.
    """
    if not spec.is_quantised:
        return None
    _check(spec, config=config)
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=spec.load_in_4bit,
        load_in_8bit=spec.load_in_8bit,
        bnb_4bit_quant_type=spec.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=spec.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(family.KEEP_PRECISE),
        llm_int8_threshold=0.0,
    )


def stored_quantisation(config: Any) -> str | None:
    """How a configuration says that the weights on disk are packed, e.g. `bitsandbytes` or `gptq`; None: not at all."""
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return None
    kind = stored.get("quant_method") if isinstance(stored, dict) else getattr(stored, "quant_method", None)
    return str(getattr(kind, "value", None) or kind or "in an unknown way")


def quantisation_of(model: nn.Module) -> str | None:
    """How a model's weights are packed: `4bit-nf4`, `4bit-fp4`, `8bit` or another method's name; None: not at all.

    Read off the weights themselves, since a folder can hold packed ones and be loaded without any flag.
    """
    weight: Any
    for weight in model.parameters():
        kind = PACKED.get(type(weight).__name__)
        if kind is not None:
            return f"{kind}-{weight.quant_type}" if kind == "4bit" else kind
    stored = stored_quantisation(getattr(model, "config", None))
    return stored or ("packed" if any(not weight.is_floating_point() for weight in model.parameters()) else None)


def packed_parts(core: Any, *, family: Family) -> list[str]:
    """Which of vision tower, projector and output head hold packed weights, which `quantisation_config` leaves out."""
    parts: dict[str, list[Any]] = {
        "vision tower": family.tower_parts(core),
        "projector": [family.projector(core)],
        "output head": [core.get_output_embeddings()],
    }
    return [
        name
        for name, modules in parts.items()
        if any(type(weight).__name__ in PACKED for module in modules if module for weight in module.parameters())
    ]


def prepare_quantised(model: nn.Module) -> None:
    """Makes a freshly loaded bitsandbytes model give the same numbers in evaluation and training, and in any batch.

    On some CPUs bitsandbytes repacks a 4-bit weight for good the first time it is used without gradients; trained after
    that, the layers before it silently get no gradient. So that is switched off. On a CPU it also rounds activations to
    8 bits in evaluation mode only, where noise in their last bits can move a whole step: they are never rounded there.
    And a folder saved in 8 bit brings its threshold of mixed precision along.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
        if type(module).__name__ == "Linear8bitLt":
            module.state.threshold = 0.0
            module.register_forward_pre_hook(_as_in_training)
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    if not any(isinstance(one, _Once) for one in logger.filters):
        logger.addFilter(_Once())


def _as_in_training(module: nn.Module, inputs: Any) -> None:
    module.training = True


class _Once(logging.Filter):
    """Lets every message through one time: bitsandbytes repeats the same one for every layer and step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = message not in self.seen
        self.seen.add(message)
        return is_new


def _check(spec: ModelSpec, *, config: Any) -> None:
    flag = "load_in_4bit" if spec.load_in_4bit else "load_in_8bit"
    if util.find_spec("bitsandbytes") is None:
        raise UserError(f"{flag}=True needs the package bitsandbytes, which is not installed; pip install bitsandbytes")
    device = spec.target_device().type
    if device not in DEVICES:
        version = metadata.version("bitsandbytes")
        raise UserError(
            f"{flag}=True cannot be used on device '{device}': bitsandbytes {version} has no kernels for it; "
            f"use one of {', '.join(DEVICES)}, or leave {flag} out"
        )
    stored = stored_quantisation(config)
    if stored is not None:
        raise UserError(
            f"{flag}=True, but the weights of {spec.pretrained} are already quantised ({stored}); leave {flag} out"
        )
