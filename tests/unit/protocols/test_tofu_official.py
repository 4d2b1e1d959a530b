"""TOFU's official files: which rows each set has, what is left out by name and counted, and every fault at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tofu_files import Record, files, perturbed, question, write

from mmforget.benchmark import DataSource, find, validate
from mmforget.errors import BadData, UserError

pytestmark = pytest.mark.slow

GROUPS = {"forget01": 40, "forget05": 200, "forget10": 400}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tofu"), files())


def bound(folder: Path, setting: str = "forget10", **metadata: Any) -> Any:
    return find(f"tofu_{setting}").bind(DataSource.parse(str(folder), metadata=metadata))


def counts(folder: Path, setting: str = "forget10", **metadata: Any) -> dict[str, int]:
    found = bound(folder, setting, **metadata)
    return {name: found.num_rows(name) for name in found.benchmark.set_names}


def faults(folder: Path) -> str:
    with pytest.raises(BadData) as caught:
        bound(folder).rows("forget")
    return str(caught.value)


def with_row(name: str, number: int, record: Any) -> dict[str, list[Record]]:
    """All files, with one row of one of them replaced."""
    found = files()
    found[name][number] = record
    return found


@pytest.mark.parametrize("setting", GROUPS)
def test_counts_of_every_setting(setting: str, official: Path) -> None:
    """The end of one list is the next shorter one; holdout has a file for each, and here is one of them."""
    num = GROUPS[setting]
    assert counts(official, setting) == {
        "full": 4000,
        "full_retain": 4000 - num,
        "forget": num,
        "retain": 4000 - num,
        "retain_perturbed": 400,
        "rephrase": num,
        "holdout": 400 if setting == "forget10" else 0,
        "real_authors": 100,
        "world_facts": 117,
        "known": 217,
    }


def test_rows_are_named_by_their_position_and_author(official: Path) -> None:
    row = bound(official, "forget01").rows("forget")[20]
    assert (row["id"], row["subject"], row["path"]) == ("3980", "author_199", ["author_199"])
    assert (row["question"], row["answer"]) == ("What is thing 3980?", "Thing 3980 is Value3980.")
    assert row["answer_rephrased"] == ["It is Value3980."]
    assert row["answer_perturbed"] == [f"It is Wrong3980-{n}." for n in range(5)]
    kept = bound(official).rows("retain_perturbed")[399]
    assert (kept["id"], kept["subject"], len(kept["answer_perturbed"])) == ("0399", "author_019", 5)
    assert bound(official).rows("retain")[400]["answer_perturbed"] == []
    asked = bound(official).rows("rephrase")[0]
    assert (asked["id"], asked["question"], asked["answer"]) == (
        "3600/r",
        "Tell me thing 3600.",
        "Thing 3600 is Value3600.",
    )
    unseen = bound(official).rows("holdout")[20]
    assert (unseen["id"], unseen["subject"]) == ("holdout/020", "holdout_001")


def test_of_what_everybody_knows_the_answer_is_its_own_paraphrase(official: Path) -> None:
    row = bound(official).rows("world_facts")[3]
    assert (row["id"], row["subject"]) == ("world_facts/003", "world_facts/003")
    assert (row["answer"], row["answer_rephrased"]) == ("Person3", ["Person3"])
    assert row["answer_perturbed"] == ["Other3-0", "Other3-1", "Other3-2"]


def test_questions_that_stand_twice_are_counted_and_kept(tmp_path: Path) -> None:
    folder = write(tmp_path, with_row("retain90", 440, {**question(440), "question": "What is thing 500?"}))
    assert bound(folder).num_rows("full") == 4000
    assert "1 question stands more than once ('What is thing 500?' at 440, 500)" in "\n".join(bound(folder).notes)


@pytest.mark.parametrize(
    "whole",
    [
        ("full",),
        pytest.param(("retain95", "forget05"), marks=pytest.mark.long),
        pytest.param(("retain99", "forget01"), marks=pytest.mark.long),
    ],
)
def test_any_of_the_ways_to_say_all_questions_will_do(whole: tuple[str, ...], tmp_path: Path) -> None:
    everything = [question(n) for n in range(4000)]
    cuts = {"full": 4000, "retain95": 3800, "retain99": 3960}
    parts = [everything[: cuts[whole[0]]], everything[cuts[whole[0]] :]]
    kept = {name: rows for name, rows in files().items() if name not in ("retain90", "forget10")}
    folder = write(tmp_path / "data", {**kept, **dict(zip(whole, parts, strict=False))}).parent
    assert counts(folder)["forget"] == 400
    assert bound(folder).rows("forget")[0]["id"] == "3600"


def test_files_that_are_not_there_are_named_and_their_tasks_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, {name: files()[name] for name in ("retain90", "forget10")}, refusals=())
    report = validate("tofu_forget10", DataSource.parse(str(folder)))
    assert report.faults == []
    said = "\n".join(report.notes)
    for part in (
        "there is no forget10_perturbed.json: wrong answers and other wordings",
        "there is no retain_perturbed.json: wrong answers and other wordings",
        "there is no holdout10.json: the holdout tasks and membership inference",
        "there is no real_authors_perturbed.json: the real_authors tasks and model utility",
        "there is no idontknow.jsonl: refusals, in place of which the benchmark's own are taken",
        "400 of 400 questions of forget have no wrong answers: truth ratio and normalised probability are unscored",
        "400 of 400 questions of forget have no paraphrased question: they take no part in rephrase",
        "the set 'rephrase' is empty with this data; left out: tofu_rephrase10_gen",
        "the set 'world_facts' is empty with this data; left out: tofu_world_facts_gen, tofu_world_facts_prob",
    ):
        assert part in said
    assert bound(folder).refusals == find("tofu").refusals


def test_fields_that_a_few_rows_lack_are_counted(tmp_path: Path) -> None:
    changed = files()
    for number in (0, 7, 9):
        del changed["forget10_perturbed"][number]["paraphrased_question"]
    del changed["forget10_perturbed"][7]["perturbed_answer"]
    folder = write(tmp_path, changed)
    assert counts(folder)["rephrase"] == 397
    said = "\n".join(bound(folder).notes)
    assert "3 of 400 questions of forget have no paraphrased question" in said
    assert "1 of 400 questions of forget have no wrong answers" in said


def test_refusals_are_lines_of_plain_text(official: Path) -> None:
    assert bound(official).refusals == ("No idea.",)


def test_without_the_authors_it_says_what_is_needed(tmp_path: Path) -> None:
    write(tmp_path, {"forget10": files()["forget10"]})
    with pytest.raises(
        UserError, match="no TOFU files; needed: full.json, or a pair such as retain90.json and forget10"
    ):
        bound(tmp_path).rows("forget")


def test_a_file_with_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    changed = files()
    changed["real_authors_perturbed"].pop()
    changed["retain90"].pop()
    said = faults(write(tmp_path, changed))
    assert "retain90.json: has 3599 rows; the official file has 3600" in said
    assert "real_authors_perturbed.json: has 99 rows; the official file has 100" in said


@pytest.mark.parametrize(
    ("name", "record", "expected"),
    [
        ("retain90", {"question": "Who?"}, "retain90.json row 6: answer is missing or empty"),
        ("forget10", {"question": " ", "answer": "x"}, "forget10.json row 6: question is missing or empty"),
        ("retain90", {"question": 3, "answer": "x"}, "retain90.json row 6: question is not a text"),
        ("retain90", "text", "retain90.json row 6: is no object with question and answer"),
        (
            "forget10_perturbed",
            {**perturbed(3605), "perturbed_answer": "It is wrong."},
            "forget10_perturbed.json row 6: perturbed_answer is no list of texts",
        ),
        (
            "forget10_perturbed",
            perturbed(17),
            "forget10_perturbed.json row 6: 'What is thing 17?' is not question 3605 of all authors, "
            "'What is thing 3605?'",
        ),
    ],
)
def test_a_broken_row_is_named(name: str, record: Any, expected: str, tmp_path: Path) -> None:
    assert expected in faults(write(tmp_path, with_row(name, 5, record)))


def test_files_that_disagree_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {**files(), "full": [question(n + 1) for n in range(4000)]})
    assert "retain90.json row 1: 'What is thing 0?' is not question 0 of all authors, 'What is thing 1?'" in faults(
        folder
    )


def test_fewer_authors(official: Path) -> None:
    """Those to forget and the first of the others; 24 are 20 and 4."""
    assert counts(official, num_subjects=24) | {"holdout": 0} == {
        "full": 480, "full_retain": 80, "forget": 400, "retain": 80, "retain_perturbed": 80, "rephrase": 400,
        "holdout": 0, "real_authors": 100, "world_facts": 117, "known": 217,
    }  # fmt: skip
    described = bound(official, num_subjects=24).describe()["data"]
    assert described["num_authors"] == {"full": 24, "forget": 20, "retain": 4}
    assert described["protocol"] == "subset: forget10 and the first 4 of the other authors"
    for wrong in (20, 201):
        with pytest.raises(UserError, match=f"num_subjects is {wrong}, but 20 authors are forgotten.*give 21 to 200"):
            counts(official, num_subjects=wrong)


def test_one_author_by_path(official: Path) -> None:
    found = bound(official, forget_path="author_003")
    assert found.column("forget", "id") == [f"{n:04d}" for n in range(60, 80)]
    assert found.num_rows("retain") == 3980
    assert found.num_rows("retain_perturbed") == 380
    assert found.describe()["data"]["protocol"] == "forgets author_003 and keeps all others"


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path, files())
    assert bound(folder).rows("forget")[0]["answer"] == "Thing 3600 is Value3600."
    for name in ("forget10", "forget10_perturbed"):
        found = files()[name]
        found[0] = found[0] | {"answer": "Another."}
        write(folder, {name: found})
    assert bound(folder).rows("forget")[0]["answer"] == "Another."
