"""A training that is looked at: points of the validation part in its log, and the weights of the step that is kept."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.material import Validate
from mmforget.model.activations import evaluating
from mmforget.model.loaded import LoadedModel
from mmforget.results.files import write_bytes
from mmforget.training.checkpoints import newest_complete, step_of
from mmforget.training.log import TrainLog
from mmforget.training.settings import TrainSettings
from mmforget.training.stopping import LAST, Point, balance, kept

logger = logging.getLogger(__name__)

BEST = "best"
"""Folder of a training that holds the weights of its best steps until it is done."""


class Watching:
    """Looks at the validation part before the first update, every `eval_steps` and after the last.

    Args:
        validate: what the model that trains comes to there, `forget` and `utility`.
        log: of the training, where the points stand.
        num_updates: planned.

    Raises UserError where settings ask for looks and nobody says what there is to look at, or weights are divided among
    processes.
    """

    def __init__(
        self,
        validate: Validate | None,
        *,
        loaded: LoadedModel,
        settings: TrainSettings,
        folder: Path,
        log: TrainLog,
        num_updates: int,
    ) -> None:
        if settings.eval_steps is not None and validate is None:
            raise UserError(
                f"eval_steps={settings.eval_steps}: this training has no validation part to look at; leave it out here"
            )
        if settings.eval_steps is not None and parallel.is_sharded():
            raise UserError(
                "--eval_steps looks at whole models, and weights are divided among processes; leave it out, or train "
                "with whole models (configs/ddp.yaml)"
            )
        self.validate, self.loaded, self.settings = validate, loaded, settings
        self.folder, self.log, self.num_updates = folder, log, num_updates

    def begin(self) -> None:
        """The point before the first update, unless a killed training had it."""
        if self.settings.eval_steps is not None and not parallel.broadcast(bool(self.log.points)):
            self.log.write({"step": 0, **self.look(0)})
            self.keep()

    def look(self, step: int) -> dict[str, Any]:
        """What the log's line of an update says of the validation part; nothing where it is not looked at."""
        every = self.settings.eval_steps
        if every is None or self.validate is None or (step % every and step != self.num_updates):
            return {}
        with evaluating(self.loaded.model):
            forget, utility = parallel.broadcast(self.validate(self.loaded))
        start = self.log.points[0] if self.log.points else None
        return {"validation": {"forget": forget, "utility": utility, "balance": balance(forget, utility, start=start)}}

    def curve(self, line: Mapping[str, Any]) -> Sequence[Point]:
        """All points so far, where this line of the log has one; else none."""
        return self.log.points if "validation" in line else ()

    def keep(self) -> None:
        """Puts the weights aside where the last point is the one to be kept so far."""
        if self.settings.keep == LAST or not parallel.is_main():
            return
        best = kept(self.log.points, keep=self.settings.keep)
        if best is None or best.step != self.log.points[-1].step:
            return
        weights = {name: one.detach().cpu().contiguous().clone() for name, one in self.loaded.trainable().items()}
        write_bytes(self._file(best.step), save(weights))
        self._forget_others(best.step)

    def _forget_others(self, step: int) -> None:
        """Of weights that were put aside, those stay that a kill would make the best again."""
        checkpoint = newest_complete(self.folder / "checkpoints")
        reached = step_of(checkpoint) if checkpoint else 0
        before = kept([one for one in self.log.points if one.step <= reached], keep=self.settings.keep)
        needed = {self._file(step), *([] if before is None else [self._file(before.step)])}
        for path in self._file(step).parent.iterdir():
            if path not in needed:
                path.unlink()

    def restore(self) -> int | None:
        """Gives the model the weights of the best step, and returns it; None where the last is kept, whatever it is."""
        if self.settings.keep == LAST:
            return None
        best = parallel.broadcast(self._kept_step())
        if best is None:
            logger.warning("--keep %s: the number was never known, so the last step is kept", self.settings.keep)
            return None
        if best == parallel.broadcast(self.log.last.get("step")):
            return int(best)
        saved = load_file(self._file(best))
        with torch.no_grad():
            for name, weight in self.loaded.trainable().items():
                weight.copy_(saved[name])
        return int(best)

    def _kept_step(self) -> int | None:
        found = kept(self.log.points, keep=self.settings.keep)
        return None if found is None else found.step

    def _file(self, step: int) -> Path:
        return self.folder / BEST / f"step-{step}.safetensors"


def forget_best(folder: Path) -> None:
    """Removes what was put aside in a training's folder; call it when the training is done."""
    shutil.rmtree(folder / BEST, ignore_errors=True)
