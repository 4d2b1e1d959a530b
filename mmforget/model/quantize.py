"""4-bit and 8-bit loading through bitsandbytes: what is quantised, and where it cannot be.

The vision tower, the projector and the output head stay in full precision. Source: QLoRA (arXiv 2305.14314),
LLM.int8() (arXiv 2208.07339).
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
    )


def prepare_quantised(model: nn.Module) -> None:
    """Makes a freshly loaded bitsandbytes model give the same numbers in evaluation and training.

    On some CPUs bitsandbytes repacks a 4-bit weight for good the first time it is used without gradients; trained after
    that, the layers before it silently get no gradient. So that is switched off.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    if not any(isinstance(one, _Once) for one in logger.filters):
        logger.addFilter(_Once())


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
    stored = getattr(config, "quantization_config", None)
    if stored is not None:
        kind = stored.get("quant_method") if isinstance(stored, dict) else type(stored).__name__
        raise UserError(
            f"{flag}=True, but the weights of {spec.pretrained} are already quantised ({kind}); leave {flag} out"
        )
