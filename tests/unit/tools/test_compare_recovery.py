"""The page of what comes back, of records written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compare_recovery
from mmforget.results.schema import Verdict
from mmforget.results.store import write_run
from mmforget.types import Sample
from tests.unit.leaderboard.fake_runs import record
from tests.unit.results.hand_made import HELD, PLAIN, line

LEARNT = "relearning(steps=3)"
ROWS = ("1", "2", "3", "4")
WEIGHTS = {"access": "weights"}
BACK = (line("quantisation", 0.9, **WEIGHTS), line(LEARNT, 0.9, **WEIGHTS))


def answers(knows: set[str], *, attack: str | None = None, attempt: int | None = None) -> list[Sample]:
    """Four questions, each about another subject; of those known the answer is said."""
    return [
        Sample(
            "toy_gen", "forget", "gen", row, f"subject {row}", "what?", "blood",
            response="it is blood." if row in knows else "no.", attack=attack, attempt=attempt,
        )
        for row in ROWS
    ]  # fmt: skip


def model(plain: set[str], *looks: set[str], packed: set[str]) -> list[Sample]:
    relearnt = [one for at, knows in enumerate(looks) for one in answers(knows, attack=LEARNT, attempt=at)]
    return [*answers(plain), *relearnt, *answers(packed, attack="quantisation", attempt=0)]


def written(folder: Path) -> Path:
    everything, nothing = {*ROWS}, set[str]()
    target = model(everything, *[everything] * 3, packed=everything)
    write_run(folder / "target", record("target", role="target"), samples=target)
    retain = model(nothing, nothing, nothing, nothing, packed=nothing)
    write_run(folder / "retain", record("retain", role="retain"), samples=retain)
    verdict = Verdict("suppressed", collapsed=False, eligible=True, evidence=(PLAIN, HELD, *BACK))
    training = {"wall_s": 1.0, "attacks": {"quantisation": {"codes": 200, "codes_changed": 5}}}
    own = record("po", verdict=verdict, training=training)
    write_run(folder / "po" / "seed_0", own, samples=model(nothing, {"1"}, {"2"}, {"2", "3"}, packed={"1", "2"}))
    return folder


def test_a_line_a_model_with_what_comes_back_and_verdicts_by_what_they_rest_on(tmp_path: Path) -> None:
    toys = written(tmp_path / "toys")
    page, numbers = tmp_path / "page.md", tmp_path / "recovery.json"
    assert compare_recovery.main([str(toys), "--json", str(numbers), "--output", str(page)]) == 0
    rows = {cells[0]: cells for each in page.read_text().splitlines() if (cells := each.strip("| ").split(" | "))}
    own = json.loads(numbers.read_text())["toys"]["po"]
    assert (own["updates"], own["curve"], own["area"]["value"]) == ([1, 2, 3], [0.25, 0.5, 0.75], 0.5)
    values = [cell.split(" ")[0] for cell in rows["`po`"]]
    assert values == ["`po`", "0.92", "0.00", "0.50", "0.75", "2", "2.5%", "removed", *["suppressed"] * 3]
    assert [cell.split(" ")[0] for cell in rows["retain"][2:]] == ["0.00", "0.00", "0.00", *"------"]
    assert (tmp_path / "recovery.png").stat().st_size > 0


def test_a_folder_without_such_records_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "none" / "target", record("target", role="target"), samples=answers(set()))
    for folder, said in ((tmp_path / "none", "no target, retain"), (tmp_path / "nowhere", "does not exist")):
        with pytest.raises(SystemExit, match="2"):
            compare_recovery.main([str(folder), "--output", str(tmp_path / "page.md")])
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.25, 1.0, "0.50 [0.25, 1.00]"),
        (None, None, "0.50"),
        (0.25, None, "0.50 [0.25, ?]"),
        (None, 0.7, "0.50 [?, 0.70]"),
    ],
)
def test_an_end_that_is_not_known_is_a_question_mark(low: float | None, high: float | None, text: str) -> None:
    assert compare_recovery.shown({"value": 0.5, "low": low, "high": high}) == text
