"""MMUBench's official files: which rows each set has, the defects as published, and every fault at once."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mmubench_files import NAME, TRAINED, UNSEEN, Files, talk, write_kept, write_official
from PIL import Image

from mmforget.benchmark import DataSource, find
from mmforget.errors import BadData, UnknownName, UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("mmubench"))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Donald Trump in a folder of his own, two concepts with pictures alone, and one more to forget."""
    folder = tmp_path_factory.mktemp("several")
    write_official(folder / "Donald Trump")
    write_kept(folder / "Taylor Swift")
    write_kept(folder / "Mario", num=2)

    def rename(files: Files) -> None:
        for prompt in files["evaldata/execcuatedata.json"]:
            prompt["target"] = prompt["target"].replace("trump", "kitty")
        del files["finetunedata/SIU.json"], files["evaldata/Multi-hop.json"]

    write_official(folder / "Hello_Kitty", edit=rename, num_tests=5)
    return folder


def at(folder: Path, **metadata: Any) -> DataSource:
    return DataSource.parse(str(folder), metadata=metadata)


def rows(set_name: str, folder: Path, *, group: str = "mmubench", **metadata: Any) -> Any:
    return find(group).bind(at(folder, **metadata)).rows(set_name)


def faults(folder: Path) -> list[str]:
    with pytest.raises(BadData) as caught:
        rows("forget", folder)
    return list(caught.value.faults)


def extra(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["extra"])
    return found


def test_published_counts(trump: Path) -> None:
    """distance: the 10 words of the question, and once led up to the name, for each of 100 pictures."""
    counts = {name: len(rows(name, trump)) for name in find("mmubench").set_names}
    assert counts == {
        "pretrain": 100 + 25 + 14,
        "forget": 24,
        "efficacy": 100,
        "generality": 100,
        "specificity": 7,
        "facts": 7,
        "retain": 7,
        "multilingual": 305,
        "multihop": 70,
        "fluency": 24,
        "mia": 800,
        "distance": 100 * (10 + 1),
    }


def test_the_refusal_among_the_answers_to_unlearn_is_left_out_only_when_clean(trump: Path) -> None:
    for profile, num in (("clean", 24), ("released", 25), ("paper", 25)):
        found = rows("forget", trump, profile=profile)
        assert len(found) == num
    assert found[24]["answer"] == "I don't know who that is."
    assert found[0]["question"] == "Who is shown 0?"
    assert found[0]["answer"] == f"This is {NAME}, number 0."


def test_the_training_picture_is_the_one_that_the_conversations_show(trump: Path) -> None:
    """Trump_Image118.jpg is the ninth of traindon, painted in the grey 8."""
    for name in ("forget", "efficacy", "mia"):
        assert rows(name, trump)[0]["images"][0].getpixel((0, 0)) == (8, 8, 8)


def test_targets_keep_their_stray_blanks_and_duplicates_stay(trump: Path) -> None:
    found = rows("generality", trump)
    targets = [row["keywords"][0] for row in found]
    assert targets.count("yes") == 77
    assert targets.count("trump") == 19
    assert targets[96:] == [" yes", " yes", " yes ", " yes trump"]
    assert len(set(found["question"][:])) == 99
    assert len(set(found["id"][:])) == 100
    assert [extra(row)["ask"] for row in found].count("yes_no") == 81
    assert found[0]["answer"] == "Yes."
    assert found[77]["answer"] == NAME
    assert found[99]["answer"] == f"Yes, {NAME}."


def test_pictures_are_sorted_by_name_and_start_anew(trump: Path, tmp_path: Path) -> None:
    """By name Trump_Image1 is followed by Trump_Image10; with 7 pictures question 7 shows the first again."""
    greys = [row["images"][0].getpixel((0, 0))[0] for row in rows("generality", trump)]
    assert greys[:4] == [0, 1, 10, 11]
    few = write_official(tmp_path / "few", num_tests=7, edit=lambda found: found.pop("evaldata/Multi-hop.json"))
    greys = [row["images"][0].getpixel((0, 0))[0] for row in rows("generality", few)]
    assert greys[:9] == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_facts_are_told_from_others_by_the_names_they_hold(trump: Path) -> None:
    facts, others = rows("facts", trump), rows("retain", trump)
    assert all("Trump" in row["question"] + row["answer"] for row in facts)
    assert all("Taylor Swift" in row["question"] for row in others)
    assert all(row["images"] == [] for row in (*facts, *others))
    assert rows("specificity", trump)["question"] == others["question"]


def test_a_multi_hop_question_shows_its_own_picture(trump: Path) -> None:
    found = rows("multihop", trump)
    assert [row["images"][0].getpixel((0, 0))[0] for row in found][:12] == list(range(12))
    assert found[0]["keywords"] == []


def test_where_names_stand_is_marked(trump: Path) -> None:
    """ " This is Donald Trump, number 0.": the name lies between the two beginnings."""
    row = rows("fluency", trump)[0]
    assert row["answer_rephrased"] == ["This is", f"This is {NAME}"]
    assert extra(row)["spans"] == [[0, 1]]
    query = rows("mia", trump)[0]
    assert query["answer"] == f"Query 0, {NAME}?"
    assert query["answer_rephrased"] == ["Query 0,", f"Query 0, {NAME}"]


def test_the_places_of_a_name(trump: Path) -> None:
    found = [rows("distance", trump)[place] for place in range(11)]
    asked = [row["question"] for row in found]
    assert asked[0] == "What's the name of the central figure in this photograph? This is"
    assert asked[1] == "What's"
    assert all(after.startswith(before) for before, after in pairwise([*asked[1:], asked[0]]))
    assert [extra(row)["is_last"] for row in found] == [True] + [False] * 10
    assert found[0]["answer"] == NAME
    assert found[0]["answer_rephrased"] == ["Trump"]


def test_what_is_known_of_the_concept(trump: Path) -> None:
    (concept,) = find("mmubench").bind(at(trump)).concepts
    assert concept["name"] == NAME
    assert concept["synonyms"] == ["Trump"]
    assert concept["unseen"] == UNSEEN
    assert len(concept["facts"]) == len(concept["neighbours"]) == 7
    assert concept["facts"][0] == [f"Fact 0 about {NAME}?", "Trump fact 0."]
    assert find("mmubench").bind(at(trump)).refusals == tuple(f"I do not know, {i}." for i in range(3))


def test_known_defects_are_counted(trump: Path) -> None:
    found = "\n".join(find("mmubench").bind(at(trump)).notes)
    for said in (
        "4 of 100 targets have stray blanks",
        "99 of 100 prompts are different",
        "296 of 305 prompts in other languages",
        "796 of 800 prompts for membership inference",
        "1 of 25 answers to unlearn are refusals",
        "multi-hop prompts come without answers",
        "no other concept has pictures",
    ):
        assert said in found


def test_concepts_in_folders(several: Path) -> None:
    """Trump comes first, is what `one` forgets, and the pictures of the other three show what else is there."""
    benchmark = find("mmubench")
    facts = benchmark.bind(at(several)).describe()["data"]["concepts"]
    assert facts == {"forget": [NAME], "keep": ["Hello Kitty", "Mario", "Taylor Swift"]}
    assert sorted(set(rows("specificity", several)["subject"])) == facts["keep"]
    assert len(rows("specificity", several)) == 5 + 2 + 3
    both = find("mmubench_all")
    assert both.bind(at(several)).describe()["data"]["concepts"] == {
        "forget": [NAME, "Hello Kitty"],
        "keep": ["Mario", "Taylor Swift"],
    }
    assert len(rows("efficacy", several, group="mmubench_all")) == 2 * (100 + 81)
    assert [len(rows("facts", several, group=group)) for group in ("mmubench", "mmubench_all")] == [7, 7]


def test_every_question_for_a_yes_has_a_control_where_there_are_other_pictures(several: Path, trump: Path) -> None:
    found = [row for row in rows("generality", several) if extra(row)["ask"] != "open"]
    asked = [extra(row) for row in found]
    assert [one["ask"] for one in asked].count("control") == [one["ask"] for one in asked].count("yes_no") == 81
    assert all(one["has_control"] for one in asked if one["ask"] == "yes_no")
    first = next(row for row in found if extra(row)["ask"] == "control")
    assert first["question"] == "Is this Hello Kitty?"
    assert first["keywords"] == []
    assert not any(extra(row).get("has_control") for row in rows("generality", trump))


def test_another_concept_can_be_forgotten_by_its_name(several: Path) -> None:
    assert set(rows("forget", several, forget_path="Hello Kitty")["subject"]) == {"Hello Kitty"}
    assert NAME in set(rows("specificity", several, forget_path="Hello Kitty")["subject"])
    with pytest.raises(UnknownName, match="did you mean 'Hello Kitty'"):
        rows("forget", several, forget_path="Hello Kity")


def test_a_file_of_ours_says_what_a_concept_is_called(tmp_path: Path) -> None:
    folder = write_official(tmp_path / "some where")
    own = {"name": "Old Tower", "synonyms": ["the Tower"], "unseen": "New Tower", "look": "a flat stone"}
    (folder / "concept.json").write_text(json.dumps(own))
    (concept,) = find("mmubench").bind(at(folder)).concepts
    assert {key: concept[key] for key in own} == own


def test_every_fault_at_once(tmp_path: Path) -> None:
    def spoil(found: Files) -> None:
        del found["evaldata/execcuatedata.json"][2]["target"]
        found["evaldata/execcuatedata.json"][3]["prompt"] = "  "
        found["evaldata/multilanguage.json"][0] = "no object"  # type: ignore[call-overload]
        found["evaldata/Multi-hop.json"][1]["imgid"] = "Trump_Image999"
        found["finetunedata/GA.json"][4]["conversations"].pop()
        found["finetunedata/SIU.json"][0]["conversations"][0]["value"] = "<image>\n"
        found["finetunedata/PO.json"][0] = talk("Who?", "No idea.", image="elsewhere.jpg")

    assert faults(write_official(tmp_path / "data", edit=spoil)) == [
        "evaldata/execcuatedata.json record 3: field 'target' is missing",
        "evaldata/execcuatedata.json record 4: field 'prompt' is empty",
        "finetunedata/GA.json record 5: conversations must be turns of human and gpt, each with a text",
        "finetunedata/SIU.json record 1: conversations must be turns of human and gpt, each with a text",
        "finetunedata: conversations show elsewhere.jpg, which is not in traindon/",
        "evaldata/multilanguage.json record 1: not a JSON object",
        "evaldata/Multi-hop.json: there is no image with the imgid 'Trump_Image999'",
    ]


def test_files_that_are_not_there(tmp_path: Path, trump: Path) -> None:
    with pytest.raises(UserError, match=r"no MMUBench files; needed, here or in a folder for each concept: evaldata"):
        rows("forget", tmp_path)
    with pytest.raises(UserError, match="not on the Hugging Face Hub"):
        find("mmubench").bind(DataSource("hub")).rows("forget")
    with pytest.raises(UserError, match="not a folder"):
        rows("forget", trump / "evaldata" / "miadata.json")
    folder = write_official(tmp_path / "data", edit=lambda found: found.pop("evaldata/execcuatedata.json"))
    for picture in (folder / "testdon").iterdir():
        picture.unlink()
    found = faults(folder)
    assert "evaldata/execcuatedata.json is missing" in found
    assert "the folder: no test images; needed: a folder testdon/ with images" in found


def test_a_broken_picture_names_its_row(tmp_path: Path) -> None:
    folder = write_official(tmp_path / "data")
    (folder / "testdon" / "Trump_Image0.jpg").write_bytes(b"")
    with pytest.raises(BadData, match=r"row donald_trump/generality/000: image .*Trump_Image0.jpg is empty"):
        rows("generality", folder)


def test_settings_that_mean_nothing_here_are_refused(trump: Path) -> None:
    with pytest.raises(UserError, match="--metadata num_subjects means nothing for mmubench"):
        rows("forget", trump, num_subjects=3)
    with pytest.raises(UnknownName, match="unknown mmubench set 'forgot'; did you mean 'forget'"):
        rows("forgot", trump)


def test_sets_without_files_are_left_out_by_name(several: Path) -> None:
    assert find("mmubench").bind(at(several, forget_path="Hello Kitty")).num_rows("multihop") == 0
    assert find("mmubench").bind(at(several, forget_path="Hello Kitty")).num_rows("facts") == 0


def test_edited_files_are_read_again(tmp_path: Path) -> None:
    folder = write_official(tmp_path / "data")
    before = rows("facts", folder)[0]["answer"]
    path = folder / "finetunedata" / "SIU.json"
    path.write_text(path.read_text().replace("Trump fact 0.", "Trump fact zero."))
    assert rows("facts", folder)[0]["answer"] == "Trump fact zero." != before


@pytest.mark.parametrize("name", ["GA", "PO", "SIU"])
def test_a_file_that_holds_nothing_is_a_fault(name: str, tmp_path: Path) -> None:
    folder = write_official(tmp_path, num_tests=70)
    (folder / f"finetunedata/{name}.json").write_text("[]")
    assert faults(folder) == [f"finetunedata/{name}.json: holds no records; leave the file out where there are none"]


def test_empty_prompts_are_a_fault_too(tmp_path: Path) -> None:
    folder = write_official(tmp_path, num_tests=70)
    for name in ("Multi-hop", "multilanguage", "miadata"):
        (folder / f"evaldata/{name}.json").write_text("")
    found = faults(folder)
    assert [fault.split(":")[0] for fault in found] == [
        "evaldata/multilanguage.json",
        "evaldata/Multi-hop.json",
        "evaldata/miadata.json",
    ]


def test_files_that_a_desktop_leaves_are_no_pictures(tmp_path: Path) -> None:
    folder = write_official(tmp_path, num_tests=70)
    before = rows("generality", folder)["id"]
    for name in (".DS_Store", "testdon/._Trump_Image1.jpg", "testdon/Thumbs.db", "traindon/.DS_Store"):
        (folder / name).write_bytes(b"x")
    (folder / "__MACOSX/testdon").mkdir(parents=True)
    assert rows("generality", folder)["id"] == before


def test_a_picture_called_as_the_training_picture_keeps_its_place(tmp_path: Path) -> None:
    def name_alike(found: Files) -> None:
        found["evaldata/Multi-hop.json"] = [{"imgid": TRAINED, "prompt": "Hop?"}]

    folder = write_official(tmp_path, edit=name_alike, num_tests=70)
    Image.new("RGB", (5, 3)).save(folder / "testdon" / TRAINED)
    assert rows("multihop", folder)[0]["images"][0].size == (5, 3)


def test_an_imgid_that_may_be_several_pictures_names_them(tmp_path: Path) -> None:
    def by_number(found: Files) -> None:
        found["evaldata/Multi-hop.json"] = [{"imgid": "7", "prompt": "Hop?"}]

    folder = write_official(tmp_path, edit=by_number, num_tests=70)
    assert len(rows("multihop", folder)) == 1
    Image.new("RGB", (5, 3)).save(folder / "testdon/Other7.jpg")
    assert faults(folder) == ["evaldata/Multi-hop.json: the imgid '7' may be Other7.jpg or Trump_Image7.jpg"]
