"""Adapters: attach, switch off, save, load and merge, through PEFT.

The reference model of a method is the same weights with the adapter off; nothing is held twice. Source: LoRA
(arXiv 2106.09685).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.model.fingerprint import join
from mmforget.model.loaded import ADAPTER, LoadedModel, adapted, adapter_tensors, in_training
from mmforget.results.files import prepare_folder

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
NUM_SHOWN = 3


@dataclass(frozen=True)
class LoraSettings:
    """Size and reach of a LoRA adapter.

    Attributes:
        r: rank, at least 1.
        alpha: scale; the update is multiplied by alpha / r.
        dropout: in [0, 1), on the adapter's input while training.
        target_modules: names of linear layers of the language model (`q_proj`), or one regular expression matched in
            full against module paths; None takes all attention and feed-forward projections of the language model.
            Only a name or expression that says `vision` or `tower` itself reaches the vision tower.
        train_projector: also train the projector, in full.
    """

    r: int = 8
    alpha: float = 16
    dropout: float = 0.0
    target_modules: tuple[str, ...] | str | None = None
    train_projector: bool = False

    def __post_init__(self) -> None:
        if self.r < 1:
            raise UserError(f"LoRA rank r={self.r} must be at least 1")
        if not self.alpha > 0:
            raise UserError(f"LoRA alpha={self.alpha} must be above 0")
        if not 0 <= self.dropout < 1:
            raise UserError(f"LoRA dropout={self.dropout} must be in [0, 1)")


def attach(loaded: LoadedModel, settings: LoraSettings) -> LoadedModel:
    """The model with a fresh adapter that changes nothing yet; only the adapter (and projector, if asked) trains.

    Raises UserError where no layer matches, or the model already carries an adapter.
    """
    from peft import LoraConfig, get_peft_model

    if _is_adapted(loaded):
        raise UserError(_carries_adapter(loaded, wanted="a new adapter cannot be attached"))
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_targets(loaded, settings),
        modules_to_save=_projector_names(loaded) if settings.train_projector else None,
        bias="none",
    )
    loaded.model.requires_grad_(False)
    return in_training(loaded, model=get_peft_model(loaded.model, config, adapter_name=ADAPTER))


def set_trainable(loaded: LoadedModel, *, projector: bool = False, tower: bool = False) -> LoadedModel:
    """The model with all weights of its language model trainable, and of projector and tower where asked.

    Raises UserError for quantised weights or a model that carries an adapter.
    """
    if loaded.quantisation is not None:
        raise UserError(
            f"quantised weights cannot be trained in full, and those of {loaded.spec.pretrained} are "
            f"({loaded.quantisation}); use LoRA, or {_in_full_precision(loaded)}"
        )
    if _is_adapted(loaded):
        raise UserError(_carries_adapter(loaded, wanted="its weights cannot be trained in full"))
    family, core = loaded.family, loaded.core
    loaded.model.requires_grad_(False)
    parts = list(family.language_parts(core))
    middle = family.projector(core)
    if projector and middle is not None:
        parts.append(middle)
    if tower:
        parts += family.tower_parts(core)
    for part in parts:
        part.requires_grad_(True)
    return in_training(loaded, model=loaded.model)


@contextmanager
def adapters_off(loaded: LoadedModel) -> Iterator[LoadedModel]:
    """Inside, `loaded` is the model as it was before `attach`: the reference model.

    Raises UserError where that would be something else: no adapter, or one that the base came with unmerged.
    """
    if loaded.spec.has_unmerged_adapter:
        raise UserError(
            f"the model came with the adapter {loaded.spec.peft} unmerged, so switching adapters off would not give "
            "the model that unlearning starts from; add merge_peft=True to --model_args"
        )
    if not loaded.has_adapter:
        raise UserError(
            "the model carries no adapter, so there is no reference model to switch back to; train with LoRA"
        )
    # PEFT makes every adapter weight trainable when it switches adapters on again.
    trainable = {weight: weight.requires_grad for weight in loaded.model.parameters()}
    try:
        with loaded.model.disable_adapter():
            yield loaded
    finally:
        for weight, flag in trainable.items():
            weight.requires_grad_(flag)


def detach(loaded: LoadedModel) -> LoadedModel:
    """The model as it was before `attach` or `load_adapter`, frozen; adapter and trained projector are dropped."""
    if not loaded.has_adapter:
        return loaded
    base = _without_adapter(loaded.model).requires_grad_(False).eval()
    spec = replace(loaded.spec, peft=None, merge_peft=False) if loaded.spec.has_unmerged_adapter else loaded.spec
    return replace(loaded, model=base, spec=spec, fingerprint=loaded.base_fingerprint)


def _without_adapter(model: Any) -> Any:
    from peft.utils.other import ModulesToSaveWrapper

    # PEFT's own unload leaves the trained copy of a module saved in full.
    modules = model.get_base_model().named_modules()
    originals = {name: module.original_module for name, module in modules if isinstance(module, ModulesToSaveWrapper)}
    base = model.unload()
    for name, original in originals.items():
        base.set_submodule(name, original)
    return base


def save_adapter(loaded: LoadedModel, folder: Path) -> Path:
    """Saves the adapter (and a trained projector) as safetensors in PEFT's layout.

    Raises UserError where there is none, or the folder cannot be written.
    """
    if not loaded.has_adapter:
        raise UserError("the model carries no adapter to save; use save_model for full weights")
    prepare_folder(folder)
    try:
        loaded.model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    except OSError as error:
        raise UserError(
            f"cannot save the adapter to {folder}: {error}; free some space or name another folder"
        ) from error
    return folder


def load_adapter(loaded: LoadedModel, folder: Path, *, trainable: bool = False) -> LoadedModel:
    """The model with a saved adapter on it, frozen unless it is to be trained further.

    Every tensor has to fit; that the adapter was made on a base of another name does not matter. Raises UserError with
    the tensors at fault otherwise, and leaves the model as it was.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    if _is_adapted(loaded):
        raise UserError(_carries_adapter(loaded, wanted=f"{folder} cannot be put on top"))
    folder = _adapter_folder(folder)
    config, tensors = _read_config(folder), _read_tensors(folder / WEIGHTS)
    config.inference_mode = not trainable
    try:
        model = get_peft_model(loaded.model, config, adapter_name=ADAPTER)
    except ValueError as error:
        raise UserError(f"the adapter {folder} does not fit {loaded.spec.pretrained}: {error}") from error
    fitted = replace(loaded, model=model)
    faults = _misfits(adapter_tensors(fitted), found=tensors)
    if faults:
        _without_adapter(model)
        listed = "; ".join(faults)
        raise UserError(
            f"the adapter {folder} does not fit {loaded.spec.pretrained}: {listed}; load it on the base it came from"
        )
    set_peft_model_state_dict(model, tensors, adapter_name=ADAPTER)
    model.eval()
    if trainable:
        return in_training(loaded, model=model)
    model.requires_grad_(False)
    base = loaded.base_fingerprint or loaded.fingerprint
    return replace(fitted, base_fingerprint=base, fingerprint=adapted(base, fitted))


def merge_adapter(loaded: LoadedModel) -> LoadedModel:
    """The model with its adapter folded into the weights. Raises UserError for quantised weights, or no adapter.

    `load_model` merges before it quantises, so that the sum is rounded once.
    """
    if not loaded.has_adapter:
        raise UserError("the model carries no adapter to merge")
    if loaded.quantisation is not None:
        raise UserError(
            f"an adapter cannot be merged into quantised weights, and those of {loaded.spec.pretrained} are "
            f"({loaded.quantisation}): small changes would round to none; leave the adapter unmerged, or "
            f"{_in_full_precision(loaded)}"
        )
    merged = loaded.model.merge_and_unload()
    merged.requires_grad_(False).eval()
    fingerprint = join("merged", loaded.fingerprint)
    return replace(loaded, model=merged, fingerprint=fingerprint, base_fingerprint=fingerprint)


def _in_full_precision(loaded: LoadedModel) -> str:
    """How to get at the same weights in full precision."""
    if loaded.spec.is_quantised:
        return "leave load_in_4bit and load_in_8bit out"
    return "give the model that was quantised in full precision as pretrained=..."


def _is_adapted(loaded: LoadedModel) -> bool:
    # PEFT puts its layers into the bare model too, which an older handle may still hold.
    return bool(getattr(loaded.model, "peft_config", None))


def _carries_adapter(loaded: LoadedModel, *, wanted: str) -> str:
    if loaded.spec.has_unmerged_adapter:
        where = f"the model came with the adapter {loaded.spec.peft} unmerged"
        return f"{where}, so {wanted}; add merge_peft=True to --model_args"
    return f"the model already carries an adapter, so {wanted}; merge it first"


def _targets(loaded: LoadedModel, settings: LoraSettings) -> str | list[str]:
    """The layers to adapt, as the family's expression or one by one. Raises UserError where none matches."""
    linear = _linear_layers(loaded)
    wanted = settings.target_modules
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
    if not chosen:
        ends = sorted({name.rsplit(".", 1)[-1] for name in linear if not _is_outside(loaded, name)})
        raise UserError(f"LoRA target_modules {wanted} match no layer of the language model; it has {', '.join(ends)}")
    return chosen


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


def _projector_names(loaded: LoadedModel) -> list[str]:
    projector = loaded.family.projector(loaded.core)
    names = [name for name, module in loaded.core.named_modules() if module is projector]
    if not names:
        raise UserError(f"{loaded.spec.pretrained} has no projector that is known; leave train_projector out")
    return names


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
    return tensors


def _misfits(wanted: Mapping[str, Tensor], *, found: Mapping[str, Tensor]) -> list[str]:
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
