"""An adapter's files in PEFT's layout: read and checked, written whole, with a note of what base they were made on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mmforget.errors import UserError
from mmforget.results.files import prepare_folder, read_json, write_bytes, write_json, write_text

WEIGHTS, CONFIG, NOTE = "adapter_model.safetensors", "adapter_config.json", "base.json"
MUTATING = ("pissa", "olora", "corda", "loftq")
"""Ways to begin a LoRA that change the weights of the base, so that switched off it is not the base."""
OWN_PASS = frozenset({"XLORA", "POLY", "ADAPTION_PROMPT"})
"""Kinds of adapters that act in the forward pass of PEFT's own model, which scoring does not go through."""
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
    return Saved(place, _read_config(place), _read_tensors(place / WEIGHTS), _read_note(place / NOTE))


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
    from peft import PeftConfig

    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no {CONFIG}, so it is no adapter; name the folder that save_adapter wrote")
    try:
        json.loads(path.read_text(encoding="utf-8"))
        config: Any = PeftConfig.from_pretrained(folder)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is not a readable PEFT configuration: {error}; save the adapter again") from error
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
    values = read_json(path)
    try:
        return Note(**values)
    except TypeError as error:
        raise UserError(f"{path} does not say what the adapter was made on ({error}); delete it") from error


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
