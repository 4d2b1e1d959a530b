"""The closed schema of a benchmark's document: everything wrong is reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.document import Gate, MetricUse, parse_document, parse_task_label
from mmforget.benchmark.task_files import TaskFileError
from mmforget.errors import UserError
from tests.toy_tasks import DOCUMENT, write_toy

DATA = DataSource("synthetic")


def lines(document: dict[str, Any]) -> list[str]:
    with pytest.raises(TaskFileError) as caught:
        parse_document(document, source="toy.yaml")
    return str(caught.value).splitlines()


def test_a_whole_document() -> None:
    document = parse_document(DOCUMENT, source="toy.yaml")
    assert document.gate == Gate("rouge_l", "clean", "forget", 0.8, 0.2)
    assert document.metrics == (MetricUse("rouge_l", "forget", "lower"),)
    assert document.settings == ("small", "large")
    assert document.refusals == ("I will not say.",)


@pytest.mark.parametrize(("direction", "higher"), [("higher", True), ("lower", False), ("retain_model", None)])
def test_directions(direction: str, higher: bool | None) -> None:
    assert MetricUse("rouge_l", "forget", direction).higher_is_better is higher


def test_all_faults_at_once() -> None:
    document = {
        **DOCUMENT,
        "modality": "video",
        "setting": "tiny",
        "stage_one": {"retain": "full"},
        "sets": {"forget": "forget", "retain": "keep", "neighbours": "x"},
        "gate": {**DOCUMENT["gate"], "minimum": 80, "profile": "cleen"},
        "metrics": [{"metric": "rouge_l", "set": "forget", "direction": "down", "profiles": ["paperr"]}, "rouge_l"],
        "recipes": {"micro": {"stage_one": {}, "unlearning": {}}},
    }
    found = lines(document)
    assert all(line.startswith("toy.yaml: metadata.unlearning") for line in found)
    expected = [
        "modality: unknown value 'video'",
        "setting: unknown value 'tiny'",
        "stage_one: key 'target' is missing",
        "sets: key 'utility' is missing",
        "gate.profile: unknown value 'cleen'; did you mean 'clean'",
        "gate.minimum is 80; give a number from 0 to 1",
        "metrics[0].direction: unknown value 'down'",
        "metrics[0].profiles: unknown value 'paperr'; did you mean 'paper'",
        "metrics[1] must be a mapping, not str",
        "recipes.micro: unknown key 'unlearning'",
        "recipes.micro: key 'unlearn' is missing",
    ]
    assert len(found) == len(expected)
    for line, part in zip(found, expected, strict=True):
        assert part in line


def test_missing_and_unknown_keys() -> None:
    document = {key: value for key, value in DOCUMENT.items() if key != "gate"} | {"gates": {}}
    assert lines(document) == [
        "toy.yaml: metadata.unlearning: unknown key 'gates'; did you mean 'gate'?",
        "toy.yaml: metadata.unlearning: key 'gate' is missing",
    ]


@pytest.mark.parametrize("name", ["metrics", "recipes"])
def test_lists_that_are_none(name: str) -> None:
    assert f"{name} must be a" in lines({**DOCUMENT, name: "rouge_l"})[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"benchmark": 3}, "benchmark is 3; give a text"),
        ({"title": ""}, "title is ''; give a text"),
        ({"settings": [1, "large"], "setting": "large"}, "settings[0] is 1; give a text"),
        ({"stage_one": {"target": ["full"]}}, "stage_one.target is ['full']; give a text"),
        ({"sets": {**DOCUMENT["sets"], "forget": {}}}, "sets.forget is {}; give a text"),
        ({"gate": {**DOCUMENT["gate"], "set": []}}, "gate.set is []; give a text"),
        ({"metrics": [{"metric": "rouge_l", "set": {}, "direction": "lower"}]}, "metrics[0].set is {}; give a text"),
        (
            {"metrics": [{"metric": "rouge_l", "set": "forget", "direction": "lower", "profiles": 3}]},
            "metrics[0].profiles is 3; give a list of texts",
        ),
    ],
)
def test_what_has_to_be_text(change: dict[str, Any], said: str) -> None:
    assert lines({**DOCUMENT, **change}) == [f"toy.yaml: metadata.unlearning.{said}"]


def test_settings_of_several_kinds_are_named() -> None:
    """The names that are known are sorted for the message, and numbers and texts have no order."""
    assert lines({**DOCUMENT, "settings": ["large", 0.5]}) == [
        "toy.yaml: metadata.unlearning.settings[1] is 0.5; give a text",
        "toy.yaml: metadata.unlearning.setting: unknown value 'small'; known: 0.5, large",
    ]


@pytest.mark.parametrize("name", ["benchmark", "set", "setting"])
def test_what_has_to_be_text_in_a_label(name: str) -> None:
    label = {"benchmark": "toy", "set": "forget", "kind": "gen", "modality": "text", "setting": "small"}
    assert parse_task_label(label, source="toy.yaml").set == "forget"
    with pytest.raises(TaskFileError, match=rf"^toy.yaml: metadata.unlearning.{name} is \{{\}}; give a text$"):
        parse_task_label({**label, name: {}}, source="toy.yaml")


def test_what_a_benchmark_says(tmp_path: Path) -> None:
    benchmark = find("toy_large", [write_toy(tmp_path)])
    assert (benchmark.name, benchmark.setting, benchmark.modality) == ("toy", "large", "text")
    assert (benchmark.forget_set, benchmark.retain_set, benchmark.utility_set) == ("forget", "keep", "keep")
    assert (benchmark.rephrase_set, benchmark.holdout_set) == (None, "holdout")
    assert benchmark.set_names == ("full", "keep", "forget", "holdout")
    assert benchmark.describe() == {
        "benchmark": "toy",
        "group": "toy_large",
        "setting": "large",
        "modality": "text",
        "title": "Toy",
        "version": "1",
        "paper": "none",
        "licence": "Apache-2.0",
    }
    facts = benchmark.bind(DataSource("synthetic", metadata={"profile": "paper"})).describe()["data"]
    assert facts == {"source": "synthetic", "path": None, "profile": "paper", "setting": "large", "notes": []}


def test_rows_and_examples_of_a_benchmark(tmp_path: Path) -> None:
    benchmark = find("toy", [write_toy(tmp_path)])
    assert benchmark.bind(DATA).column("forget", "answer") == ["It is a.", "It is b."]
    examples = benchmark.bind(DATA).examples("keep")
    assert [(e.context, e.answer, e.images) for e in examples] == [
        ("Who is c?", " It is c.", ()),
        ("Who is d?", " It is b.", ()),
    ]
    assert benchmark.bind(DATA).num_rows("holdout") == 0
    assert benchmark.bind(DATA).refusals == ("I will not say.",)
    assert benchmark.bind(DATA).notes == []


def test_a_setting_is_handed_to_the_loader(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    assert find("toy", [folder]).bind(DATA).data.metadata == {"setting": "small"}
    large = DataSource("synthetic", metadata={"setting": "large"})
    assert find("toy_keep_gen", [folder]).bind(large).data == large
    with pytest.raises(UserError, match="--metadata setting is 'large', but toy is 'small'"):
        find("toy", [folder]).bind(large)
