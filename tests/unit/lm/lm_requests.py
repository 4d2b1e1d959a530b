"""lm_eval requests made by hand, and a small model behind the adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model


def request(kind: str, *args: Any, images: Sequence[Any] | None = None, doc_id: int = 0, task: str = "toy") -> Instance:
    """A request as lm_eval builds it: with `{"visual": ...}` behind the arguments where images are given."""
    arguments = args if images is None else (*args, {"visual": images})
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0, metadata=(task, doc_id, 1))


def adapter(folder: Path, **settings: Any) -> MMForgetLM:
    return MMForgetLM(load_model(ModelSpec(str(folder), device="cpu")), progress=False, **settings)
