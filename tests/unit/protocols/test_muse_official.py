"""MUSE's official files: which rows each set has, how they are asked, what is missing, and every fault at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from muse_files import documents, files, questions, write

from mmforget.benchmark import DataSource, find, validate
from mmforget.errors import BadData, UserError


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("muse"), files())


def bound(folder: Path, group: str = "muse_news") -> Any:
    return find(group).bind(DataSource.parse(str(folder)))


def faults(folder: Path, group: str = "muse_news") -> str:
    with pytest.raises(BadData) as caught:
        bound(folder, group).rows("knowmem_forget")
    return str(caught.value)


def test_every_set_is_a_table(official: Path) -> None:
    found = bound(official)
    assert {name: found.num_rows(name) for name in found.benchmark.set_names} == {
        "full": 12 + 4 + 2, "full_retain": 4 + 2, "forget": 3, "retain": 4, "knowmem_forget": 5, "knowmem_retain": 6,
        "verbmem": 3, "holdout": 3, "privleak_forget": 3,
        "sust_1": 3, "sust_2": 3, "sust_3": 3, "sust_4": 3,
    }  # fmt: skip
    row = found.rows("forget")[2]
    assert (row["id"], row["subject"], row["question"]) == ("raw/forget/0002", "raw/forget/0002", "")
    assert row["text"] == row["answer"] == "Article 2 of raw tells of Value2."
    assert {one.is_document for one in found.examples("full")} == {True}


@pytest.mark.parametrize(
    ("group", "name", "num"),
    [("muse_news_scal2", "scal_2", 6), ("muse_news_scal4", "scal_4", 12), ("muse_news_sust3", "sust_3", 3)],
)
def test_a_group_selects_the_fold_that_methods_forget(official: Path, group: str, name: str, num: int) -> None:
    found = bound(official, group)
    assert dict(found.benchmark.trained_sets) == {"forget": name, "retain": "retain"}
    assert found.num_rows(name) == num
    assert found.benchmark.forget_set == "knowmem_forget"


def test_a_question_is_asked_behind_its_examples_and_a_beginning_as_it_stands(official: Path) -> None:
    """As in the official code: a blank line behind each example, and a blank at the end."""
    found = bound(official)
    assert found.examples("knowmem_forget")[1].context == (
        "Question: What is shown 0?\nAnswer: Value0\n\nQuestion: What is shown 1?\nAnswer: Value1\n\n"
        "Question: What is forgotten 1?\nAnswer: "
    )
    one = found.examples("verbmem")[0]
    assert (one.context, one.answer) == ("Article 0 of", " raw tells of Value0.")


def test_without_examples_a_question_stands_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, {name: rows for name, rows in files().items() if not name.endswith("_icl")})
    assert bound(folder).examples("knowmem_retain")[0].context == "Question: What is kept 0?\nAnswer:"
    assert "there is no knowmem/retain_qa_icl" in bound(folder).notes


@pytest.mark.parametrize("place", ["news", "data/news"])
def test_the_folder_above_will_do(tmp_path: Path, place: str) -> None:
    write(tmp_path / place, files())
    assert bound(tmp_path).num_rows("forget") == 3


def test_texts_lines_and_the_hubs_parquet_will_do(tmp_path: Path) -> None:
    """What stands between blank lines of a text is a document; parquet parts are put together."""
    folder = write(tmp_path, {name: rows for name, rows in files().items() if not name.startswith("raw/")})
    (folder / "raw").mkdir()
    (folder / "raw" / "forget.txt").write_text("One.\n\nTwo,\nstill two.\n\n\n")
    (folder / "raw" / "retain1.jsonl").write_text("\n".join(map(json.dumps, documents("kept", 2))))
    for part in range(2):
        rows = datasets.Dataset.from_list(documents(f"part{part}", 2))
        rows.to_parquet(folder / "raw" / f"retain2-0000{part}-of-00002.parquet")
    found = bound(folder)
    assert found.column("forget", "text") == ["One.", "Two,\nstill two."]
    assert found.num_rows("retain") == 2
    (folder / "train" / "retain2.json").unlink()
    assert found.column("full_retain", "text")[-1] == "Article 1 of part1 tells of Value1."


def test_lists_of_texts_are_documents(tmp_path: Path) -> None:
    folder = write(tmp_path, {**files(), "privleak/holdout": ["One text.", "Another."]})
    assert bound(folder).column("holdout", "text") == ["One text.", "Another."]


def test_what_is_missing_is_named_and_left_out(tmp_path: Path) -> None:
    gone = ("verbmem", "privleak", "scal", "sust", "train")
    folder = write(tmp_path, {name: rows for name, rows in files().items() if not name.startswith(gone)})
    report = validate("muse_news", DataSource.parse(str(folder)))
    assert report.faults == []
    assert report.counts["full"] == 3 + 4 + 2
    said = "\n".join(report.notes)
    for part in (
        "there is no verbmem/forget",
        "there is no scal/forget_3",
        "there is no train/forget",
        "the set 'verbmem' is empty with this data; left out: muse_verbmem_gen, muse_verbmem_prob",
    ):
        assert part in said
    report = validate("muse_news_sust2", DataSource.parse(str(folder)))
    assert "muse_news_sust2: the set 'sust_2' is empty with this data, and nothing runs without it" in report.faults


def test_books_have_no_folds_and_miss_none(tmp_path: Path) -> None:
    folder = write(tmp_path / "books", {k: v for k, v in files().items() if not k.startswith(("scal", "sust"))})
    assert bound(folder.parent, "muse_books").notes == []
    with pytest.raises(UserError, match="no folds of its books; the set 'scal_2' is one of the news"):
        bound(folder.parent, "muse_books").rows("scal_2")


def test_without_documents_it_says_what_is_needed(tmp_path: Path) -> None:
    write(tmp_path, {"raw/forget": documents("raw", 2)})
    with pytest.raises(UserError, match=r"no MUSE files of news: raw/retain1 \(.json, .jsonl, .txt or .parquet\)"):
        bound(tmp_path).rows("forget")


def test_lengths_and_repetitions_are_counted(tmp_path: Path) -> None:
    again = [*questions("forgotten", 5), questions("forgotten", 2)[1]]
    notes = "\n".join(bound(write(tmp_path, {**files(), "knowmem/forget_qa": again})).notes)
    assert "knowmem/forget_qa: 1 question stands more than once ('What is forgotten 1?' at 1, 5)" in notes
    assert "raw/forget has 3 rows; the data set's card says 889" in notes


@pytest.mark.parametrize(
    ("table", "row", "expected"),
    [
        ("raw/forget", {"text": " "}, "raw/forget row 3: text is missing or empty"),
        ("raw/retain1", {"text": 7}, "raw/retain1 row 3: text is not a text"),
        ("privleak/holdout", "", "privleak/holdout row 3: text is missing or empty"),
        ("raw/forget", 7, "raw/forget row 3: is 7, no object with text"),
        ("knowmem/forget_qa", {"question": "Who?"}, "knowmem/forget_qa row 3: answer is missing or empty"),
        ("verbmem/forget", {"prompt": "", "gt": "x"}, "verbmem/forget row 3: prompt is missing or empty"),
    ],
)
def test_a_broken_row_is_named(table: str, row: Any, expected: str, tmp_path: Path) -> None:
    changed = files()
    changed[table][2] = row
    assert expected in faults(write(tmp_path, changed))


def test_the_hub_needs_a_revision() -> None:
    with pytest.raises(UserError, match="https://huggingface.co/datasets/muse-bench/MUSE-Books/commits/main"):
        find("muse_books").bind(DataSource("hub")).rows("forget")
