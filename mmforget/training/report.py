"""What a training cost and how it ended, and the folder that remembers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmforget.errors import UserError
from mmforget.model.artifact import Artifact
from mmforget.model.fingerprint import folder_hashes
from mmforget.results.codec import to_jsonable
from mmforget.results.files import prepare_folder, read_json, write_json
from mmforget.results.provenance import peak_memory_bytes

PLAN, DONE, HASHES = "plan.json", "done.json", "hashes.json"


@dataclass(frozen=True)
class TrainReport:
    """One training.

    Attributes:
        label: what was trained, e.g. `target model` or the method's name.
        output: folder with the result: `adapter` (LoRA), `model` (Hugging Face layout) or `guard`.
        num_steps: weight updates done.
        num_planned: weight updates planned; more than `num_steps` where training stopped early.
        wall_s: seconds spent in updates, over all sessions of a run that was killed and resumed, of what
            was learnt before them included.
        peak_memory_bytes: the most memory used in this session, by one process.
        peak_memory_kind: `cuda_max_allocated`, of the device, or `process_rss`, of the whole process since it started.
        num_trainable: parameters that were trained.
        num_parameters: all parameters of the model; packed 4-bit ones count as the weights they hold.
        final_parts: the weighted terms of the last update's loss.
        diverged: a loss or gradient was not finite, and the weights before that update were kept; or the retain
            answers' NLL passed `diverged_retain_nll`. Training stopped; its last checkpoint before stays.
        stopped: why training ended before its planned end: `diverged`, `stop_loss`, `stop_retain_nll`, a rule of `stop`
            as it was written, or "".
        resumed_from: the update at which the last session took up, 0 where it started at the beginning.
        num_processes: how many computed it together, in the last session.
        curve: points of the validation part, `step`, `forget`, `utility` and `balance`, see `stopping.py`.
        kept_step: the update whose weights are kept, as the best; None where those of the last one are kept.
    """

    label: str
    output: Path
    num_steps: int
    num_planned: int
    wall_s: float
    peak_memory_bytes: int
    peak_memory_kind: str
    num_trainable: int
    num_parameters: int
    final_parts: Mapping[str, float | None]
    diverged: bool = False
    stopped: str = ""
    resumed_from: int = 0
    num_processes: int = 1
    curve: Sequence[Mapping[str, float | None]] = ()
    kept_step: int | None = None

    @property
    def adapter(self) -> Path | None:
        """The adapter's folder, None where there is none."""
        return self.output if self.output.name == "adapter" else None

    @property
    def artifact(self) -> Artifact:
        """What was made."""
        if self.output.name == "guard":
            return Artifact("guard", self.output)
        return Artifact("weights" if self.adapter is None else "adapter", self.output)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `output` is relative to the training's folder, so that it may be moved."""
        values: dict[str, Any] = to_jsonable(asdict(replace(self, output=Path(self.output.name)))).value
        return values


class Memory(NamedTuple):
    """Peak memory in bytes, and what was measured."""

    num_bytes: int
    kind: str


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement where the device can; a process's resident peak cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> Memory:
    """The CUDA allocator's peak since the reset, or the process's resident peak."""
    if device.type == "cuda":
        return Memory(torch.cuda.max_memory_allocated(device), "cuda_max_allocated")
    return Memory(peak_memory_bytes(), "process_rss")


def finished(folder: Path, *, plan: Mapping[str, Any]) -> TrainReport | None:
    """The report of a training of this plan that is done, or None where it has to be (further) trained.

    Raises UserError, naming what differs, where the folder holds a training of another plan, or what it made was
    changed since.
    """
    done, started = folder / DONE, folder / PLAN
    if done.is_file() or (started.is_file() and any(folder.glob("checkpoints/checkpoint-*"))):
        _require_same(read_json(started), plan, folder=folder)
    if not done.is_file():
        return None
    values = read_json(done)
    try:
        places = {"output": folder / values["output"], "curve": tuple(values.get("curve", ()))}
        report = TrainReport(**{**values, **places})
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{done} was written by another version or edited ({error}); delete {folder} to train again"
        ) from error
    # Somebody may have deleted the weights to save space: then they are made again.
    if not report.output.is_dir():
        return None
    if (folder / HASHES).is_file():
        _require_unchanged(report.output, hashes=read_json(folder / HASHES))
    return report


def begin(folder: Path, *, plan: Mapping[str, Any]) -> None:
    """Makes the folder and writes down what will be trained in it."""
    prepare_folder(folder)
    write_json(folder / PLAN, to_jsonable(plan).value)


def finish(folder: Path, report: TrainReport) -> TrainReport:
    """Writes down the hashes of what was made, then marks the training as done, in one atomic write."""
    write_json(folder / HASHES, folder_hashes(report.output))
    write_json(folder / DONE, report.as_dict())
    return report


def _require_unchanged(output: Path, *, hashes: Mapping[str, str]) -> None:
    now = folder_hashes(output)
    changed = [name for name, value in hashes.items() if now.get(name) != value]
    if changed:
        raise UserError(
            f"{output / changed[0]} is not what the training saved there; put it back, or delete {output} to train it "
            "again"
        )


def _flat(values: Any, *, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, prefix=f"{prefix}.{key}" if prefix else str(key))
    return flat


def _require_same(old: Any, plan: Mapping[str, Any], *, folder: Path) -> None:
    old, new = _flat(old), _flat(to_jsonable(plan).value)
    differing = [
        f"{key}: {old.get(key)!r} there, {new.get(key)!r} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if differing:
        raise UserError(
            f"{folder} holds another training ({'; '.join(differing)}); give another --output_path, or delete it"
        )
