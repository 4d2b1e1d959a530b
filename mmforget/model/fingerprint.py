"""Fingerprints of models: two that could give different numbers never share one.

They cover weights, adapter, quantisation, dtype, configuration, tokenizer, chat template and processor, by content.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmforget.benchmark.cache import cache_folder
from mmforget.errors import UserError
from mmforget.results.files import write_json
from mmforget.results.fingerprint import hash_file, hash_json

if TYPE_CHECKING:
    from mmforget.model.spec import ModelSpec

logger = logging.getLogger(__name__)

PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*.json",
    "*tokens*.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*processor_config.json",
    "chat_template*",
    "*.py",
)
"""Files that decide what a model computes. Logs and records that stand beside them do not count."""
LARGE_BYTES = 64 * 2**20
"""Files from this size on are hashed once and remembered between runs."""


def weights_fingerprint(spec: ModelSpec) -> str:
    """sha256 of the files of `spec.pretrained` (not of its adapter) and of how they are loaded."""
    folder = model_folder(spec.pretrained, revision=spec.revision)
    quantisation = {
        "dtype": spec.dtype,
        "bits": 4 if spec.load_in_4bit else 8 if spec.load_in_8bit else None,
        "kind": [spec.bnb_4bit_quant_type, spec.bnb_4bit_use_double_quant] if spec.load_in_4bit else None,
    }
    # Kernels differ in their last bits, which in half precision is enough to change a generated text.
    attention = {} if spec.attn_implementation is None else {"attention": spec.attn_implementation}
    return hash_json({"files": folder_hashes(folder), "loading": {**quantisation, **attention}})


def model_folder(pretrained: str, *, revision: str | None = None) -> Path:
    """The folder the files are in: `pretrained` itself or its snapshot in the Hugging Face cache."""
    if Path(pretrained).expanduser().is_dir():
        return Path(pretrained).expanduser()
    from transformers.utils import cached_file

    return Path(str(cached_file(pretrained, "config.json", revision=revision))).parent


def folder_hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file in `folder` that decides what a model computes, by name."""
    found = {path for pattern in PATTERNS for path in folder.glob(pattern)}
    return {path.name: file_hash(path) for path in sorted(found)}


def tensors_fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 of names, dtypes, shapes and bytes of tensors, whatever their order and device."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def join(*parts: str) -> str:
    """One fingerprint of several."""
    return hash_json(list(parts))


def file_hash(path: Path) -> str:
    """sha256 of a file; of a large one, what it was when it was last read, unless the file has changed since."""
    real = path.resolve()
    # Large files in the Hugging Face cache are named by the sha256 of their content.
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    status = real.stat()
    if status.st_size < LARGE_BYTES:
        return hash_file(real)
    # Size and time of change of the content can be set by whoever replaces a file, its inode and ctime cannot.
    key = f"{real}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}:{status.st_ctime_ns}"
    known = _read_known()
    if key not in known:
        known[key] = hash_file(real)
        _write_known(known)
    return known[key]


def _known_file() -> Path:
    return cache_folder() / "file_hashes.json"


def _read_known() -> dict[str, str]:
    try:
        known: Any = json.loads(_known_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_known(known: dict[str, str]) -> None:
    try:
        write_json(_known_file(), known)
    except UserError as error:
        logger.warning("large files will be hashed again next time: %s", error)
