"""A benchmark and the method made for it, end to end on barely trained micro models: every part is reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmforget.results.store import read_run
from tests.commands import command

FEW = (
    "--stage_one_args",
    "max_steps=3,batch_size=8",
    "--max_steps",
    "2",
    "--allow_weak_target",
    "--limit",
    "4",
    "--workers",
    "1",
    "--gen_kwargs",
    "max_gen_toks=8",
    "--quiet",
)
PAIRS = {
    "mmubench": ("siu", ("target",)),
    "safe_eraser": ("grad_diff+pd", ("target",)),
    "medforget_study": ("chip", ("target", "retain")),
    "unlok_vqa": ("head_projection", ("target",)),
}


ALSO = {"unlok_vqa": ("--metadata", '{"num_subjects": 2}')}
"""Two facts, each deleted alone."""
BRIEF = "medforget_study"
CASES = [pytest.param(group, marks=[pytest.mark.long] * (group != BRIEF)) for group in PAIRS]


@pytest.fixture(scope="module", params=CASES)
def ran(request: pytest.FixtureRequest, tower: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    group = str(request.param)
    folder = tmp_path_factory.mktemp(group)
    words = ("--model", "micro", "--tasks", group, "--methods", PAIRS[group][0], "--output_path", folder)
    said = command("run", *words, *FEW, *ALSO.get(group, ()))
    assert said.status == 0, said.err
    return group, folder


def test_it_runs_from_benchmark_to_board(ran: tuple[str, Path]) -> None:
    group, folder = ran
    method, references = PAIRS[group]
    rows = json.loads((folder / "leaderboard.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {method, *references}
    record = read_run(folder / group / method.replace("+", "-")).record
    assert record.method is not None
    assert record.method.name == method
    assert record.verdict is not None
    assert not record.verdict.eligible, "asked a part of the questions"
    assert (folder / "index.html").is_file()


def test_scoring_again_gives_the_same_numbers(ran: tuple[str, Path]) -> None:
    group, folder = ran
    place = folder / group / PAIRS[group][0].replace("+", "-")
    before = read_run(place).record
    said = command("rescore", folder / group, "--json")
    assert said.status == 0, said.err
    after = read_run(place).record
    assert (after.metrics, after.headline, after.levels) == (before.metrics, before.headline, before.levels)
    assert after.judge == before.judge


@pytest.mark.long
def test_a_subtree_is_forgotten_by_its_path(tower: Path, tmp_path: Path) -> None:
    """What lies below the path is the forget set, its siblings are not, and the record says that this was a choice."""
    from mmforget.benchmark import DataSource, find

    rows = find("medforget_patient").bind(DataSource("synthetic", metadata={"setting": "patient"})).rows("full")
    path = next(row for row in rows["path"] if len(row) > 1)[:2]
    words = ("--model", "micro", "--tasks", "medforget_patient", "--methods", "grad_diff", "--output_path", tmp_path)
    said = command("run", *words, "--forget_path", "/".join(path), *FEW)
    assert said.status == 0, said.err
    record = read_run(tmp_path / "medforget_patient" / "grad_diff").record
    inside = {level.path for level in record.levels if level.relation == "inside"}
    assert inside
    assert all(tuple(one)[:2] == tuple(path) for one in inside)
    assert record.data["forget_path"] == "/".join(path)
    said = command("run", *words, "--forget_path", "nowhere", *FEW)
    assert said.status == 2
    assert "nowhere" in said.err
