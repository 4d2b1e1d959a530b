"""Which recipe the rule picks, and what is run for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import tune_recipes
from tune_recipes import Candidate, Place, Trial, chosen, command, grid, measured, trials


def candidate(name: str, *trials: tuple[float, float], collapsed: bool = False) -> Candidate:
    """Seeds by their forget score and their overall."""
    return Candidate({"lr": name}, tuple(Trial(forget, 0.9, overall, collapsed) for forget, overall in trials))


@pytest.mark.parametrize(
    ("candidates", "best"),
    [
        ([candidate("a", (0.9, 0.6), (0.9, 0.6)), candidate("b", (0.5, 0.7), (0.5, 0.6))], "b"),
        ([candidate("a", (0.5, 0.4)), candidate("b", (0.9, 0.9), collapsed=True)], "a"),
        ([candidate("a", (0.5, 0.4), collapsed=True), candidate("b", (0.9, 0.0), collapsed=True)], "b"),
        ([candidate("a", (0.8, 0.7)), candidate("b", (0.8, 0.7))], "a"),
    ],
)
def test_the_rule(candidates: list[Candidate], best: str) -> None:
    """Best mean overall of those that no seed destroyed, else best mean forget score, else the first."""
    assert chosen(candidates).settings["lr"] == best


def test_what_comes_near_a_collapse_is_out_while_something_else_is_left() -> None:
    weak = candidate("a", (0.6, 0.6))
    strong = Candidate({"lr": "b"}, (Trial(0.9, 0.9, 0.7, False), Trial(0.9, 0.9, 0.9, False, degenerate=0.25)))
    broken = candidate("c", (0.9, 0.9), collapsed=True)
    assert chosen([weak, strong, broken]) is weak
    assert chosen([strong, broken]) is strong
    idle = candidate("d", (0.2, 0.3))
    assert chosen([idle, strong, broken]) is strong


def test_a_grid_is_every_combination() -> None:
    assert grid(["lr=1,2", "beta=3"]) == [{"lr": "1", "beta": "3"}, {"lr": "2", "beta": "3"}]
    assert grid([]) == [{}]
    for wrong in (["lr"], ["lr="], ["lr=1", "lr=2"]):
        with pytest.raises(ValueError, match="--grid"):
            grid(wrong)


def test_candidates_run_on_other_people_with_their_settings() -> None:
    settings = {"lr": "1e-4", "beta": "0.1"}
    words = command("fiubench", "npo", settings=settings, data_seed=3, folder=Path("x/npo/y"), more=["--quiet"])
    shown = " ".join(words)
    assert '--metadata {"seed": 3}' in shown
    assert "--lr 1e-4" in shown
    assert "--method_args beta=0.1 --quiet" in shown


def test_seeds_are_read_from_their_records(tmp_path: Path) -> None:
    for seed, forget in ((0, 0.8), (1, None)):
        headline = {"forget_score": {"value": forget}, "utility_ratio": {"value": 0.9}, "overall": {"value": 0.7}}
        results = {"a": {"degenerate,none": 0.1 * seed}, "b": {"degenerate,none": 0.02}, "c": {}}
        record = {"unlearning": {"headline": headline, "verdict": {"collapsed": seed == 1}}, "results": results}
        (tmp_path / f"{seed}.json").write_text(json.dumps(record))
    seeds = [{"seed": seed, "record": f"{seed}.json"} for seed in (0, 1)]
    rows = [{"role": "target"}, {"role": "unlearned", "seeds": seeds}]
    assert trials({"rows": rows}, folder=tmp_path) == (
        Trial(0.8, 0.9, 0.7, False, degenerate=0.02),
        Trial(0.0, 0.9, 0.7, True, degenerate=0.1),
    )
    edited = [{"role": "unlearned", "seeds": [], "provenance": {"record": "0.json"}}]
    assert trials({"rows": edited}, folder=tmp_path) == (Trial(0.8, 0.9, 0.7, False, degenerate=0.02),)


def test_every_target_is_asked_and_all_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(words[words.index("--metadata") + 1])
        return subprocess.CompletedProcess(words, 0, stdout='{"rows": []}')

    found = iter([(Trial(0.8, 0.9, 0.7, False),), (Trial(0.9, 0.9, 0.5, True),)])
    monkeypatch.setattr(tune_recipes.subprocess, "run", run)
    monkeypatch.setattr(tune_recipes, "trials", lambda *_, **__: next(found))
    one = measured("fiubench", "npo", settings={"lr": "1e-4"}, place=Place(tmp_path, (2, 3)))
    assert asked == ['{"seed": 2}', '{"seed": 3}']
    assert one.overall == pytest.approx(0.6)
    assert one.collapses


@pytest.mark.parametrize("seeds", ["0", "1,0", "a", "1,,2"])
def test_the_benchmarks_own_people_choose_no_recipe(
    seeds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        tune_recipes.main(["fiubench", "npo", "--data_seeds", seeds, "--output", str(tmp_path)])
    assert f"'{seeds}': write whole numbers above 0" in capsys.readouterr().err


def test_a_wrong_grid_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        tune_recipes.main(["fiubench", "npo", "--grid", "lr", "--output", str(tmp_path)])
    assert "--grid lr: write e.g." in capsys.readouterr().err
