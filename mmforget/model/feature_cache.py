"""Tower features kept between calls, models and runs: in memory up to a budget and, where asked for, in a folder.

They belong to a tower by its content, so a model that is loaded again, or trained with its tower frozen, finds them.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from mmforget.errors import UserError, one_line
from mmforget.model.fingerprint import join, tensors_fingerprint
from mmforget.results.files import prepare_folder, write_bytes
from mmforget.results.fingerprint import hash_json

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel

logger = logging.getLogger(__name__)

FEATURES = "features"
"""Name of the one tensor in a file."""


class FeatureCache:
    """Tower features, before the projector, of the images used last, up to `budget_bytes`.

    With a folder, which has to be writable, every image's features are also written there as safetensors, and read back
    before anything is encoded again: `<folder>/<fingerprint of the tower>/<hash of the pixels>.safetensors`. A damaged
    file is made anew. Once the folder cannot be written any more, e.g. since the disk is full, that is said once and no
    more is written.

    Attributes:
        num_encoded: images that went through the tower; not those that a model's own forward reads (families/other.py).
        num_hits: images found here instead, in memory or in the folder.
        num_damaged: files that could not be read.
    """

    def __init__(self, budget_bytes: int = 2**30, *, folder: Path | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.folder = None if folder is None else prepare_folder(folder)
        self.num_encoded = 0
        self.num_hits = 0
        self.num_damaged = 0
        self.size_bytes = 0
        self._features: OrderedDict[tuple[str, str], Tensor] = OrderedDict()
        self._can_write = folder is not None

    def __len__(self) -> int:
        return len(self._features)

    def given(self, key: str) -> Tensor | None:
        """Features that take the place of what a tower would give, whichever it is; here none."""
        return None

    def get(self, key: str, *, tower: str) -> Tensor | None:
        """Features of the image with this key, as that tower gives them."""
        found = self._features.get((tower, key))
        if found is None and self.folder is not None:
            found = self._read(self._path(key, tower=tower))
        if found is not None:
            self.num_hits += 1
            self._keep(key, found, tower=tower)
        return found

    def put(self, key: str, features: Tensor, *, tower: str) -> None:
        """Keep the features of an image, dropping those used longest ago where the budget is exceeded."""
        self._keep(key, features, tower=tower)
        if self._can_write:
            self._write(self._path(key, tower=tower), features)

    def _keep(self, key: str, features: Tensor, *, tower: str) -> None:
        before = self._features.pop((tower, key), None)
        self.size_bytes += features.nbytes - (0 if before is None else before.nbytes)
        self._features[tower, key] = features
        while self.size_bytes > self.budget_bytes and self._features:
            _, old = self._features.popitem(last=False)
            self.size_bytes -= old.nbytes

    def _path(self, key: str, *, tower: str) -> Path:
        return Path(self.folder or "") / tower / f"{key}.safetensors"

    def _write(self, path: Path, features: Tensor) -> None:
        try:
            write_bytes(path, save({FEATURES: features.contiguous()}))
        except UserError as error:
            self._can_write = False
            logger.warning("image features are no longer written to %s: %s", self.folder, error)

    def _read(self, path: Path) -> Tensor | None:
        try:
            found: Tensor = load(path.read_bytes())[FEATURES]
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError) as error:
            self.num_damaged += 1
            logger.warning("%s is damaged (%s); its image is encoded again", path, one_line(error))
            return None
        return found


class _Known(NamedTuple):
    """A tower's fingerprint and the state of its tensors at that time."""

    state: tuple[tuple[int, int], ...]
    fingerprint: str


_KNOWN: WeakKeyDictionary[nn.Module, _Known] = WeakKeyDictionary()


def tower_fingerprint(loaded: LoadedModel, parts: Sequence[nn.Module]) -> str:
    """Identifies the features that a tower gives: its tensors, how it is read out, and how images are prepared.

    Computed once a tower, and again only where its tensors have been changed or replaced.
    """
    tensors = _tensors(parts)
    state = tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors.values())
    known = _KNOWN.get(parts[0])
    if known is None or known.state != state:
        known = _Known(state, join(tensors_fingerprint(tensors), hash_json(_settings(loaded))))
        _KNOWN[parts[0]] = known
    return known.fingerprint


def _tensors(parts: Sequence[nn.Module]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for number, part in enumerate(parts):
        for name, tensor in (*part.named_parameters(), *part.named_buffers()):
            found[f"{number}.{name}"] = tensor
    return found


def _settings(loaded: LoadedModel) -> dict[str, Any]:
    """What beside its tensors decides a tower's features, up to the last bit."""
    config, processor = loaded.core.config, loaded.processor
    images: Any = getattr(processor, "image_processor", None)
    return {
        "family": loaded.family.NAME,
        "vision": json.loads(config.vision_config.to_json_string(use_diff=False)) | {"_name_or_path": ""},
        "read out": [
            getattr(config, name, None) for name in ("vision_feature_layer", "vision_feature_select_strategy")
        ],
        "images": [type(images).__name__, json.loads(images.to_json_string())],
        "attention": config.vision_config._attn_implementation,
        "device": loaded.device.type,
        "versions": [torch.__version__, transformers.__version__],
    }
