"""SafeEraser's official files: what is in which set, both spellings, documented defects, and all faults at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmforget.benchmark import DataSource, find
from mmforget.errors import BadData, UnknownName, UserError

Records = dict[str, list[dict[str, Any]]]
# Two categories in training, one of them in validation; each file name occurs in both folders.
PLACES = {"train": [("Weapon", "1"), ("Violence", "1"), ("Violence", "2")], "val": [("Violence", "3")]}


def record(split: str, category: str, name: str) -> dict[str, Any]:
    """One record with the official fields, four questions of each part."""
    where = f"{split} {category} {name}"
    unharm = {
        f"UnharmPair_{kind}{k}": {"Question": f"What {kind} {k}?", "Prediction": f"Kept {kind} {k} of {where}."}
        for kind in ("text", "image")
        for k in (1, 2)
    }
    return {
        "image_path": f"dataset/img/{category}/{name}.jpg",
        "SDImage_path": f"dataset/pdset/image/{category}/{split}/{name}.jpg",
        "category": "" if (split, category) == ("val", "Violence") else category,
        "unsafe_pairs": [
            {
                "question": f"How is product {k} made?",
                "model_response": f"Harmful {k} of {where}.",
                "sd_response": f"Normal {k} of {where}.",
            }
            for k in range(4)
        ],
        **unharm,
    }


def colour(path: str) -> tuple[int, int, int]:
    """A colour for every image path, so that a picture says which file it is."""
    digest = sum(map(ord, path)) * 7919
    return (digest % 256, digest // 256 % 256, 9)


def write(folder: Path, *, edit: Callable[[Records], None] | None = None, with_images: bool = True) -> Path:
    """all_train.json, all_val.json, prompt.json and images, below `folder/dataset`; `edit` changes records first."""
    records = {split: [record(split, *place) for place in places] for split, places in PLACES.items()}
    paths = [item[key] for several in records.values() for item in several for key in ("image_path", "SDImage_path")]
    if edit is not None:
        edit(records)
    home = folder / "dataset"
    home.mkdir(parents=True)
    for split, several in records.items():
        (home / f"all_{split}.json").write_text(json.dumps(several))
    (home / "prompt.json").write_text(json.dumps({"idk": ["I will not say."]}))
    for path in paths if with_images else []:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), colour(path)).save((folder / path).with_suffix(".png"))
        (folder / path).with_suffix(".png").rename(folder / path)
    return folder


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("safe_eraser"))


def at(folder: Path, **metadata: Any) -> DataSource:
    return DataSource.parse(str(folder), metadata=metadata)


def rows(set_name: str, folder: Path, **metadata: Any) -> list[dict[str, Any]]:
    return list(find("safe_eraser").bind(at(folder, **metadata)).rows(set_name))


def shown(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in np.asarray(row["images"][0])[0, 0])


def test_counts_of_each_set(official: Path) -> None:
    """Per record 4 to forget, 4 to keep, 4 benign: 3 records in training, 1 in validation, 12 x 4 in all."""
    benchmark = find("safe_eraser")
    counts = {name: benchmark.bind(at(official)).num_rows(name) for name in benchmark.set_names}
    assert counts == {
        "forget": 12,
        "retain": 12,
        "benign": 12,
        "rephrase": 4,
        "retain_val": 4,
        "benign_val": 4,
        "pretrain": 48,
    }


def test_the_three_parts_of_a_record(official: Path) -> None:
    """Harmful and kept questions show the same image; the benign one asks the harmful question of another image."""
    forget, kept, benign = (rows(name, official)[4] for name in ("forget", "retain", "benign"))
    assert forget["id"] == "train-00001/unsafe/0"
    assert (forget["question"], forget["answer"]) == ("How is product 0 made?", "Harmful 0 of train Violence 1.")
    assert (kept["question"], kept["answer"]) == ("What text 1?", "Kept text 1 of train Violence 1.")
    assert (benign["question"], benign["answer"]) == (forget["question"], "Normal 0 of train Violence 1.")
    assert shown(forget) == shown(kept) == colour("dataset/img/Violence/1.jpg")
    assert shown(benign) == colour("dataset/pdset/image/Violence/train/1.jpg")
    assert (forget["subject"], forget["path"]) == ("Violence-1", ["Violence"])
    assert kept["subject"] == forget["subject"]
    assert benign["subject"] == "Violence-benign-train-1"


def test_every_row_to_forget_has_one_benign_partner_with_its_question(official: Path) -> None:
    benign = {json.loads(row["extra"])["pair"]: row for row in rows("benign", official)}
    forget = rows("forget", official)
    assert len(benign) == len(forget)
    for row in forget:
        extra = json.loads(row["extra"])
        assert benign[extra["pair"]]["question"] == row["question"]
        assert extra["category"] == row["path"][0]


def test_the_four_kept_questions_are_in_official_order(official: Path) -> None:
    assert [row["id"].rsplit("/", 1)[1] for row in rows("retain_val", official)] == [
        "text1",
        "text2",
        "image1",
        "image2",
    ]


def test_an_empty_category_is_the_folder_of_the_image(official: Path) -> None:
    """As documented for Violence in validation."""
    assert {json.loads(row["extra"])["category"] for row in rows("rephrase", official)} == {"Violence"}
    assert find("safe_eraser").bind(at(official)).notes == [
        "val: `category` is empty (1 in Violence); the folder of the image says it"
    ]


def test_both_spellings_and_every_place_of_the_images(official: Path, tmp_path: Path) -> None:
    """`image_id` for `image_path`, no `dataset/` in front, JSON lines, files in the folder itself: the same rows."""

    def respell(records: Records) -> None:
        for item in [*records["train"], *records["val"]]:
            item["image_id"] = item.pop("image_path").removeprefix("dataset/")
            item["SDImage_path"] = "./" + item["SDImage_path"].removeprefix("dataset/")

    folder = write(tmp_path, edit=respell) / "dataset"
    lines = [json.dumps(item) for item in json.loads((folder / "all_train.json").read_text())]
    (folder / "all_train.json").write_text("\n".join(lines))
    for name in ("forget", "retain", "benign", "rephrase"):
        for row, other in zip(rows(name, official), rows(name, folder), strict=True):
            assert shown(row) == shown(other)
            assert {k: v for k, v in row.items() if k != "images"} == {k: v for k, v in other.items() if k != "images"}


def test_an_image_of_the_same_name_in_another_category_is_not_taken(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "dataset/img/Violence/1.jpg").unlink()
    with pytest.raises(BadData) as caught:
        rows("forget", folder)
    (fault,) = caught.value.faults
    assert fault.startswith("row train-00001/unsafe/0: image ")
    assert fault.endswith("dataset/img/Violence/1.jpg does not exist (and 3 more rows)")
    assert len(rows("rephrase", folder)) == 4


def test_questions_with_an_empty_text_are_left_out_and_counted(tmp_path: Path) -> None:
    """One harmful pair without a normal answer goes with its partner; one kept question is missing, one empty."""

    def empty(records: Records) -> None:
        records["train"][0]["unsafe_pairs"][1]["sd_response"] = " "
        records["train"][1]["UnharmPair_text2"]["Prediction"] = ""
        del records["train"][2]["UnharmPair_image1"]

    folder = write(tmp_path, edit=empty)
    assert [len(rows(name, folder)) for name in ("forget", "benign", "retain")] == [11, 11, 10]
    notes = find("safe_eraser").bind(at(folder)).notes
    assert "train: 2 questions have an empty text and are left out" in notes
    assert "train: 3 records have other than 4 questions of each part" in notes


def test_every_fault_at_once(tmp_path: Path) -> None:
    def spoil(records: Records) -> None:
        first, second, third = records["train"]
        del first["image_path"]
        first["unsafe_pairs"][0]["question"] = None
        del first["unsafe_pairs"][3]["model_response"]
        second["unsafe_pairs"] = []
        second["SDImage_path"] = " "
        second["UnharmPair_text1"] = "none"
        third["image_path"], third["category"] = "2.jpg", None
        third["UnharmPair_image2"]["Question"] = 7
        records["val"].append("no record")  # type: ignore[arg-type]

    folder = write(tmp_path, edit=spoil, with_images=False)
    with pytest.raises(BadData) as caught:
        rows("forget", folder)
    assert list(caught.value.faults) == [
        "all_train.json record 1: image_path (or image_id) is missing",
        "all_train.json record 1 unsafe_pairs[0]: question is missing",
        "all_train.json record 1 unsafe_pairs[3]: model_response is missing",
        "all_train.json record 2: SDImage_path is empty",
        "all_train.json record 2: unsafe_pairs must be a list of at least one object",
        "all_train.json record 2: UnharmPair_text1 is not an object",
        "all_train.json record 3: no category, neither in `category` nor as the folder of '2.jpg'",
        "all_train.json record 3 UnharmPair_image2: Question is not a text",
        "all_val.json record 2: a record is a JSON object, not str",
    ]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no SafeEraser files; needed: all_train.json and all_val.json"):
        rows("forget", tmp_path)
    with pytest.raises(UserError, match=r"not on the hub; get safeeraser_dataset.zip .* --data FOLDER"):
        find("safe_eraser").bind(DataSource("hub")).rows("forget")


def test_refusals_and_facts_for_the_record(official: Path, tmp_path: Path) -> None:
    benchmark = find("safe_eraser")
    assert benchmark.bind(at(official)).refusals == ("I will not say.",)
    facts = benchmark.bind(at(official)).describe()["data"]
    assert facts["num_records"] == {"train": {"Violence": 2, "Weapon": 1}, "val": {"Violence": 1}}
    assert sorted(facts["sha256"]) == ["all_train.json", "all_val.json", "prompt.json"]
    folder = write(tmp_path)
    (folder / "dataset/prompt.json").unlink()
    assert benchmark.bind(at(folder)).refusals == benchmark.refusals


def test_the_first_records_alone(official: Path) -> None:
    assert {row["subject"] for row in rows("forget", official, num_subjects=2)} == {"Weapon-1", "Violence-1"}
    facts = find("safe_eraser").bind(at(official, num_subjects=2)).describe()["data"]
    assert facts["protocol"] == "subset: the first 2 records of each file"


def test_one_category_alone(official: Path) -> None:
    """Of 12 harmful rows 8 are Violence's; the 4 of Weapon join the 12 kept ones. Validation has Violence alone."""
    path = {"forget_path": "Violence"}
    assert [len(rows(name, official, **path)) for name in ("forget", "benign", "retain", "rephrase")] == [8, 8, 16, 4]
    assert {row["path"][0] for row in rows("forget", official, **path)} == {"Violence"}
    assert [row["id"] for row in rows("retain", official, **path)][12:] == [f"train-00000/unsafe/{k}" for k in range(4)]
    assert len(rows("retain_val", official, **path)) == 4
    with pytest.raises(UnknownName, match="Weapons"):
        rows("forget", official, forget_path="Weapons")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"portraits": "procedural"}, "--metadata portraits means nothing for safe_eraser"),
        ({"perturbed": "borrowed"}, "--metadata perturbed means nothing for safe_eraser"),
        ({"setting": "some"}, "'some'"),
    ],
)
def test_settings_that_cannot_be(official: Path, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find("safe_eraser_retain_gen").bind(at(official, **metadata)).rows("retain")


def test_unknown_set(official: Path) -> None:
    with pytest.raises(UnknownName, match="unknown safe_eraser set 'forgot'; did you mean 'forget'"):
        rows("forgot", official)
