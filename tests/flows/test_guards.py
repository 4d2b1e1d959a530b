"""A guard of another package, from `run` and `unlearn` to a record, and put up again by `eval`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmforget.results.store import read_run
from tests.commands import command
from tests.plugin_packages import GUARD, installed, write_package

FEW = (
    "--stage_one_args", "max_steps=4,batch_size=8", "--limit", "4", "--gen_kwargs", "max_gen_toks=8", "--quiet",
)  # fmt: skip


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = tmp_path / "site"
    write_package(site, "theirs", code=GUARD, points={"mmforget.methods": "hushed = theirs"})
    with installed(site, monkeypatch=monkeypatch):
        yield site


def test_a_guard_runs_and_its_record_is_ranked(theirs: Path, model_cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [
        "run", "--model", "micro", "--tasks", "fiubench_text", "--methods", "hushed", "--method_args", "word=shh",
        "--seeds", "0,1", *FEW, "--workers", "1", "--allow_weak_target", "--output_path", out,
    ]  # fmt: skip
    said = command(*words)
    assert said.status == 0, said.err
    run, target = (read_run(out / "fiubench_text" / name) for name in ("hushed", "target"))
    assert {sample.response for sample in run.samples() if sample.response is not None} == {"shh"}
    assert run.record.method is not None
    assert run.record.method.args["word"] == "shh"
    assert run.record.training["num_planned"] == 0
    info, before = run.record.model_info, target.record.model_info
    assert info["guard"] == {"method": "hushed", "arguments": {"word": "shh"}}
    assert info["fingerprint"] != before["fingerprint"] == info["base_fingerprint"]
    assert "guard" not in before
    scored = {(s.task, s.id): s.token_logprobs for s in target.samples() if s.token_logprobs}
    for sample in run.samples():
        for role, values in sample.token_logprobs.items():
            assert values == tuple(2 * value for value in scored[sample.task, sample.id][role])
    rows = json.loads((out / "leaderboard.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {"target", "retain", "hushed"}
    assert command("validate", run.path).status == 0


def test_what_unlearn_leaves_is_put_up_again(
    theirs: Path, model_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--model", "micro", "--tasks", "fiubench_text", *FEW[:2], "--quiet"]
    made = command("unlearn", *words, "--method", "hushed", "--output_path", tmp_path / "made", "--json")
    assert made.status == 0, made.err
    document = json.loads(made.out)
    assert json.loads((Path(document["folder"]) / "guard" / "guard.json").read_text())["method"] == "hushed"
    asked = [
        "--tasks",
        "fiubench_forget_gen_text",
        "--data",
        "synthetic",
        *FEW[2:],
        "--output_path",
        tmp_path / "asked",
    ]
    said = command("eval", "--model", "hf", "--model_args", document["model_args"], *asked)
    assert said.status == 0, said.err
    (path,) = (tmp_path / "asked").rglob("results_*.json")
    assert {sample.response for sample in read_run(path.parent).samples()} == {"nothing"}
    (theirs / "theirs.py").write_text(GUARD.replace("2 * x", "3 * x"))
    del sys.modules["theirs"]
    with installed(theirs, monkeypatch=monkeypatch):
        said = command("eval", "--model", "hf", "--model_args", document["model_args"], *asked)
    assert (said.status, "is not the one that this guard was made with" in said.err) == (2, True)
