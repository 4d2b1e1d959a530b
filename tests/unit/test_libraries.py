"""Settings for other libraries: what a process does with memory that it has freed, and with what stays."""

from __future__ import annotations

import gc
import resource

import pytest
import torch

from mmforget.libraries import keep_freed_memory, leave_libraries_to_stay

NUM_NUMBERS = 16 * 2**20
NUM_PAGES = NUM_NUMBERS * 4 // resource.getpagesize()


def num_faults() -> int:
    """Pages that this process was given so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def faults_of_an_array() -> int:
    before = num_faults()
    torch.ones(NUM_NUMBERS)
    return num_faults() - before


def test_freed_memory_is_used_again() -> None:
    """An array of 64 MiB, made and freed again and again: its pages come once, or a few times, not every time."""
    if not keep_freed_memory():
        pytest.skip("the C library is not GNU's")
    counted = [faults_of_an_array() for _ in range(20)]
    assert sum(counted[10:]) < NUM_PAGES, counted


def test_garbage_is_not_searched_in_what_stays() -> None:
    """Once a process: what comes later, models among it, is searched as before."""
    leave_libraries_to_stay()
    count = gc.get_freeze_count()
    assert count > 1000
    later: list[object] = [[]]
    later.append(later)
    leave_libraries_to_stay()
    assert gc.get_freeze_count() == count
    assert any(one is later for one in gc.get_objects())
