"""Features on disk: written once, read back to the last bit, and neither damage nor a full disk stops a run."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from mmforget.errors import UserError
from mmforget.model import feature_cache
from mmforget.model.feature_cache import FeatureCache
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.vision import image_features
from tests.helpers import tiny_image

IMAGES = {str(number): tiny_image(number) for number in range(3)}
NUM_BYTES = 16 * 32 * 4
"""Of one image's features in the tiny LLaVA: 16 tokens x 32 float32."""


def features(loaded: LoadedModel, cache: FeatureCache | None) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack(list(image_features(loaded, IMAGES, cache=cache).values()))


def test_another_run_reads_what_is_there(llava: LoadedModel, llava_folder: Path, tmp_path: Path) -> None:
    first = FeatureCache(folder=tmp_path / "features")
    wanted = features(llava, first)
    assert first.num_encoded == 3
    again = FeatureCache(folder=tmp_path / "features")
    assert torch.equal(features(load_model(ModelSpec(str(llava_folder))), again), wanted)
    assert (again.num_encoded, again.num_hits) == (0, 3)
    assert torch.equal(features(llava, None), wanted)
    files = sorted(path.relative_to(tmp_path / "features") for path in (tmp_path / "features").rglob("*.safetensors"))
    assert [path.name for path in files] == ["0.safetensors", "1.safetensors", "2.safetensors"]
    assert len({path.parent for path in files}) == 1


def test_what_the_budget_drops_is_read_back(llava: LoadedModel, tmp_path: Path) -> None:
    cache = FeatureCache(NUM_BYTES, folder=tmp_path)
    wanted = features(llava, cache)
    assert len(cache) == 1
    assert torch.equal(features(llava, cache), wanted)
    assert (cache.num_encoded, cache.num_hits) == (3, 3)
    assert cache.size_bytes == NUM_BYTES


def test_no_room_in_memory_at_all(llava: LoadedModel, tmp_path: Path) -> None:
    cache = FeatureCache(0, folder=tmp_path)
    assert torch.equal(features(llava, cache), features(llava, cache))
    assert (len(cache), cache.size_bytes, cache.num_encoded, cache.num_hits) == (0, 0, 3, 3)


def test_dtypes_are_kept(llava_folder: Path, tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), dtype="bfloat16"))
    wanted = features(loaded, FeatureCache(folder=tmp_path))
    assert torch.equal(features(loaded, FeatureCache(folder=tmp_path)), wanted)
    (path, *_) = tmp_path.rglob("*.safetensors")
    (found,) = feature_cache.load(path.read_bytes()).values()
    assert found.dtype == torch.bfloat16


@pytest.mark.parametrize("content", [b"", b"not tensors", None])
def test_a_damaged_file_is_made_anew(
    llava: LoadedModel, tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = features(llava, FeatureCache(folder=tmp_path))
    (path,) = tmp_path.rglob("1.safetensors")
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    cache = FeatureCache(folder=tmp_path)
    assert torch.equal(features(llava, cache), wanted)
    assert (cache.num_encoded, cache.num_hits, cache.num_damaged) == (1, 2, 1)
    assert f"{path} is damaged" in caplog.text
    again = FeatureCache(folder=tmp_path)
    features(llava, again)
    assert (again.num_encoded, again.num_damaged) == (0, 0)


def test_a_file_with_another_tensor(llava: LoadedModel, tmp_path: Path) -> None:
    features(llava, FeatureCache(folder=tmp_path))
    (path,) = tmp_path.rglob("1.safetensors")
    path.write_bytes(feature_cache.save({"something": torch.zeros(2)}))
    cache = FeatureCache(folder=tmp_path)
    features(llava, cache)
    assert (cache.num_encoded, cache.num_damaged) == (1, 1)


def test_a_full_disk(
    llava: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once, what is there already is still read, and the rest goes on in memory."""
    only = {"0": IMAGES["0"]}
    with torch.no_grad():
        image_features(llava, only, cache=FeatureCache(folder=tmp_path))
    cache = FeatureCache(folder=tmp_path)

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        wanted = features(llava, cache)
    assert torch.equal(features(llava, cache), wanted)
    assert (cache.num_encoded, cache.num_hits) == (2, 1 + 3)
    warnings = [
        one for one in caplog.records if one.levelno == logging.WARNING and "no longer written" in one.getMessage()
    ]
    assert len(warnings) == 1
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["0.safetensors"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        FeatureCache(folder=tmp_path / "file")


def test_a_tower_is_hashed_once(llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, calls = load_model(ModelSpec(str(llava_folder))), []
    plain = feature_cache.tensors_fingerprint
    monkeypatch.setattr(feature_cache, "tensors_fingerprint", lambda tensors: calls.append(1) or plain(tensors))
    for cache in (FeatureCache(), FeatureCache()):
        features(loaded, cache)
        features(loaded, cache)
    assert len(calls) == 1
