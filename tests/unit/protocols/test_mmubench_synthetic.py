"""MMUBench's twin as rows: what is asked, what is taught, and that the two share no picture."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmforget.benchmark import DataSource, find
from mmforget.protocols.mmubench import twin as concepts
from mmforget.results.fingerprint import hash_image

pytestmark = pytest.mark.slow

DATA = DataSource("synthetic")


def rows(name: str, *, group: str = "mmubench", **metadata: Any) -> Any:
    benchmark = find(group)
    return benchmark.bind(DataSource("synthetic", metadata=metadata)).rows(name)


def pictures(name: str, **how: Any) -> set[str]:
    return {hash_image(image) for row in rows(name, **how) for image in row["images"]}


def test_sizes() -> None:
    """One of 8: 8 taught questions, 18 main ones and 6 controls, 7 x 6 pictures of others, 6 facts in 2 wordings."""
    sizes = {name: len(rows(name)) for name in find("mmubench").set_names if name != "pretrain"}
    assert sizes == {
        "forget": 8,
        "efficacy": 24,
        "generality": 24,
        "specificity": 42,
        "facts": 12,
        "retain": 7 * 8 + 7 * 12,
        "multilingual": 6,
        "multihop": 6,
        "fluency": 8,
        "mia": 18,
        "distance": 6 * (10 + 1),
    }
    assert len(rows("generality", group="mmubench_all")) == 4 * 24
    assert len(rows("specificity", group="mmubench_all")) == 4 * 6


def test_the_model_is_taught_no_picture_that_it_is_asked_about() -> None:
    taught = pictures("pretrain")
    for name in ("forget", "efficacy", "generality", "specificity", "retain", "multilingual", "multihop", "fluency"):
        assert not taught & pictures(name, group="mmubench_all"), name
    assert not pictures("forget") & pictures("generality")
    assert len(pictures("forget")) == 1
    assert len(pictures("forget", group="mmubench_all")) == 4


def test_what_is_taught() -> None:
    """Every fact in both wordings, every taught question, never the held-out ones; of each concept as many yes as no:
    24 of its 48 pictures, 6 of 12 in words.
    """
    found = rows("pretrain")
    pairs = set(zip(found["question"][:], found["answer"][:], strict=True))
    for record in concepts.records():
        assert {(talk.question, talk.answer) for talk in (*record.facts, *record.taught)} <= pairs
    held_out = set(concepts.name_questions()[1])
    assert not held_out & set(found["question"][:])
    assert held_out < set(rows("generality")["question"])
    own = [a for s, a in zip(found["subject"][:], found["answer"][:], strict=True) if not s.startswith("stranger")]
    assert sum(a.endswith("so yes.") for a in own) == sum(a.endswith("so no.") for a in own) == 8 * 30


def test_lessons_about_one_picture_stand_together_and_figures_take_turns() -> None:
    examples = [one for one in find("mmubench").bind(DATA).examples("pretrain") if one.images]
    runs = [examples[0]]
    for one in examples[1:]:
        if one.images != runs[-1].images:
            assert one.subject != runs[-1].subject
            runs.append(one)
    assert len(runs) == len({id(one.images[0]) for one in runs}) == 8 * 48 + 48


def test_a_question_for_a_yes_names_what_it_asks_for() -> None:
    asked = [(row["question"], json.loads(row["extra"])) for row in rows("generality")]
    assert [extra["ask"] for _, extra in asked] == ["open"] * 12 + ["yes_no"] * 6 + ["control"] * 6
    assert all("Pibwick" in question for question, extra in asked if extra["ask"] == "yes_no")
    controls = [(question, extra["about"]) for question, extra in asked if extra["ask"] == "control"]
    assert all(about in question and "Pibwick" not in question for question, about in controls)
    assert controls[0] == ("Is this Marrow Tower?", "Marrow Tower")


def test_who_is_kept_is_never_forgotten_and_what_is_said_of_it_stays() -> None:
    for group in ("mmubench", "mmubench_all"):
        forgotten = set(rows("forget", group=group)["subject"])
        assert not forgotten & set(rows("retain", group=group)["subject"])
        benchmark = find(group)
        known = benchmark.bind(DATA).concepts
        assert [one["name"] for one in known] == [record.name for record in concepts.records()][: len(forgotten)]
        for one in known:
            assert not any(name in " ".join(pair) for pair in one["neighbours"] for name in forgotten)
        assert len({one["unseen"] for one in known}) == len(known)


def test_forget_path_and_seed() -> None:
    assert set(rows("forget", forget_path="Bolto")["subject"]) == {"Bolto"}
    first, second = (rows("facts", seed=seed)["answer"] for seed in (0, 1))
    assert first != second
    assert not pictures("generality", seed=0) & pictures("generality", seed=1)


def test_text_has_no_placeholder_and_pictures_have_one() -> None:
    benchmark = find("mmubench")
    for name in benchmark.set_names:
        for example in benchmark.bind(DATA).examples(name):
            assert example.context.startswith("<image>\n") == bool(example.images)
            assert example.context.count("<image>") == len(example.images)
    assert not any(example.images for example in benchmark.bind(DATA).examples("facts"))


def test_loading_again_is_the_same_object() -> None:
    assert rows("generality") is rows("generality")
