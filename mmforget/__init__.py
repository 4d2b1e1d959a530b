"""mmforget: make multimodal and text models forget, and measure whether they did.

import mmforget
loaded = mmforget.load_model(mmforget.ModelSpec.parse("pretrained=FOLDER"))
benchmark = mmforget.load_benchmark("fiubench")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmforget.benchmark.find import find as load_benchmark
    from mmforget.benchmark.source import DataSource
    from mmforget.evaluation.attack import attack
    from mmforget.evaluation.run import evaluate
    from mmforget.methods.build import build as build_method
    from mmforget.methods.material import Material
    from mmforget.model.encode import encode
    from mmforget.model.load import load_model
    from mmforget.model.scoring import score
    from mmforget.model.spec import ModelSpec
    from mmforget.training.edited import edited
    from mmforget.training.settings import TrainSettings
    from mmforget.training.unlearn import unlearn

__version__ = "0.1.0"
__all__ = [
    "DataSource",
    "Material",
    "ModelSpec",
    "TrainSettings",
    "attack",
    "build_method",
    "edited",
    "encode",
    "evaluate",
    "load_benchmark",
    "load_model",
    "score",
    "unlearn",
]

_HOMES = {
    "DataSource": "benchmark.source:DataSource",
    "Material": "methods.material:Material",
    "ModelSpec": "model.spec:ModelSpec",
    "TrainSettings": "training.settings:TrainSettings",
    "attack": "evaluation.attack:attack",
    "build_method": "methods.build:build",
    "edited": "training.edited:edited",
    "encode": "model.encode:encode",
    "evaluate": "evaluation.run:evaluate",
    "load_benchmark": "benchmark.find:find",
    "load_model": "model.load:load_model",
    "score": "model.scoring:score",
    "unlearn": "training.unlearn:unlearn",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first touched, so that `import mmforget` is instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mmforget' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"mmforget.{module}"), attribute)
