"""Every method's grid, ours and plug-ins': what it names is there, and every value that it may draw is allowed."""

from __future__ import annotations

import pytest

from mmforget.benchmark.find import find_all
from mmforget.benchmark.spec import Benchmark
from mmforget.methods.base import METHODS
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.trials import trials_of

LARGEST = 400
"""Settings of one grid: more are no small one."""


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    (found,) = find_all(("fiubench_forget1",))
    return found


@pytest.mark.parametrize("recipe", ["micro", "released"])
@pytest.mark.parametrize("name", METHODS.names())
def test_every_setting_can_be_made_and_all_differ(name: str, recipe: str, benchmark: Benchmark) -> None:
    config = RunConfig(model="micro", tasks=("fiubench_forget1",), methods=(name,), recipe=recipe, tune=10_000)
    found = trials_of(name, config=config, benchmark=benchmark)
    plans = [str(one.plan.as_dict()) for one in found.trials]
    assert len(set(plans)) == len(plans) <= LARGEST
    if found.trials[0].plan.is_trained or found.is_own:
        assert len(plans) >= 4, "few enough to try, and enough to choose from"
