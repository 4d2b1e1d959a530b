"""What a step offers, and what it says to a method that reads more than it asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from mmforget.errors import PluginError
from mmforget.methods.base import METHODS, Scores, Step
from mmforget.types import Scored


def test_reading_what_was_not_asked_for_names_the_request() -> None:
    with pytest.raises(PluginError, match=r"add Scores\(source='retain', positions='answer'\)"):
        _ = Step({})[Scores("retain")]


def test_a_step_carries_what_it_is_given() -> None:
    forget = Scored(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(1, dtype=torch.bool))
    assert Step({Scores("forget"): forget})[Scores("forget")] is forget


def test_methods_are_listed_without_torch() -> None:
    code = "import sys; from mmforget.methods.base import METHODS; METHODS.names(); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_five_methods_of_the_first_release_are_there() -> None:
    assert {"ga", "grad_diff", "kl", "npo", "po"} <= set(METHODS.names())
