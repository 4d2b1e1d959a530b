"""Documents with turns: messages of the prompt under a chat template, and lm_eval's own text in all other cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark import DataSource
from mmforget.evaluation.tasks import load_tasks
from mmforget.lm import inside
from tests.benchmark_packages import write_tasks

TASK = "talks_forget_gen"
PLAIN = "<image>\nwho is this? this is ann.\nwhich colour does this person like?"


@pytest.fixture
def task(tmp_path: Path) -> Any:
    return load_tasks([TASK], include_paths=[write_tasks(tmp_path, "talks")], data=DataSource("synthetic")).tasks[TASK]


def chat(history: list[dict[str, str]], **settings: Any) -> str:
    return "|".join(f"{message['role']}: {message['content']}" for message in history)


def test_every_message_is_one_of_the_prompt(task: Any) -> None:
    doc = task.eval_docs[0]
    told = {"apply_chat_template": True, "chat_template": chat}
    assert task.fewshot_context(doc, 0, **told) == f"user: {PLAIN}"
    inside.show_turns(task)
    talk = "user: <image>\nwho is this?|assistant: this is ann.|user: which colour does this person like?"
    assert task.fewshot_context(doc, num_fewshot=0, gen_prefix=None, **told) == talk
    assert task.fewshot_context(doc, 0, system_instruction="be brief.", **told) == f"system: be brief.|{talk}"
    assert task.fewshot_context(doc, 0) == PLAIN


def test_a_task_without_turns_stays_as_it_is(tmp_path: Path) -> None:
    folder = write_tasks(tmp_path, "quiz")
    quiz = load_tasks(["quiz_keep_mc"], include_paths=[folder], data=DataSource("synthetic")).tasks["quiz_keep_mc"]
    inside.show_turns(quiz)
    assert "fewshot_context" not in vars(quiz)
