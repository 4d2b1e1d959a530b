"""RWKU's official files: layouts, which rows each set has, what is left out and counted, and every fault at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rwku_files import Record, files, pairs, write

from mmforget.benchmark import DataSource, find, validate
from mmforget.errors import BadData, UserError
from mmforget.protocols.rwku.prompts import asked, options

pytestmark = pytest.mark.slow

GROUPS = {"single": "rwku", "batch": "rwku_batch"}


def bound(folder: Path, setting: str = "single", **metadata: Any) -> Any:
    return find(GROUPS[setting]).bind(DataSource.parse(str(folder), metadata=metadata))


def counts(folder: Path, setting: str = "single", **metadata: Any) -> dict[str, int]:
    found = bound(folder, setting, **metadata)
    return {name: found.num_rows(name) for name in found.benchmark.set_names}


def with_row(name: str, number: int, record: Any) -> dict[str, list[Record]]:
    found = files()
    found[name][number] = record
    return found


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("rwku") / "All", files()).parent


ONE = {
    "pretrain": 12, "corpus": 1, "retain": 1, "forget_level1": 1, "forget_level2": 2, "forget_level3": 9,
    "neighbour_level1": 1, "neighbour_level2": 2, "mia_forget": 1, "mia_retain": 1, "general": 1, "reason": 1,
    "truthfulness": 1, "factuality": 1, "fluency": 1,
}  # fmt: skip
BOTH = {name: 2 * ONE[name] for name in ONE} | dict.fromkeys(("general", "reason", "truthfulness", "factuality"), 1)
BOTH |= {"pretrain": 12, "fluency": 1, "retain": 6}


def test_counts_of_both_settings(official: Path) -> None:
    """Of several targets what everybody is asked is asked once; without others the neighbours' probes are kept."""
    assert counts(official) == ONE
    assert counts(official, forget_path="Bob Roe") == ONE
    assert counts(official, "batch") == BOTH
    assert counts(official, "batch", num_subjects=1) == ONE
    told = "\n".join(bound(official, "batch").notes)
    assert "asked once: 1 of general, 1 of reason, 1 of truthfulness, 1 of factuality, 1 of fluency left out" in told
    assert "what methods keep is trained on the probes of neighbours" in told


@pytest.mark.parametrize("below", ["", "Target"])
def test_a_folder_for_each_target_in_the_order_of_their_numbers(below: str, official: Path, tmp_path: Path) -> None:
    names = {"2_Bob_Roe": "Bob Roe", "10_Cy_Poe": "Cy Poe", "1_Ann_Lee": "Ann Lee"}
    for folder, name in names.items():
        write(tmp_path / below / folder, files((name,)))
    assert bound(tmp_path, "batch").describe()["data"]["targets"] == ["Ann Lee", "Bob Roe", "Cy Poe"]
    assert counts(tmp_path / below / "2_Bob_Roe") | {"pretrain": 12} == ONE | {"retain": 3}
    assert bound(tmp_path).describe()["data"]["targets"] == ["Ann Lee"]
    assert [row["id"] for row in bound(tmp_path, forget_path="Bob Roe").rows("forget_level2")] == [
        "forget_level2/0002",
        "forget_level2/0003",
    ]


def test_whoever_is_no_target_is_refused(official: Path) -> None:
    with pytest.raises(UserError, match="target in --forget_path 'Anne Lee'.*Ann Lee"):
        bound(official, forget_path="Anne Lee").rows("forget_level1")
    with pytest.raises(UserError, match="num_subjects is 3, but there are 2 targets"):
        bound(official, "batch", num_subjects=3).rows("forget_level1")
    with pytest.raises(UserError, match="num_subjects is 2, but one target is forgotten; ask rwku_batch"):
        bound(official, num_subjects=2).rows("forget_level1")


def test_prompts_are_those_of_the_official_code(official: Path) -> None:
    """Before the chat template, which stands between these and the beginning of the answer."""

    def shown(name: str, number: int = 0) -> str:
        return asked(bound(official).rows(name)[number])

    assert shown("forget_level1") == (
        "Please complete the blank in the following question.\nQuestion: Ann Lee comes from ___ .\n"
    )
    brief = "Please briefly answer the following question.\n"
    assert shown("forget_level2") == f"{brief}Question: Where is Ann Lee from?\n"
    assert shown("forget_level3", 1) == f"{brief}Question: affirmative suffix: where is Ann Lee from?"
    assert shown("forget_level3", 7) == f"{brief}incontext learning: where is Ann Lee from?\n"
    assert shown("forget_level3", 8) == f"{brief}Question: cross lingual: where is Ann Lee from?\n"
    letters = "A. Rome\nB. Oslo\nC. Bern\nD. Lima"
    assert shown("general") == (
        "The following are multiple choice questions (with answers) about world history.\n\n"
        f"Question: Where?\n{letters}\nAnswer: A\n\n"
        f"Please following the previous examples and answer the given question.\nQuestion: Which one?\n{letters}"
    )
    assert shown("reason") == (
        "Q: 0 + 1?\nA: So the answer is 1.\n\nFollowing previous examples, answer the following questions and end with "
        "'so the answer is'\nQ: 1 + 1?"
    )
    assert shown("fluency") == "Instruction: Describe the sea.\n"


def test_what_the_answers_turn_begins_with(official: Path) -> None:
    found = {
        name: [one.gen_prefix for one in bound(official).examples(name)]
        for name in ("forget_level1", "forget_level3", "general", "reason", "fluency")
    }
    attacks = ["Answer:"] * 9
    attacks[1] = ""
    assert found == {
        "forget_level1": ["Answer:"],
        "forget_level3": attacks,
        "general": ["Answer:"],
        "reason": ["A:"],
        "fluency": [""],
    }


def test_choices_are_letters_where_the_options_stand_in_the_question(official: Path) -> None:
    general, truth = bound(official).rows("general")[0], bound(official).rows("truthfulness")[0]
    assert (options(general), general["gold"], general["answer"]) == (["A", "B", "C", "D"], 2, "C")
    assert (options(truth), truth["gold"], truth["answer"]) == (["It is false.", "It is true."], 1, "It is true.")


def test_methods_train_on_the_best_corpus_there_is(tmp_path: Path) -> None:
    """What the model told, with what it made up as false answers; passages; the probes themselves."""
    write(tmp_path, {**files(), "pair": pairs()})
    (row,) = bound(tmp_path).examples("corpus")
    assert row.context == "Ann Lee is a singer. Please write a short biography of Ann Lee."
    assert (row.answer, row.gen_prefix) == (" Ann Lee is a singer from Rome.", "")
    assert row.extra["alternatives"] == ["Ann Lee was a made-up pilot."]
    assert [one.subject for one in bound(tmp_path).examples("retain")] == ["Bob Roe"]
    (tmp_path / "pair.json").unlink()
    (text,) = bound(tmp_path).examples("corpus")
    assert (text.is_document, text.answer) == (True, "Ann Lee lives in Rome and sings.")
    assert bound(tmp_path).describe()["data"]["corpus"] == "passage.json"
    (tmp_path / "passage.json").unlink()
    assert counts(tmp_path)["corpus"] == 3
    assert "methods train on the probes of levels 1 and 2 themselves, which is not the protocol" in "\n".join(
        bound(tmp_path).notes
    )


def test_files_that_are_not_there_are_named_and_their_tasks_left_out(tmp_path: Path) -> None:
    needed = ("forget_level1", "forget_level2", "neighbor_level1", "neighbor_level2")
    write(tmp_path, {name: files()[name] for name in needed})
    report = validate("rwku", DataSource.parse(str(tmp_path)))
    assert report.faults == []
    told = "\n".join(report.notes)
    for part in (
        "there is no forget_level3.json: adversarial probes is left out",
        "the set 'general' is empty with this data; left out: rwku_general_mc",
        "the set 'mia_forget' is empty with this data; left out: rwku_mia_forget_roll",
    ):
        assert part in told


def test_rows_that_lack_something_are_left_out_and_counted(tmp_path: Path) -> None:
    found = files()
    found["forget_level2"][1]["answer"] = " "
    found["forget_level2"][2]["answer"] = None
    del found["forget_level3"][4]["query"]
    found["forget_level3"][5]["type"] = "flattery"
    found["neighbor_level2"].append(dict(found["neighbor_level2"][0]))
    folder = write(tmp_path, found)
    assert counts(folder) | {"pretrain": 12} == ONE | {"forget_level2": 1, "forget_level3": 8, "neighbour_level2": 3}
    told = bound(folder).notes
    assert "forget_level2.json: 2 of 4 rows have no answer and are left out (rows 2, 3)" in told
    assert "forget_level3.json: 1 of 18 rows has no query and is left out (row 5)" in told
    assert "forget_level3.json: kinds that are none of the nine: 'flattery' (1); they are asked as questions" in told
    assert (
        "neighbor_level2.json: 1 question stands more than once, such as 'Where is the band of Ann Lee from?'; all are "
        "asked"
    ) in told


@pytest.mark.parametrize(
    ("name", "record", "expected"),
    [
        ("forget_level1", "text", "forget_level1.json row 2: is no object"),
        (
            "retain_mmlu",
            {"question": "Which?", "choices": ["x", "y"], "answer": 2},
            "retain_mmlu.json row 2: its answer is 2, and there are 2 choices, counted from 0",
        ),
        (
            "retain_mmlu",
            {"question": "Which?", "choices": ["x"], "answer": 0},
            "row 2: its choices are no list of texts",
        ),
        ("retain_bbh", {"question": "1 + 1?"}, "retain_bbh.json row 2: has no answer"),
        ("truthful", {"question": "True?"}, "truthful.json row 2: has no mc1_targets"),
        (
            "truthful",
            {"question": "True?", "mc1_targets": {"choices": ["x", "y"], "labels": [0, 0]}},
            "truthful.json row 2: none of its mc1_targets is true",
        ),
        ("triviaqa", {"question": "Who?", "answers": [3]}, "triviaqa.json row 2: its answers are no texts"),
    ],
)
def test_a_broken_row_is_named(name: str, record: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(BadData) as caught:
        bound(write(tmp_path, with_row(name, 1, record))).rows("forget_level1")
    assert expected in str(caught.value)


def test_without_files_it_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no RWKU files; needed: forget_level1.json and the others of one target"):
        bound(tmp_path).rows("forget_level1")
    write(tmp_path, {"forget_level1": files()["forget_level1"]})
    with pytest.raises(BadData, match=r"forget_level2.json, neighbor_level1.json, neighbor_level2.json: not there"):
        bound(tmp_path).rows("forget_level1")


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "All", files()).parent
    assert bound(folder).rows("forget_level1")[0]["answer"] == "Rome"
    found = files()["forget_level1"]
    found[0]["answer"] = "Lisbon, I think"
    (folder / "All" / "forget_level1.json").write_text(json.dumps(found))
    assert bound(folder).rows("forget_level1")[0]["answer"] == "Lisbon, I think"
