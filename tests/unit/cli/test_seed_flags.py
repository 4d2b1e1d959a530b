"""Seeds on the command line: which lists are read, and what contradicts what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import command

RUN = ("run", "--model", "micro", "--tasks", "fiubench_forget1", "--dry-run")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--seeds", "0,0"), "'0,0' names a seed twice"),
        (("--seeds", "a"), "'a' is not a list of whole numbers of at least 0"),
        (("--seeds", "-1"), "'-1' is not a list of whole numbers"),
        (("--seeds", ""), "'' is not a list of whole numbers"),
        (("--stage_one_seeds", "0,1.5"), "'0,1.5' is not a list of whole numbers"),
        (("--seeds", "0,1", "--seed", "3"), "--seed 3 and --seeds 0,1 both say how to train"),
        (("--stage_one_seeds", "0,1", "--retain_model", "x"), "--retain_model names one, and --stage_one_seeds 0,1"),
        (("--seeds", "0,4294967296"), "'4294967296' is not a whole number of at least 0 and at most 4294967295"),
        (("--seeds", "9" * 5000), "'99999999"),
        (("--stage_one_seeds", "4294967296"), "at most 4294967295"),
        (("--seed", "4294967296"), "at most 4294967295"),
        (("--seed", "-1"), "'-1' is not a whole number of at least 0"),
        (("--stage_one_args", "seed=4294967296"), "seed=4294967296 is not allowed; give at most 4294967295"),
        (("--workers", "0"), "'0' is not a whole number of at least 1"),
        (("--workers", "-1"), "'-1' is not a whole number of at least 1"),
        (("--workers", "²"), "'²' is not a whole number of at least 1"),
        (("--workers", "9" * 5000), "is not a whole number of at least 1 and at most 2147483647"),
        (
            ("--model", "hf", "--model_args", "pretrained=m", "--data", "synthetic", "--workers", "2"),
            "--workers 2 is for",
        ),
    ],
)
def test_what_cannot_be_is_said(flags: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    said = command(*RUN, "--methods", "npo", "--output_path", tmp_path, *flags)
    assert said.status == 2
    assert complaint in said.err
    assert len(said.err) < 1000
    assert "Traceback" not in said.err


def test_every_method_has_every_seed_and_an_edit_has_none(tmp_path: Path) -> None:
    words = ("run", "--model", "micro", "--tasks", "medforget", "--forget_path", "inst_03/pat_0012", "--dry-run")
    said = command(*words, "--methods", "npo,chip", "--seeds", "4,2", "--json", "--output_path", tmp_path)
    assert said.status == 0, said.err
    (plan,) = json.loads(said.out)
    trained = [(one["name"], one["settings"]["seed"]) for one in plan["methods"]]
    assert trained[:2] == [("npo", 4), ("npo", 2)]
    assert [name for name, _ in trained] == ["npo", "npo", "chip"]
    models = list(dict.fromkeys(step["model"] for step in plan["steps"]))
    assert models == ["target", "retain", "npo, seed 4", "npo, seed 2", "chip"]


def test_a_plan_names_every_retain_model(tmp_path: Path) -> None:
    said = command(*RUN, "--methods", "npo", "--stage_one_seeds", "3,1", "--json", "--output_path", tmp_path)
    assert said.status == 0, said.err
    (plan,) = json.loads(said.out)
    models = list(dict.fromkeys(step["model"] for step in plan["steps"]))
    assert models == ["target", "retain, seed 3", "retain, seed 1", "npo"]


def test_evaluation_takes_the_seeds_that_numpy_takes() -> None:
    """One above, `numpy.random.seed` raises."""
    words = ("eval", "--model", "micro", "--tasks", "fiubench_forget1", "--dry-run", "--seed")
    assert command(*words, "1,4294967295,2").status == 0
    said = command(*words, "1,4294967296,2")
    assert said.status == 2
    assert "'4294967296' is not a whole number of at least 0 and at most 4294967295" in said.err
