"""Stage one: the model memorises its rows, before anything is forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.bases import Privacy
from mmforget.model.encode import Encoded
from mmforget.model.examples import encode_all
from mmforget.model.load import save_merged
from mmforget.model.loaded import LoadedModel
from mmforget.model.vision import FeatureCache
from mmforget.training.batches import Batches
from mmforget.training.data import data_hash
from mmforget.training.objective import Memorise, Scoring
from mmforget.training.private import (
    MemorisePrivately,
    PoissonBatches,
    planned,
    private_settings,
    read_account,
    require_alone,
    spent,
    write_account,
)
from mmforget.training.report import TrainReport
from mmforget.training.session import Training, train_in
from mmforget.training.settings import TrainSettings
from mmforget.types import Example, Progress


def finetune(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    settings: TrainSettings,
    folder: Path,
    label: str = "stage one",
    progress: Progress | None = None,
    features: FeatureCache | None = None,
    privacy: Privacy | None = None,
) -> TrainReport:
    """Trains the language model (and the projector, if `settings` say so), or adapters, on the answers of `examples`.

    The vision tower stays frozen. The result lies under `report.output`, whole, with tokenizer and processor, trained
    adapters merged in full precision; load it from there, `loaded` may or may not hold the trained weights.
    The same call on the same folder continues a killed training or returns the report of a finished one.

    Args:
        privacy: what the training may tell of a row; what it spends then lies beside the weights, see `private.py`.

    Raises BadData for rows that cannot be encoded, UserError for a folder that holds another training, for adapters on
    a base that came with one, and for privacy without opacus or in several processes.
    """
    if settings.lora is not None and loaded.spec.peft is not None:
        raise UserError(
            f"{label}: adapters cannot be trained on a base that came with the adapter {loaded.spec.peft}; save the "
            "merged base first and give it as pretrained=..., or train without LoRA"
        )
    if settings.lora is not None and loaded.quantisation is not None and not loaded.spec.is_quantised:
        raise UserError(
            f"{label}: adapters would be merged into the trained model at the end, and the weights of "
            f"{loaded.spec.pretrained} are quantised ({loaded.quantisation}), where small changes round to none; give "
            "the model that was quantised in full precision, with load_in_4bit=True or load_in_8bit=True to train it"
        )
    encoded = encode_all(loaded, examples, append_eos=settings.append_eos, source=f"rows of {label}")
    subjects = [example.subject for example in examples]
    plan = {"label": label, "data": data_hash(encoded)}
    if privacy is None:
        batches = Batches(subjects, settings=settings)
        training = Training(label, plan, lambda prepared, scoring, place: Memorise(scoring, encoded), batches)
    else:
        require_alone()
        settings = private_settings(settings)
        training = _private(label, plan, encoded=encoded, subjects=subjects, settings=settings, privacy=privacy)
    report = train_in(folder, training, loaded=loaded, settings=settings, progress=progress, features=features)
    if report.adapter is not None:
        merged = replace(loaded.spec, peft=str(report.adapter), merge_peft=True)
        report = replace(report, output=parallel.on_main(lambda: save_merged(merged, folder / "merged")))
    if privacy is not None and read_account(report.output) is None:
        whole = planned(privacy, settings=settings, num_rows=len(encoded))
        write_account(report.output, spent(whole, num_steps=report.num_steps))
    return report


def _private(
    label: str,
    plan: Mapping[str, Any],
    *,
    encoded: Sequence[Encoded],
    subjects: Sequence[str],
    settings: TrainSettings,
    privacy: Privacy,
) -> Training:
    def made(prepared: LoadedModel, scoring: Scoring, place: Path) -> MemorisePrivately:
        return MemorisePrivately(scoring, encoded, planned(privacy, settings=settings, num_rows=len(encoded)))

    return Training(label, {**plan, "privacy": asdict(privacy)}, made, PoissonBatches(subjects, settings=settings))
