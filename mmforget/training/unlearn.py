"""Unlearning: one method on one model, from the rows to forget to a saved adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.errors import BadData, UserError
from mmforget.methods.base import Need, hyper_parameters
from mmforget.methods.material import Concept, Material
from mmforget.methods.steps import RETAIN_NEEDS
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.vision import FeatureCache
from mmforget.plugins import code_of
from mmforget.results.fingerprint import hash_json
from mmforget.training.batches import Batches, BenignPartners
from mmforget.training.built import Built, built_rows
from mmforget.training.data import Refusals, data_hash, encode_all
from mmforget.training.editing import edit_in
from mmforget.training.objective import Objective, Scoring, Unlearn
from mmforget.training.report import TrainReport
from mmforget.training.session import train_in
from mmforget.training.settings import TrainSettings
from mmforget.training.trainer import Progress
from mmforget.types import Example


def unlearn(
    loaded: LoadedModel,
    *,
    method: Any,
    forget: Sequence[Example],
    retain: Sequence[Example] = (),
    benign: Sequence[Example] = (),
    refusals: Sequence[str] = (),
    concepts: Sequence[Concept] = (),
    level: int | None = None,
    as_asked: Callable[[Sequence[Example]], list[Example]] = list,
    settings: TrainSettings,
    folder: Path,
    label: str | None = None,
    progress: Progress | None = None,
    features: FeatureCache | None = None,
) -> TrainReport:
    """Makes `loaded` forget with `method`, trained or edited; the result lies under `report.output`.

    Args:
        method: what `methods.base.build` gives.
        benign: the questions to forget about harmless images, for methods that need them; `extra["pair"]` of a row
            says which row to forget it goes with.
        concepts: what is known of the subjects to forget, for methods that write their own rows.
        level: which part of a row's path is forgotten as a whole, 0 the outermost; None: the innermost.
        as_asked: puts rows into the form in which the model is asked, e.g. its chat template; also rows that a method
            writes itself.

    With LoRA, the adapters are taken off again afterwards, so `loaded` is as it was and serves the next method.
    Without, its weights are changed in place and saved whole. The same call on the same folder continues a killed
    training or returns the report of a finished one.

    Raises UserError where the method needs retain rows, benign rows, refusals or a reference that are not there or the
    folder holds another training; BadData for rows that cannot be encoded.
    """
    name = label or type(method).__module__.rpartition(".")[2]
    rows = _Rows(as_asked(forget), as_asked(retain), as_asked(benign), tuple(refusals))
    if hasattr(method, "edit"):
        return edit_in(
            folder, loaded=loaded, method=method, forget=rows.forget, retain=rows.retain, level=level, label=name,
            append_eos=settings.append_eos,
        )  # fmt: skip
    require_rows(
        method, name=name, retain=bool(rows.retain), benign=bool(rows.benign), refusals=bool(rows.refusals)
    )  # fmt: skip
    built = None
    if Need.BUILT in method.needs:
        material = Material(forget=forget, concepts=concepts)
        built = built_rows(
            loaded, method=method, material=material, append_eos=settings.append_eos, as_asked=as_asked
        )  # fmt: skip
    encoded = _encoded(loaded, rows, method=method, built=built, append_eos=settings.append_eos)
    return train_in(
        folder, loaded=loaded, plan=_plan(method, name=name, rows=rows, encoded=encoded),
        objective=partial(_objective, method=method, rows=rows, encoded=encoded, settings=settings),
        batches=_batches(method, rows=rows, encoded=encoded, settings=settings), settings=settings, label=name,
        progress=progress, features=features,
    )  # fmt: skip


class _Rows(NamedTuple):
    """What may be drawn on, as the model is asked."""

    forget: list[Example]
    retain: list[Example]
    benign: list[Example]
    refusals: tuple[str, ...]


class _Encoded(NamedTuple):
    """The rows that the method needs, ready for the model; empty or None what it does not need."""

    forget: list[Encoded]
    retain: list[Encoded]
    benign: list[Encoded]
    built: Built | None


def _encoded(loaded: LoadedModel, rows: _Rows, *, method: Any, built: Built | None, append_eos: bool) -> _Encoded:
    def ready(examples: Sequence[Example], *, source: str) -> list[Encoded]:
        return encode_all(loaded, examples, append_eos=append_eos, source=source)

    return _Encoded(
        ready(rows.forget, source="rows to forget"),
        ready(rows.retain, source="rows to keep") if rows.retain else [],
        ready(rows.benign, source="benign rows") if Need.BENIGN in method.needs else [],
        built,
    )


def _objective(
    prepared: LoadedModel, scoring: Scoring, *, method: Any, rows: _Rows, encoded: _Encoded, settings: TrainSettings
) -> Objective:
    drawn = None
    if Need.ALTERNATE in method.needs:
        drawn = Refusals(prepared, rows.forget, refusals=rows.refusals, append_eos=settings.append_eos)
    made = Unlearn(
        scoring, method, encoded.forget, encoded.retain, drawn, has_adapters=settings.lora is not None,
        benign=encoded.benign, built=encoded.built,
    )  # fmt: skip
    made.prepare(batch_size=settings.batch_size)
    return made


def _batches(method: Any, *, rows: _Rows, encoded: _Encoded, settings: TrainSettings) -> Batches:
    subjects = [example.subject for example in rows.forget]
    if encoded.built is not None:
        subjects = [str(number) for number in range(len(encoded.built.encoded))]
    benign = None
    if Need.BENIGN in method.needs:
        benign = _partners(rows.forget, benign=rows.benign, pairing=method.benign_pairing)
    return Batches(
        subjects,
        settings=settings,
        retain_subjects=[example.subject for example in rows.retain],
        num_refusals=len(rows.refusals) if Need.ALTERNATE in method.needs else 0,
        benign=benign,
    )


def _plan(method: Any, *, name: str, rows: _Rows, encoded: _Encoded) -> dict[str, Any]:
    """What tells this training from another."""
    plan = {
        "method": name,
        "arguments": hyper_parameters(method),
        "forget": data_hash(encoded.forget),
        "retain": data_hash(encoded.retain),
        "refusals": hash_json(list(rows.refusals)) if Need.ALTERNATE in method.needs else None,
    }
    code = code_of(method)
    if code is not None:
        plan["code"] = code
    if encoded.benign:
        plan["benign"] = data_hash(encoded.benign)
    if encoded.built is not None:
        plan["built"] = data_hash(encoded.built.encoded)
    return plan


def _partners(forget: Sequence[Example], *, benign: Sequence[Example], pairing: str) -> BenignPartners:
    """Which benign row goes with each row to forget: the one of the same pair, or for `random` any.

    Raises BadData naming the rows without a partner.
    """
    if pairing == "random":
        return BenignPartners(len(benign))
    by_pair = {example.extra.get("pair"): position for position, example in enumerate(benign)}
    missing = [example.id for example in forget if example.extra.get("pair") not in by_pair]
    if missing:
        faults = [f"row '{name}': no benign row has the same `pair`; give one, or pairing=random" for name in missing]
        raise BadData("rows to forget", faults=faults)
    return BenignPartners(len(benign), tuple(by_pair[example.extra.get("pair")] for example in forget))


def require_rows(method: Any, *, name: str, retain: bool, benign: bool, refusals: bool) -> None:
    """Raises UserError where there are no rows of a kind that the method needs; the flags say which kinds there are."""
    if method.needs & RETAIN_NEEDS and not retain:
        raise UserError(f"method '{name}' needs rows to keep, and there are none; give a benchmark with a retain set")
    if Need.BENIGN in method.needs and not benign:
        raise UserError(
            f"method '{name}' needs the questions to forget asked of harmless images, and there are none; "
            "give a benchmark whose `sets` name a `benign` one, such as safe_eraser"
        )
    if Need.ALTERNATE in method.needs and not refusals:
        raise UserError(
            f"method '{name}' needs refusals, and the benchmark lists none; add `refusals` to its metadata.unlearning"
        )
