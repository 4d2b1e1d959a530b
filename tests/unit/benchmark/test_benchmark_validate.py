"""Validation says everything that is wrong with a benchmark, its files and its data, and never raises for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmforget.benchmark import DataSource, find, validate
from mmforget.errors import PluginError
from tests.toy_tasks import GEN, write_toy, write_yaml
from tests.unit.protocols.official_files import identity, write_official

pytestmark = pytest.mark.slow


def test_nothing_is_wrong_with_the_twin() -> None:
    report = validate("fiubench")
    assert (report.faults, report.notes) == ([], [])
    assert report.counts["full"] == 2688


def test_faults_of_text_and_images_in_one_report(tmp_path: Path) -> None:
    def spoil(records: list[dict[str, Any]]) -> None:
        records[6]["unique_id"] = identity(7)
        records[9]["qa_list"][0]["answer"] = ""

    report = validate("fiubench", DataSource.parse(str(write_official(tmp_path / "text", edit=spoil, num=400))))
    assert len(report.faults) == 3
    folder = write_official(tmp_path / "images", num=400)
    for position in (0, 6, 96, 399):
        (folder / "SFHQ" / f"SFHQ_pt1_{identity(position)}.png").write_text("no image")
    report = validate("fiubench", DataSource.parse(str(folder)))
    broken = {position for position in (0, 6, 96, 399) if any(identity(position) in f for f in report.faults)}
    assert broken == {0, 6, 96, 399}
    assert "holdout" not in report.counts or report.counts["holdout"] == 0


def test_every_row_is_looked_at_not_the_first(tmp_path: Path) -> None:
    def spoil(records: list[dict[str, Any]]) -> None:
        records[8]["qa_list"][1]["question"] += " <image>"
        records[9]["qa_list"][0]["answer"] += " <image>"

    folder = write_official(tmp_path, edit=spoil, num=400)
    faults = [
        fault
        for fault in validate("fiubench", DataSource.parse(str(folder))).faults
        if fault.startswith("set 'forget'")
    ]
    assert len(faults) == 2
    assert "row 00000008/01: the context holds <image> 2 times for 1 images" in faults[0]
    assert "row 00000009/00: the answer holds <image>" in faults[1]


def test_a_template_that_is_wrong_everywhere_is_one_fault(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    (folder / "_gen").write_text(GEN.replace("{{question}}", "<image> {{question}}"))
    faults = validate("toy", include_paths=[folder]).faults
    assert len([fault for fault in faults if "(and all 2 rows)" in fault]) == len(faults) == 3


def test_a_picture_may_be_a_list_of_one_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    def listed(records: list[dict[str, Any]]) -> None:
        for record in records:
            record["image_path"] = [record["image_path"]]
        records[6]["image_path"] = ["a.png", "b.png"]
        records[7]["image_path"] = "/home/someone/p.png"

    folder = write_official(tmp_path, edit=listed, num=400)
    for place in ("one", "two"):
        (folder / place).mkdir()
        Image.new("RGB", (4, 4)).save(folder / place / "p.png")
    faults = validate("fiubench", DataSource.parse(str(folder))).faults
    assert len(faults) == 2
    assert "full.json record 7 (00000006): image_path is ['a.png', 'b.png']; give one path" in faults[0]
    assert f"full.json record 8: image '/home/someone/p.png' may be {folder}/one/p.png or" in faults[1]


def test_a_task_file_a_folder_and_a_name_that_is_none(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy")
    for name in (folder, folder / "toy_keep_gen.yaml", folder / "toy_large.yaml"):
        assert validate(name).faults == []
    assert validate(folder).counts == {"full": 2, "keep": 2, "forget": 2, "holdout": 0}
    assert validate(folder).notes == ["the set 'holdout' is empty with this data; left out: toy_holdout_gen"]
    assert validate("toyy").faults[0].startswith("unknown task 'toyy'")
    write_yaml(tmp_path / "plain.yaml", {"task": "plain"})
    assert "holds no task of an unlearning benchmark" in validate(tmp_path / "plain.yaml").faults[0]


def test_every_broken_file_is_a_fault_of_its_own(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    (folder / "a.yaml").write_text("task: [")
    (folder / "b.yaml").write_text("doc_to_text: x")
    assert len(validate(folder).faults) == 2


def test_metrics_on_a_set_that_is_none_and_templates_that_differ(tmp_path: Path) -> None:
    folder = write_toy(tmp_path, metrics=[{"metric": "rouge_l", "set": "elsewhere", "direction": "lower"}])
    (folder / "_gen_other").write_text(GEN.replace("{{question}}", "Q: {{question}}"))
    label = {"benchmark": "toy", "kind": "gen", "modality": "text", "set": "keep"}
    write_yaml(
        folder / "toy_keep_gen.yaml",
        {"include": "_gen_other", "task": "toy_keep_gen", "metadata": {"unlearning": label}},
    )
    faults = validate("toy", include_paths=[folder]).faults
    assert len(faults) == 2
    assert "its tasks differ in doc_to_text" in faults[0]
    assert "metrics name the set 'elsewhere'" in faults[1]


def test_an_image_benchmark_without_a_placeholder(tmp_path: Path) -> None:
    """A text benchmark needs none; the twin's image tasks have one for their one image."""
    folder = write_toy(tmp_path, recipes=None)
    assert "key 'recipes' is missing" in validate("toy", include_paths=[folder]).faults[0]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("None", "rows.load of set 'forget' gives None, not {'test': make_dataset(docs)}"),
        ("make_dataset(docs)", "gives a Dataset, not {'test': make_dataset(docs)}"),
        ("{'train': make_dataset(docs)}", "gives a dict, not {'test': make_dataset(docs)}"),
        ("{'test': docs}", "its rows are not those of make_dataset(docs): id, subject, images,"),
        ("{'test': make_dataset(docs).remove_columns('images')}", "not those of make_dataset(docs): images differ"),
        ("{'test': make_dataset(docs).rename_columns({'answer': 'a'})}", "make_dataset(docs): answer differ"),
    ],
)
def test_rows_of_another_kind_are_named(returned: str, said: str, tmp_path: Path) -> None:
    write_toy(tmp_path)
    rows = tmp_path / "rows.py"
    rows.write_text(rows.read_text().replace('{"test": make_dataset(docs)}', returned))
    report = validate("toy", include_paths=[tmp_path])
    assert any(said in fault for fault in report.faults), report.faults


@pytest.mark.parametrize(
    ("hook", "returned", "said"),
    [
        ("notes", "'one text'", "notes gives 'one text', not a list of texts"),
        ("notes", "[1]", "notes gives a list, not a list of texts"),
        ("refusals", "{'a': 1}", "refusals gives a dict, not a list of texts"),
        ("concepts", "['a']", "concepts gives a list, not a list of mappings"),
        ("describe", "[1]", "describe gives a list, not a mapping"),
    ],
)
def test_what_an_optional_function_gives_is_looked_at(hook: str, returned: str, said: str, tmp_path: Path) -> None:
    write_toy(tmp_path)
    rows = tmp_path / "rows.py"
    rows.write_text(f"{rows.read_text()}\ndef {hook}(**keywords):\n    return {returned}\n")
    bound = find("toy", [tmp_path]).bind(DataSource("synthetic"))
    with pytest.raises(PluginError, match=re.escape(said)):
        bound.describe() if hook == "describe" else getattr(bound, hook)
