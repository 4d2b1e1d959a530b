"""An adapter's files in PEFT's layout: read and checked, written whole, with a note of what base they were made on."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from mmforget.errors import UserError, one_line, shortened
from mmforget.model.folder import blamed, check_folder, document
from mmforget.results.files import prepare_folder, write_bytes, write_json, write_text

WEIGHTS, CONFIG, NOTE = "adapter_model.safetensors", "adapter_config.json", "base.json"
MUTATING = ("pissa", "olora", "corda", "loftq")
"""Ways to begin a LoRA that change the weights of the base, so that switched off it is not the base."""
OWN_PASS = frozenset({"XLORA", "POLY", "ADAPTION_PROMPT"})
"""Kinds of adapters that act in the forward pass of PEFT's own model, which scoring does not go through."""
IMPORTING = ("megatron_config",)
"""Settings that make PEFT import the package that the adapter names."""
NUM_SHOWN = 3
CARD = """---
base_model: {base}
library_name: peft
---

An adapter of {base} ({quantisation}), saved by mmforget. Load it on that base, in the same precision:

```python
import mmforget

loaded = mmforget.load_model(mmforget.ModelSpec.parse("pretrained=BASE,peft=FOLDER{flags}"))
```
"""


class Note(NamedTuple):
    """What an adapter was made on.

    Attributes:
        base: name or hub id of the base, never a path.
        quantisation: as `LoadedModel.quantisation`; None in full precision.
    """

    base: str
    quantisation: str | None


class Saved(NamedTuple):
    """An adapter as it lies on disk; `note` is None where whoever saved it left none."""

    folder: Path
    config: Any
    tensors: Mapping[str, Tensor]
    note: Note | None


def read(folder: Path) -> Saved:
    """Reads an adapter from a folder or from the hub. Raises UserError naming what is missing or damaged."""
    place = _adapter_folder(folder)
    check_folder(place)
    saved = Saved(place, _read_config(place), _read_tensors(place / WEIGHTS), _read_note(place / NOTE))
    _check_ranks(saved)
    return saved


def fault(folder: Path, error: Exception) -> str:
    """What to say where PEFT falls over an adapter."""
    return f"{folder / CONFIG} asks for what cannot be ({type(error).__name__}: {one_line(error)[:300]})"


def write(folder: Path, *, config: Any, tensors: Mapping[str, Tensor], note: Note) -> Path:
    """Writes an adapter that PEFT loads; each file is whole or not there, the tensors come last.

    Raises UserError where the folder cannot be written or the disk is full.
    """
    from safetensors.torch import save

    prepare_folder(folder)
    flags = loading_flags(note.quantisation)
    described = note.quantisation or "full precision"
    write_text(folder / "README.md", CARD.format(base=note.base, quantisation=described, flags=flags and f",{flags}"))
    write_json(folder / NOTE, note._asdict())
    write_json(folder / CONFIG, configuration(config) | {"base_model_name_or_path": note.base})
    # Tensors that share memory are written one by one.
    whole = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_bytes(folder / WEIGHTS, save(whole, metadata={"format": "pt"}))
    return folder


def loading_flags(quantisation: str | None) -> str:
    """The model arguments that load a base so; empty in full precision, and for what is on disk like that."""
    kind = quantisation or ""
    if kind.startswith("4bit"):
        return "load_in_4bit=True" + (f",bnb_4bit_quant_type={kind[5:]}" if kind != "4bit-nf4" else "")
    return "load_in_8bit=True" if kind == "8bit" else ""


def configuration(config: Any) -> dict[str, Any]:
    """A PEFT configuration as plain JSON values; sets are sorted."""
    plain: dict[str, Any] = json.loads(json.dumps(config.to_dict(), default=_plain))
    return plain | {"inference_mode": True}


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return getattr(value, "value", str(value))


def begins_by_changing_the_base(config: Any) -> bool:
    """Whether putting this adapter on changes the base's own weights."""
    return str(getattr(config, "init_lora_weights", "")).lower().startswith(MUTATING)


def _adapter_folder(folder: Path) -> Path:
    """The folder itself or, for a hub id, its snapshot in the Hugging Face cache."""
    folder = folder.expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    name = folder.as_posix()
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(f"there is no adapter folder {folder} (peft=); check the path")
    try:
        return Path(snapshot_download(name, allow_patterns=[WEIGHTS, CONFIG]))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name} (peft=) is neither a local folder nor an adapter that the hub gives here: {error}"
        ) from error


def _read_config(folder: Path) -> Any:
    from peft import PeftConfig, PeftType

    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no {CONFIG}, so it is no adapter; name the folder that save_adapter wrote")
    values = document(path)
    kinds = [kind.value for kind in PeftType]
    if values.get("peft_type") not in kinds:
        raise UserError(
            f"{path} is not a readable PEFT configuration: peft_type is {shortened(values.get('peft_type'))}; known: "
            f"{', '.join(kinds)}"
        )
    for name in IMPORTING:
        if values.get(name):
            raise UserError(
                f"{path}: {name} is {shortened(values[name])}, which asks PEFT to import another package; remove it if "
                "the adapter works without"
            )
    try:
        config: Any = PeftConfig.from_pretrained(folder)
    # A configuration is not checked by PEFT: a wrong value falls over whatever comes first.
    except Exception as error:
        where = blamed(folder, files=[CONFIG], attempt=PeftConfig.from_pretrained) or CONFIG
        raise UserError(
            f"{path} is not a readable PEFT configuration: {where} ({type(error).__name__}: {one_line(error)[:200]}); "
            "save the adapter again"
        ) from error
    _check_types(config, path=path)
    if config.is_prompt_learning:
        raise UserError(f"{folder} holds learned prompts ({config.peft_type}), not changed layers; use a LoRA adapter")
    kind = str(config.peft_type.value)
    if kind in OWN_PASS or getattr(config, "alora_invocation_tokens", None):
        raise UserError(
            f"{folder} holds an adapter ({kind}) that acts on some tokens or tasks alone, which scoring does not "
            "follow; use a LoRA adapter"
        )
    # Where the base lay when the adapter was saved is of no use, and PEFT would warn that it has another name now.
    config.base_model_name_or_path = None
    return config


def _check_types(config: Any, *, path: Path) -> None:
    """Raises UserError for a value of another kind than PEFT declares, and for numbers that are none."""
    kinds = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == field.default or _is_a(value, kinds[field.name]):
            continue
        wanted = str(field.type).replace("typing.", "")
        raise UserError(f"{path}: {field.name} is {shortened(value)}; PEFT takes {wanted}; save the adapter again")


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value from JSON is of a declared kind; what JSON cannot hold is not looked at."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(_is_a(value, one) for one in get_args(kind))
    if origin is Literal:
        return isinstance(value, tuple({type(one) for one in get_args(kind)}))
    if kind in (int, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if origin in (list, tuple, set):
        return isinstance(value, list | tuple | set) and all(_is_a(one, get_args(kind)[0]) for one in value)
    if origin is dict or kind is dict:
        return isinstance(value, dict)
    if kind in (bool, str, NoneType):
        return isinstance(value, kind)
    return True


def _check_ranks(saved: Saved) -> None:
    """Raises UserError for a rank that no tensor has: layers of that size would be made before they are compared."""
    largest = max((max(tensor.shape, default=1) for tensor in saved.tensors.values()), default=0)
    pattern = getattr(saved.config, "rank_pattern", None) or {}
    for rank in (getattr(saved.config, "r", 0), *pattern.values()):
        if not isinstance(rank, int) or not 0 <= rank <= largest:
            raise UserError(
                f"{saved.folder / CONFIG} has the rank {shortened(rank)}, but no tensor of {WEIGHTS} has more than "
                f"{largest} rows or columns; save the adapter again"
            )


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; only adapters saved as safetensors are loaded") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); save the adapter again") from error
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise UserError(
            f"{path} holds weights that are not finite ({broken[0]} and {len(broken) - 1} more); train again"
        )
    return tensors


def _read_note(path: Path) -> Note | None:
    if not path.is_file():
        return None
    values = document(path)
    base, quantisation = values.get("base"), values.get("quantisation", "missing")
    if values.keys() != {"base", "quantisation"} or not isinstance(base, str) or not _is_a(quantisation, str | None):
        raise UserError(f"{path} holds {shortened(values)}, not what the adapter was made on; delete it")
    return Note(base, quantisation)


def misfits(wanted: Mapping[str, Tensor], *, found: Mapping[str, Tensor]) -> list[str]:
    """What keeps an adapter's tensors from fitting, each with a few names."""
    shapes = [
        f"{name} is {tuple(found[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name].shape != wanted[name].shape
    ]
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    faults = []
    if shapes:
        faults.append(f"{len(shapes)} tensors of another shape ({', '.join(shapes[:NUM_SHOWN])})")
    if missing:
        faults.append(f"{len(missing)} tensors missing ({', '.join(missing[:NUM_SHOWN])})")
    if extra:
        faults.append(f"{len(extra)} tensors for layers that are not there ({', '.join(extra[:NUM_SHOWN])})")
    return faults
