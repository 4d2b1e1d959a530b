"""Image features of a run: kept for all of its models, since the vision tower never trains."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mmforget.model.feature_cache import FeatureCache
from mmforget.pipeline.config import RunConfig

BUDGET_BYTES = 2**30


def run_features(config: RunConfig) -> FeatureCache:
    """The features of this run, in `--feature_folder` where that is given. Raises UserError where it cannot be made."""
    return _cache(config.feature_folder)


@lru_cache(maxsize=1)
def _cache(folder: str | None) -> FeatureCache:
    return FeatureCache(BUDGET_BYTES, folder=None if folder is None else Path(folder).expanduser())
