"""Image features of a frozen vision tower, computed once an image and kept by the hash of its pixels."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmforget.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmforget.model.loaded import LoadedModel

IMAGES_A_BATCH = 32
"""Images that go together through a tower that trains; through a frozen one they go singly, see below."""


class FeatureCache:
    """Tower features, before the projector, of the images used last, up to `budget_bytes`.

    It belongs to one vision tower: asked on behalf of another it starts empty. While the tower trains, or an adapter
    sits inside it, nothing is kept.

    Attributes:
        num_encoded: images that went through the tower.
        num_hits: images found here instead.
    """

    def __init__(self, budget_bytes: int = 2**30) -> None:
        self.budget_bytes = budget_bytes
        self.num_encoded = 0
        self.num_hits = 0
        self.size_bytes = 0
        self._features: OrderedDict[str, Tensor] = OrderedDict()
        self._tower: weakref.ref[nn.Module] | None = None

    def __len__(self) -> int:
        return len(self._features)

    def bind(self, tower: nn.Module) -> None:
        """Forget everything unless the features here come from this very tower."""
        if self._tower is None or self._tower() is not tower:
            self.clear()
            self._tower = weakref.ref(tower)

    def clear(self) -> None:
        self._features.clear()
        self.size_bytes = 0

    def get(self, key: str) -> Tensor | None:
        found = self._features.get(key)
        if found is not None:
            self._features.move_to_end(key)
            self.num_hits += 1
        return found

    def put(self, key: str, features: Tensor) -> None:
        """Keep features [I, D], dropping those used longest ago where the budget is exceeded."""
        self._features[key] = features
        self.size_bytes += features.nbytes
        while self.size_bytes > self.budget_bytes and self._features:
            _, old = self._features.popitem(last=False)
            self.size_bytes -= old.nbytes


def image_features(
    loaded: LoadedModel, images: Mapping[str, Image], *, cache: FeatureCache | None
) -> dict[str, Tensor]:
    """Projected features [image tokens, hidden] of each image, by its key; every image is encoded at most once.

    Differentiable in the projector, and in the tower where that trains.
    """
    if not images:
        return {}
    features = _tower_features(loaded, images, cache=cache)
    keys = list(features)
    projected: Tensor = loaded.family.project(loaded.core, torch.stack([features[key] for key in keys]))
    return dict(zip(keys, projected, strict=True))


def _tower_features(
    loaded: LoadedModel, images: Mapping[str, Image], *, cache: FeatureCache | None
) -> dict[str, Tensor]:
    tower: Any = loaded.family.tower(loaded.core)
    fixed = is_fixed(tower)
    found: dict[str, Tensor] = {}
    if cache is not None and fixed:
        cache.bind(tower)
        found = {key: features for key in images if (features := cache.get(key)) is not None}
    elif cache is not None:
        cache.clear()
    missing = [key for key in images if key not in found]
    # Singly, the last bits of an image's features do not depend on which other images were new at the same time, so a
    # run that is interrupted and continues gets the same numbers. Each image comes here once, so it costs little.
    size = 1 if fixed else IMAGES_A_BATCH
    for start in range(0, len(missing), size):
        keys = missing[start : start + size]
        computed = _encode(loaded, [images[key] for key in keys], tower=tower, fixed=fixed)
        found |= dict(zip(keys, computed, strict=True))
        if cache is not None:
            cache.num_encoded += len(keys)
            if fixed:
                for key in keys:
                    cache.put(key, found[key])
    return {key: found[key] for key in images}


def _encode(loaded: LoadedModel, images: list[Image], *, tower: nn.Module, fixed: bool) -> Tensor:
    weight = next(tower.parameters())
    try:
        pixels = loaded.family.preprocess(loaded.processor, images).to(weight.device, weight.dtype)
    except (ValueError, OSError) as error:
        sizes = ", ".join(str(image.size) for image in images)
        raise UserError(f"the image processor cannot read the images of sizes {sizes}: {error}") from error
    if not fixed:
        return loaded.family.tower_features(loaded.core, pixels)
    # Dropout in a frozen tower would make its features depend on when they were computed.
    was_training = tower.training
    tower.eval()
    # Nor may they come from inference mode: they are used in training too.
    with torch.inference_mode(False), torch.no_grad():
        features = loaded.family.tower_features(loaded.core, pixels)
    tower.train(was_training)
    return features


def is_fixed(tower: nn.Module) -> bool:
    """Whether the tower always gives the same features: nothing in it trains and no adapter sits in it."""
    if any(weight.requires_grad for weight in tower.parameters()):
        return False
    return not any(type(module).__module__.startswith("peft.") for module in tower.modules())
