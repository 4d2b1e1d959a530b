"""Checkpoints whose parts contradict each other: tokenizer, processor and configuration against the weights.

A wrong token or a picture of another size would fail in the middle of a run, or give numbers that mean nothing; here
it is said when the model is loaded, with both values. Weights that are no numbers are found by one forward pass.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from mmforget.errors import UserError, one_line, shortened
from mmforget.model.families import Tokens, written_images

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel

PICTURE_SIZE = (96, 64)
NUM_TOKENS = 2


def refuse_contradictions(loaded: LoadedModel) -> None:
    """Raises UserError naming both values where parts of a checkpoint do not belong together."""
    _check_named_tokens(loaded)
    if loaded.is_multimodal:
        _check_image_token(loaded)
    if loaded.is_multimodal and not loaded.writes_images:
        _check_processor(loaded)
        _check_picture(loaded)
    require_finite(loaded, what=loaded.spec.pretrained)


def _fault(loaded: LoadedModel, text: str) -> UserError:
    return UserError(f"{loaded.spec.pretrained} contradicts itself: {text}")


def _check_named_tokens(loaded: LoadedModel) -> None:
    """Tokens that are written without being in a text have embeddings; of others `encode` makes sure."""
    tokenizer, limit = loaded.tokenizer, loaded.num_embeddings
    for name in ("pad_token", "bos_token", "eos_token"):
        token = getattr(tokenizer, f"{name}_id")
        if token is not None and not 0 <= token < limit:
            raise _fault(
                loaded,
                f"the tokenizer's {name} {getattr(tokenizer, name)!r} is number {token}, but the model has embeddings "
                f"for {limit} tokens; name a token that it has in tokenizer_config.json",
            )


def _check_image_token(loaded: LoadedModel) -> None:
    token, limit = int(loaded.image_token or 0), loaded.num_embeddings
    if not 0 <= token < limit:
        raise _fault(
            loaded, f"config.json has the image token {token}, but the model has embeddings for {limit} tokens"
        )
    text = loaded.tokenizer.convert_ids_to_tokens(token)
    if loaded.writes_images:
        written = _written(loaded)
        if written is not None and text not in written:
            raise _fault(
                loaded, f"config.json has the image token {token} ({text!r}), the processor writes {shortened(written)}"
            )
        return
    own = written_images.placeholder(loaded.processor)
    if own != text:
        number = loaded.tokenizer.convert_tokens_to_ids(own)
        raise _fault(
            loaded,
            f"config.json has the image token {token} ({text!r}), the processor {number} ({own!r}); correct the one "
            "that is wrong",
        )


def _written(loaded: LoadedModel) -> str | None:
    """What the processor writes for a picture; None where it cannot, which the trial of such models says better."""
    with suppress(Exception):
        return written_images.written(loaded.processor, size=PICTURE_SIZE)
    return None


PROCESSOR_VALUES = (
    ("patch_size", "vision_config.patch_size"),
    ("vision_feature_select_strategy", "vision_feature_select_strategy"),
    ("image_processor.patch_size", "vision_config.patch_size"),
    ("image_processor.merge_size", "vision_config.spatial_merge_size"),
    ("image_processor.temporal_patch_size", "vision_config.temporal_patch_size"),
    ("image_processor.image_grid_pinpoints", "image_grid_pinpoints"),
)
"""What a processor and a configuration both say, where they say it."""


def _check_processor(loaded: LoadedModel) -> None:
    for ours, theirs in PROCESSOR_VALUES:
        said, wanted = _value(loaded.processor, ours), _value(loaded.core.config, theirs)
        if said is not None and wanted is not None and _plain(said) != _plain(wanted):
            raise _fault(
                loaded, f"the processor has {ours} {said!r}, config.json {theirs} {wanted!r}; correct the wrong one"
            )


def _value(part: Any, way: str) -> Any:
    for name in way.split("."):
        part = getattr(part, name, None)
    return part


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _check_picture(loaded: LoadedModel) -> None:
    """One picture goes through processor and tower and gives as many features as it takes tokens."""
    image, config = Image.new("RGB", PICTURE_SIZE, (90, 120, 200)), loaded.core.config
    try:
        pixels = loaded.family.preprocess(loaded.processor, image)
        num_tokens = loaded.family.num_image_tokens(config, loaded.processor, size=image.size)
        side = getattr(config.vision_config, "image_size", None)
        found = tuple(pixels["pixel_values"].shape[-2:])
        if side is not None and pixels["pixel_values"].ndim >= 4 and found != (side, side):
            raise _fault(
                loaded,
                f"the processor makes pictures of {found[1]} x {found[0]} pixels, the vision tower takes {side} x "
                f"{side}; correct size and crop_size of the processor's files, or vision_config.image_size",
            )
        num_features = _num_features(loaded, pixels, size=image.size)
    except UserError:
        raise
    # What a wrong value does to an image processor or a tower can be anything.
    except Exception as error:
        raise _fault(
            loaded,
            f"its processor and vision tower cannot read a picture ({type(error).__name__}: {one_line(error)[:300]}); "
            "compare the processor's files with vision_config and vision_feature_layer in config.json",
        ) from error
    if num_features != num_tokens:
        raise _fault(
            loaded,
            f"a picture is {num_tokens} tokens by its configuration, but the tower gives {num_features} features",
        )


def _num_features(loaded: LoadedModel, pixels: Any, *, size: tuple[int, int]) -> int:
    weight = next(weight for part in loaded.family.tower_parts(loaded.core) for weight in part.parameters())
    moved = {
        name: tensor.to(weight.device, weight.dtype if tensor.is_floating_point() else None)
        for name, tensor in pixels.items()
    }
    with torch.no_grad():
        features = loaded.family.tower_features(loaded.core, moved)
        return len(loaded.family.project(loaded.core, [features], sizes=[size])[0])


def require_finite(loaded: LoadedModel, *, what: str) -> None:
    """Raises UserError naming `what` unless two tokens give finite logits."""
    if loaded.writes_images:
        return  # its own forward is tried with pictures
    ids = torch.full((1, NUM_TOKENS), loaded.tokenizer.convert_tokens_to_ids("a") or 0, device=loaded.device)
    positions = torch.arange(NUM_TOKENS, device=loaded.device)[None]
    try:
        with torch.no_grad():
            hidden = loaded.family.hidden(loaded.core, Tokens(ids, positions))
            logits = loaded.family.head(loaded.core, hidden)
    except Exception as error:
        raise UserError(
            f"{what}: model type '{loaded.core.config.model_type}' gives no logits for token ids: "
            f"{type(error).__name__}: {one_line(error)[:300]}"
        ) from error
    if not bool(logits.isfinite().all()):
        raise UserError(
            f"{what} gives logits that are no finite numbers; its weights are damaged, or too large for their dtype "
            "(try dtype=float32)"
        )
