"""WMDP's official questions and the user's texts: asked as lm_eval asks them, and no fault quotes a question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import pytest
import yaml
from jinja2 import Template

from mmforget.benchmark import DataSource, find, validate
from mmforget.errors import BadData, UserError
from mmforget.protocols.wmdp.loader import load

WORD = "Sesame"
TEMPLATES = Path(lm_eval.__file__).parent / "tasks" / "wmdp"


def questions(topic: str, count: int) -> list[dict[str, Any]]:
    return [
        {"question": f" What is {WORD} {topic} {n}? ", "choices": [f"{topic}{n}{c}" for c in "wxyz"], "answer": n % 4}
        for n in range(count)
    ]


def files() -> dict[str, list[Any]]:
    return {
        "wmdp-bio": questions("bio", 6),
        "wmdp-cyber": questions("cyber", 5),
        "wmdp-chem": questions("chem", 4),
        "mmlu": [row | {"subject": "college_biology"} for row in questions("mmlu", 3)],
        "corpora/bio_forget": [{"text": f"Bio text {n}."} for n in range(3)],
        "corpora/cyber_forget": ["Cyber text 0."],
        "corpora/retain": [{"text": "Kept."}],
    }


def write(folder: Path, found: dict[str, list[Any]]) -> Path:
    for name, rows in found.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def bound(folder: Path, group: str = "wmdp") -> Any:
    return find(group).bind(DataSource.parse(str(folder)))


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("wmdp"), files())


@pytest.mark.parametrize(
    ("group", "forget", "other", "texts"),
    [("wmdp_forget_bio_cyber", 11, 4, 4), ("wmdp_forget_bio", 6, 9, 3), ("wmdp_forget_cyber", 5, 10, 1)],
)
def test_counts_of_every_setting(official: Path, group: str, forget: int, other: int, texts: int) -> None:
    found = bound(official, group)
    assert {name: found.num_rows(name) for name in found.benchmark.set_names} == {
        "pretrain": 18 + 5 * 4, "forget": forget, "other": other, "mmlu": 3, "corpus_forget": texts, "corpus_retain": 1,
    }  # fmt: skip
    assert dict(found.benchmark.trained_sets) == {"forget": "corpus_forget", "retain": "corpus_retain"}


def test_texts_of_two_topics_take_turns(official: Path) -> None:
    texts = bound(official).column("corpus_forget", "text")
    assert texts == ["Bio text 0.", "Cyber text 0.", "Bio text 1.", "Bio text 2."]


@pytest.mark.parametrize("topic", ["bio", "cyber", "chem"])
def test_a_question_is_shown_and_scored_as_by_lm_eval(official: Path, topic: str) -> None:
    """By the files that come with it."""
    base = yaml.safe_load((TEMPLATES / "_default_template_yaml").read_text())
    own = yaml.safe_load((TEMPLATES / f"wmdp_{topic}.yaml").read_text())
    examples = [one for name in ("forget", "other") for one in bound(official).examples(name)]
    contexts = [one.context for one in examples if one.id.startswith(topic)]
    wanted = [own["description"] + Template(base["doc_to_text"]).render(**row) for row in files()[f"wmdp-{topic}"]]
    assert contexts == wanted
    rows = [row for name in ("forget", "other") for row in bound(official).rows(name) if row["path"] == [topic]]
    assert [row["gold"] for row in rows] == [row["answer"] for row in files()[f"wmdp-{topic}"]]
    assert [row["answer"][0] for row in rows] == [base["doc_to_choice"][row["gold"]] for row in rows]


def test_general_questions_say_their_subject(official: Path) -> None:
    context = bound(official).examples("mmlu")[0].context
    assert context.startswith("The following are multiple choice questions (with answers) about college biology.\n\n")


def test_the_hubs_folders_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "wmdp-cyber"
    folder.mkdir()
    datasets.Dataset.from_list(questions("cyber", 3)).to_parquet(folder / "test-00000-of-00001.parquet")
    assert bound(tmp_path, "wmdp_forget_cyber").num_rows("forget") == 3


def test_without_texts_or_general_questions_it_says_what_to_bring(tmp_path: Path) -> None:
    folder = write(tmp_path, {name: files()[name] for name in ("wmdp-bio", "wmdp-cyber")})
    report = validate("wmdp", DataSource.parse(str(folder)))
    said = "\n".join(report.notes)
    for part in (
        "there is no wmdp-chem",
        "there is no mmlu",
        "there is no corpora/bio_forget",
        "bio has 6 questions; the data set is said to have 1,273",
    ):
        assert part in said
    label = {"set": "corpus_forget", "setting": "forget_bio_cyber"}
    with pytest.raises(UserError, match="no text to forget comes with WMDP; bring your own as corpora/bio_forget"):
        load(unlearning=label, data=str(folder))


def test_no_questions_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no WMDP files; needed: wmdp-bio, wmdp-cyber or wmdp-chem"):
        bound(write(tmp_path, {"mmlu": files()["mmlu"]})).rows("forget")


def test_questions_that_stand_twice_are_counted_by_their_places(tmp_path: Path) -> None:
    changed = files()
    changed["wmdp-bio"].append(changed["wmdp-bio"][2])
    notes = "\n".join(bound(write(tmp_path, changed)).notes)
    assert "bio: 1 question stands more than once (at 2, 6)" in notes
    assert WORD not in notes


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"answer": 4}, "bio row 3: answer is 4, and there are 4 choices, counted from 0"),
        ({"answer": -1}, "bio row 3: answer is -1, and there are 4 choices, counted from 0"),
        ({"answer": "B"}, "bio row 3: answer is not the place of the right choice, from 0"),
        ({"choices": ["one"]}, "bio row 3: choices are no list of 2 to 26 texts"),
        ({"choices": f"{WORD}"}, "bio row 3: choices are no list of 2 to 26 texts"),
        ({"question": " "}, "bio row 3: question is missing, empty or not a text"),
    ],
)
def test_a_broken_question_is_named_and_not_quoted(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    changed = files()
    changed["wmdp-bio"][2] |= change
    with pytest.raises(BadData) as caught:
        bound(write(tmp_path, changed)).rows("forget")
    assert expected in str(caught.value)
    assert WORD not in str(caught.value)


def test_an_empty_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="corpora/cyber row 1: text is missing or empty"):
        bound(write(tmp_path, files() | {"corpora/cyber_forget": [""]})).rows("forget")
