"""Learning rates against hand-worked values and against the libraries' own schedules."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR
from transformers import get_scheduler

from mmforget.training.schedule import lr_factor, make_scheduler
from mmforget.training.settings import Schedule

PEAK = 0.5


def rates(schedule: Schedule, *, num_steps: int, warmup_ratio: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = make_scheduler(optimizer, schedule=schedule, num_steps=num_steps, warmup_ratio=warmup_ratio)
    return _run(optimizer, scheduler, num_steps=num_steps)


def _run(optimizer: torch.optim.Optimizer, scheduler: object, *, num_steps: int) -> list[float]:
    found = []
    for _ in range(num_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("ours", "theirs"), [("cosine", "cosine"), ("linear", "linear"), ("constant", "constant_with_warmup")]
)
@pytest.mark.parametrize("warmup_ratio", [0.0, 0.06, 0.5])
def test_schedules_are_those_of_transformers(ours: Schedule, theirs: str, warmup_ratio: float) -> None:
    """The released FIUBench run: 35 updates, warm-up 0.06 x 35 = 2.1, rounded up to 3 as transformers does."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = get_scheduler(theirs, optimizer, num_warmup_steps=-int(-35 * warmup_ratio // 1), num_training_steps=35)
    assert rates(ours, num_steps=35, warmup_ratio=warmup_ratio) == pytest.approx(
        _run(optimizer, scheduler, num_steps=35)
    )


def test_one_cycle_follows_torch_closely() -> None:
    """Torch counts its phases from step 0.3 x 100 - 1 and ends at a 250,000th: at most one step's change apart."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    theirs = _run(optimizer, OneCycleLR(optimizer, PEAK, total_steps=100, cycle_momentum=False), num_steps=100)
    ours = rates("onecycle", num_steps=100, warmup_ratio=0.3)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 0.06 * PEAK


def test_one_cycle_by_hand() -> None:
    """Warm-up of 2: 1/25, then half way, 1/25 + 24/25 / 2 = 0.52; then cosine over 4: 1, (1 + cos 45) / 2, 1/2, ..."""
    found = [lr_factor(k, schedule="onecycle", num_steps=6, num_warmup=2) for k in range(6)]
    assert found == pytest.approx([0.04, 0.52, 1.0, 0.8535534, 0.5, 0.1464466])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "onecycle", "constant"])
@pytest.mark.parametrize(("num_steps", "warmup_ratio"), [(1, 0.0), (1, 0.3), (2, 0.9), (10, 0.1)])
def test_short_trainings_have_rates_too(schedule: Schedule, num_steps: int, warmup_ratio: float) -> None:
    found = rates(schedule, num_steps=num_steps, warmup_ratio=warmup_ratio)
    assert all(0 <= rate <= PEAK for rate in found)
