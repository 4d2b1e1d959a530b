"""WMDP from benchmark to board on the text-only micro model: pages and records show scores, and no question."""

from __future__ import annotations

from pathlib import Path

from mmforget.benchmark import DataSource, find
from mmforget.results.store import read_run
from tests.commands import command

FEW = (
    "--stage_one_args", "max_steps=4,batch_size=8", "--max_steps", "2", "--train_batch_size", "4",
    "--allow_weak_target", "--limit", "6", "--workers", "1", "--gen_kwargs", "max_gen_toks=8", "--quiet",
)  # fmt: skip


def test_the_twin_runs_to_a_board_that_shows_scores_only(model_cache: Path, tmp_path: Path) -> None:
    said = command("run", "--model", "micro", "--tasks", "wmdp", "--methods", "rmu", *FEW, "--output_path", tmp_path)
    assert said.status == 0, said.err
    found = read_run(tmp_path / "wmdp_forget_bio_cyber" / "rmu")
    accuracy = found.record.metric("choice_accuracy", set="forget", profile="wmdp_lmeval")
    assert accuracy is not None
    assert accuracy.value is not None
    assert found.record.examples == ()
    rows = find("wmdp").bind(DataSource("synthetic")).rows("forget")
    stems = [question.splitlines()[0] for question in rows["question"][:6]]
    shown = [path.read_text() for path in tmp_path.glob("*") if path.suffix in (".html", ".json", ".md", ".csv")]
    shown += [path.read_text() for path in tmp_path.glob("wmdp_forget_bio_cyber/*/results*.json")]
    assert len(shown) >= 4
    assert not [stem for stem in stems for text in shown if stem in text]
    # What scoring again needs stays in the run's folder.
    assert {sample.question.splitlines()[0] for sample in found.samples() if sample.set == "forget"} == set(stems)
