"""Adapters: attach, switch off, save, load and merge, through PEFT.

The reference model of a method is the same weights with the adapter off; nothing is held twice. Source: LoRA
(arXiv 2106.09685).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmforget.errors import UserError, one_line
from mmforget.model import adapter_files, adapter_weights
from mmforget.model.adapter_files import Note, Saved, loading_flags
from mmforget.model.adapter_names import Named, renamed
from mmforget.model.adapter_switch import without_adapter
from mmforget.model.contradictions import require_finite
from mmforget.model.experts import describe, find_experts
from mmforget.model.fingerprint import join
from mmforget.model.first_factors import as_one
from mmforget.model.loaded import ADAPTER, LoadedModel, adapted, adapter_tensors, in_training
from mmforget.model.targets import targets
from mmforget.results.provenance import model_name

logger = logging.getLogger(__name__)

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
            Only a name or expression that says `vision` or `tower` itself reaches the vision tower. Routed experts are
            reached where they are named, by `gate_proj` and `up_proj`, `down_proj`, or their path; routers never.
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
    from peft import LoraConfig

    from mmforget.model.lora_forward import use_lean_forward

    if _is_adapted(loaded):
        raise UserError(_carries_adapter(loaded, wanted="a new adapter cannot be attached"))
    reach = targets(loaded, wanted=settings.target_modules)
    if reach.parameters and settings.dropout:
        raise UserError(
            f"LoRA dropout={settings.dropout} cannot be had on routed experts ({reach.parameters[0]}), whose weights "
            "are no layers; set it to 0, or leave the experts out of target_modules"
        )
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=reach.modules,
        target_parameters=reach.parameters or None,
        modules_to_save=_projector_names(loaded) if settings.train_projector else None,
        bias="none",
    )
    loaded.model.requires_grad_(False)
    model = adapter_weights.put_on(loaded.model, config, as_named=True)
    use_lean_forward(model)
    attached = in_training(loaded, model=model)
    _say_what_of_experts(attached)
    return attached


def _say_what_of_experts(attached: LoadedModel) -> None:
    found = describe(attached.core)
    if found is not None:
        logger.warning(
            "LoRA on %s: the routed experts, %.0f %% of the weights, are %s; routers are not",
            attached.spec.pretrained,
            100 * found["share"],
            "adapted, too" if found["adapted"] else "not adapted (target_modules can name gate_proj,up_proj,down_proj)",
        )


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
    """Inside, `loaded` is the model as it was before `attach`, or before all edits of its stack: the reference model.

    Raises UserError where that would be something else: no adapter, or one that the base came with unmerged.
    """
    if loaded.stack is not None:
        with loaded.stack.off():
            yield loaded
        return
    _require_base(loaded)
    if loaded.spec.has_unmerged_adapter:
        raise UserError(
            f"the model came with the adapter {loaded.spec.peft} unmerged, so switching adapters off would not give "
            f"the model that unlearning starts from; {_merged_instead(loaded)}"
        )
    with without_adapter(loaded):
        yield loaded


@torch.no_grad()
def multiply_learnt(loaded: LoadedModel, *, by: float) -> None:
    """Multiplies what an adapter adds to the model; of a layer that it replaces, the difference to the one before."""
    from peft.utils.other import AuxiliaryTrainingWrapper

    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            weight.mul_(by)
    for module in loaded.core.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            pairs = zip(module.modules_to_save[ADAPTER].parameters(), module.original_module.parameters(), strict=True)
            for new, old in pairs:
                new.copy_(old + by * (new - old))


def detach(loaded: LoadedModel) -> LoadedModel:
    """The model as it was before `attach` or `load_adapter`, frozen; adapter and trained projector are dropped.

    Raises UserError where the adapter has replaced weights of the base.
    """
    if not loaded.has_adapter:
        return loaded
    _require_base(loaded)
    base = _bare(loaded.core).requires_grad_(False).eval()
    spec = replace(loaded.spec, peft=None, merge_peft=False) if loaded.spec.has_unmerged_adapter else loaded.spec
    return replace(loaded, model=base, spec=spec, fingerprint=loaded.base_fingerprint)


def _bare(core: Any) -> Any:
    """The bare model without the layers that PEFT put into it."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    inside = ""
    for name, module in list(core.named_modules()):
        if inside and name.startswith(inside):
            continue
        # PEFT's own unload leaves the trained copy of a module saved in full.
        if isinstance(module, AuxiliaryTrainingWrapper):
            core.set_submodule(name, module.original_module)
        elif isinstance(module, BaseTunerLayer):
            core.set_submodule(name, module.get_base_layer())
        else:
            continue
        inside = f"{name}."
    del core.peft_config
    return core


def save_adapter(loaded: LoadedModel, folder: Path) -> Path:
    """Saves the adapter (and a trained projector) as safetensors in PEFT's layout, with a note of the base it is for.

    Raises UserError where there is none, or the folder cannot be written.
    """
    if not loaded.has_adapter:
        raise UserError("the model carries no adapter to save; use save_model for full weights")
    note = Note(model_name(loaded.spec.pretrained), loaded.quantisation)
    config, tensors = as_one(loaded)
    return adapter_files.write(folder, config=config, tensors=tensors, note=note)


def load_adapter(loaded: LoadedModel, folder: Path, *, trainable: bool = False) -> LoadedModel:
    """The model with a saved adapter on it, frozen unless it is to be trained further.

    Every tensor has to find its place, perhaps under the name that an older transformers gave to it; that the adapter
    was made on a base of another name does not matter, another quantisation is warned of. Raises UserError with the
    tensors at fault otherwise, and leaves the model as it was.
    """
    if _is_adapted(loaded):
        raise UserError(_carries_adapter(loaded, wanted=f"{folder} cannot be put on top"))
    saved = adapter_files.read(folder)
    saved.config.inference_mode = not trainable
    fitted = _put_on(loaded, saved)
    require_finite(fitted, what=f"the adapter {folder}")
    _warn_of_another_base(loaded, saved)
    fitted.model.eval()
    if trainable:
        return in_training(fitted, model=fitted.model)
    fitted.model.requires_grad_(False)
    base, spec = loaded.base_fingerprint or loaded.fingerprint, loaded.spec
    # A base with an adapter merged into it has no spec with another: see `Artifact.on`.
    spec = spec if spec.merge_peft else replace(spec, peft=str(folder))
    return replace(fitted, spec=spec, base_fingerprint=base, fingerprint=adapted(base, fitted))


def _put_on(loaded: LoadedModel, saved: Saved) -> LoadedModel:
    """The model with the adapter under the names that it was saved by, or else under those of today."""
    named = Named(saved.config, saved.tensors)
    try:
        return _fitted(loaded, named, folder=saved.folder)
    except UserError as error:
        translated = renamed(loaded.core, named)
        if translated is not None:
            return _fitted(loaded, translated, folder=saved.folder)
        if not find_experts(loaded.core).parameters:
            raise
        first = error
    try:
        return _fitted(loaded, named, folder=saved.folder, as_named=True)
    except UserError:
        raise first from None


def _fitted(loaded: LoadedModel, named: Named, *, folder: Path, as_named: bool = False) -> LoadedModel:
    """The model with all tensors in place. Raises UserError, and leaves the model as it was, where one does not fit."""
    from mmforget.model.lora_forward import use_lean_forward

    core = loaded.core
    num_rows = adapter_weights.enlarge_vocabulary(core, named.tensors)
    try:
        model = adapter_weights.put_on(core, copy.deepcopy(named.config), as_named=as_named)
        use_lean_forward(model)
        fitted = replace(loaded, model=model)
        tensors = adapter_weights.translated(model, named.tensors)
        embeddings = tensors.keys() & adapter_weights.embedding_names(fitted.core) - adapter_tensors(fitted).keys()
        _require_places(fitted, {name: tensors[name] for name in tensors.keys() - embeddings})
    # What a wrong value of its configuration does inside PEFT can be anything.
    except Exception as error:
        _strip(core, num_rows=num_rows)
        said = one_line(error) if isinstance(error, UserError | ValueError) else adapter_files.fault(folder, error)
        raise UserError(
            f"the adapter {folder} does not fit {loaded.spec.pretrained}: {said}; load it on the base it came from"
        ) from error
    if num_rows is not None:
        logger.warning(
            "the adapter %s has %d tokens more than %s, whose tokenizer does not know them: they are not asked for",
            folder,
            core.get_input_embeddings().weight.shape[0] - num_rows,
            loaded.spec.pretrained,
        )
    return adapter_weights.fill(fitted, tensors, embeddings=set(embeddings))


def _require_places(fitted: LoadedModel, tensors: Mapping[str, Tensor]) -> None:
    faults = adapter_files.misfits(adapter_tensors(fitted), found=tensors)
    if faults:
        raise UserError("; ".join(faults))


def _strip(core: Any, *, num_rows: int | None) -> None:
    """Makes the model again what it was before an adapter was tried on it."""
    if getattr(core, "peft_config", None):
        _bare(core)
    if num_rows is not None:
        core.resize_token_embeddings(num_rows, mean_resizing=False)


def _warn_of_another_base(loaded: LoadedModel, saved: Saved) -> None:
    note = saved.note
    if note is None or note.quantisation == loaded.quantisation:
        return
    logger.warning(
        "the adapter %s was made on %s in %s and is put on one in %s, where it gives other numbers and may have "
        "forgotten less; load its base as it was (%s)",
        saved.folder,
        note.base,
        note.quantisation or "full precision",
        loaded.quantisation or "full precision",
        loading_flags(note.quantisation) or "no load_in_4bit or load_in_8bit",
    )


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


def _merged_instead(loaded: LoadedModel) -> str:
    """How to have an adapter in the weights themselves, which cannot be where they are on disk in few bits."""
    if loaded.quantisation is None or loaded.spec.is_quantised:
        return "add merge_peft=True to --model_args"
    return f"give the model that {loaded.spec.pretrained} was quantised from in full precision, with merge_peft=True"


def _in_full_precision(loaded: LoadedModel) -> str:
    """How to get at the same weights in full precision."""
    if loaded.spec.is_quantised:
        return "leave load_in_4bit and load_in_8bit out"
    return "give the model that was quantised in full precision as pretrained=..."


def _require_base(loaded: LoadedModel) -> None:
    """Raises UserError where what is below the adapter is no longer the base."""
    if loaded.replaced:
        raise UserError(
            f"the adapter has replaced weights of {loaded.spec.pretrained} itself ({_few(loaded.replaced)}), so "
            "without it the model is not what it was; load the base again"
        )


def _few(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:NUM_SHOWN]) + (", ..." if len(shown) > NUM_SHOWN else "")


def _is_adapted(loaded: LoadedModel) -> bool:
    # PEFT puts its layers into the bare model too, which an older handle may still hold.
    return bool(getattr(loaded.model, "peft_config", None))


def _carries_adapter(loaded: LoadedModel, *, wanted: str) -> str:
    if loaded.spec.has_unmerged_adapter:
        where = f"the model came with the adapter {loaded.spec.peft} unmerged"
        return f"{where}, so {wanted}; {_merged_instead(loaded)}"
    return f"the model already carries an adapter, so {wanted}; take that off with detach, or load the base again"


def _projector_names(loaded: LoadedModel) -> list[str]:
    projector = loaded.family.projector(loaded.core)
    names = [name for name, module in loaded.core.named_modules() if module is projector]
    if not names:
        raise UserError(f"{loaded.spec.pretrained} has no projector that is known; leave train_projector out")
    return names
