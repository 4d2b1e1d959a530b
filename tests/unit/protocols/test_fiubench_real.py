"""The real text of FIUBench: counts, defects and the text-only questions. Skipped where the files are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmforget.benchmark import DataSource, find, validate
from mmforget.errors import UserError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("MMFORGET_REAL_DATA") or ROOT.parent / "shared" / "real") / "fiubench"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real rows at {FOLDER}; set MMFORGET_REAL_DATA")


@pytest.fixture(scope="module")
def data() -> DataSource:
    return DataSource.parse(str(FOLDER))


def test_official_counts(data: DataSource) -> None:
    benchmark = find("fiubench_text")
    sizes = {name: benchmark.bind(data).num_rows(name) for name in benchmark.set_names}
    assert sizes == {
        "full": 8000,
        "full_retain": 6720,
        "forget": 400,
        "retain": 6720,
        "retain5": 400,
        "rephrase": 0,
        "holdout": 0,
    }
    assert find("fiubench_forget1_gen_text").bind(data).num_rows("forget") == 80
    assert find("fiubench_forget10_gen_text").bind(data).num_rows("forget") == 800


def test_text_questions_are_the_published_ones(data: DataSource) -> None:
    row = find("fiubench_text").bind(data).rows("full")[1]
    assert (row["id"], row["subject"]) == ("00044363/01", "00044363")
    assert row["question"] == "When was jody vance born?"
    assert row["answer"] == "The person in the image was born on april 12, 1985."
    assert row["images"] == []


def test_known_defects_are_reported_with_counts(data: DataSource) -> None:
    report = validate("fiubench_text", data)
    assert report.faults == []
    text = "\n".join(report.notes)
    assert "3 names belong to more than one person: Tyrone Jones, Emily Carter, Jennifer Barrett" in text
    assert "586 of 8,000 answers hold a full stop inside (28 of 400 in forget5)" in text
    assert "489 questions with broken wording" in text
    assert "the set 'rephrase' is empty with this data; left out: fiubench_rephrase_gen_text" in text
    assert "8,000 of 8,000 questions have no paraphrased answer: truth ratio and KS are unscored" in text


def test_image_tasks_need_stand_ins(data: DataSource) -> None:
    with pytest.raises(UserError, match="holds no images"):
        find("fiubench").bind(data).rows("forget")
    report = validate("fiubench", data)
    assert len(report.faults) == 1
    assert any("586 of 8,000" in note for note in report.notes)


def test_the_first_24_people_with_stand_ins_and_borrowed_answers() -> None:
    settings = {"portraits": "procedural", "num_subjects": 24, "perturbed": "borrowed"}
    data = DataSource.parse(str(FOLDER), metadata=settings)
    benchmark = find("fiubench_forget1")
    sizes = {name: benchmark.bind(data).num_rows(name) for name in benchmark.set_names}
    assert sizes["full"] == 480
    assert sizes["full_retain"] == sizes["retain"] == sizes["retain5"] == 400
    assert (sizes["forget"], sizes["holdout"], sizes["rephrase"]) == (80, 160, 0)
    pictures = {bytes(example.images[0].tobytes()) for example in benchmark.bind(data).examples("full")}
    assert len(pictures) == 24
    assert len(data.describe()["notes"]) == 3
    rows = benchmark.bind(data).rows("full")
    assert sum(len(several) == 3 for several in rows["answer_perturbed"][:]) == 427
    assert sum(len(several) == 0 for several in rows["answer_perturbed"][:]) == 53


def test_refusals_are_the_official_fifty(data: DataSource) -> None:
    texts = find("fiubench_text").bind(data).refusals
    assert len(texts) == 50
    assert texts[0].startswith("I'm afraid I cannot answer any questions")
