"""Benchmarks of other packages, by entry point: choices, whole documents, conversations about pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmforget.model.encode import Encoded
from mmforget.results.store import read_run
from mmforget.types import Sample
from tests.benchmark_packages import KINDS, METRICS, write_benchmark
from tests.commands import command
from tests.plugin_packages import installed

NAMES = ("quiz", "pages", "talks")
RUN = ("run", "--model", "micro", "--methods", "ga", "--workers", "1", "--allow_weak_target", "--quiet")


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in NAMES:
        write_benchmark(tmp_path / "site", name)
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        yield tmp_path / "site"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Encoded]]:
    """What is trained on, by source, and what is asked."""
    from mmforget.lm import engine
    from mmforget.training import sources

    found: dict[str, list[Encoded]] = {"asked": []}
    encode_all, encode, windows = sources.encode_all, engine.encode, engine.document_windows
    prompt = engine.encode_prompt

    def training(*args: Any, source: str, **kwargs: Any) -> list[Encoded]:
        found[source] = encode_all(*args, source=source, **kwargs)
        return found[source]

    def noted(*encoded: Encoded) -> list[Encoded]:
        found["asked"] += encoded
        return list(encoded)

    monkeypatch.setattr(sources, "encode_all", training)
    monkeypatch.setattr(engine, "encode", lambda *args, **kwargs: noted(encode(*args, **kwargs))[0])
    monkeypatch.setattr(engine, "encode_prompt", lambda *args, **kwargs: noted(prompt(*args, **kwargs))[0])
    monkeypatch.setattr(engine, "document_windows", lambda *args: noted(*windows(*args)))
    return found


def run(name: str, out: Path, *words: str) -> dict[str, list[Sample]]:
    """The samples of every model of a run, by its name."""
    said = command(*RUN, "--tasks", name, "--output_path", out, *words)
    assert said.status == 0, said.err
    rows = json.loads((out / "leaderboard.json").read_text())["rows"]
    assert {row["name"] for row in rows} == {"target", "retain", "ga"}
    found = {}
    for model in ("target", "retain", "ga"):
        stored = read_run(out / name / model)
        results = {(one.name, one.set): one.estimate.value for one in stored.record.metrics}
        assert results[METRICS[name], "forget"] is not None
        assert results[METRICS[name], "keep"] is not None
        found[model] = stored.samples()
        assert {sample.kind for sample in found[model]} == {KINDS[name]}
    assert command("validate", out / name / "ga").status == 0
    return found


def test_choices(theirs: Path, model_cache: Path, tmp_path: Path, seen: dict[str, list[Encoded]]) -> None:
    found = run("quiz", tmp_path / "out")
    for sample in found["ga"]:
        assert sample.gold == sorted(sample.choices).index(sample.answer)
        assert list(sample.token_logprobs) == [f"choice/{place}" for place in range(5)]
    # It trains on the text of the right choice, which is one of the five that are scored.
    asked = {one.ids for one in seen["asked"]}
    assert {one.ids for one in seen["rows to forget"]} <= asked
    assert len(seen["rows to forget"]) == 2


def test_whole_documents(theirs: Path, model_cache: Path, tmp_path: Path, seen: dict[str, list[Encoded]]) -> None:
    found = run("pages", tmp_path / "out")
    for sample in found["ga"]:
        assert sample.question == ""
        assert sample.answer.startswith(f"{sample.subject} lives in ")
    # What is trained is what is scored, to the token.
    asked = {(one.ids, one.num_context) for one in seen["asked"]}
    trained = [(one.ids, one.num_context) for one in seen["rows to forget"]]
    assert len(trained) == 2
    assert set(trained) <= asked
    lengths = {len(ids) - start for ids, start in trained}
    assert {len(s.token_logprobs["answer"]) for s in found["ga"] if s.set == "forget"} == lengths


@pytest.mark.parametrize(
    "words", [pytest.param((), id="plain", marks=pytest.mark.long), pytest.param(("--apply_chat_template",), id="chat")]
)
def test_conversations_about_pictures(
    theirs: Path, model_cache: Path, tmp_path: Path, seen: dict[str, list[Encoded]], words: tuple[str, ...]
) -> None:
    found = run("talks", tmp_path / "out", *words)
    assert {(s.question, s.attack) for s in found["ga"]} == {
        ("which colour does this person like?", attack) for attack in (None, "blank_image")
    }
    asked = {(one.ids, one.image_keys) for one in seen["asked"]}
    assert len(seen["rows to forget"]) == 2
    for one in seen["rows to forget"]:
        assert (one.ids[: one.num_context], one.image_keys) in asked


def test_a_method_of_refusals_is_told_that_documents_are_no_questions(theirs: Path, tmp_path: Path) -> None:
    said = command("run", "--model", "micro", "--tasks", "pages", "--methods", "po", "--output_path", tmp_path)
    assert (said.status, said.err.strip().splitlines()[-1]) == (
        2,
        "mmforget: error: method 'po' answers questions by refusals, and the row to forget 'ann/page' is a document",
    )


def test_rows_whose_parts_do_not_go_together_are_named_with_their_file(theirs: Path, tmp_path: Path) -> None:
    words = ("--tasks", "quiz", "--metadata", '{"shift": 4}')
    said = command("run", "--model", "micro", "--methods", "ga", *words, "--output_path", tmp_path)
    assert said.status == 2
    assert "quiz.json forget: " in said.err
    assert "row bob/town: gold is 8, and there are 5 choices, counted from 0" in said.err


def test_the_three_are_sound(theirs: Path) -> None:
    for name in NAMES:
        said = command("validate", name)
        assert said.status == 0, said.err
        assert "ranked" not in said.out
