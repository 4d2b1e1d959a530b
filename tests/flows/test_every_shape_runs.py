"""Guards, edits, a private base, labels and rows that the model writes: each runs on a benchmark, words and images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmforget.results.store import read_run, safe_name
from tests.commands import command
from tests.helpers import tiny_llama, tiny_llava

METHODS = ("icu", "uld", "whp_logit", "guard", "alu", "manu", "needle", "rocr", "whp", "npo+reveal_and_release", "dp2")
WORDS = (
    "--device", "cpu", "--data", "synthetic", "--metadata", "num_subjects=20", "--recipe", "micro", "--max_steps", "2",
    "--train_batch_size", "4", "--limit", "3", "--gen_kwargs", "max_gen_toks=8", "--quiet", "--allow_weak_target",
    "--workers", "1", "--method_args", "accountant=rdp,base_max_steps=2,epsilon=8,budget=2,max_tokens=8,last_layer=0",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    ("task", "make"), [("tofu_forget10", tiny_llama), ("fiubench", tiny_llava)], ids=["tofu", "fiubench"]
)
def test_a_run_of_it_ends_with_a_record(task: str, make: Callable[[Path], Path], tmp_path: Path) -> None:
    pytest.importorskip("opacus")
    model = make(tmp_path / "model")
    given = ("--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model))
    said = command(
        "run", *given, "--retain_model", str(model), *WORDS, "--tasks", task, "--methods", ",".join(METHODS),
        "--output_path", tmp_path / "out",
    )  # fmt: skip
    assert said.status == 0, said.err
    for name in METHODS:
        found = read_run(tmp_path / "out" / task / safe_name(name))
        assert found.samples(), name
        assert all(one.num_questions for one in found.record.sets.values()), name
