"""The simulation of coverage: its worlds have the truth they claim, it finds what does not cover, its table is told."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmforget.statistics.jackknife import Interval
from simulation.measuring import covered, row
from simulation.scenarios import Scenario, scenarios
from simulation.world import answers, normals, people

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tools" / "coverage.py"


def test_answers_have_the_mean_and_the_correlation_they_claim() -> None:
    """Rate .3, correlation .2 within a subject: variance of a subject's mean of 20 is .21 (1 + 19 x .2) / 20."""
    generator = np.random.default_rng(0)
    who = people(generator, 4000)
    found = answers(generator, who, 0.3, correlation=0.2)
    assert found.value == pytest.approx(0.3, abs=0.01)
    variance = sum(shift**2 for shift in found.shifts.values()) * 4000
    assert variance == pytest.approx(0.21 * (1 + 19 * 0.2) / 20, rel=0.1)
    rouge = answers(generator, who, 0.3, kind="ROUGE-like")
    assert rouge.value == pytest.approx(0.3, abs=0.01)
    assert len(people(generator, 5, unequal=True).subjects) != 100


def test_models_share_their_subjects() -> None:
    generator = np.random.default_rng(1)
    who = people(generator, 2000)
    first, second = (answers(generator, who, 0.5, correlation=0.5) for _ in range(2))
    correlation = np.corrcoef(list(first.shifts.values()), list(second.shifts.values()))[0, 1]
    assert 0.3 < correlation < 0.6


def test_normal_scores_have_variance_one() -> None:
    generator = np.random.default_rng(2)
    values = np.array(normals(generator, people(generator, 3000), mean=np.full(60_000, 0.5), shared=0.4))
    assert (values.mean(), values.std()) == pytest.approx((0.5, 1.0), abs=0.03)
    assert values.reshape(3000, 20).mean(axis=1).var() == pytest.approx(0.4 + 0.6 / 20, rel=0.1)


def test_every_kind_of_estimate_is_there_once() -> None:
    names = [(one.kind, one.case, round(one.truth, 3)) for one in scenarios()]
    assert len(set(names)) == len(names)
    wanted = {"mean", "ks_distance", "AUC", "gap of two sets", "harmonic mean of four", "utility ratio", "closeness"}
    assert wanted | {"forget score", "overall"} <= {kind for kind, _, _ in names}
    assert {one.truth for one in scenarios() if one.bound} == {0.0, 1.0}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_pieces_make_one_document_and_its_table(tmp_path: Path) -> None:
    document, page = tmp_path / "coverage.json", tmp_path / "page.md"
    page.write_text("before\n<!-- coverage -->\nold\n<!-- end of coverage -->\nafter\n")
    for kinds in ("AUC", "closeness"):
        found = run("--quick", "--only", kinds, "--output", str(document), "--table", str(page))
        assert found.returncode == 0, found.stderr
    lines = json.loads(document.read_text())
    assert [line["kind"] for line in lines] == ["AUC"] * 4 + ["closeness"] * 4
    text = page.read_text()
    assert text.startswith("before\n<!-- coverage -->\n| kind | case | truth | 4 subjects |")
    assert text.endswith("<!-- end of coverage -->\nafter\n")
    assert "old" not in text
    for line in lines:
        for cell in line["by_subjects"].values():
            assert cell["coverage"] == pytest.approx(1.0 - cell["below"] - cell["above"])
            assert cell["width"] > 0.0


def test_a_wrong_kind_is_one_line() -> None:
    found = run("--only", "median")
    assert found.returncode == 2
    assert found.stderr.startswith("coverage: error: argument --only: unknown kind 'median'; choose from mean, ")


def test_the_table_in_the_docs_is_that_of_the_document() -> None:
    """As written by the tool from `bench/coverage.json`, with every scenario in it and no cell far off."""
    lines = json.loads((ROOT / "bench" / "coverage.json").read_text())
    known = [(one.kind, one.case, round(one.truth, 3)) for one in scenarios()]
    assert [(line["kind"], line["case"], line["truth"]) for line in lines] == known
    text = (ROOT / "docs" / "intervals.md").read_text()
    for line in lines:
        cells = [line["by_subjects"][str(num)]["coverage"] for num in (4, 8, 20, 40)]
        row = " | ".join([f"| {line['kind']}", line["case"], f"{line['truth']:.2f}"])
        (shown,) = [found for found in text.splitlines() if found.startswith(row + " |")]
        assert [float(cell.strip(" *")) for cell in shown.split("|")[4:8]] == pytest.approx(cells, abs=5e-4)


def test_an_interval_that_does_not_cover_is_found() -> None:
    """Student's t of five normal values covers .95 with 2.776 errors, .80 with 1.533."""

    def short(generator: np.random.Generator, num: int) -> Interval:
        values = generator.standard_normal(num)
        half = 1.533 * values.std(ddof=1) / math.sqrt(num)
        return Interval(values.mean() - half, values.mean() + half)

    found = covered(Scenario("mean", "too short", 0.0, short), num_subjects=5, rounds=3000, seed=0)
    assert found["coverage"] == pytest.approx(0.8, abs=0.025)
    assert found["below"] == pytest.approx(found["above"], abs=0.025)


def test_cells_outside_of_what_is_wanted_are_bold() -> None:
    line = {"kind": "mean", "case": "x", "truth": 0.5, "bound": False}
    cells = {str(num): {"coverage": share} for num, share in zip((4, 8, 20, 40), (0.9, 0.95, 0.98, 0.99), strict=True)}
    assert row({**line, "by_subjects": cells}) == "| mean | x | 0.50 | **0.900** | 0.950 | 0.980 | **0.990** |"
    assert row({**line, "bound": True, "by_subjects": cells}).endswith("| 0.980 | 0.990 |")
