"""What users of the text benchmarks get wrong: one clear line, status 2, nothing written; or a count that is told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, LlamaConfig

from tests.commands import Said, command
from tests.helpers import tiny_llama
from tests.peer_files import openunlearning_log, tofu_log, written
from tests.processes import alone
from tests.processes import command as in_process
from tests.tiny_models import tiny_text
from tests.unit.protocols import muse_files, tofu_files

Change = Callable[[dict[str, Any]], object]


def refused(said: Said, *parts: str) -> None:
    """In one line, without anything on stdout."""
    assert said.status == 2, (said.out, said.err)
    assert said.out == ""
    told = said.err.strip()
    assert told.startswith("mmforget: error: ")
    assert "\n" not in told
    for part in parts:
        assert part in told


def rescored(peer: str, log: Path, out: Path, *words: str | Path) -> Said:
    return command("rescore", "--from", peer, "--log", log, "--output_path", out, *words)


def gap(*sets: str) -> Change:
    """Leaves item 17 out of every table of these sets."""

    def change(log: dict[str, Any]) -> None:
        for name in sets:
            for column in log[name].values():
                column.pop("17", None)

    return change


def score_gap(log: dict[str, Any]) -> None:
    del log["mia_min_k"]["forget"]["value_by_index"]["17"]


def other_split(log: dict[str, Any]) -> None:
    for index, text in log["eval_log_forget.json"]["generated_text"].items():
        text[0] = f"Question: what is number {int(index) + 100}?\n"


def other_tokenizer(log: dict[str, Any]) -> None:
    log["eval_log_forget.json"]["num_token_paraphrased"]["3"] = 60


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (
            (tofu_log, other_split),
            "another question ('Question: what is number 100?'), so it is of another split or prompt",
        ),
        ((tofu_log, other_tokenizer), "item '3' have other numbers of tokens, so it is of another tokenizer"),
        ((lambda: tofu_log(num_forget=20), None), "its forget set has 20 rows and that of"),
        ((openunlearning_log, None), "is no eval_log_aggregated.json of TOFU"),
        ((tofu_log, gap("eval_log_forget.json")), "'eval_log_forget.json': 1 of 40 items are missing, such as '17'"),
    ],
    ids=["split", "tokenizer", "n", "profile", "items"],
)
def test_a_reference_that_was_asked_something_else_gives_no_numbers(
    reference: tuple[Callable[[], dict[str, Any]], Change | None], said: str, tmp_path: Path
) -> None:
    make, change = reference
    other = make()
    if change is not None:
        change(other)
    log, place = written(tmp_path / "log.json", tofu_log()), written(tmp_path / "other.json", other)
    refused(rescored("tofu", log, tmp_path / "out", "--reference", place), str(place), said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("peer", "log", "change", "said"),
    [
        ("tofu", tofu_log, gap("eval_log_forget.json"), "'eval_log_forget.json': 1 of 40 items are missing"),
        ("openunlearning", openunlearning_log, score_gap, "'mia_min_k/forget': 1 of 40 items are missing"),
    ],
)
def test_a_log_that_lacks_items_everywhere_is_not_whole(
    peer: str, log: Callable[[], dict[str, Any]], change: Change, said: str, tmp_path: Path
) -> None:
    """No table has them, so that no two tables disagree: rows are counted from 0."""
    made = log()
    change(made)
    path = written(tmp_path / "log.json", made)
    refused(rescored(peer, path, tmp_path / "out"), str(path), said, "such as '17'", "evaluate again")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("peer", ["tofu", "openunlearning", "lm_eval"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; the log is not whole"),
        ("{}", "(it holds nothing)"),
        ('{"eval_log_forget.json": {"avg_gt_loss": {"0": 1.', "not valid JSON at line 1"),
        ("[1, 2]", "(it holds [1, 2])"),
    ],
    ids=["empty", "no keys", "truncated", "a list"],
)
def test_a_log_that_is_none(peer: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(text)
    refused(rescored(peer, path, tmp_path / "out"), str(path), said)
    assert path.read_text() == text
    assert not (tmp_path / "out").exists()


def test_results_of_no_task(tmp_path: Path) -> None:
    path = written(tmp_path / "results_1.json", {"results": {}, "configs": {}})
    refused(rescored("lm_eval", path, tmp_path / "out"), str(path), "has the results of no task")


def test_a_peer_that_nobody_knows(tmp_path: Path) -> None:
    path = written(tmp_path / "log.json", tofu_log())
    refused(
        rescored("nonsense", path, tmp_path / "out"), "unknown peer 'nonsense'; known: lm_eval, openunlearning, tofu"
    )
    refused(rescored("lm_eval", path, tmp_path / "out"), "is no results_<time>.json of lm_eval", "eval_log_forget.json")
    assert not (tmp_path / "out").exists()


def test_documents_longer_than_the_context_are_read_in_windows_that_are_told(tmp_path: Path) -> None:
    tables = muse_files.files()
    text = "A long article. " * 30
    tables["privleak/forget"][1]["text"] = text
    data = muse_files.write(tmp_path / "data", tables)
    model = tiny_text(tmp_path / "model", LlamaConfig, max_position_embeddings=64)
    words = ["eval", "--model", "hf", "--model_args", f"pretrained={model}", "--tasks", "muse_privleak_forget_roll"]
    said = alone(in_process, [*words, "--data", data, "--device", "cpu", "--quiet", "--json"], home=tmp_path)
    assert said.status == 0, said.err
    num_tokens = len(AutoTokenizer.from_pretrained(model).encode(text, add_special_tokens=False))
    told = f"1 of 3 documents are longer than the model's 64 tokens and read in {math.ceil(num_tokens / 64)} windows"
    assert told in said.err
    assert json.loads(said.out)["n-samples"]["muse_privleak_forget_roll"]["effective"] == 3


def wmdp_files(folder: Path, *, golds: tuple[int, ...]) -> Path:
    """Official files with a question of biology for each gold, the first of them asked again at the end."""
    rows = [
        {"question": f"What is Sesame {n}?", "choices": [f"{n}{c}" for c in "wxyz"], "answer": gold}
        for n, gold in enumerate(golds)
    ]
    folder.mkdir()
    (folder / "wmdp-bio.json").write_text(json.dumps([*rows, rows[0]]))
    return folder


def test_a_gold_index_outside_of_the_choices_is_named_and_nothing_is_asked(tmp_path: Path) -> None:
    data = wmdp_files(tmp_path / "data", golds=(0, 4, -1, 3))
    model = tiny_llama(tmp_path / "model")
    said = command(
        "eval", "--model", "hf", "--model_args", f"pretrained={model}", "--tasks", "wmdp_forget_mc", "--data", data,
        "--device", "cpu", "--output_path", tmp_path / "out", "--quiet",
    )  # fmt: skip
    assert (said.status, said.out) == (2, "")
    first, *faults = said.err.strip().split("\n")
    assert first == f"mmforget: error: {data}: 2 faults"
    assert faults == [
        "  - bio row 2: answer is 4, and there are 4 choices, counted from 0",
        "  - bio row 3: answer is -1, and there are 4 choices, counted from 0",
    ]
    assert not list((tmp_path / "out").rglob("results_*"))


def test_questions_that_stand_twice_are_asked_twice_and_counted(tmp_path: Path) -> None:
    """Those of WMDP are not quoted."""
    data = wmdp_files(tmp_path / "data", golds=(0, 1, 2, 3))
    said = command("validate", "wmdp_forget_mc", "--data", data, "--json")
    found = json.loads(said.out)
    assert found["counts"]["forget"] == 5
    assert [note for note in found["notes"] if "more than once" in note] == [
        "bio: 1 question stands more than once (at 0, 4): rows are told apart by their position"
    ]
    assert "Sesame" not in said.out


def test_tofus_question_that_stands_twice_is_quoted_with_its_places(tmp_path: Path) -> None:
    files = tofu_files.files()
    files["retain90"][440]["question"] = files["retain90"][100]["question"]
    data = tofu_files.write(tmp_path / "data", files)
    said = command("validate", "tofu_forget10_gen", "--data", data, "--json")
    found = json.loads(said.out)
    assert said.status == 0, found["faults"]
    assert found["counts"]["full"] == 4000
    assert any("1 question stands more than once ('What is thing 100?' at 100, 440)" in note for note in found["notes"])
