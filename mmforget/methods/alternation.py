"""Losses that take turns: one micro-batch to forget, the next to keep. Two of these an update are half of each.

Source: OFFSIDE, https://arxiv.org/abs/2510.22535, official training code of KL and PO.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmforget.methods.steps import Step

MICRO_BATCHES = "micro_batches"


def start_of_turns() -> dict[str, Tensor]:
    """The state before the first micro-batch: how many there were, float32 scalar."""
    return {MICRO_BATCHES: torch.zeros(())}


def is_turn_to_forget(step: Step) -> bool:
    """Whether this micro-batch, counted from 0, is an even one; the next call is about the next one."""
    number = step.state[MICRO_BATCHES]
    step.state[MICRO_BATCHES] = number + 1
    return int(number.item()) % 2 == 0
