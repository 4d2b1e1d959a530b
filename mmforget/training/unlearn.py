"""Unlearning: one method on one model, from the rows to forget to a saved adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from mmforget.errors import UserError
from mmforget.methods.base import Method, Need
from mmforget.model.loaded import LoadedModel
from mmforget.model.vision import FeatureCache
from mmforget.results.fingerprint import hash_json
from mmforget.training.batches import Batches
from mmforget.training.data import Refusals, data_hash, encode_all
from mmforget.training.objective import Objective, Scoring, Unlearn
from mmforget.training.report import TrainReport
from mmforget.training.session import train_in
from mmforget.training.settings import TrainSettings
from mmforget.training.trainer import Progress
from mmforget.types import Example

NEEDS_RETAIN = frozenset({Need.RETAIN, Need.RETAIN_KL})


def unlearn(
    loaded: LoadedModel,
    *,
    method: Method,
    forget: Sequence[Example],
    retain: Sequence[Example] = (),
    refusals: Sequence[str] = (),
    settings: TrainSettings,
    folder: Path,
    label: str | None = None,
    progress: Progress | None = None,
    features: FeatureCache | None = None,
) -> TrainReport:
    """Makes `loaded` forget with `method`; the result lies under `report.output`.

    With LoRA, the adapters are taken off again afterwards, so `loaded` is as it was and serves the next method.
    Without, its weights are changed in place and saved whole. The same call on the same folder continues a killed
    training or returns the report of a finished one.

    Raises UserError where the method needs retain rows, refusals or a reference that are not there or the folder holds
    another training; BadData for rows that cannot be encoded.
    """
    name = label or type(method).__module__.rpartition(".")[2]
    _check(method, name=name, retain=retain, refusals=refusals)
    encode = {"append_eos": settings.append_eos}
    forget_encoded = encode_all(loaded, forget, source="rows to forget", **encode)
    retain_encoded = encode_all(loaded, retain, source="rows to keep", **encode) if retain else []
    wants_refusals = Need.ALTERNATE in method.needs

    def objective(prepared: LoadedModel, scoring: Scoring) -> Objective:
        drawn = Refusals(prepared, forget, refusals=refusals, **encode) if wants_refusals else None
        made = Unlearn(scoring, method, forget_encoded, retain_encoded, drawn, has_adapters=settings.lora is not None)
        made.prepare(batch_size=settings.batch_size)
        return made

    batches = Batches(
        [example.subject for example in forget],
        settings=settings,
        retain_subjects=[example.subject for example in retain],
        num_refusals=len(refusals) if wants_refusals else 0,
    )
    plan = {
        "method": name,
        "arguments": method_arguments(method),
        "forget": data_hash(forget_encoded),
        "retain": data_hash(retain_encoded),
        "refusals": hash_json(list(refusals)) if wants_refusals else None,
    }
    return train_in(
        folder, loaded=loaded, plan=plan, objective=objective, batches=batches, settings=settings, label=name,
        progress=progress, features=features,
    )  # fmt: skip


def method_arguments(method: Method) -> Mapping[str, Any]:
    """The method's hyper-parameters by name, for the record; a method that is no dataclass has none."""
    return asdict(method) if is_dataclass(method) else {}


def _check(method: Method, *, name: str, retain: Sequence[Example], refusals: Sequence[str]) -> None:
    if method.needs & NEEDS_RETAIN and not retain:
        raise UserError(f"method '{name}' needs rows to keep, and there are none; give a benchmark with a retain set")
    if Need.ALTERNATE in method.needs and not refusals:
        raise UserError(
            f"method '{name}' needs refusals, and the benchmark lists none; add `refusals` to its metadata.unlearning"
        )
