"""One model of a pool: made, measured as it is and after each change of its weights, and found again when that is done.

Records are those of any model; a file beside them says what they were made of, so that what is done costs a look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmforget import __version__
from mmforget.attacks.naming import attack_of
from mmforget.benchmark.document import AttackName
from mmforget.benchmark.spec import Bound
from mmforget.evaluation.changing import changed
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.measuring import AboutModel, Measured, Place, asking_key, measure
from mmforget.pipeline.models import Models
from mmforget.pipeline.pools import Member, examples_of, settings_of
from mmforget.pipeline.prompts import render
from mmforget.pipeline.recipes import MethodPlan
from mmforget.pipeline.stage_one import StageOne, stage_one_settings
from mmforget.pipeline.unlearning import forget_with
from mmforget.results.files import read_json, write_json
from mmforget.results.fingerprint import hash_json
from mmforget.results.store import safe_name
from mmforget.training.stage_one import finetune
from mmforget.types import Progress

PLAIN = ""
DONE_FILE = "measured.json"


@dataclass(frozen=True)
class Setting:
    """What all models of a pool share.

    Attributes:
        changes: of weights, after which each is measured again.
        home: where models and records go, a folder each.
    """

    config: RunConfig
    bound: Bound
    changes: tuple[AttackName, ...]
    home: Path
    starts: Mapping[int, StageOne]
    target: Measured
    retain: Measured


Folders = Mapping[str, Path]
"""By change of weights, `PLAIN` for none, the folder of the record."""


def measure_member(
    member: Member, *, setting: Setting, is_changed: bool, models: Models, progress: Progress
) -> Folders:
    """The records of a member, trained where it is not there yet.

    Args:
        is_changed: whether it is measured after the changes of its weights, too.
    """
    folder = setting.home / member.name
    key = _key(setting, asdict(member), start=setting.starts[member.start])
    done = _done(folder, key=key)
    if done is None:
        spec, training = _trained(member, setting=setting, models=models, progress=progress)
        changes = setting.changes if is_changed else ()
        done = _measured(
            spec, name=member.name, training=training, setting=replace(setting, changes=changes), models=models,
            progress=progress,
        )  # fmt: skip
        _write_done(folder, done, key=key)
    return done


def measure_unlearned(
    plan: MethodPlan, *, member: Member, setting: Setting, models: Models, progress: Progress
) -> Folders:
    """The records of a member with the knowledge once a method has made it forget."""
    name = unlearned_name(plan, member=member)
    folder = setting.home / name
    key = _key(setting, {"plan": plan.as_dict(), "of": asdict(member)}, start=setting.starts[member.start])
    done = _done(folder, key=key)
    if done is None:
        target, _ = _trained(member, setting=setting, models=models, progress=progress)
        unlearned = forget_with(
            plan, target=target, config=setting.config, bound=setting.bound, folder=folder / "training", models=models,
            progress=progress,
        )  # fmt: skip
        done = _measured(
            unlearned.spec, name=name, training=unlearned.training, setting=setting, models=models, progress=progress
        )
        _write_done(folder, done, key=key)
    return done


def unlearned_name(plan: MethodPlan, *, member: Member) -> str:
    """Its name and folder."""
    return f"{safe_name(plan.name)}-{member.name}"


def _trained(
    member: Member, *, setting: Setting, models: Models, progress: Progress
) -> tuple[ModelSpec, dict[str, Any]]:
    start, config = setting.starts[member.start], setting.config
    loaded = models.get(start.spec)
    settings = settings_of(member, stage_one=stage_one_settings(config, benchmark=setting.bound.benchmark))
    report = finetune(
        loaded, render(examples_of(member, bound=setting.bound), loaded=loaded, config=config), settings=settings,
        folder=setting.home / member.name / "training", label=member.name, progress=progress,
        features=run_features(config),
    )  # fmt: skip
    # Its weights were trained in place.
    models.forget()
    spec = replace(start.spec, pretrained=str(report.output), revision=None)
    return spec, {**report.as_dict(), "settings": settings.as_dict()}


def _measured(
    spec: ModelSpec,
    *,
    name: str,
    training: Mapping[str, Any],
    setting: Setting,
    models: Models,
    progress: Progress,
) -> dict[str, Path]:
    """Measures the model as it is under all attacks, and once changed under those that leave weights alone."""
    found = {}
    for change in (None, *setting.changes):
        attacks = [one for one in setting.config.attacks if change is None or not _is_of_weights(one)]
        config = replace(setting.config, attacks=tuple(attacks))
        label = PLAIN if change is None else change.key
        place = Place(config, setting.bound, setting.home / name / (safe_name(label) or "plain"), blank_image=True)
        about = AboutModel("unlearned", f"{name} {label}".strip(), training=training)
        with _in_state(models.get(spec), change, setting=setting) as loaded:
            measured = measure(
                loaded, about=about, place=place, target=setting.target, retain=setting.retain, progress=progress
            )
        found[label] = measured.folder
    return found


@contextmanager
def _in_state(loaded: LoadedModel, change: AttackName | None, *, setting: Setting) -> Iterator[LoadedModel]:
    if change is None:
        yield loaded
        return
    config = setting.config
    attack = attack_of(change.key)
    with changed(
        loaded, setting.bound, attack=attack, key=change.key, template=config.apply_chat_template,
        features=run_features(config),
    ) as other:  # fmt: skip
        yield other


def _is_of_weights(attack: AttackName) -> bool:
    return str(attack_of(attack.key).access) == "weights"


def _key(setting: Setting, what: Mapping[str, Any], *, start: StageOne) -> str:
    facts = {
        "version": __version__,
        "model": what,
        "start": start.spec.pretrained,
        "changes": [one.key for one in setting.changes],
        "attacks": [one.key for one in setting.config.attacks],
        "references": [one.record.model_info["fingerprint"] for one in (setting.target, setting.retain)],
        "asked": asking_key(Place(setting.config, setting.bound, setting.home)),
    }
    return hash_json(facts)


def _done(folder: Path, *, key: str) -> dict[str, Path] | None:
    path = folder / DONE_FILE
    found = read_json(path) if path.is_file() else {}
    if found.get("key") != key:
        return None
    return {change: folder / name for change, name in found["records"].items()}


def _write_done(folder: Path, done: Folders, *, key: str) -> None:
    write_json(folder / DONE_FILE, {"key": key, "records": {change: path.name for change, path in done.items()}})
