"""Everything random in a training, as a pure function of (seed, epoch or update, position).

So a run that is killed and resumed draws what the undisturbed one draws, with no state to save.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Sequence

import numpy as np
import torch

from mmforget.training.settings import Order

# Each purpose has its own stream, so that asking for retain partners does not change the order of the questions.
ORDER, RETAIN_ORDER, RETAIN_OFFSET, REFUSAL, STEP, BENIGN, OWN, WRAPPER, POISSON, REVEALED = range(10)


def generator(seed: int, *path: int) -> np.random.Generator:
    """A generator that depends on nothing but the seed and the path of whole numbers >= 0."""
    return np.random.default_rng([seed, *path])


def seed_update(seed: int, *, update: int, micro_batch: int, process: int = 0) -> None:
    """Seeds Python, numpy and torch (CPU and CUDA) for one forward and backward pass, dropout included."""
    state = int(generator(seed, STEP, update, micro_batch, process).integers(2**32))
    random.seed(state)
    np.random.seed(state)
    # Not torch.manual_seed: where CUDA is not in use it takes a millisecond to queue a seed that nothing will read.
    torch.default_generator.manual_seed(state)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(state)


def wrapper_seed(seed: int, *, update: int) -> int:
    """For what a method's wrapper draws in one update, in all processes alike."""
    return int(generator(seed, WRAPPER, update).integers(2**32))


def reveal_seed(seed: int, *, round_: int) -> int:
    """For the rows that a model writes itself in one round."""
    return int(generator(seed, REVEALED, round_).integers(2**31))


def row_order(subjects: Sequence[str], *, order: Order, seed: int, epoch: int, stream: int = ORDER) -> list[int]:
    """Positions 0..n-1 in the order of one epoch.

    Args:
        subjects: the subject of every row, in file order.
        order: see TrainSettings.order.
    """
    if order == "file":
        return list(range(len(subjects)))
    rng = generator(seed, stream, epoch)
    if order == "rows":
        return [int(i) for i in rng.permutation(len(subjects))]
    runs = subject_runs(subjects)
    return [position for run in rng.permutation(len(runs)) for position in runs[run]]


def subject_runs(subjects: Sequence[str]) -> list[list[int]]:
    """Positions of neighbouring rows about one subject, together: what stays together in the order `subjects`."""
    return [list(run) for _, run in itertools.groupby(range(len(subjects)), key=lambda position: subjects[position])]


def retain_offsets(num_rows: int, *, num_retain: int, seed: int, epoch: int) -> list[int]:
    """For each forget row one uniform draw from 0..num_retain-1, independent of the others."""
    return [int(i) for i in generator(seed, RETAIN_OFFSET, epoch).integers(num_retain, size=num_rows)]


def choices(num_rows: int, *, num: int, seed: int, stream: Sequence[int], epoch: int) -> list[int]:
    """For each of `num_rows` one uniform draw from 0..num-1, anew every epoch; other in every stream."""
    return [int(i) for i in generator(seed, *stream, epoch).integers(num, size=num_rows)]


def own_stream(name: str) -> tuple[int, int]:
    """The stream of a source that a method brings."""
    return (OWN, zlib.crc32(name.encode()))
