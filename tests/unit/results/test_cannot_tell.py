"""What was found unable to tell is found again by whom it is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmforget.leaderboard import words
from mmforget.results import cannot_tell

ROW = {"benchmark": "toy", "metric": "weak", "set": "forget", "profile": "clean", "attack": None}
NUMBERS = {"auc": 0.55, "low": 0.45, "high": 0.65}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cannot_tell.json"
    path.write_text(json.dumps({"benchmarks": ["toy"], "rows": [{**ROW, **NUMBERS}]}))
    monkeypatch.setattr(cannot_tell, "FILE", path)
    monkeypatch.setattr(cannot_tell, "untold", cannot_tell.untold.__wrapped__)


@pytest.mark.usefixtures("shipped")
def test_a_number_is_known_by_all_that_makes_it() -> None:
    found = cannot_tell.is_untold("weak", group="toy", set_name="forget", profile="clean")
    assert found is not None
    assert (
        words.untold(found) == "cannot tell who knows from who does not: AUC 0.550 [0.450, 0.650] between micro models"
    )
    for group, set_name, profile, attack in (
        ("other", "forget", "clean", None),
        ("toy", "retain", "clean", None),
        ("toy", "forget", "released", None),
        ("toy", "forget", "clean", "asked"),
    ):
        assert cannot_tell.is_untold("weak", group=group, set_name=set_name, profile=profile, attack=attack) is None


def test_what_comes_with_the_package_can_be_read() -> None:
    assert all(one.low <= 0.5 for one in cannot_tell.untold())
