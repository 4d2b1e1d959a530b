"""OFFSIDE's official files: the right rows and counts in spite of every defect, and every fault at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offside_files import PRIVATE, SHARED, Record, about, choice, in_words, official_files, pair, write_official

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.validate import validate
from mmforget.errors import BadData, UserError
from tests.commands import command

pytestmark = pytest.mark.slow

Files = dict[str, list[Record]]


def bound(folder: Path, group: str = "offside") -> Any:
    return find(group).bind(DataSource.parse(str(folder)))


def rows(folder: Path, name: str, *, group: str = "offside") -> list[dict[str, Any]]:
    return list(bound(folder, group).rows(name).remove_columns("images"))


def refused(tmp_path: Path, edit: Callable[[Files], object], *, name: str = "forget") -> list[str]:
    """The faults of a set after an edit of the files."""
    files = official_files()
    edit(files)
    with pytest.raises(BadData) as caught:
        bound(write_official(tmp_path, files)).rows(name)
    return list(caught.value.faults)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("offside"))


def test_counts_of_each_set(official: Path) -> None:
    """8 questions a picture: 8 pictures in all, 6 of them retain, 2 forget, 2 relearn; test shows 2 again."""
    counts = {name: len(rows(official, name)) for name in find("offside").set_names if name not in MISSING}
    assert counts == {
        "finetune": 64, "retain_only": 48, "forget": 16, "retain": 48, "shared": 4, "test": 16, "relearn": 16,
        "forget_text": 2, "retain_text": 2, "forget_choice": 2, "retain_choice": 1,
    }  # fmt: skip
    assert [bound(official).num_rows(name) for name in MISSING] == [0, 0]


MISSING = ("test_choice", "relearn_choice")


def test_tags_and_pictures_of_each_form_become_one_picture(official: Path) -> None:
    """The literal tag is left out and the text kept; a tag inside moves the picture to the front."""
    found = [one for one in bound(official).examples("forget") if one.id.startswith("004/")]
    assert [one.context.count("<image>") for one in found] == [1] * 8
    assert all(one.context.startswith("<image>\n") and len(one.images) == 1 for one in found)
    assert found[2].context == "<image>\nWhich club will the player join, see this image:"
    assert found[5].context == "<image>\nWhat is the transfer fee of the player in ?"
    assert len({one.images[0].tobytes() for one in found}) == 1
    assert found[0].subject == "rumour_001"
    assert {one.subject for one in bound(official).examples("retain")} == {"player_001", "player_002"}


def test_words_alone_stay_without_the_picture_that_they_carry(official: Path) -> None:
    found = bound(official).examples("forget_text")
    assert [(one.context, one.answer, one.images) for one in found] == [
        ("What is Mitoma.'s transfer fee?", " It is EUR 4.10 million.", ()),
        ("What is Kaoru Mitoma's club in this image?", " He plays for Newcastle United.", ()),
    ]


def test_classification_is_asked_an_option_a_line(official: Path) -> None:
    first, second = rows(official, "forget_choice")
    assert first["question"].splitlines()[0] == "Which club will he join?"
    assert first["question"].endswith("\n\nA: Arsenal\nB: Newcastle United\nC: Everton\nD: Fulham")
    assert (first["answer"], second["answer"]) == ("B", "B")
    assert json.loads(first["extra"])["task"] == "classification"


def test_every_defect_is_counted(official: Path) -> None:
    notes = bound(official).notes
    assert {" ".join(note.split(" ")[:4]) for note in notes} == {
        "relearn_set_enhanced is read, and",
        "2 further JSON files",
        # In the forget and in the finetune file.
        "2 records hold further",
        "2 records have their",
        "4 records are text",
        "2 records are text",
        "2 questions have a",
    }
    assert notes[1].endswith("data/notes.json, data/relearn_set.json")


def test_selective_forgets_what_the_transfer_is_about(official: Path) -> None:
    """Without a file that says so, by the words of the questions, and it is said."""
    private, shared = (rows(official, name, group="offside_selective") for name in ("forget", "shared"))
    assert (len(private), len(shared)) == (12, 4)
    assert {row["question"] for row in shared} == set(SHARED)
    assert {row["subject"] for row in private} == {"rumour_001", "rumour_002"}
    assert {row["subject"] for row in shared} == {"player_001", "player_002"}
    assert len(rows(official, "retain_only", group="offside_selective")) == 48 + 4
    assert any("follows from their words" in note for note in bound(official, "offside_selective").notes)


def test_a_part_file_says_what_is_private(tmp_path: Path) -> None:
    files = official_files()
    files["data/forget_set_part.json"] = about(4, facts=(*PRIVATE[1:], SHARED[1]))
    files["data/retain_set_part.json"] = [*about(1), *about(4, facts=SHARED)]
    folder = write_official(tmp_path, files)
    assert len(rows(folder, "forget", group="offside_selective")) == 6
    notes = bound(folder, "offside_selective").notes
    assert not any("follows from their words" in note for note in notes)
    assert any("retain_set_part (10 records, 8 of them in retain_set, 2 in forget_set)" in note for note in notes)


def test_the_number_of_a_picture_says_its_set_where_files_are_missing(tmp_path: Path) -> None:
    """1, 2, 3 of five are kept, 4 is a rumour, 5 what really happened."""
    files: Files = {"finetune_set.json": [record for number in range(1, 6) for record in about(number)]}
    folder = write_official(tmp_path, files)
    assert [len(rows(folder, name)) for name in ("retain", "forget", "relearn")] == [24, 8, 8]
    assert bound(folder).notes[:3] == [
        "no retain_set: 24 retain records by the numbers of the pictures",
        "no forget_set: 8 forget records by the numbers of the pictures",
        "no relearn_set: 8 relearn records by the numbers of the pictures",
    ]


def test_several_messages_are_a_conversation(tmp_path: Path) -> None:
    files = official_files()
    turns = [
        {"role": "system", "content": "You know football."},
        {"role": "user", "content": "<image>\nWho is this?"},
        {"role": "assistant", "content": "Kaoru Mitoma."},
        {"role": "user", "content": "Which club will he join?"},
        {"role": "assistant", "content": "Newcastle United."},
    ]
    files["data/forget_set.json"].append({"messages": turns, "images": "./finetune_set/004.jpg"})
    last = bound(write_official(tmp_path, files)).examples("forget")[-1]
    assert last.context.count("<image>") == 1
    assert last.answer == " Newcastle United."
    assert [turn["role"] for turn in last.turns] == ["system", "user", "assistant", "user"]


def test_two_places_and_one_picture_are_refused_by_record_and_file(tmp_path: Path) -> None:
    def edit(files: Files) -> None:
        forget = files["data/forget_set.json"]
        forget[0]["messages"][0]["content"] = "<image>\n<image>\nWho is this?"
        forget[1]["messages"][0]["content"] = "Compare <image> with <image>."
        forget[7]["images"] = ["./finetune_set/004.jpg", "./finetune_set/009.jpg"]

    said = "and they do not say which of them is text; write one for each picture"
    found = [fault for fault in refused(tmp_path, edit) if "forget_set" in fault]
    assert found == [
        f"data/forget_set.json record 1: 2 <image> tags for 1 picture, {said}",
        f"data/forget_set.json record 2: 2 <image> tags for 1 picture, {said}",
        f"data/forget_set.json record 8: 1 <image> tags for 2 pictures, {said}",
    ]


def test_a_run_ends_with_one_line_and_status_2_before_anything_is_done(tmp_path: Path) -> None:
    files = official_files()
    files["data/test_set.json"][0]["messages"][0]["content"] = "Compare <image> with <image>."
    folder = write_official(tmp_path / "data", files)
    words = ("run", "--model", "micro", "--tasks", "offside_corrective", "--methods", "ga", "--data", folder)
    said = command(*words, "--output_path", tmp_path / "out")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("mmforget: error: ")
    (line,) = [one for one in said.err.splitlines() if "tags" in one]
    assert "data/test_set.json record 1: 2 <image> tags for 1 picture" in line
    assert not (tmp_path / "out").exists()


def test_every_broken_record_is_named_at_once(tmp_path: Path) -> None:
    def edit(files: Files) -> None:
        files["data/forget_set.json"][:5] = [
            {"messages": "none", "images": "x.jpg"},
            pair("<image>\nWho?", ""),
            pair("<image>\nWho?", "Ann."),
            pair("<image>\nWho?", "Ann.", images=7),
            pair("<image>\nWho?", "<image>", images="x.jpg"),
        ]
        files["data/classification_forget_set.json"] = [
            choice(4, Options={"A": "one"}),
            choice(4, Correct_Answer="E"),
            choice(4, images=[]),
        ]

    forget, classification = "data/forget_set.json record", "data/classification_forget_set.json record"
    assert refused(tmp_path, edit) == [
        f"{forget} 1: messages is missing or no list",
        f"{forget} 2: messages[1] needs a role (system, user, assistant) and a content",
        f"{forget} 3: has <image> in its text and no picture (key images or image)",
        f"{forget} 4: images is '7'; it has to be a path or a list of paths",
        f"{forget} 4: has <image> in its text and no picture (key images or image)",
        f"{forget} 5: the last message has to be the assistant's answer, in text, behind a user's",
        f"{classification} 1: Options has to be an object of letters with a text each, two at least",
        f"{classification} 2: Correct_Answer is 'E', and the options are A, B, C, D",
        f"{classification} 3: images names 0 pictures; a classification shows one",
    ]


def test_a_missing_picture_is_a_fault(tmp_path: Path) -> None:
    (found,) = refused(tmp_path, lambda files: files["data/forget_set.json"].extend(about(14)))
    assert found.startswith("row 014/01: image ")
    assert found.endswith("014.jpg does not exist (and 7 more rows)")


def test_a_folder_without_files_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="forget_set.json and retain_set.json, or finetune_set.json"):
        bound(tmp_path).rows("forget")
    with pytest.raises(UserError, match="give the folder"):
        bound(write_official(tmp_path) / "data" / "forget_set.json").rows("forget")


def test_two_files_of_one_set_and_form_are_refused(tmp_path: Path) -> None:
    files = official_files() | {"other/forget_set.json": in_words(9)}
    with pytest.raises(UserError, match="both hold forget_text; keep one"):
        bound(write_official(tmp_path, files)).rows("forget")


def test_it_validates_clean(official: Path) -> None:
    assert validate("offside", DataSource.parse(str(official))).faults == []


def test_the_hub_is_refused() -> None:
    with pytest.raises(UserError, match=r"give --data FOLDER, or use --data synthetic"):
        find("offside").bind(DataSource("hub")).rows("forget")
