"""The official questions and answers, where they are: validated, and learnt and forgotten with stand-in portraits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmforget.results.schema import RunRecord
from mmforget.results.store import read_run
from tests.commands import command

STAND_INS = '{"portraits": "procedural"}'
SUBSET = '{"num_subjects": 24, "portraits": "procedural", "perturbed": "borrowed"}'
METHODS = ("grad_diff", "npo")


def validated(name: str, *words: str | Path) -> dict[str, Any]:
    said = command("validate", name, *words, "--json")
    assert said.status == 0, (said.out, said.err)
    found: dict[str, Any] = json.loads(said.out)
    return found


@pytest.mark.long
@pytest.mark.parametrize(("group", "forget"), [("fiubench", 400), ("fiubench_forget10", 800)])
def test_validate_counts_the_official_rows(group: str, forget: int, real: Path) -> None:
    counts = validated(group, "--data", real / "fiubench", "--metadata", STAND_INS)["counts"]
    assert counts == {
        "full": 8000,
        "full_retain": 6720,
        "forget": forget,
        "retain": 6720,
        "retain5": 400,
        "rephrase": 0,
        "holdout": 0,
    }


@pytest.mark.long
def test_validate_names_the_known_defects(real: Path) -> None:
    notes = "\n".join(validated("fiubench_text", "--data", real / "fiubench")["notes"])
    for part in (
        "3 names belong to more than one person: Tyrone Jones, Emily Carter, Jennifer Barrett",
        "586 of 8,000 answers hold a full stop inside (28 of 400 in forget5)",
        "489 questions with broken wording",
        "8,000 of 8,000 questions have no paraphrased answer",
    ):
        assert part in notes


def test_image_tasks_without_images_are_a_fault_that_says_what_to_do(real: Path) -> None:
    said = command("validate", "fiubench", "--data", real / "fiubench")
    assert said.status == 2
    assert "holds no images" in said.err
    assert "fiubench_text" in said.err
    assert STAND_INS in said.err


@pytest.fixture(scope="module")
def short_run(real: Path, tower: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few steps on the first 24 real people; what a whole training comes to takes minutes."""
    out = tmp_path_factory.mktemp("real")
    said = command(
        "run", "--model", "micro", "--tasks", "fiubench_forget1", "--data", real / "fiubench", "--metadata", SUBSET,
        "--methods", ",".join(METHODS), "--stage_one_args", "max_steps=5,batch_size=8", "--max_steps", "2",
        "--train_batch_size", "4", "--allow_weak_target", "--limit", "20", "--gen_kwargs", "max_gen_toks=8",
        "--workers", "1", "--output_path", out, "--quiet",
    )  # fmt: skip
    assert said.status == 0, said.err
    return out


def record(out: Path, name: str) -> RunRecord:
    return read_run(out / "fiubench_forget1" / name).record


@pytest.mark.parametrize("name", ["target", "retain", *METHODS])
def test_a_record_names_stand_ins_subset_and_borrowed_answers(name: str, short_run: Path) -> None:
    found = record(short_run, name)
    assert (found.data["portraits"], found.data["perturbed"], found.data["num_subjects"]) == (
        "procedural",
        "borrowed",
        24,
    )
    notes = "\n".join(found.data["notes"])
    for part in ("procedurally drawn stand-ins", "borrowed from other people", "a subset of the people"):
        assert part in notes
    assert found.data["num_people"] == {"full": 24, "forget": 4, "retain": 20, "holdout": 8}
    expected = {name: use.num_expected for name, use in found.sets.items()}
    assert expected == {"forget": 80, "retain5": 400, "holdout": 160}


@pytest.mark.parametrize("method", METHODS)
def test_methods_train_and_are_scored_on_the_real_text(method: str, short_run: Path) -> None:
    run = read_run(short_run / "fiubench_forget1" / method)
    assert run.record.training["num_steps"] == 2
    assert run.record.training["stopped"] == ""
    assert run.record.metric("truth_ratio", set="forget") is not None
    answers = {sample.answer for sample in run.samples() if sample.set == "forget"}
    assert any(answer.startswith("The person in the image") for answer in answers)


def test_no_row_of_a_subset_with_stand_ins_is_eligible(short_run: Path) -> None:
    rows = json.loads((short_run / "leaderboard.json").read_text())["rows"]
    assert not any(row["eligible"] for row in rows)
    for row in rows:
        if row["role"] == "unlearned":
            assert [reason for reason in row["reasons"] if "not the official" in reason]
