"""No model-shaped cheat wins on any benchmark: none is ranked above an honest model that forgot half, or forgotten.

The fakes of `tools/fakes` answer the synthetic twins' questions, grey pictures included, and go through scoring, judge,
headline, verdict and board like real models. `docs/gaming.md` says what holds each of them back.
"""

from __future__ import annotations

import pytest

from fakes.board import Result, results_of
from fakes.models import CHEATS
from gaming import ONE_CONCEPT, is_above, is_won, world
from mmforget.benchmark import catalogue

OF_OTHER_SIZE = {
    "fiubench_forget1", "fiubench_forget10", "medforget_patient", "rwku_batch", "tofu_forget01", "tofu_forget05",
    "wmdp_forget_bio", "wmdp_forget_cyber",
    *(f"muse_news_{way}{fold}" for way in ("scal", "sust") for fold in (2, 3, 4)),
}  # fmt: skip
"""Groups that ask what another asks, of fewer or more people: `tools/gaming.py` looks at them, too."""
GROUPS = [entry.name for entry in catalogue().entries if entry.kind == "group" and entry.origin == "mmforget"]
LONG = {
    "offside_selective", "offside_corrective", "offside_unimodal", "medforget_institution", "medforget_section",
    "medforget_study", "mmubench_all", "fiubench_text", "request_text",
}  # fmt: skip
"""Further settings of a benchmark, with its own rows and metrics."""
MAX_ROWS = 12
"""Questions a set: enough for every kind, and every group in seconds."""
HONEST_VERDICTS = {
    "forgot everything": {"forgotten"},
    "forgot half": {"partly"},
    "forgot nothing": {"remembered"},
    "refuses what it forgot": {"forgotten"},
}


ASKED = [
    pytest.param(group, marks=[pytest.mark.long] * (group in LONG)) for group in sorted(set(GROUPS) - OF_OTHER_SIZE)
]


@pytest.fixture(scope="module", params=[*ASKED, ONE_CONCEPT])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    asked = world(request.param, folder=tmp_path_factory.mktemp("files"), max_rows=MAX_ROWS)
    return {result.name: result for result in results_of(asked)}


def test_no_cheat_wins(results: dict[str, Result]) -> None:
    won = [result.name for result in results.values() if is_won(result, list(results.values()))]
    assert won == []
    assert len([name for name in results if name in CHEATS]) >= len(CHEATS) - 1


def test_honest_models_come_in_order_and_the_one_like_the_retain_model_first(results: dict[str, Result]) -> None:
    for name, verdicts in HONEST_VERDICTS.items():
        row = results[name].row
        assert results[name].status in verdicts, (name, row.record.verdict)
        assert row.eligibility.eligible, (name, row.eligibility.reasons)
    first, half, nothing = (results[name] for name in ("forgot everything", "forgot half", "forgot nothing"))
    assert first.row.rank == 1
    assert first.value("overall") == pytest.approx(1.0)
    assert is_above(first, half)
    assert is_above(half, nothing)


def test_what_is_told_in_another_format_is_told(results: dict[str, Result]) -> None:
    for name in CHEATS:
        if name.startswith("tells"):
            assert results[name].value("forget_score") == pytest.approx(0.0, abs=0.05), name
