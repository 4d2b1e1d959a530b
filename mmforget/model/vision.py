"""Image features of a frozen vision tower, computed once an image and kept by the hash of its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mmforget.errors import UserError, one_line
from mmforget.model.activations import evaluating
from mmforget.model.families import written_images
from mmforget.model.feature_cache import FeatureCache, tower_fingerprint

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmforget.model.loaded import LoadedModel
    from mmforget.model.packing import Layout

__all__ = ["FeatureCache", "image_features", "image_inputs", "is_fixed"]


def image_features(loaded: LoadedModel, images: Mapping[str, Image], *, cache: FeatureCache | None) -> dict[str, Any]:
    """Projected features [image tokens, hidden] of each image, by its key; every image is encoded at most once.

    Differentiable in the projector, and in the tower where that trains. Where the model's own forward reads images
    they are handed on as they are.
    """
    if not images or loaded.writes_images:
        return dict(images)
    features = _tower_features(loaded, images, cache=cache)
    sizes = [images[key].size for key in features]
    projected = loaded.family.project(loaded.core, list(features.values()), sizes=sizes)
    return dict(zip(features, projected, strict=True))


def image_inputs(loaded: LoadedModel, layout: Layout, *, images: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Tokens` that bring the images of a layout in, from what `image_features` gave."""
    if loaded.writes_images:
        return {"pictures": _pictures(loaded, layout, images=images)}
    if not layout.image_key:
        return {}
    runs = zip(layout.image_key, layout.image_start, layout.image_count, strict=True)
    parts = [images[key][start : start + count] for key, start, count in runs]
    return {"images": torch.cat(parts), "image_at": torch.from_numpy(layout.image_at).to(loaded.device)}


def _pictures(loaded: LoadedModel, layout: Layout, *, images: Mapping[str, Image]) -> list[dict[str, Tensor]]:
    """What the model's own forward takes for the images of each row of a padded layout."""
    keys: list[list[str]] = [[] for _ in layout.ids]
    first = np.cumsum([0, *layout.image_count])[:-1]
    for key, place in zip(layout.image_key, layout.image_at[first].tolist() if len(first) else [], strict=True):
        keys[place // layout.ids.shape[1]].append(key)
    made: dict[tuple[str, ...], dict[str, Tensor]] = {}
    for row in map(tuple, keys):
        if row not in made:
            made[row] = written_images.pictures(loaded.processor, [images[key] for key in row])
    return [made[tuple(row)] for row in keys]


def _tower_features(
    loaded: LoadedModel, images: Mapping[str, Image], *, cache: FeatureCache | None
) -> dict[str, Tensor]:
    """Features of each image before the projector. They go through the tower singly.

    So the last bits of an image's features do not depend on which other images were new at the same time, and a run
    that is interrupted and continues gets the same numbers. Each image comes here once, so it costs little.
    """
    parts = loaded.family.tower_parts(loaded.core)
    fixed = is_fixed(parts)
    tower = tower_fingerprint(loaded, parts) if cache is not None and fixed else ""
    found: dict[str, Tensor] = {}
    for key, image in images.items():
        given = None if cache is None else cache.given(key)
        if given is not None:
            found[key] = given
            continue
        known = cache.get(key, tower=tower) if cache is not None and fixed else None
        if known is not None:
            found[key] = known.to(_weight(parts).device)
            continue
        found[key] = _encode(loaded, image, parts=parts, fixed=fixed)
        if cache is not None:
            cache.num_encoded += 1
            if fixed:
                cache.put(key, found[key], tower=tower)
    return found


def _encode(loaded: LoadedModel, image: Image, *, parts: Sequence[nn.Module], fixed: bool) -> Tensor:
    weight = _weight(parts)
    try:
        read = loaded.family.preprocess(loaded.processor, image)
    except (ValueError, OSError) as error:
        width, height = image.size
        raise UserError(
            f"the image processor cannot read an image of {width} x {height} pixels: {one_line(error)}"
        ) from error
    pixels = {
        name: tensor.to(weight.device, weight.dtype if tensor.is_floating_point() else None)
        for name, tensor in read.items()
    }
    if not fixed:
        return loaded.family.tower_features(loaded.core, pixels)
    # Features of a frozen tower may not come from inference mode: they are used in training too. Dropout would make
    # them depend on when they were computed.
    with evaluating(*parts), torch.inference_mode(False), torch.no_grad():
        return loaded.family.tower_features(loaded.core, pixels)


def _weight(parts: Sequence[nn.Module]) -> Tensor:
    """A weight of the tower, for where it is and what it computes in."""
    return next(weight for part in parts for weight in part.parameters())


def is_fixed(parts: Sequence[nn.Module]) -> bool:
    """Whether a tower always gives the same features: nothing in it trains and no adapter sits in it."""
    if any(weight.requires_grad for part in parts for weight in part.parameters()):
        return False
    from peft.tuners.tuners_utils import BaseTunerLayer

    return not any(isinstance(module, BaseTunerLayer) for part in parts for module in part.modules())
