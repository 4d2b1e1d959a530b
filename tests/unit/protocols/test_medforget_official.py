"""MedForget's official files: what becomes of each fallback and defect, and every fault at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from medforget_files import FORGET, OPTIONS, RETAIN, patient_rows, record, write, write_medforget

from mmforget.benchmark import DataSource, find
from mmforget.errors import BadData, UnknownName, UserError
from mmforget.protocols.medforget.records import level_of, section_of, task_of

PATIENT = ["inst_03", "pat_0012"]


def at(folder: Path, **metadata: Any) -> DataSource:
    return DataSource.parse(str(folder), metadata=metadata)


def rows(folder: Path, set_name: str, *, group: str = "medforget", **metadata: Any) -> list[dict[str, Any]]:
    return list(find(group).bind(at(folder, **metadata)).rows(set_name).remove_columns("images"))


def faults(folder: Path) -> list[str]:
    with pytest.raises(BadData) as caught:
        find("medforget").bind(at(folder)).rows("forget")
    return list(caught.value.faults)


@pytest.fixture(scope="module")
def medforget(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_medforget(tmp_path_factory.mktemp("medforget"), rephrase=True)


def test_counts_of_each_set(medforget: Path) -> None:
    """9 questions a patient and one of another institution; the retain model learns all but the patient's 9.

    Among those is the hospital of the patient's image; the retain model learns it of the other patients' images.
    """
    counts = {name: len(rows(medforget, name)) for name in ("full", "full_retain", "forget", "retain", "rephrase")}
    assert counts == {"full": 28, "full_retain": 19, "forget": 9, "retain": 18, "rephrase": 1}
    assert not any(row["path"][:2] == PATIENT for row in rows(medforget, "full_retain"))


def test_what_becomes_of_each_question(medforget: Path) -> None:
    """The row's level decides for all its questions; without one, their words do, and the path gives the ids.

    The Answer list is joined by blanks without its empty part. `section_4` is the fifth question of its row.
    """
    study = [*PATIENT, "study_12"]
    found = [
        (row["id"], row["path"], json.loads(row["extra"])["level"], json.loads(row["extra"])["task"], row["answer"])
        for row in rows(medforget, "forget")
    ]
    assert found == [
        ("pat_0012_a/00", PATIENT, "patient", "generation", "Ann pat_0012"),
        ("pat_0012_a/01", PATIENT, "patient", "classification", "B) nodule"),
        ("pat_0012_b/00", [*study, "FINDINGS"], "section", "cloze", "a nodule left"),
        ("pat_0012_b/01", [*study, "FINDINGS"], "section", "generation", "A small nodule."),
        ("pat_0012_c/00", PATIENT[:1], "institution", "generation", "Orwick"),
        ("pat_0012_c/01", PATIENT, "patient", "generation", "1 May 1950"),
        ("pat_0012_c/02", study, "study", "generation", "2 June 2140"),
        ("pat_0012_c/03", [*study, "IMPRESSION"], "section", "generation", "Pneumonia."),
        ("pat_0012_c/04", [*study, "section_4"], "section", "generation", "A shadow."),
    ]
    assert all(row["subject"] == "/".join(row["path"]) for row in rows(medforget, "forget"))


@pytest.mark.parametrize(
    "question, level",
    [
        ("Which institution is the patient in?", "institution"),
        ("Which FACILITY?", "institution"),
        ("In which Hospital?", "institution"),
        ("What is in the medical record of this imaging study?", "patient"),
        ("What is the study identifier?", "study"),
        ("Which study ID?", "study"),
        ("When was the study?", "section"),
    ],
)
def test_levels_by_the_released_rules(question: str, level: str) -> None:
    assert level_of(question) == level


@pytest.mark.parametrize(
    "question, task",
    [
        ("A) x B) y C) z [blank]", "cloze"),
        (f"Which? {OPTIONS}", "classification"),
        ("Which? A) x B) y", "generation"),
        ("Which? [Blank]", "generation"),
        ("Say what A) and B) and C) mean.", "classification"),
    ],
)
def test_kinds_by_the_released_rules(question: str, task: str) -> None:
    assert task_of(question) == task


def test_a_kind_that_is_named_wins_over_the_rules() -> None:
    assert task_of("Say what A) and B) and C) mean.", named="generation") == "generation"
    assert task_of("Which? [blank]", named="something else") == "cloze"


def test_sections_by_the_released_rules() -> None:
    """The first of the four names in the order of the rule, not of the text."""
    assert section_of("impression and findings?", position=0) == "FINDINGS"
    assert section_of("what?", position=7) == "section_7"


def test_metadata_and_ids_as_objects_and_numbers(tmp_path: Path) -> None:
    """Objects in place of JSON text; an id that is a number; a row without ID is `img_` and its number."""
    whole = record("9/8/7", ("What is seen?", "A scar."), name=None, level="section", section="FINDINGS", as_text=False)
    whole["hierarchy_metadata"]["patient_id"] = 8
    write(tmp_path / "patient_level" / "forget_set_all.parquet", [whole])
    write(tmp_path / "patient_level" / "retain_set_all.parquet", RETAIN)
    (row,) = rows(tmp_path, "forget")
    assert (row["id"], row["path"]) == ("img_0/00", ["9", "8", "7", "FINDINGS"])


def test_rows_that_share_an_id_keep_apart(tmp_path: Path) -> None:
    again = [record("i/p/s", ("What is seen?", "A scar."), name="one", level="patient") for _ in range(2)]
    write(tmp_path / "patient_level" / "forget_set_all.parquet", again)
    write(tmp_path / "patient_level" / "retain_set_all.parquet", RETAIN)
    assert [row["id"] for row in rows(tmp_path, "forget")] == ["one/00", "one#2/00"]
    assert "1 rows have an ID that an earlier row of their file has, too" in find("medforget").bind(at(tmp_path)).notes


def test_images_come_out_of_the_files(medforget: Path) -> None:
    """Written grey, read as RGB; the questions of a row share one picture."""
    examples = find("medforget").bind(at(medforget)).examples("forget")
    assert examples[0].images[0] is examples[1].images[0]
    assert examples[0].images[0].getpixel((0, 0)) == (40, 40, 40)
    assert examples[0].context == "<image>\nWhat is the name of the patient?"
    assert examples[2].path == (*PATIENT, "study_12", "FINDINGS")


def test_notes_and_record_say_what_was_read(medforget: Path) -> None:
    benchmark = find("medforget")
    assert benchmark.bind(at(medforget)).notes == [
        "6 answers of all files are lists, joined by blanks as in the official evaluation",
        "32 questions of all files have no hierarchy_level; it was read off their words",
    ]
    facts = benchmark.bind(at(medforget)).describe()["data"]
    assert facts["num_nodes"] == {"institution": 2, "patient": 4, "study": 4, "section": 10}
    assert facts["num_questions"] == {"classification": 3, "cloze": 3, "generation": 22}
    assert facts["forgotten"] == [PATIENT]
    assert facts["protocol"] == "official"
    assert sorted(facts["sha256"]) == [
        "patient_level/forget_set_all.parquet",
        "patient_level/rephrase_set_all.parquet",
        "patient_level/retain_set_all.parquet",
        "train.parquet",
    ]


def test_a_subtree_instead_of_the_files_split(medforget: Path) -> None:
    """Below inst_03: everything but the far one. Below a study: not the patient's own questions."""
    counts = {name: len(rows(medforget, name, forget_path="inst_03")) for name in ("forget", "retain", "full_retain")}
    assert counts == {"forget": 27, "retain": 1, "full_retain": 1}
    study = "inst_03/pat_0012/study_12"
    forget = rows(medforget, "forget", forget_path=study)
    assert len(forget) == 5
    assert all("/".join(row["path"]).startswith(study) for row in forget)
    assert len(rows(medforget, "retain", forget_path=study)) == 28 - 5
    assert rows(medforget, "rephrase", forget_path="inst_03/pat_0012")
    assert rows(medforget, "rephrase", forget_path="inst_03/pat_0013") == []
    facts = find("medforget").bind(at(medforget, forget_path=study)).describe()["data"]
    assert (facts["forgotten"], facts["protocol"]) == (study, f"everything below {study}, cut from the training rows")


def test_a_path_that_is_not_there(medforget: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'inst_03/pat_0012'"):
        rows(medforget, "forget", forget_path="inst_03/pat_012")


def test_without_a_training_file_the_level_stands_in(tmp_path: Path) -> None:
    write_medforget(tmp_path, training=False)
    assert len(rows(tmp_path, "full")) == 27
    notes = find("medforget").bind(at(tmp_path)).notes
    assert notes[:2] == [
        "no training parquet: stage one learns patient_level's forget and retain files together",
        "no rephrased questions in patient_level: the rephrase tasks are left out",
    ]
    assert rows(tmp_path, "rephrase") == []


def test_another_filter_and_rephrased_forget_rows(tmp_path: Path) -> None:
    """The only forget set counts whatever its filter is called; one called rephrased is none."""
    level = tmp_path / "patient_level"
    write(level / "forget_set_small.parquet", FORGET)
    write(level / "retain_set_small.parquet", RETAIN)
    write(level / "forget_set_rephrased.parquet", FORGET[:1])
    assert [len(rows(tmp_path, name)) for name in ("forget", "retain", "rephrase")] == [9, 18, 2]
    write(level / "forget_set_large.parquet", FORGET)
    with pytest.raises(UserError, match=r"several forget sets \(forget_set_large.parquet, forget_set_small.parquet\)"):
        rows(tmp_path, "forget")


def test_which_file_is_for_training(tmp_path: Path) -> None:
    write_medforget(tmp_path, training=False)
    write(tmp_path / "vanilla_qa.parquet", [*FORGET, *RETAIN])
    assert len(rows(tmp_path, "full")) == 27
    write(tmp_path / "more.parquet", FORGET)
    with pytest.raises(UserError, match="which parquet file is for training"):
        rows(tmp_path, "full")


def test_a_level_without_files(medforget: Path, tmp_path: Path) -> None:
    """With the training rows at hand, a path can still say what to forget; without any file nothing can."""
    with pytest.raises(UserError, match="no study_level folder with forget_set_.*name a subtree with --forget_path"):
        rows(medforget, "forget", group="medforget_study")
    assert rows(medforget, "forget", group="medforget_study", forget_path="inst_03/pat_0012/study_12")
    with pytest.raises(UserError, match="no MedForget files; needed: patient_level/forget_set_all.parquet"):
        rows(tmp_path, "forget")


def test_every_fault_at_once(tmp_path: Path) -> None:
    broken = [
        {**FORGET[0], "image": {"bytes": None, "path": "x.png"}},
        {**FORGET[1], "image": {"bytes": b"not a picture", "path": None}},
        {**FORGET[2], "metadata": "[{nothing}]"},
        {**FORGET[2], "metadata": None},
        {**FORGET[2], "metadata": "[]"},
        record("i/p/s", ("", "x"), ("What?", ["", " "]), ("What?", None), name="x"),
        record("i/p", ("When was this imaging study made?", "x"), ("What is the patient's name?", "x"), name="y"),
        {**FORGET[0], "hierarchy_metadata": "{broken"},
    ]
    write(tmp_path / "patient_level" / "forget_set_all.parquet", broken)
    write(tmp_path / "patient_level" / "retain_set_all.parquet", RETAIN).write_bytes(b"PAR1 and no more")
    at_row = "patient_level/forget_set_all.parquet row"
    found = faults(tmp_path)
    assert found[0] == f"{at_row} 1: image has no bytes"
    assert found[1] == f"{at_row} 2: embedded image is not an image"
    assert found[2].startswith(f"{at_row} 3: metadata is not valid JSON: ")
    assert found[3:6] == [
        f"{at_row} 4: metadata is missing",
        f"{at_row} 5: metadata is not a list of questions",
        f"{at_row} 6 question 1: Question is missing or empty",
    ]
    assert found[6:8] == [f"{at_row} 6 question {k}: Answer is missing or empty" for k in (2, 3)]
    assert found[8] == (f"{at_row} 7 question 1: hierarchy_metadata or image_path 'i/p' gives no study without a '/'")
    assert found[9].startswith(f"{at_row} 8 question 1: hierarchy_metadata is not valid JSON: ")
    assert found[-1].startswith("patient_level/retain_set_all.parquet: not a parquet file that can be read: ")


def test_nothing_is_downloaded() -> None:
    with pytest.raises(UserError, match="credentialed users alone, so nothing is fetched"):
        find("medforget").bind(DataSource("hub")).rows("forget")


@pytest.mark.parametrize(
    "metadata, message",
    [
        ({"num_subjects": 3}, "--metadata num_subjects means nothing for medforget"),
        ({"setting": "hospital"}, "unknown medforget setting 'hospital'"),
    ],
)
def test_settings_that_cannot_be(medforget: Path, metadata: dict[str, Any], message: str) -> None:
    from mmforget.benchmark.task_files import load_function

    load = load_function(find("medforget").loader)
    with pytest.raises(UserError, match=message):
        load(unlearning={"set": "forget"}, data=str(medforget), **metadata)
    with pytest.raises(UnknownName, match="unknown medforget set 'forgot'; did you mean 'forget'"):
        load(unlearning={"set": "forgot"}, data=str(medforget))
    with pytest.raises(UserError, match="--metadata setting is 'study', but the task asked for is 'patient'"):
        load(unlearning={"set": "forget", "setting": "patient"}, data=str(medforget), setting="study")


def test_edited_files_are_read_again(tmp_path: Path) -> None:
    write_medforget(tmp_path)
    assert len(rows(tmp_path, "forget")) == 9
    write(tmp_path / "patient_level" / "forget_set_all.parquet", patient_rows("pat_0012", shade=41)[:1])
    assert len(rows(tmp_path, "forget")) == 2
