"""A model in memory with its tokenizer, processor and identity: what every later part is handed."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmforget.asking import Guard
from mmforget.errors import UserError
from mmforget.model.activations import num_first
from mmforget.model.adapter_files import configuration
from mmforget.model.chat import Opening, openings, reply_opening
from mmforget.model.families import Family, written_images
from mmforget.model.fingerprint import join, tensors_fingerprint, weights_fingerprint
from mmforget.model.quantize import quantisation_of
from mmforget.model.spec import ModelSpec
from mmforget.plugins import Hook
from mmforget.results.files import prepare_folder, writing
from mmforget.results.fingerprint import hash_json

if TYPE_CHECKING:
    from mmforget.model.stack import Stack

Mix = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
NUM_TEXTS_KEPT = 2**14
ADAPTER = "default"
"""PEFT's name for the one adapter that is trained, saved and loaded."""
NAMING = ("base_model_name_or_path", "revision", "peft_version", "auto_mapping", "inference_mode", "task_type")
"""What of an adapter's configuration changes no number."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to be scored, generated from or trained.

    Attributes:
        model: the Hugging Face model, or a `PeftModel` around it.
        processor: images and text for image-text models, None for text-only ones.
        fingerprint: identifies the numbers this model gives: weights, adapter, quantisation, dtype, processor.
        base_fingerprint: the same without the adapter.
        replaced: weights of the base that its adapter has replaced, by their names in the adapter's file.
        shares_prefixes: whether sequences that begin alike can be computed together, see `selfcheck.py`.
        continues_prefixes: whether text can be generated behind such prompts, too; else `model.generate` does it.
        pads: whether sequences of other lengths can stand beside one in a padded batch.
        guard: what stands between questions and the model; `fingerprint` then names it, too.
        mix: what logits are made of those without and with the adapter, float32 [n, V] each; None: they are the latter.
        choose: the logits that a next token is chosen by, made as `mix` makes those that are scored; None: these.
        first_layers: with the adapter only so many of the first decoder layers are computed; None: all.
        stack: edits of the model, each for the sequences that are under it.
        edit: the one of them that every question is asked under; None: that of the subject of the question's row.
    """

    model: Any
    tokenizer: Any
    processor: Any | None
    family: Family
    spec: ModelSpec
    fingerprint: str
    base_fingerprint: str = ""
    replaced: frozenset[str] = frozenset()
    shares_prefixes: bool = False
    continues_prefixes: bool = False
    pads: bool = True
    guard: Guard | None = None
    mix: Mix | None = None
    choose: Mix | None = None
    first_layers: int | None = None
    stack: Stack | None = None
    edit: int | None = None

    # A configuration of transformers is slow to ask, and every request asks: what cannot change is kept.

    @cached_property
    def core(self) -> Any:
        """The bare Hugging Face model; LoRA layers, if any, sit inside it."""
        return self.model.get_base_model() if self.has_adapter else self.model

    @cached_property
    def has_adapter(self) -> bool:
        return hasattr(self.model, "get_base_model")

    @cached_property
    def quantisation(self) -> str | None:
        """How the weights are packed, e.g. `4bit-nf4`; None in full precision. The weights decide, not the flags."""
        return quantisation_of(self.core)

    @property
    def is_multimodal(self) -> bool:
        return self.image_token is not None

    @cached_property
    def image_token(self) -> int | None:
        """Token id that stands for one image feature; None for text-only models."""
        return self.family.image_token(self.core.config)

    @property
    def device(self) -> torch.device:
        """Where token ids go in."""
        weight: torch.Tensor = self.core.get_input_embeddings().weight
        return weight.device

    @cached_property
    def num_embeddings(self) -> int:
        """How many tokens the model can read."""
        extra = getattr(self.core.config, "additional_vocab_size", None) or 0
        return int(self.core.get_input_embeddings().weight.shape[0]) + int(extra)

    @cached_property
    def max_length(self) -> int:
        """Longest sequence, in tokens, that the model was made for."""
        config = self.core.config.get_text_config()
        for name in ("max_position_embeddings", "n_positions", "n_ctx"):
            if getattr(config, name, None):
                return int(getattr(config, name))
        return int(min(self.tokenizer.model_max_length, 2**20))

    @cached_property
    def token_ids(self) -> Callable[[str], tuple[int, ...]]:
        """Token ids of a text without special tokens; of texts seen lately they are known, e.g. of a question that is
        scored with several answers."""

        def ids_of(text: str) -> tuple[int, ...]:
            return tuple(self.tokenizer.encode(text, add_special_tokens=False))

        return lru_cache(maxsize=NUM_TEXTS_KEPT)(ids_of)

    @cached_property
    def front_tokens(self) -> tuple[int, ...]:
        """The special tokens that the tokenizer puts in front of a text, e.g. BOS; what it puts behind is left out."""
        plain, special = self.tokenizer.encode("a", add_special_tokens=False), self.tokenizer.encode("a")
        count = next((at for at in range(len(special)) if special[at : at + len(plain)] == plain), 0)
        return tuple(special[:count])

    @cached_property
    def reply_opening(self) -> str:
        """What the chat template writes between a question and its answer; empty without a template."""
        return reply_opening(tokenizer=self.tokenizer, processor=self.processor)

    @cached_property
    def openings(self) -> tuple[Opening, ...]:
        """What the chat template writes in front of what a user says first; none without a template."""
        return openings(tokenizer=self.tokenizer, processor=self.processor)

    @cached_property
    def joined_blanks(self) -> str:
        """The last blanks of `reply_opening`, as far as the tokenizer makes one token of them and the word behind."""
        opening = self.reply_opening
        written = self.token_ids(opening + "a")
        for size in range(len(opening) - len(opening.rstrip())):
            ids = self.token_ids(opening[: len(opening) - size])
            if written[: len(ids)] == ids:
                return opening[len(opening) - size :]
        return opening[len(opening.rstrip()) :]

    @property
    def writes_images(self) -> bool:
        """Whether the processor says what an image becomes in a text, and the model itself reads images."""
        return self.is_multimodal and self.family.OWN_FORWARD

    @cached_property
    def image_text(self) -> str | None:
        """What stands for an image in a text; None for text-only models."""
        if self.image_token is None:
            return None
        if self.writes_images:
            return written_images.placeholder(self.processor)
        return str(self.tokenizer.convert_ids_to_tokens(self.image_token))

    def trainable(self) -> dict[str, torch.Tensor]:
        """The parameters that an optimiser would change, by name."""
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}


def guarded(loaded: LoadedModel, guard: Guard) -> LoadedModel:
    """The same model behind a guard that was made for it.

    Raises UserError where the guard's adapter is for more layers than the model has.
    """
    method = guard.method
    base = loaded.base_fingerprint or loaded.fingerprint
    first = getattr(method, "first_layers", None)
    mix, choose = (
        Hook(getattr(method, one), method, f"method '{guard.name}': {one}") if hasattr(method, one) else None
        for one in ("mix", "choose")
    )
    return replace(
        loaded, guard=guard, mix=mix, choose=choose or mix,
        first_layers=None if first is None else num_first(loaded.core, first),
        fingerprint=guard.fingerprint, base_fingerprint=base,
    )  # fmt: skip


def with_fingerprint(loaded: LoadedModel, *, folder: Path | None = None) -> LoadedModel:
    """The same model under a fingerprint that its weights have now; call it when training is done.

    With an adapter: base fingerprint and adapter tensors, equal to that of the saved and reloaded adapter. Without: the
    files in `folder` where the model has been saved, else the trained tensors in memory.
    """
    if loaded.has_adapter:
        base = loaded.base_fingerprint or loaded.fingerprint
        return replace(loaded, base_fingerprint=base, fingerprint=adapted(base, loaded))
    if folder is not None:
        whole = weights_fingerprint(
            replace(loaded.spec, pretrained=str(folder), revision=None, peft=None, merge_peft=False)
        )
    else:
        whole = join("tensors", loaded.fingerprint, tensors_fingerprint(dict(loaded.model.named_parameters())))
    return replace(loaded, fingerprint=whole, base_fingerprint=whole)


def with_changed(loaded: LoadedModel, weights: Mapping[str, torch.Tensor]) -> LoadedModel:
    """The same model under a fingerprint that names what its weights are in memory and not in its files."""
    changed = join("changed", loaded.fingerprint, tensors_fingerprint(weights))
    return replace(loaded, fingerprint=changed, base_fingerprint=changed)


def in_training(loaded: LoadedModel, *, model: Any) -> LoadedModel:
    """`model` in place of the loaded one, under a fingerprint that no other has, until `with_fingerprint` is called.

    A model that is evaluated halfway can so never be given the cached answers of another.
    """
    base = loaded.base_fingerprint or loaded.fingerprint
    return replace(loaded, model=model, base_fingerprint=base, fingerprint=f"in-training-{uuid.uuid4().hex}")


def adapted(base: str, loaded: LoadedModel) -> str:
    """Fingerprint of a base model with the adapter that `loaded` carries: its tensors and all of its settings."""
    return with_adapter(base, config=loaded.model.peft_config[ADAPTER], tensors=adapter_tensors(loaded))


def with_adapter(base: str, *, config: Any, tensors: Mapping[str, torch.Tensor]) -> str:
    """Fingerprint of a base model with an adapter of this configuration, whose tensors have the names of its file."""
    deciding = {name: value for name, value in configuration(config).items() if name not in NAMING}
    return join("adapter", base, hash_json(deciding), tensors_fingerprint(tensors))


def adapter_tensors(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names they are saved by, with weights of the base that it has replaced."""
    from peft import get_peft_model_state_dict

    tensors: dict[str, torch.Tensor] = get_peft_model_state_dict(loaded.model, save_embedding_layers=False)
    whole = loaded.model.state_dict() if loaded.replaced - tensors.keys() else {}
    return tensors | {name: whole[name] for name in loaded.replaced if name in whole}


def save_model(loaded: LoadedModel, folder: Path) -> Path:
    """Saves weights (safetensors), configuration, tokenizer and processor in the ordinary Hugging Face layout.

    Raises UserError where the model carries an adapter or is quantised, or the folder cannot be written or the disk is
    full; a folder that was not there is then gone again.
    """
    if loaded.has_adapter:
        raise UserError("the model carries an adapter; save that with save_adapter, or load it with merge_peft=True")
    if loaded.quantisation is not None:
        raise UserError(
            f"quantised weights ({loaded.quantisation}) are not saved, their base is on disk already; save the adapter "
            "alone"
        )
    is_new = not folder.exists()
    prepare_folder(folder)
    try:
        with writing(folder):
            loaded.model.save_pretrained(folder)
            (loaded.processor or loaded.tokenizer).save_pretrained(folder)
    except UserError:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder
