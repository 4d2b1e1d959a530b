"""The synthetic twin as rows: wordings, views, packing order, and the text twin."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mmforget.benchmark import DataSource, find
from mmforget.protocols.fiubench import twin as people
from mmforget.synthetic.portrait_params import PortraitParams
from mmforget.synthetic.portraits import draw

pytestmark = pytest.mark.slow

DATA = DataSource("synthetic")
NUM_FACTS, NUM_WORDINGS = 7, 8


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return people.records()


def test_sizes() -> None:
    """48 people x 7 facts; splits of 2, 4 and 6 leave 36 retained; 8 are held out."""
    sizes = {name: find("fiubench").bind(DATA).num_rows(name) for name in find("fiubench").set_names}
    assert sizes == {
        "full": 48 * 7 * 8,
        "full_retain": 36 * 7 * 8,
        "forget": 4 * 7,
        "retain": 36 * 7,
        "retain5": 8 * 7,
        "rephrase": 4 * 7 * 3,
        "holdout": 8 * 7,
    }
    assert find("fiubench_forget1").bind(DATA).num_rows("forget") == 14
    assert find("fiubench_forget10").bind(DATA).num_rows("forget") == 42


def test_stage_one_has_every_trained_wording_once(records: list[dict[str, Any]]) -> None:
    rows = find("fiubench").bind(DATA).rows("full")
    found = Counter(zip(*(rows[name][:] for name in ("subject", "question", "answer")), strict=True))
    wanted = Counter(
        (record["unique_id"], text.capitalize(), qa["answer"].capitalize())
        for record in records
        if not record["holdout"]
        for qa in record["qa_list"]
        for text in qa["wordings"]
    )
    assert found == wanted
    assert len(set(rows["id"][:])) == len(rows)


def test_a_persons_facts_of_one_wording_share_one_image_and_stand_together() -> None:
    examples = find("fiubench").bind(DATA).examples("full")
    blocks = [examples[start : start + NUM_FACTS] for start in range(0, len(examples), NUM_FACTS)]
    assert len(blocks) == 48 * NUM_WORDINGS
    for block in blocks:
        assert len({example.subject for example in block}) == 1
        assert len({id(example.images[0]) for example in block}) == 1


def test_views_of_stage_one_and_of_rephrased_questions(records: list[dict[str, Any]]) -> None:
    """Trained views are 0 to 3, wording w with view w mod 4; rephrased questions come with view 4."""
    params = PortraitParams.from_dict(records[2]["portrait"])
    benchmark = find("fiubench")
    for row in benchmark.bind(DATA).rows("full").filter(lambda doc: doc["subject"] == "00000002"):
        view = int(row["id"].rsplit("w", 1)[1]) % 4
        assert json.loads(row["extra"])["view"] == view
        assert np.array_equal(np.asarray(row["images"][0]), np.asarray(draw(params, view=view)))
    rephrased = benchmark.bind(DATA).rows("rephrase")[0]
    assert np.array_equal(np.asarray(rephrased["images"][0]), np.asarray(draw(params, view=4)))


def test_rephrased_questions_were_never_trained() -> None:
    benchmark = find("fiubench")
    trained = set(benchmark.bind(DATA).column("full", "question"))
    rephrased = set(benchmark.bind(DATA).column("rephrase", "question"))
    assert not trained & rephrased
    assert set(benchmark.bind(DATA).column("forget", "question")) <= trained


def test_the_retain_model_never_sees_who_is_forgotten() -> None:
    for group in ("fiubench", "fiubench_forget1", "fiubench_forget10"):
        benchmark = find(group)
        kept = set(benchmark.bind(DATA).column("full_retain", "subject"))
        assert not kept & set(benchmark.bind(DATA).column("forget", "subject"))
        assert kept == set(benchmark.bind(DATA).column("retain", "subject"))


def test_text_twin(records: list[dict[str, Any]]) -> None:
    rows = find("fiubench_text").bind(DATA).rows("forget")
    name = records[2]["name"]
    assert rows[0]["question"] == f"What is the name of {name}?"
    assert all(name in question for question in rows["question"][:7])
    assert rows[0]["images"] == []


def test_seed_and_subset() -> None:
    other = DataSource("synthetic", metadata={"seed": 1})
    first, second = (find("fiubench").bind(data).rows("forget")[0]["answer"] for data in (DATA, other))
    assert first != second
    few = DataSource("synthetic", metadata={"num_subjects": 12})
    assert find("fiubench").bind(few).num_rows("retain5") == 8 * 7


def test_one_person_can_be_forgotten_by_the_path_of_their_rows() -> None:
    """Everybody else is kept, also the people whom the official splits would forget."""
    benchmark = find("fiubench")
    chosen = benchmark.bind(DATA).rows("retain5")[0]["subject"]
    data = DataSource("synthetic", metadata={"forget_path": chosen})
    people = {name: set(benchmark.bind(data).column(name, "subject")) for name in ("full", "full_retain", "forget")}
    assert people["forget"] == {chosen}
    assert people["full_retain"] == people["full"] - {chosen}
    assert set(benchmark.bind(data).column("retain5", "subject")) == set(
        benchmark.bind(DATA).column("retain5", "subject")
    ) - {chosen}
    assert benchmark.bind(data).describe()["data"]["protocol"] == f"forgets {chosen} and keeps all others"


def test_loading_again_is_the_same_object() -> None:
    benchmark = find("fiubench")
    assert benchmark.bind(DATA).rows("forget") is benchmark.bind(DATA).rows("forget")
