"""Guards: what is left of one is a small file with its name and arguments, and whoever has it can put it up again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmforget import parallel
from mmforget.asking import Guard
from mmforget.errors import UserError
from mmforget.methods.base import METHODS, hyper_parameters
from mmforget.methods.build import build
from mmforget.methods.contract import guard_state
from mmforget.methods.material import Material
from mmforget.model.activations import evaluating
from mmforget.model.encode import encode_prompt, start_token
from mmforget.model.fingerprint import folder_hashes
from mmforget.model.loaded import LoadedModel, guarded
from mmforget.model.scoring import Wanted, look
from mmforget.plugins import code_of
from mmforget.results.codec import to_jsonable
from mmforget.results.files import prepare_folder, read_json, write_json, writing
from mmforget.training import report
from mmforget.training.report import TrainReport
from mmforget.types import Example

FILE, ADAPTER = "guard.json", "adapter"
STATES_AT_ONCE = 8


def guard_in(
    folder: Path,
    *,
    loaded: LoadedModel,
    material: Material,
    method: Any,
    label: str,
    trained: TrainReport | None = None,
) -> TrainReport:
    """Writes a guard down in `folder/guard`, with what it keeps of the rows; nothing is trained.

    Args:
        trained: of the adapter that it needs, which is put beside it.

    Raises UserError where the folder holds another result, or the method is not registered, so that nobody could put it
    up again.
    """
    about = _about(method, name=_registered_name(method))
    state = guard_state(method, material, name=label, states=partial(question_states, loaded))
    if state:
        about["state"] = state
    plan = {**about, "model": loaded.fingerprint}
    if trained is not None:
        plan["adapter"] = folder_hashes(trained.output)
    done = parallel.on_main(lambda: report.finished(folder, plan=plan))
    if done is not None:
        return done
    made = _untrained(loaded, label=label) if trained is None else trained
    made = replace(made, output=folder / "guard")

    def write() -> TrainReport:
        report.begin(folder, plan=plan)
        prepare_folder(made.output)
        write_json(made.output / FILE, about)
        if trained is not None:
            with writing(made.output):
                shutil.copytree(trained.output, made.output / ADAPTER, dirs_exist_ok=True)
        return report.finish(folder, made)

    return parallel.on_main(write)


def _untrained(loaded: LoadedModel, *, label: str) -> TrainReport:
    memory = max(parallel.gather(report.peak_memory(loaded.device)))
    return TrainReport(
        label=label,
        output=Path("guard"),
        num_steps=0,
        num_planned=0,
        wall_s=0.0,
        peak_memory_bytes=memory.num_bytes,
        peak_memory_kind=memory.kind,
        num_trainable=0,
        num_parameters=int(loaded.core.num_parameters()),
        final_parts={},
        num_processes=parallel.world_size(),
    )


def guard_of(loaded: LoadedModel, material: Material, *, method: Any, name: str) -> Guard:
    """The guard itself, of which nothing is written down."""
    about = _about(method, name=name)
    state = guard_state(method, material, name=name, states=partial(question_states, loaded))
    return _guard(loaded, about | {"state": state}, method=method)


def question_states(loaded: LoadedModel, rows: Sequence[Example]) -> Tensor:
    """What the last decoder layer puts out at the last token of each row's question, float32 [N, H], on the CPU."""
    end, found = start_token(loaded), list[Tensor]()
    with evaluating(loaded.model), torch.no_grad():
        for start in range(0, len(rows), STATES_AT_ONCE):
            part = [encode_prompt(loaded, row.context, row.images) for row in rows[start : start + STATES_AT_ONCE]]
            asked = [one.followed_by([end]) for one in part]
            found.append(look(loaded, asked, wanted=Wanted(layers=(-1,))).values[-1][:, 0, 0].float().cpu())
    return torch.cat(found)


def adapter_of(folder: Path) -> Path | None:
    """The adapter that the guard in `folder` needs on the model; None for most."""
    return folder / ADAPTER if (folder / ADAPTER).is_dir() else None


def put_up(loaded: LoadedModel, folder: Path) -> LoadedModel:
    """The model behind the guard that lies in `folder`; it carries the guard's adapter where that has one.

    Raises UserError where there is none, or its package is not installed or has other code than when it was made.
    """
    about = read_json(folder / FILE) if (folder / FILE).is_file() else None
    if not isinstance(about, dict) or not {"method", "arguments", "code"} <= about.keys():
        raise UserError(f"{folder} holds no guard ({FILE}); give the folder `guard` that unlearn or run has made")
    method = build(about["method"], about["arguments"])
    wanted = {name: value for name, value in about.items() if name != "state"}
    if not hasattr(method, "guard") or _about(method, name=about["method"]) != wanted:
        raise UserError(f"{folder}: the method '{about['method']}' is not the one that this guard was made with")
    # The adapter is part of the guard: without the guard the spec names the model before.
    peft = loaded.spec.peft if adapter_of(folder) is None else None
    spec = replace(loaded.spec, guard=str(folder), peft=peft)
    return guarded(replace(loaded, spec=spec), _guard(loaded, about, method=method))


def _guard(loaded: LoadedModel, about: Mapping[str, Any], *, method: Any) -> Guard:
    return Guard(
        about["method"], method, about["arguments"], about["code"], before=loaded.fingerprint,
        state=about.get("state") or {},
    )  # fmt: skip


def _registered_name(method: Any) -> str:
    kind = type(method)
    for entry in METHODS.entries.values():
        if entry.module == kind.__module__ and METHODS.get(entry.name) is kind:
            return entry.name
    raise UserError(f"the guard {kind.__name__} is no registered method; give it an entry point (mmforget.methods)")


def _about(method: Any, *, name: str) -> dict[str, Any]:
    found: dict[str, Any] = to_jsonable(
        {"method": name, "arguments": hyper_parameters(method), "code": code_of(method)}
    ).value
    return found
