"""Which model to load and how: the model arguments people type, parsed and checked before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

import torch

from mmforget import parallel
from mmforget.arguments import arguments_in
from mmforget.errors import UnknownName, UserError

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class ModelSpec:
    """A model to load, as `--model_args` and `--device` name it.

    Attributes:
        pretrained: a local folder or a Hugging Face hub id.
        revision: branch, tag or commit on the hub.
        peft: folder or hub id of an adapter to put on top.
        merge_peft: fold that adapter into the weights, so that "adapters off" still is the model as loaded.
        dtype: `auto` (as stored), float32, bfloat16 or float16.
        device: where to put it, e.g. `cpu` or `cuda:0`; None takes a GPU where there is one.
        device_map: instead of `device`, how accelerate spreads the layers, e.g. `auto`.
        guard: folder of a guard to put before it.
    """

    pretrained: str
    revision: str | None = None
    peft: str | None = None
    dtype: str = "auto"
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    bnb_4bit_quant_type: str = "nf4"
    bnb_4bit_use_double_quant: bool = True
    attn_implementation: str | None = None
    device_map: str | None = None
    device: str | None = None
    trust_remote_code: bool = False
    merge_peft: bool = False
    guard: str | None = None

    def __post_init__(self) -> None:
        if not self.pretrained:
            raise UserError("no model named; give --model_args pretrained=FOLDER_OR_HUB_ID")
        for name in ("pretrained", "peft", "guard"):
            object.__setattr__(self, name, _expanded(getattr(self, name)))
        _known("dtype", self.dtype, known=("auto", *DTYPES))
        _known("bnb_4bit_quant_type", self.bnb_4bit_quant_type, known=("nf4", "fp4"))
        if self.attn_implementation is not None:
            _known("attn_implementation", self.attn_implementation, known=ATTENTION)
        if self.load_in_4bit and self.load_in_8bit:
            raise UserError("load_in_4bit and load_in_8bit exclude each other; give one of them")
        if self.merge_peft and self.peft is None:
            raise UserError("merge_peft=True merges an adapter, but none is named; add peft=FOLDER or leave it out")
        if self.device_map is not None and self.device is not None:
            raise UserError(
                f"device_map={self.device_map} and device {self.device} exclude each other; give one of them"
            )
        if self.device_map is not None and parallel.world_size() > 1:
            raise UserError(
                f"device_map={self.device_map} spreads one model over the devices that {parallel.world_size()} "
                "processes have one each of; leave it out, or start one process"
            )

    @classmethod
    def parse(cls, text: str, *, device: str | None = None) -> ModelSpec:
        """Reads `pretrained=DIR,load_in_4bit=True` or a JSON object.

        Raises UnknownName for an argument that does not exist.
        """
        return cls.from_mapping(arguments_in(text, owner="--model_args"), device=device)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, device: str | None = None) -> ModelSpec:
        """The same from a mapping whose values may be text."""
        known = {field.name: field.type for field in fields(cls)}
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise UnknownName("model argument", name=name, known=known)
            given[name] = boolean(name, value) if known[name] == "bool" else _text(value)
        if device is not None and given.get("device") is None and given.get("device_map") is None:
            given["device"] = device
        return cls(**{"pretrained": "", **given})

    def as_text(self) -> str:
        """The spec as `--model_args` takes it; what is as usual is left out."""
        return ",".join(f"{one.name}={getattr(self, one.name)}" for one in fields(self) if self._is_given(one))

    def _is_given(self, field: Field[Any]) -> bool:
        return bool(getattr(self, field.name) != field.default)

    @property
    def is_quantised(self) -> bool:
        """Whether weights are to be quantised while they load; `LoadedModel.quantisation` says what they are."""
        return self.load_in_4bit or self.load_in_8bit

    @property
    def has_unmerged_adapter(self) -> bool:
        return self.peft is not None and not self.merge_peft

    def target_device(self) -> torch.device:
        """The device asked for, or the best there is; of several processes, each its own.

        Raises UserError where torch cannot use it, and for one device that several processes would share.
        """
        own = parallel.device()
        if self.device is None:
            return own or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise UserError(f"device '{self.device}' does not exist; use cpu, cuda, cuda:0, mps, ...") from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise UserError(
                f"device '{self.device}' was asked for, but torch finds no CUDA device here; use --device cpu"
            )
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise UserError(
                f"device '{self.device}' does not exist; there are {torch.cuda.device_count()} CUDA devices"
            )
        if device.type == "cuda" and own is not None:
            if ":" in self.device:
                raise UserError(
                    f"device '{self.device}' was asked for by {parallel.world_size()} processes, which take one each; "
                    "leave --device out, and choose among GPUs with CUDA_VISIBLE_DEVICES"
                )
            return own
        return device


def boolean(name: str, value: Any) -> bool:
    """A model argument that is True or False, perhaps as text. Raises UserError for any other value."""
    text = str(value).lower()
    if text not in TRUE + FALSE:
        raise UserError(f"model argument {name}={value} is neither True nor False; give one of them")
    return text in TRUE


def _known(name: str, value: str, *, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UnknownName(name, name=value, known=known)


def _expanded(place: str | None) -> str | None:
    """A folder whose `~` stands for the user's own; anything else as it is."""
    return os.path.expanduser(place) if place is not None else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
