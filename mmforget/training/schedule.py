"""Learning rates over a training, as a factor of the peak: pure functions of the step."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mmforget.training.settings import Schedule

ONE_CYCLE_START = 1 / 25


def lr_factor(step: int, *, schedule: Schedule, num_steps: int, num_warmup: int) -> float:
    """The learning rate of update `step` (0-based) of `num_steps`, as a factor in [0, 1] of the peak.

    Linear warm-up from 0 for `cosine`, `linear` and `constant`, as in transformers' schedules; cosine from 1/25 for
    `onecycle`, as in torch's OneCycleLR (without its last step at 1/250,000 of the start, and with steady momentum).
    """
    if schedule == "onecycle":
        return _one_cycle(step, num_steps=num_steps, num_warmup=num_warmup)
    if step < num_warmup:
        return step / num_warmup
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return max(0.0, (num_steps - step) / max(1, num_steps - num_warmup))
    return _half_cosine(step - num_warmup, num_steps - num_warmup)


def make_scheduler(optimizer: Optimizer, *, schedule: Schedule, num_steps: int, warmup_ratio: float) -> LambdaLR:
    """A torch scheduler of `lr_factor` for `num_steps` updates; warm-up is rounded up to whole updates."""
    num_warmup = math.ceil(num_steps * warmup_ratio)
    return LambdaLR(
        optimizer, lambda step: lr_factor(step, schedule=schedule, num_steps=num_steps, num_warmup=num_warmup)
    )


def _one_cycle(step: int, *, num_steps: int, num_warmup: int) -> float:
    if step < num_warmup:
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * (1 - _half_cosine(step, num_warmup))
    return _half_cosine(step - num_warmup, num_steps - num_warmup)


def _half_cosine(step: int, num_steps: int) -> float:
    """1 at step 0, 0 at `num_steps` and after it."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, num_steps))))
