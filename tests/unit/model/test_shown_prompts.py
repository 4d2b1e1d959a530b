"""What is trained is what is asked: descriptions and beginnings of answers, in plain text and in a chat template."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark import DataSource, find
from mmforget.evaluation.tasks import load_tasks
from mmforget.lm import inside
from mmforget.model.chat import render_chat
from mmforget.model.encode import encode
from mmforget.model.examples import as_asked, encode_all
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from tests.benchmark_packages import write_tasks
from tests.helpers import tiny_llama

DATA = DataSource("synthetic")
DESCRIPTION = 'description: "About {{subject}}.\\n"\n'
AROUND = {
    "a description": DESCRIPTION,
    "the beginning of the answer": "gen_prefix: 'Answer:'\n",
    "both": DESCRIPTION + "gen_prefix: 'Answer:'\n",
    "one that ends in a blank": "gen_prefix: 'Answer: '\n",
    "one that begins a line": 'gen_prefix: "\\nAnswer:"\n',
    "one by row": "gen_prefix: '{% if subject == \"cleo\" %}She is in:{% else %}In:{% endif %}'\n",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llama(tmp_path_factory.mktemp("models") / "llama"))))


def written(folder: Path, name: str, around: str) -> Path:
    write_tasks(folder, name)
    with (folder / "_base").open("a") as file:
        file.write(around)
    return folder


@pytest.mark.parametrize("template", [False, True])
@pytest.mark.parametrize("around", list(AROUND))
def test_trained_tokens_are_the_scored_ones(around: str, template: bool, loaded: LoadedModel, tmp_path: Path) -> None:
    """The right choice behind its question, as lm_eval itself builds the request."""
    folder = written(tmp_path, "quiz", AROUND[around])
    task = load_tasks(["quiz_keep_mc"], include_paths=[folder], data=DATA).tasks["quiz_keep_mc"]
    shown = as_asked(find("quiz", [folder]).bind(DATA).examples("keep"), loaded=loaded, template=template)
    trained = encode_all(loaded, shown, append_eos=False, source="rows")
    chat = partial(render_chat, tokenizer=loaded.tokenizer, processor=None) if template else None
    for doc, own in zip(task.eval_docs, trained, strict=True):
        told: dict[str, Any] = {"apply_chat_template": template, "chat_template": chat}
        context = task.fewshot_context(doc, 0, **told, gen_prefix=task.doc_to_prefix(doc))
        requests = task.construct_requests(doc, context, **told, metadata=("quiz", 0, 1))
        asked = encode(loaded, *requests[doc["gold"]].arguments)
        assert (own.ids, own.num_context) == (asked.ids, asked.num_context)


def test_what_is_made_ready_twice_stays_as_it_is(loaded: LoadedModel, tmp_path: Path) -> None:
    folder = written(tmp_path, "quiz", AROUND["both"])
    once = as_asked(find("quiz", [folder]).bind(DATA).examples("keep"), loaded=loaded, template=False)
    assert once[0].context == "About cleo.\nwhere does cleo live? Answer:"
    assert as_asked(once, loaded=loaded, template=False) == once


def test_of_a_conversation_too(loaded: LoadedModel, tmp_path: Path) -> None:
    """Turns are messages under a template: what is described stands before them, the answer begins behind them."""
    folder = written(tmp_path, "talks", AROUND["both"])
    task = load_tasks(["talks_forget_gen"], include_paths=[folder], data=DATA).tasks["talks_forget_gen"]
    inside.show_turns(task)
    chat = partial(render_chat, tokenizer=loaded.tokenizer, processor=None)
    doc = task.eval_docs[0]
    told = {"apply_chat_template": True, "chat_template": chat, "gen_prefix": task.doc_to_prefix(doc)}
    example = find("talks", [folder]).bind(DATA).examples("forget")[0]
    (shown,) = as_asked([example], loaded=loaded, template=True)
    assert task.fewshot_context(doc, 0, **told) == shown.context
    assert shown.context.endswith("Answer:")
    assert "About ann." in shown.context
    assert shown.answer == " red."


@pytest.mark.parametrize(("prefix", "expected"), [("", ""), ("Answer:", " "), ("Answer: ", "")])
def test_lenses_look_where_the_answer_stands(prefix: str, expected: str, tmp_path: Path) -> None:
    folder = written(tmp_path, "quiz", f"gen_prefix: '{prefix}'\n" if prefix else "")
    task = load_tasks(["quiz_keep_mc"], include_paths=[folder], data=DATA).tasks["quiz_keep_mc"]
    assert inside.delimiter_of(task, template=True) == expected
    assert inside.delimiter_of(task) == " "
