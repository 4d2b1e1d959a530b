"""What is wrong with a run's flags and plugins is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmforget.errors import PluginError, UserError
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.plan import make_plan
from tests.plugin_packages import MILD, installed, write_package


def checked(**changes: object) -> None:
    known = {"model": "micro", "tasks": ("fiubench",), "methods": ("ga",), "recipe": "micro"}
    make_plan(RunConfig(**{**known, **changes}))  # type: ignore[arg-type]


def test_a_tracker_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="report_to=nobody"):
        checked(training={"report_to": "nobody"})


def test_a_method_of_another_package_whose_loss_cannot_be_minimised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = MILD.replace('"forget": total}', '"forget": total.item()}')
    write_package(tmp_path, "theirs", code=code, points={"mmforget.methods": "mild = theirs"})
    with installed(tmp_path, monkeypatch=monkeypatch), pytest.raises(PluginError, match="'forget' is a float"):
        checked(methods=("ga", "mild"))
