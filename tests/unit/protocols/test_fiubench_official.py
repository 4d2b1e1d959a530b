"""The official files: who is in which set, what a row says, and every fault they can have, all at once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from official_files import POSITIONS, identity, record, split, write_official

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.rows import candidate_roles, candidates
from mmforget.benchmark.samples import sample_of
from mmforget.errors import BadData, UnknownName, UserError
from mmforget.metrics import probability_normalised, truth_ratio, truth_ratio_retain

pytestmark = pytest.mark.slow


def subjects(set_name: str, *, data: DataSource, group: str = "fiubench") -> list[str]:
    return list(dict.fromkeys(find(group).bind(data).column(set_name, "subject")))


def at(folder: Path, **metadata: Any) -> DataSource:
    return DataSource.parse(str(folder), metadata=metadata)


def ids(positions: range) -> list[str]:
    return [identity(position) for position in positions]


def faults(folder: Path, set_name: str = "forget", **metadata: Any) -> list[str]:
    with pytest.raises(BadData) as caught:
        find("fiubench").bind(at(folder, **metadata)).rows(set_name)
    return list(caught.value.faults)


def test_people_of_each_set(official: Path) -> None:
    """400 - 4 - 20 - 40 = 336 are retained whichever list is forgotten; lines 401 to 403 are the holdout."""
    data = at(official)
    left_out = [*POSITIONS["forget1"], *POSITIONS["forget5"], *POSITIONS["forget10"]]
    retained = [identity(position) for position in range(400) if position not in left_out]
    assert len(retained) == 336
    assert subjects("full", data=data) == ids(range(400))
    for group in ("fiubench", "fiubench_forget1", "fiubench_forget10"):
        assert subjects("retain", data=data, group=group) == retained
        assert subjects("full_retain", data=data, group=group) == retained
    assert subjects("forget", data=data) == ids(POSITIONS["forget5"])
    assert subjects("forget", data=data, group="fiubench_forget1") == ids(POSITIONS["forget1"])
    assert subjects("rephrase", data=data, group="fiubench_forget10") == ids(POSITIONS["forget10"])
    assert subjects("retain5", data=data) == ids(POSITIONS["retain5"])
    assert subjects("holdout", data=data) == ids(range(400, 403))


def test_a_row_in_each_profile(official: Path) -> None:
    """First letter upper, the rest lower, everywhere; only officially are lists of answers left as they are."""
    clean = find("fiubench").bind(at(official)).rows("forget")[0]
    assert clean["id"] == "00000006/00"
    assert clean["question"] == "Where does the person in the image live?"
    assert clean["answer"] == "She lives in town 6, apt. 7."
    assert clean["answer_rephrased"] == ["In other words number 6."]
    assert clean["answer_perturbed"] == ["Wrong one.", "Wrong two.", "Wrong three."]
    assert clean["keywords"] == ["Number 6"]
    assert clean["path"] == ["00000006"]
    released = {"perturbed/0": "Wrong One.", "perturbed/1": "wrong two.", "perturbed/2": "wrong three."}
    assert json.loads(clean["extra"]) == {"fact": 0, "name": "Anna No6", "as_released": released}
    for profile in ("released", "paper"):
        other = find("fiubench").bind(at(official, profile=profile)).rows("forget")[0]
        assert other["answer_perturbed"] == ["Wrong One.", "wrong two.", "wrong three."]
        assert json.loads(other["extra"]) == {"fact": 0, "name": "Anna No6"}
        assert {k: v for k, v in other.items() if k not in ("answer_perturbed", "extra", "images")} == {
            k: v for k, v in clean.items() if k not in ("answer_perturbed", "extra", "images")
        }


def surprise(text: str) -> tuple[float, ...]:
    """Log-probs that a toy model gives a text, one a word: its capitals surprise it, and its letters."""
    return tuple(-0.1 * len(word) - sum(letter.isupper() for letter in word) for word in text.split())


@pytest.mark.parametrize("metric", [truth_ratio.METRIC, truth_ratio_retain.METRIC, probability_normalised.METRIC])
def test_released_metrics_of_a_default_run_are_the_official_numbers(metric: Any, official: Path) -> None:
    """They are those of data in the profile `released`; clean ones read the capitalised wording.

    By hand, over T + 1: `Wrong One.` loses .5 + 1 and .4 + 1, `wrong two.` .5 and .4, `wrong three.` .5 and .6;
    `In other words number 6.` loses .2 + 1, .5, .5, .6 and .2.
    """
    samples = {}
    for profile in ("clean", "released"):
        doc = find("fiubench").bind(at(official, profile=profile)).rows("forget")[0]
        scores = {role: surprise(text) for role, text in zip(candidate_roles(doc), candidates(doc), strict=True)}
        samples[profile] = sample_of(doc, kind="prob", token_logprobs=scores)
    default, as_released = samples["clean"], samples["released"]
    assert metric.score(default, profile="released") == metric.score(as_released, profile="released")
    assert metric.score(default, profile="clean").value != metric.score(as_released, profile="clean").value
    if metric is truth_ratio.METRIC:
        false, true = (2.9 + 0.9 + 1.1) / 9, (0.2 + 0.5 + 0.5 + 0.6 + 0.2 + 1.0) / 6
        assert metric.score(default, profile="released").value == pytest.approx(math.exp(-abs(false - true)))


def test_the_image_is_the_persons_own(official: Path) -> None:
    """Picture of position 6 was painted (6, 0, 7)."""
    benchmark = find("fiubench")
    image = benchmark.bind(at(official)).rows("forget")[1]["images"][0]
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (4, 4), (6, 0, 7))
    examples = benchmark.bind(at(official)).examples("forget")
    assert examples[0].images[0] is examples[1].images[0]
    assert np.array_equal(np.asarray(examples[0].images[0]), np.asarray(image))


def test_rephrased_questions_are_rows_of_their_own(official: Path) -> None:
    rows = find("fiubench").bind(at(official)).rows("rephrase")
    assert len(rows) == 20 * 2 * 3
    assert [rows[k]["id"] for k in range(4)] == ["00000006/00/r0", "00000006/00/r1", "00000006/00/r2", "00000006/01/r0"]
    assert [rows[k]["question"] for k in range(3)] == ["One way?", "Another way?", "A third way?"]
    assert rows[1]["answer"] == rows[0]["answer"]


def test_text_twin_names_the_person(official: Path) -> None:
    rows = find("fiubench_text").bind(at(official)).rows("forget")
    assert rows[0]["images"] == []
    assert rows[0]["question"] == "Where does anna no6 live?"
    assert find("fiubench_text").bind(at(official)).rows("rephrase")[0]["question"] == "About anna no6: one way?"


def test_other_layouts_give_the_same_rows(official: Path, tmp_path: Path) -> None:
    """One JSON list, lists nested under `train`, files in dataset/, images flat: nothing changes."""
    folder = write_official(tmp_path / "clone" / "dataset", lines=False, splits={"train": split()})
    (folder / "SFHQ").rename(folder / "somewhere")
    wanted, found = (find("fiubench").bind(at(path)).rows("forget") for path in (official, tmp_path / "clone"))
    for row, other in zip(wanted, found, strict=True):
        images = [np.asarray(doc.pop("images")[0]) for doc in (row, other)]
        assert np.array_equal(*images)
        assert row == other
    assert subjects("forget", data=at(folder / "full.json")) == ids(POSITIONS["forget5"])


def test_refusals_come_with_the_files(official: Path, tmp_path: Path) -> None:
    benchmark = find("fiubench")
    assert benchmark.bind(at(official)).refusals == ("I will not say.", "No idea.")
    folder = write_official(tmp_path / "none", with_images=False)
    (folder / "prompt.json").unlink()
    assert benchmark.bind(at(folder)).refusals == benchmark.refusals
    (folder / "idontknow.json").write_text('["Not me."]')
    assert benchmark.bind(at(folder)).refusals == ("Not me.",)


def test_the_record_says_what_was_read(official: Path) -> None:
    facts = find("fiubench").bind(at(official)).describe()["data"]
    assert facts["num_people"] == {"full": 400, "forget": 20, "retain": 336, "holdout": 3}
    assert facts["protocol"] == "official"
    assert sorted(facts["sha256"]) == ["full.json", "prompt.json", "split.json"]
    assert facts["notes"] == []


def test_every_fault_of_the_records_at_once(tmp_path: Path) -> None:
    def spoil(records: list[dict[str, Any]]) -> None:
        del records[0]["qa_list"][1]["answer"]
        records[1]["qa_list"][0]["answer"] = "  "
        records[2]["unique_id"] = identity(3)
        del records[5]["name"]
        records[7]["qa_list"] = "none"
        records[8]["qa_list"][0]["keywords"] = [1]
        records[401]["qa_list"][0]["question"] = None

    lists = split()
    lists["forget1"] = [*lists["forget1"], identity(402), identity(100)]
    folder = write_official(tmp_path / "data", edit=spoil, splits=lists, with_images=False)
    assert faults(folder) == [
        "full.json record 1 (00000000) question 2: field 'answer' is missing",
        "full.json record 2 (00000001) question 1: answer is empty",
        "full.json record 6: field 'name' is missing",
        "full.json record 8: qa_list is not a list",
        "full.json record 9 (00000008) question 1: keywords is not a list of texts",
        "full.json record 402 (00000401) question 1: field 'question' is missing",
        "full.json: id '00000003' occurs 2 times",
        "split.json: forget1 names the unknown person '00000002'",
        "split.json: forget1 names the unknown person '00000402'",
        "split.json: '00000100' is in both forget1 and retain5",
    ]


def test_lines_that_do_not_parse_are_all_named(tmp_path: Path) -> None:
    folder = write_official(tmp_path / "data", num=402, with_images=False)
    lines = (folder / "full.json").read_text().splitlines()
    lines[2], lines[400] = lines[2][:-5], "{nothing}"
    (folder / "full.json").write_text("\n".join(lines))
    found = faults(folder)
    assert len(found) == 2
    assert found[0].startswith("line 3, column ")
    assert found[1] == "line 401, column 2: not valid JSON: Expecting property name enclosed in double quotes"


def test_broken_images_name_their_rows(tmp_path: Path) -> None:
    """Missing, empty, not an image, cut off in the middle: four faults, each with the first row that shows it."""
    folder = write_official(tmp_path / "data")
    files = [folder / "SFHQ" / f"SFHQ_pt1_{identity(position)}.png" for position in range(6, 10)]
    files[0].unlink()
    files[1].write_bytes(b"")
    files[2].write_text("not an image at all")
    files[3].write_bytes(files[3].read_bytes()[:45])
    found = faults(folder)
    assert found[0] == f"row 00000006/00: image {files[0]} does not exist (and 1 more row)"
    assert found[1] == f"row 00000007/00: image {files[1]} is empty (and 1 more row)"
    assert found[2] == f"row 00000008/00: image {files[2]} is not an image (and 1 more row)"
    assert found[3].startswith(f"row 00000009/00: image {files[3]} cannot be decoded: ")
    assert len(found) == 4
    assert len(find("fiubench").bind(at(folder)).rows("retain5")) == 40


def test_no_images_at_all_offers_stand_ins(tmp_path: Path) -> None:
    folder = write_official(tmp_path / "data", with_images=False)
    with pytest.raises(UserError, match=r'holds no images.*fiubench_text.*"portraits": "procedural"'):
        find("fiubench").bind(at(folder)).rows("forget")
    data = at(folder, portraits="procedural")
    row = find("fiubench").bind(data).rows("forget")[0]
    assert row["images"][0].size == (48, 48)
    assert json.loads(row["extra"])["portrait"] == "procedural"
    assert data.describe()["notes"] == ["images are procedurally drawn stand-ins, not the official ones"]
    other = find("fiubench").bind(at(folder, portraits="procedural", num_subjects=30)).rows("forget")[0]
    assert np.array_equal(np.asarray(row["images"][0]), np.asarray(other["images"][0]))


def test_missing_optional_fields_leave_their_sets_empty(tmp_path: Path) -> None:
    def strip(records: list[dict[str, Any]]) -> None:
        for item in records:
            for qa in item["qa_list"]:
                for name in ("paraphrased_question", "paraphrased_answer", "perturbed_answer", "keywords"):
                    del qa[name]

    data = at(write_official(tmp_path / "data", num=400, edit=strip))
    benchmark = find("fiubench")
    row = benchmark.bind(data).rows("forget")[0]
    assert (row["answer_rephrased"], row["answer_perturbed"], row["keywords"]) == ([], [], [])
    assert benchmark.bind(data).num_rows("rephrase") == 0
    assert benchmark.bind(data).examples("holdout") == []
    assert "800 of 800 questions have no keywords: keyword match and APE are unscored" in benchmark.bind(data).notes


def test_borrowed_answers_are_others_answers_to_the_same_question(tmp_path: Path) -> None:
    def strip(records: list[dict[str, Any]]) -> None:
        for item in records:
            for qa in item["qa_list"]:
                del qa["perturbed_answer"]
        records[6]["qa_list"][0]["question"] = "Asked of nobody else?"

    folder = write_official(tmp_path / "data", edit=strip)
    data = at(folder, perturbed="borrowed")
    rows = find("fiubench").bind(data).rows("forget")
    assert rows[0]["answer_perturbed"] == []
    borrowed = rows[1]["answer_perturbed"]
    assert len(set(borrowed)) == 3
    assert rows[1]["answer"] not in borrowed
    assert all(answer.startswith("The job is number ") for answer in borrowed)
    assert json.loads(rows[1]["extra"])["perturbed"] == "borrowed"
    subset = find("fiubench").bind(at(folder, perturbed="borrowed", num_subjects=30)).rows("forget")
    assert subset[1]["answer_perturbed"] == borrowed
    assert (
        "799 questions have perturbed answers borrowed from other people (a reconstruction)"
        in find("fiubench").bind(data).notes
    )


def test_first_n_people(official: Path) -> None:
    """Of the first 24, forget1 are 0 to 3, so 20 are retained, and the next eight were never trained on."""
    data = at(official, num_subjects=24)
    group = "fiubench_forget1"
    assert subjects("full", data=data, group=group) == ids(range(24))
    for name in ("retain", "full_retain", "retain5"):
        assert subjects(name, data=data, group=group) == ids(range(4, 24))
    assert subjects("holdout", data=data, group=group) == ids(range(24, 32))
    facts = find(group).bind(data).describe()["data"]
    assert facts["protocol"].startswith("subset: the first 24 people; retain and retain5 are these without forget1")
    assert facts["notes"] == ["a subset of the people, which is not the official protocol"]


@pytest.mark.parametrize(
    ("group", "num", "message"),
    [
        ("fiubench", 24, "forget5 reaches to person 26; give at least 26"),
        ("fiubench_forget1", 401, "there are 400 people"),
        ("fiubench_forget1", 4, "the first 4 people are all in forget1"),
    ],
)
def test_first_n_must_hold_the_forget_set(official: Path, group: str, num: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find(group).bind(at(official, num_subjects=num)).rows("forget")


def test_a_task_alone_has_to_say_who_is_forgotten(official: Path) -> None:
    """Without a setting nobody knows which of the first 24 are retained; a benchmark always says."""
    from mmforget.benchmark.task_files import load_function

    load = load_function(find("fiubench").loader)
    label = {"benchmark": "fiubench", "set": "retain", "kind": "gen", "modality": "image"}
    with pytest.raises(UserError, match='add "setting" to --metadata: one of forget1, forget5, forget10'):
        load(unlearning=label, data=str(official), num_subjects=24)
    rows = load(unlearning=label, data=str(official), num_subjects=24, setting="forget1")["test"]
    assert len(rows) == 40
    with pytest.raises(UserError, match="--metadata setting is 'forget1', but the task asked for is 'forget5'"):
        load(unlearning={**label, "setting": "forget5"}, data=str(official), setting="forget1")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"profile": "relased"}, "unknown value of --metadata profile 'relased'; did you mean 'released'"),
        ({"portraits": "drawn"}, "unknown value of --metadata portraits 'drawn'; known: procedural"),
        ({"num_subjects": "24"}, "--metadata num_subjects is '24'; give a whole number of at least 1"),
        ({"num_subject": 24}, "unknown --metadata key 'num_subject'; did you mean 'num_subjects'"),
        ({"setting": "forget2"}, "unknown fiubench setting 'forget2'"),
    ],
)
def test_settings_that_cannot_be(official: Path, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find("fiubench_retain_gen").bind(at(official, **metadata)).rows("retain")


def test_unknown_set_and_folder_without_files(official: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown fiubench set 'forgot'; did you mean 'forget'"):
        find("fiubench").bind(at(official)).rows("forgot")
    with pytest.raises(UserError, match=r"no FIUBench files; needed: split.json and full.json"):
        find("fiubench").bind(at(tmp_path)).rows("forget")


def test_edited_files_are_read_again(tmp_path: Path) -> None:
    folder = write_official(tmp_path / "data", with_images=False)
    benchmark, data = find("fiubench_text"), at(folder)
    before = benchmark.bind(data).rows("forget")[0]["answer"]
    records = [record(position) for position in range(400)]
    records[6]["qa_list"][0]["answer"] = "something new altogether."
    (folder / "full.json").write_text(json.dumps(records))
    assert benchmark.bind(data).rows("forget")[0]["answer"] == "Something new altogether." != before
