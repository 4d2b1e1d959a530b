"""UnLOK-VQA's official files: which rows each set has, what is missing by name, and every fault at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unlok_files import GREYS, MEDIUM, record, records, write_official, write_picture

from mmforget.benchmark import DataSource, find
from mmforget.errors import BadData, UserError
from mmforget.protocols.unlok_vqa.words import LURES, PREFIXES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("unlok"), records())


def bound(folder: Path, **metadata: Any) -> Any:
    return find("unlok_vqa").bind(DataSource.parse(str(folder), metadata=metadata))


def rows(name: str, folder: Path, **metadata: Any) -> list[dict[str, Any]]:
    return list(bound(folder, **metadata).rows(name))


def extra(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["extra"])
    return found


def grey(picture: Any) -> int:
    """The grey of a picture; JPEG may be off by one."""
    value: int = picture.getpixel((0, 0))[0]
    return value


def notes(folder: Path, **metadata: Any) -> list[str]:
    found: list[str] = bound(folder, **metadata).notes
    return found


def test_each_set_has_what_the_records_have(official: Path) -> None:
    """Of seven records one has no picture. Paraphrases: two each, but for records 1 and 4, which have none."""
    counts = {name: len(rows(name, official)) for name in find("unlok_vqa").set_names}
    assert counts == {
        "pretrain": 6 + 4 * 2 + 5 * 2 + 5 * 3 + 2,
        "forget": 6,
        "random": 6 * 5,
        "rephrase": 4 * 2,
        "rephrase_easy": 6 * 4,
        "rephrase_hard": 5 * 4,
        "rephrase_image_easy": 6,
        "rephrase_image_medium": 5,
        "rephrase_image_hard": 6,
        "neighbour": 5 * 2,
        "neighbour_image": 5 * 2,
    }


def test_a_row_to_forget_has_all_that_attacks_make_of_it(official: Path) -> None:
    row = rows("forget", official)[0]
    assert (row["id"], row["subject"]) == ("0/forget/0", "0")
    assert (row["question"], row["answer"]) == ("Which breed of dog it this 0?", "Lab")
    assert row["question_rephrased"] == ["What breed is dog 0?", "Name the breed of dog 0."]
    assert row["answer_perturbed"] == ["I don't know", "Brittany"]
    assert grey(row["images"][0]) == GREYS["original"]
    assert [grey(picture) for picture in row["attack_images"]] == [GREYS[level] for level in ("easy", "medium", "hard")]
    assert extra(row) == {
        "number": 0,
        "alternatives": ["Brittany", "Terrier", "doodle"],
        "neighbour_answer": "Terrier",
        "empty": "perturbed/0",
        "false": "perturbed/1",
        "attack_levels": ["easy", "medium", "hard"],
        "jailbreak_subject": "dog",
        "jailbreak_object": "dog",
    }


def test_every_row_belongs_to_its_instance_and_has_an_id_of_its_own(official: Path) -> None:
    for name in find("unlok_vqa").set_names:
        for row in rows(name, official):
            assert name == "pretrain" or row["id"].split("/")[:2] == [row["subject"], name]


def test_levels_are_those_of_the_figure_whatever_folders_are_called(official: Path) -> None:
    """What the code calls hard is the figure's medium, and the other way round."""
    for level in ("easy", "medium", "hard"):
        found = {row["subject"]: grey(row["images"][0]) for row in rows(f"rephrase_image_{level}", official)}
        assert found["0"] == GREYS[level]
    assert "6" not in {row["subject"] for row in rows("rephrase_image_medium", official)}
    found = [(extra(row)["level"], grey(row["images"][0])) for row in rows("neighbour_image", official)[:2]]
    assert found == [(level, GREYS[f"neighbour {level}"]) for level in ("easy", "hard")]


def test_a_missing_picture_is_never_replaced(official: Path) -> None:
    row = next(row for row in rows("forget", official) if row["subject"] == "6")
    assert extra(row)["attack_levels"] == ["easy", "hard"]
    assert len(row["attack_images"]) == 2


def test_neighbours_answer_for_themselves_and_name_the_deleted_answer(official: Path) -> None:
    """The prefix of the official file is taken off; the official label is the answer's first word."""
    first, second = rows("neighbour", official)[:2]
    assert (first["question"], first["answer"]) == ("Is this a dog?", "Yes")
    assert second["answer"] == "Brown dog"
    assert extra(second) == {"number": 1, "released_label": "Brown", "deleted": "perturbed/0"}
    assert second["answer_perturbed"] == ["Lab"]
    assert [row["answer"] for row in rows("neighbour_image", official)[:2]] == ["Terrier", "Terrier"]


def test_rephrased_questions(official: Path) -> None:
    easy, hard = rows("rephrase_easy", official)[:4], rows("rephrase_hard", official)[:4]
    question = "Which breed of dog it this 0?"
    assert [row["question"] for row in easy] == [words + question for words in PREFIXES]
    assert [row["question"] for row in hard] == [lure.format(noun="dog", target="dog") + question for lure in LURES]
    # Without objects_edit the subject is named; without a subject there is nothing to name.
    subjects = {row["subject"]: extra(row) for row in rows("forget", official)}
    assert subjects["4"]["jailbreak_object"] == "dog"
    assert "jailbreak_subject" not in subjects["1"]


def test_random_questions_are_never_the_instances_own_and_the_same_every_time(official: Path) -> None:
    found = rows("random", official)
    drawn = [(row["subject"], extra(row)["record"]) for row in found]
    assert all(subject != record for subject, record in drawn)
    assert drawn == [(row["subject"], extra(row)["record"]) for row in rows("random", official)]
    assert drawn != [(row["subject"], extra(row)["record"]) for row in rows("random", official, seed=1)]


def test_what_is_missing_or_odd_is_counted_by_name(official: Path) -> None:
    assert notes(official) == [
        "records are named by their id",
        *sorted(
            [
                "1 of 7 records have no field 'alt_ans'",
                "1 of 7 records have no field 'neigh_idx'",
                "1 of 7 records have no field 'objects_edit'",
                "1 of 7 records have no field 'rephrase'",
                "1 of 7 records have no field 'subject'",
                "1 of 7 records have no easy neighbouring picture",
                "1 of 7 records have no hard neighbouring picture",
                "1 of 7 records have no medium rephrased picture",
                "1 of 7 records have no neighbouring question",
                "1 of 7 records have no picture that was found, and are left out",
                "1 of 7 records have their answer for what the luring prompts name",
                "1 of 7 records have their subject twice in the question",
                "1 of 7 records offer what the neighbouring picture shows as first false answer",
                "2 of 7 records have no paraphrase of their question",
                "7 of 7 records are all instances, since there is no valid_ids_manual_filt.json",
            ],
            key=lambda text: text.partition(" of 7 ")[2],
        ),
        "1 instances, which the official code leaves out: nobody says what its neighbouring pictures show (1)",
        "1 instances, which the official code leaves out: its subject stands twice in its question (2)",
        "1 instances, which the official code leaves out: it has no neighbouring question (3)",
    ]


def test_as_released_instances_are_left_out_and_named(official: Path) -> None:
    assert [row["subject"] for row in rows("forget", official, profile="released")] == ["0", "4", "6"]
    assert any("1 instances, left out, as the official code does: it has no" in note
               for note in notes(official, profile="released"))  # fmt: skip


def test_the_list_of_the_manual_filter_says_which_records_are_instances(tmp_path: Path) -> None:
    """The others can still be drawn as random questions."""
    folder = write_official(tmp_path, records(), valid=[0, 2, 4, 99])
    assert [row["subject"] for row in rows("forget", folder)] == ["0", "2", "4"]
    assert {extra(row)["record"] for row in rows("random", folder)} == {"0", "1", "2", "3", "4", "6"}
    assert "1 of 7 ids in valid_ids_manual_filt.json name no record" in notes(folder)


def test_a_part_of_the_file_is_named_by_ids_or_as_its_layout_says_by_place(tmp_path: Path) -> None:
    """In a file of a few hundred records places and ids differ: pictures and instances go by one of them."""
    few = [record(place, id=100 + place) for place in range(3)]
    by_id = write_official(tmp_path / "ids", few, names=[100, 101, 102], valid=[100, 102])
    assert [row["subject"] for row in rows("forget", by_id)] == ["100", "102"]
    assert len(rows("rephrase_image_hard", by_id)) == 2
    by_place = write_official(tmp_path / "places", few, valid=[0, 2])
    (by_place / "layout.json").write_text('{"key": "position"}')
    assert [row["subject"] for row in rows("forget", by_place)] == ["0", "2"]
    assert notes(by_place)[0] == "records are named by their position"
    assert bound(by_place).describe()["data"]["key"] == "position"


def test_records_without_ids_are_named_by_their_place(tmp_path: Path) -> None:
    folder = write_official(tmp_path, [record(0, id=...), record(1, id=...)])
    assert [row["id"] for row in rows("forget", folder)] == ["0/forget/0", "1/forget/0"]


def test_folders_may_be_named_otherwise(tmp_path: Path) -> None:
    folder = write_official(tmp_path, [record(0)])
    write_picture(folder / "mine" / "0.jpg", grey=222)
    (folder / "layout.json").write_text(json.dumps({"rephrase": {"easy": "mine"}, "neighbour": {"hard": ["nowhere"]}}))
    assert grey(rows("rephrase_image_easy", folder)[0]["images"][0]) == 222
    assert grey(rows("rephrase_image_medium", folder)[0]["images"][0]) == GREYS["medium"]
    assert [extra(row)["level"] for row in rows("neighbour_image", folder)] == ["easy"]


def test_the_pool_file_adds_records_to_draw_from(tmp_path: Path) -> None:
    folder = write_official(tmp_path, [record(0), record(1)])
    (folder / "retain.json").write_text(json.dumps([record(7, pred="Oak"), record(1)]))
    write_picture(folder / "train2017" / "000000407807.jpg", grey=9)
    assert {extra(row)["record"] for row in rows("random", folder) if row["subject"] == "0"} == {"1", "7"}
    assert set(bound(folder).describe()["data"]["sha256"]) == {"zsre_mend_eval.json", "retain.json"}


def test_what_the_hubs_card_lists_is_enough(tmp_path: Path) -> None:
    """Question, answer, neighbours and the picture: no paraphrase, no false answer, no neighbouring picture."""
    bare = {"rephrase": ..., "alt_ans": ..., "neigh_idx": ..., "objects_edit": ..., "subject": ...}
    folder = write_official(tmp_path, [record(place, **bare) for place in range(2)])
    counts = {name: bound(folder).num_rows(name) for name in ("forget", "neighbour", "rephrase", "neighbour_image")}
    assert counts == {"forget": 2, "neighbour": 4, "rephrase": 0, "neighbour_image": 0}
    row = rows("forget", folder)[0]
    assert row["answer_perturbed"] == ["I don't know"]
    assert extra(row)["alternatives"] == []


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    wrong = [
        "no record",
        record(1, src=" "),
        record(2, pred=...),
        record(3, loc_ans=["Yes"]),
        record(4, neigh_idx=[7]),
        record(5, alt_ans=[1, 2]),
    ]
    (tmp_path / "zsre_mend_eval.json").write_text(json.dumps(wrong))
    with pytest.raises(BadData) as caught:
        rows("forget", tmp_path)
    assert list(caught.value.faults) == [
        "zsre_mend_eval.json record 1: is 'no record', no object",
        "zsre_mend_eval.json record 2: field 'src' is empty",
        "zsre_mend_eval.json record 3: field 'pred' is missing",
        "zsre_mend_eval.json record 4: loc has 2 questions and loc_ans 1 answers",
        "zsre_mend_eval.json record 5: neigh_idx is [7], and alt_ans has 3",
        "zsre_mend_eval.json record 6: alt_ans is [1, 2]; give a list of texts",
    ]


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ('{"keys": "id"}', "give an object with any of key, originals, rephrase, neighbour"),
        ('{"key": "name"}', "key is 'name'; give one of position, id"),
        ('{"rephrase": {"harder": "x"}}', "give folders for any of easy, medium, hard"),
        ('{"originals": []}', "give a folder's name or a list of them"),
    ],
)
def test_a_wrong_layout_is_one_line(tmp_path: Path, layout: str, said: str) -> None:
    write_official(tmp_path, [record(0)])
    (tmp_path / "layout.json").write_text(layout)
    with pytest.raises(UserError, match=said):
        rows("forget", tmp_path)


def test_no_file_and_no_hub_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds none of zsre_mend_eval.json"):
        rows("forget", tmp_path)
    with pytest.raises(UserError, match="give --data FOLDER"):
        find("unlok_vqa").bind(DataSource("hub")).rows("forget")


def test_new_pictures_are_found_in_the_same_process(tmp_path: Path) -> None:
    folder = write_official(tmp_path, records())
    assert len(rows("rephrase_image_medium", folder)) == 5
    write_picture(folder / MEDIUM / "6.jpg", grey=1)
    assert len(rows("rephrase_image_medium", folder)) == 6
