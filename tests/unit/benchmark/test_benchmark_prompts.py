"""How rows are shown: by which task's `doc_to_text`, whether that is a template, a column or a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark import DataSource, find, validate
from mmforget.benchmark.prompts import Prompt, prompt_for
from mmforget.benchmark.task_files import FunctionRef
from mmforget.errors import PluginError, UserError
from tests.benchmark_packages import write_tasks

DATA = DataSource("synthetic")
PROMPTS = (
    Prompt("b_keep_gen", "keep", "gen", "image", "<image>{{question}}"),
    Prompt("b_forget_gen", "forget", "gen", "image", "<image>{{question}}"),
    Prompt("b_forget_mc", "forget", "mc", "image", "choose: {{question}}"),
    Prompt("b_facts_gen", "facts", "gen", "text", "{{question}}"),
    Prompt("b_pages_roll", "pages", "roll", "text", ""),
)


def doc(**parts: Any) -> dict[str, Any]:
    return {"id": "x", "images": [], "choices": [], "question": "who?", **parts}


@pytest.mark.parametrize(
    ("set_name", "parts", "task"),
    [
        ("forget", {"images": [1]}, "b_forget_gen"),
        ("forget", {"images": [1], "choices": ["x", "y"]}, "b_forget_mc"),
        ("full", {"images": [1]}, "b_keep_gen"),
        ("full", {"images": [1], "choices": ["x", "y"]}, "b_forget_mc"),
        ("keep", {"images": [1], "choices": ["x", "y"]}, "b_keep_gen"),
        ("full", {}, "b_facts_gen"),
        ("forget", {"text": "t"}, "b_pages_roll"),
    ],
)
def test_a_row_is_shown_by_a_task_that_takes_it_of_its_own_set_first(
    set_name: str, parts: dict[str, Any], task: str
) -> None:
    assert prompt_for(doc(**parts), PROMPTS, set_name=set_name).task == task


def test_a_context_is_a_template_a_column_or_what_a_function_says(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(
        "def asked(doc):\n    return doc['question'].upper()\n\ndef bad(doc):\n    return 3\n"
    )

    def shown(text: str | FunctionRef) -> str:
        return Prompt("t", "s", "gen", "text", text).context(doc())

    assert shown("Q: {{question}}") == "Q: who?"
    assert shown("question") == "who?"
    assert shown(FunctionRef(tmp_path, "shown.asked")) == "WHO?"
    with pytest.raises(PluginError, match=r"doc_to_text shown.bad of row x: gives a int, not a text"):
        shown(FunctionRef(tmp_path, "shown.bad"))
    (tmp_path / "fails.py").write_text("def asked(doc):\n    return doc['absent']\n")
    with pytest.raises(PluginError, match=r"doc_to_text fails.asked of row x: KeyError: 'absent'"):
        shown(FunctionRef(tmp_path, "fails.asked"))
    with pytest.raises(UserError, match="doc_to_text"):
        shown("{{question")


def test_examples_of_every_shape_of_row(tmp_path: Path) -> None:
    """A question with the right choice behind it, a document by itself, a conversation up to its last answer."""
    found = {
        name: find(name, [write_tasks(tmp_path / name, name)]).bind(DATA).examples("forget")[0]
        for name in ("quiz", "pages", "talks")
    }
    assert (found["quiz"].context, found["quiz"].answer) == ("where does ann live?", " oslo")
    assert (found["pages"].context, found["pages"].is_document) == ("", True)
    assert found["pages"].answer.startswith("ann lives in oslo. ")
    talk = found["talks"]
    assert talk.context == "<image>\nwho is this? this is ann.\nwhich colour does this person like?"
    assert (talk.answer, [turn["role"] for turn in talk.turns]) == (" red.", ["user", "assistant", "user"])


def test_the_prompt_does_not_depend_on_which_task_was_named(tmp_path: Path) -> None:
    folder = write_tasks(tmp_path, "quiz")
    text = (folder / "quiz_keep_mc.yaml").read_text()
    (folder / "quiz_keep_mc.yaml").write_text(text + "doc_to_text: 'Q: {{question}}'\n")
    for name in ("quiz", "quiz_keep_mc", "quiz_forget_mc"):
        bound = find(name, [folder]).bind(DATA)
        assert bound.examples("forget")[0].context == "where does ann live?"
        assert bound.examples("keep")[0].context == "Q: where does cleo live?"
    # Models train on `full` as well, which no task asks: which of the two prompts would it be?
    assert any("its tasks differ in doc_to_text" in fault for fault in validate("quiz", include_paths=[folder]).faults)
    full = text.replace("task: quiz_keep_mc", "task: quiz_full_mc").replace("set: keep", "set: full")
    (folder / "quiz_full_mc.yaml").write_text(full)
    assert validate("quiz", include_paths=[folder]).faults == []


def test_description_and_gen_prefix_are_the_prompts_too(tmp_path: Path) -> None:
    folder = write_tasks(tmp_path, "quiz")
    with (folder / "_base").open("a") as file:
        file.write("description: 'About {{subject}}. '\ngen_prefix: 'Answer:'\n")
    assert validate("quiz", include_paths=[folder]).faults == []
    example = find("quiz", [folder]).bind(DATA).examples("full")[0]
    assert (example.description, example.gen_prefix) == ("About ann. ", "Answer:")
    with (folder / "quiz_keep_mc.yaml").open("a") as file:
        file.write("gen_prefix: 'A:'\n")
    assert any(
        "differ in doc_to_text, description or gen_prefix" in f for f in validate("quiz", include_paths=[folder]).faults
    )
