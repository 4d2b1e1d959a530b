"""Updates of many edits at once: one forward and backward pass for the rows of all, everything else for each alone.

Every edit has its own rows and their order, its own factors, optimiser, schedule, clipping and random numbers, and ends
when it would alone; what the Hugging Face Trainer does for one (see `hf_trainer.py`) is done here for each.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mmforget.model.encode import Encoded
from mmforget.model.packing import packed_rows
from mmforget.model.stack import Numbers
from mmforget.training import draws
from mmforget.training.answering import answered
from mmforget.training.batches import Batch, Batches
from mmforget.training.checking import Reach
from mmforget.training.hf_arguments import make_optimizer
from mmforget.training.objective import Losses, Unlearn
from mmforget.training.repeating import Portion
from mmforget.training.schedule import make_scheduler
from mmforget.training.settings import DIVERGED, TrainSettings
from mmforget.training.trainer import Outcome

Notify = Callable[[int, int], None]


@dataclass(eq=False)
class Run:
    """The training of one edit.

    Attributes:
        number: of the edit.
        weights: its factors, by name; they train in place.
        step: updates done.
        stopped: why it ended early, or "".
        losses: of the update that is under way, one a micro-batch.
        parts: the loss's terms in the last update.
        reach: which of them depend on its factors, by the first update's first micro-batch.
    """

    number: int
    objective: Unlearn
    batches: Batches
    weights: Mapping[str, Tensor]
    optimizer: Any
    scheduler: Any
    step: int = 0
    stopped: str = ""
    losses: list[Losses] = field(default_factory=list)
    parts: Mapping[str, float] = field(default_factory=dict)
    reach: Reach = field(default_factory=Reach)

    @property
    def num_updates(self) -> int:
        return self.objective.num_updates

    @property
    def settings(self) -> TrainSettings:
        return self.batches.settings

    @property
    def is_done(self) -> bool:
        return bool(self.stopped) or self.step >= self.num_updates

    def micro_batches(self) -> list[Batch]:
        """Of the next update."""
        size = self.settings.grad_accumulation
        self.batches.epoch, place = divmod(self.step, math.ceil(len(self.batches) / size))
        return [self.batches[index] for index in range(place * size, min((place + 1) * size, len(self.batches)))]

    def num_tokens(self, batch: Batch) -> int:
        """Distinct tokens of a micro-batch; all of them where nothing is shared."""
        rows = [row for source in self.objective.rows.values() for row in _rows(source, batch)]
        if not (self.settings.packed and self.objective.score.loaded.shares_prefixes):
            return sum(map(len, rows))
        return sum(row.num_tokens for row in packed_rows(rows, max_tokens=sys.maxsize))

    def outcome(self, *, wall_s: float) -> Outcome:
        return Outcome(self.step, self.num_updates, wall_s, self.parts, self.stopped, 0)


def _rows(source: Any, batch: Batch) -> Sequence[Encoded]:
    drawn = source.is_epoch or source.name in batch.partners
    return source.of(batch) if drawn else ()


def make_run(
    number: int,
    *,
    objective: Unlearn,
    batches: Batches,
    weights: Mapping[str, Tensor],
    arguments: Any,
) -> Run:
    """The training of an edit before its first update.

    Args:
        arguments: of the Trainer, which say what optimiser it would make.
    """
    settings = batches.settings
    optimizer = make_optimizer(arguments, list(weights.values()))
    scheduler = make_scheduler(
        optimizer,
        schedule=settings.schedule,
        num_steps=objective.num_updates,
        warmup_ratio=settings.warmup_ratio,
    )
    return Run(number, objective, batches, weights, optimizer, scheduler)


def train_together(
    runs: Sequence[Run], *, numbers: Numbers, max_tokens: int, notify: Notify | None = None
) -> list[Outcome]:
    """Trains every edit to its end.

    Args:
        max_tokens: distinct tokens of one forward and backward pass; an edit with more has a pass of its own.
        notify: told updates done and planned, of all edits together.
    """
    start_s, planned = time.perf_counter(), sum(run.num_updates for run in runs)
    while left := [run for run in runs if not run.is_done]:
        for group in _groups(left, max_tokens=max_tokens):
            _update(group, numbers=numbers)
        if notify is not None:
            notify(sum(run.num_updates if run.is_done else run.step for run in runs), planned)
    wall_s = time.perf_counter() - start_s
    return [run.outcome(wall_s=wall_s) for run in runs]


class _Turn(NamedTuple):
    """An edit and the micro-batches of its next update."""

    run: Run
    batches: list[Batch]


def _groups(runs: Sequence[Run], *, max_tokens: int) -> Iterator[list[_Turn]]:
    """Edits that are computed together. One whose gradients are wrapped is computed alone."""
    group: list[_Turn] = []
    room = max_tokens
    for run in runs:
        turn = _Turn(run, run.micro_batches())
        size = max(map(run.num_tokens, turn.batches))
        alone = run.objective.wraps
        if group and (size > room or alone):
            yield group
            group, room = [], max_tokens
        group.append(turn)
        room = room - size if not alone else -1
    if group:
        yield group


def _update(group: Sequence[_Turn], *, numbers: Numbers) -> None:
    """One update of each."""
    if group[0].run.objective.wraps:
        _wrapped(group[0], numbers=numbers)
    else:
        for micro_batch in range(max(len(turn.batches) for turn in group)):
            now = [turn for turn in group if micro_batch < len(turn.batches) and not turn.run.stopped]
            if now:
                _add_gradients(now, micro_batch=micro_batch, numbers=numbers)
    for turn in group:
        _finish(turn, numbers=numbers)


def _add_gradients(
    turns: Sequence[_Turn], *, micro_batch: int, numbers: Numbers, portion: Portion | None = None
) -> list[Losses]:
    """Adds the gradients of one micro-batch of each, in one pass. One whose loss is not finite ends here.

    Args:
        portion: of the micro-batch of the only one.
    """
    runs = [turn.run for turn in turns]
    seed = partial(draws.seed_update, runs[0].settings.seed, update=runs[0].step, micro_batch=micro_batch)
    seed()
    for run in runs:
        numbers.begin(run.number)
    batches = [turn.batches[micro_batch] for turn in turns]
    if portion is not None:
        found = [runs[0].objective.found(batches[0], portion=portion)]
    else:
        found = answered([run.objective.answering for run in runs], runs[0].objective.method.requests, batches=batches)
    totals: list[Tensor] = []
    losses: list[Losses] = []
    for turn, own in zip(turns, found, strict=True):
        run = turn.run
        # Whatever else a loss draws, it draws as if alone, too.
        seed()
        with numbers.of(run.number):
            loss = run.objective.losses(own, update=run.step)
        if run.step == 0 and micro_batch == 0:
            run.reach.see(loss.terms, part=None if portion is None else portion.part)
            run.reach.require(num_weights=len(run.weights))
        losses.append(loss._replace(total=loss.total.detach(), terms={}))
        if not math.isfinite(loss.total.item()):
            run.stopped = DIVERGED
        elif loss.total.requires_grad:
            totals.append(loss.total / len(turn.batches))
    if totals:
        sum(totals[1:], start=totals[0]).backward()  # type: ignore[no-untyped-call]
    for run, loss in zip(runs, losses, strict=True):
        run.losses.append(loss)
    return losses


def _wrapped(turn: _Turn, *, numbers: Numbers) -> None:
    """The gradients of one edit's update as its method's wrappers want them; the losses that count are the first.

    What diverges on the way is found when the update ends.
    """
    run, num = turn.run, len(turn.batches)

    def once(portions: Sequence[Portion]) -> Tensor:
        first, run.losses = run.losses, []
        found: list[Tensor] = []
        for micro_batch, portion in enumerate(portions):
            (losses,) = _add_gradients([turn], micro_batch=micro_batch, numbers=numbers, portion=portion)
            found.append(losses.total / num)
        run.losses = first or run.losses
        return sum(found[1:], start=found[0])

    run.objective.wrapped(once, num_batches=num, update=run.step, weights=run.weights)


def _finish(turn: _Turn, *, numbers: Numbers) -> None:
    """Clips and applies an edit's gradients, unless it has diverged; then its factors stay as they are."""
    run, losses = turn.run, turn.run.losses
    run.losses = []
    if not run.stopped:
        norm = clip_grad_norm_(list(run.weights.values()), run.settings.max_grad_norm or math.inf)
        run.stopped = "" if math.isfinite(float(norm)) else DIVERGED
    if not run.stopped:
        run.optimizer.step()
        run.scheduler.step()
        run.step += 1
        run.parts = {name: _mean([loss.parts[name] for loss in losses]) for name in losses[0].parts}
        mean = _mean([loss.total.item() for loss in losses])
        retain_nll = _retain_nll(run, losses, batch=turn.batches[-1], numbers=numbers)
        run.stopped = run.settings.reason_to_stop(mean, retain_nll=retain_nll)
    run.optimizer.zero_grad(set_to_none=True)
    if run.is_done:
        run.objective.finish(update=run.step, weights=run.weights)


def _retain_nll(run: Run, losses: Sequence[Losses], *, batch: Batch, numbers: Numbers) -> float | None:
    """NLL of the retain answers, where it is known already or training may end by it."""
    seen = [loss.nll["retain"] for loss in losses if "retain" in loss.nll]
    if seen:
        return _mean(seen)
    if run.settings.stop_retain_nll is None:
        return None
    with numbers.of(run.number):
        return run.objective.retain_nll(batch)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
