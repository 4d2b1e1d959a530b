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
        (("--workers", "0"), "'0' is not a whole number of at least 1"),
    ],
)
def test_what_cannot_be_is_said(flags: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    said = command(*RUN, "--methods", "npo", "--output_path", tmp_path, *flags)
    assert said.status == 2
    assert complaint in said.err
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
