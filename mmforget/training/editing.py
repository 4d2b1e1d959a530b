"""Methods that edit weights in closed form: their view of a loaded model, and one edit in one folder.

The model is edited in place, saved whole, and put back as it was, so that it serves the next method.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmforget import parallel
from mmforget.errors import RunFailed
from mmforget.methods.base import hyper_parameters
from mmforget.methods.edits import EditMethod, EditReport
from mmforget.model.examples import encode_all
from mmforget.model.loaded import LoadedModel, save_model
from mmforget.model.site import ModelSite
from mmforget.plugins import code_of, running
from mmforget.results.files import write_json
from mmforget.results.fingerprint import hash_json
from mmforget.training import report
from mmforget.training.data import data_hash
from mmforget.training.report import TrainReport
from mmforget.types import Example

DETAILS = "edit.json"
"""Which matrices were edited, of which rank, and what was left out."""


def edit_in(
    folder: Path,
    *,
    loaded: LoadedModel,
    method: EditMethod,
    forget: Sequence[Example],
    retain: Sequence[Example],
    level: int | None,
    label: str,
    append_eos: bool = False,
) -> TrainReport:
    """Edits a copy of the model's weights with `method` and saves the whole model to `folder/model`.

    Returns the report of what is done there already where it was the same edit. `final_parts` of the report holds the
    number of matrices and the rank that each has lost; `edit.json` says the rest.

    Args:
        level: which part of a row's path is forgotten as a whole, 0 the outermost; None: the innermost.
        append_eos: answers end with the end-of-sequence token, as they were trained.

    Raises UserError where the method edits nothing, the model is quantised or carries an adapter, or the folder holds
    another result; BadData for rows that cannot be encoded; RunFailed for weights that are not finite.
    """
    site = ModelSite(loaded, append_eos=append_eos)
    plan = {
        "method": label,
        "arguments": hyper_parameters(method),
        "forget": _hash(loaded, forget, append_eos=append_eos, source="rows to forget"),
        "retain": _hash(loaded, retain, append_eos=append_eos, source="rows to keep") if retain else None,
        "level": level,
        "model": loaded.fingerprint,
        "append_eos": append_eos,
    }
    code = code_of(method)
    if code is not None:
        plan["code"] = code
    done = parallel.on_main(lambda: report.finished(folder, plan=plan))
    if done is not None:
        return done
    parallel.on_main(lambda: report.begin(folder, plan=plan))
    report.reset_peak_memory(loaded.device)
    start_s = time.perf_counter()
    with editing(site, method=method, forget=forget, retain=retain, level=level, label=label) as found:
        output = parallel.on_main(lambda: _save(loaded, found, folder=folder))
    made = _report(loaded, found, label=label, output=output, wall_s=time.perf_counter() - start_s)
    return parallel.on_main(lambda: report.finish(folder, made))


@contextmanager
def editing(
    site: ModelSite,
    *,
    method: EditMethod,
    forget: Sequence[Example],
    retain: Sequence[Example],
    level: int | None,
    label: str,
) -> Iterator[EditReport]:
    """Inside, the site's model is edited; afterwards its weights are as they were, bit by bit.

    Raises UserError where the method edits nothing, RunFailed for weights that are not finite.
    """
    try:
        with running(method, what=f"method '{label}': edit"):
            found = method.edit(site, forget=forget, retain=retain, level=level)
        _require_finite(site, label=label)
        yield found
    finally:
        site.restore()


def _hash(loaded: LoadedModel, examples: Sequence[Example], *, append_eos: bool, source: str) -> str:
    """Identifies rows: their tokens and pictures, and where they stand."""
    encoded = encode_all(loaded, examples, append_eos=append_eos, source=source)
    return hash_json([data_hash(encoded), [list(example.path) for example in examples]])


def _require_finite(site: ModelSite, *, label: str) -> None:
    broken = [name for name in site.replaced if not bool(site.matrix(name).weight.isfinite().all())]
    if broken:
        raise RunFailed(
            f"{label} made weights that are not finite ({', '.join(broken[:3])}); load the model in a wider dtype "
            "(dtype=bfloat16 or float32)"
        )


def _save(loaded: LoadedModel, found: EditReport, *, folder: Path) -> Path:
    output = folder / "model"
    shutil.rmtree(output, ignore_errors=True)
    write_json(folder / DETAILS, found.as_dict())
    return save_model(loaded, output)


def _report(loaded: LoadedModel, found: EditReport, *, label: str, output: Path, wall_s: float) -> TrainReport:
    memory = max(parallel.gather(report.peak_memory(loaded.device)))
    ranks = {f"rank of {edit.name}": float(edit.rank) for edit in found.edits}
    return TrainReport(
        label=label,
        output=output,
        num_steps=0,
        num_planned=0,
        wall_s=round(wall_s, 3),
        peak_memory_bytes=memory.num_bytes,
        peak_memory_kind=memory.kind,
        num_trainable=found.num_weights,
        num_parameters=int(loaded.core.num_parameters()),
        final_parts={"matrices": float(len(found.edits)), **ranks},
        num_processes=parallel.world_size(),
    )
