"""The one training loop: a Hugging Face Trainer that takes its loss from an objective and resumes bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mmforget import parallel
from mmforget.methods.material import Validate
from mmforget.model.loaded import LoadedModel
from mmforget.training.batches import Batches
from mmforget.training.checking import frozen_stay, require_moved, sums
from mmforget.training.checkpoints import newest_complete, step_of
from mmforget.training.hf_arguments import training_arguments
from mmforget.training.hf_trainer import UnlearningTrainer
from mmforget.training.log import TrainLog
from mmforget.training.objective import Objective, ObjectiveModule
from mmforget.training.settings import TrainSettings
from mmforget.training.sharding import divided
from mmforget.training.stopping import Point
from mmforget.training.watching import Watching
from mmforget.types import Progress

NOTHING = -1
"""Of a log, what is kept where training starts again: not even the point before the first update."""


class Outcome(NamedTuple):
    """How a training ended; see TrainReport for the fields."""

    num_steps: int
    num_planned: int
    wall_s: float
    final_parts: Mapping[str, float]
    stopped: str
    resumed_from: int
    points: tuple[Point, ...] = ()
    kept_step: int | None = None


def train(
    loaded: LoadedModel,
    *,
    objective: Objective,
    batches: Batches,
    settings: TrainSettings,
    folder: Path,
    label: str,
    progress: Progress | None = None,
    validate: Validate | None = None,
) -> Outcome:
    """Trains the parameters that require gradients, in place; continues from the newest whole checkpoint in `folder`.

    Writes `train_log.jsonl` and `checkpoints/`. Raises RunFailed where no weight has moved in the end, or one that does
    not train has. A loss or gradient that is not finite ends the training with the
    weights before it; `Outcome.stopped` says so. Where settings ask for it, the validation part is looked at, and the
    weights are in the end those of the step that is kept.
    """
    arguments = training_arguments(settings, loaded=loaded, folder=folder, num_batches=len(batches))
    checkpoint = parallel.on_main(lambda: newest_complete(folder / "checkpoints"))
    resumed_from = step_of(checkpoint) if checkpoint else 0
    log = TrainLog(folder / "train_log.jsonl" if parallel.is_main() else None, resume_step=resumed_from or NOTHING)
    notify = progress if parallel.is_main() else None
    module = ObjectiveModule(loaded.model, objective)
    with _lent(loaded, settings=settings), divided(module, loaded=loaded):
        watching = Watching(
            validate, loaded=loaded, settings=settings, folder=folder, log=log, num_updates=arguments.max_steps
        )
        trainer = UnlearningTrainer(
            loaded,
            arguments=arguments,
            module=module,
            batches=batches,
            watching=watching,
            notify=lambda done: notify(done, arguments.max_steps, label) if notify else None,
        )
        before = sums(loaded)
        try:
            watching.begin()
            with frozen_stay(loaded.model, folder=folder):
                stopped = trainer.run(checkpoint)
            if not stopped:
                require_moved(loaded, since=before, folder=folder)
            kept_step = watching.restore()
            objective.finish(update=parallel.broadcast(log.last.get("step", 0)))
        finally:
            log.close()
    parts = log.last.get("parts", {})
    outcome = Outcome(
        log.last.get("step", 0), arguments.max_steps, log.wall_s, parts, stopped, resumed_from, tuple(log.points),
        kept_step,
    )  # fmt: skip
    return parallel.broadcast(outcome)


@contextmanager
def _lent(loaded: LoadedModel, *, settings: TrainSettings) -> Iterator[None]:
    """Afterwards the model is in evaluation mode, and what the Trainer sets on it is as it was."""
    config, before = loaded.model.config, getattr(loaded.model.config, "use_cache", None)
    if settings.gradient_checkpointing:
        # The reentrant kind gives a loss inside a block no gradient, and says nothing.
        loaded.core.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield
    finally:
        loaded.model.eval()
        loaded.model.zero_grad(set_to_none=True)
        if settings.gradient_checkpointing:
            loaded.core.gradient_checkpointing_disable()
        if before is not None:
            config.use_cache = before
        elif hasattr(config, "use_cache"):
            del config.use_cache
