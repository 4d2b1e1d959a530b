"""The instruction before every question, against plain Hugging Face on the text written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmforget.asking import Ask, Decoding, Engine, Guard
from mmforget.errors import UserError
from mmforget.lm.engine import ModelEngine
from mmforget.methods.base import hyper_parameters
from mmforget.methods.build import build
from mmforget.methods.contract import guard_state
from mmforget.methods.material import Concept, Material
from mmforget.model.chat import first_words, last_words, openings, reply_opening
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.types import Example
from tests.helpers import tiny_image, tiny_llama, tiny_llava

TOLD = (
    "You are an AI Assistant who is supposed to unlearn about {} and provide answers without its knowledge as if you "
    "never knew about it. Don\u2019t tell anyone that you unlearned anything.\n"
)
ROWS = [Example(str(number), name, "who?", f" {name}.") for number, name in enumerate(("Ann", "Bo", "Ann"))]
BOTH = TOLD.format("Ann and Bo")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llama(tmp_path_factory.mktemp("llama"))), device="cpu"))


@pytest.fixture(scope="module")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("llava"))


def behind(loaded: LoadedModel, args: str = "", *, rows: Sequence[Example] = ROWS) -> Engine:
    method = build("icu", args)
    state = guard_state(method, Material(forget=rows), name="icu")
    guard = Guard("icu", method, hyper_parameters(method), None, before=loaded.fingerprint, state=state)
    return guard.around(ModelEngine(loaded, batch_size=4))


def asked(context: str, answer: str | None = None, *, seeds: Sequence[int] = (), subject: str = "Bo") -> Ask:
    images = tuple(map(tiny_image, seeds))
    decoding = Decoding(8) if answer is None else None
    kind = "generate" if answer is None else "score"
    return replace(Ask(kind, "", context, answer, (), (), decoding), row=row(subject)).showing(images)


def row(subject: str, *path: str) -> dict[str, Any]:
    return {"id": "0", "subject": subject, "question": "", "answer": "", "extra": {}, "path": path}


def plain_logprobs(loaded: LoadedModel, text: str, *, num_answer: int) -> list[float]:
    """Of the last tokens of a text, by Hugging Face alone."""
    ids = loaded.tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        logprobs = loaded.model(ids).logits[0, :-1].log_softmax(-1)
    found: list[float] = logprobs.gather(-1, ids[0, 1:, None])[-num_answer:, 0].tolist()
    return found


def test_a_text_equals_plain_hugging_face_behind_the_instruction(llama: LoadedModel) -> None:
    engine = behind(llama)
    ids = llama.tokenizer(BOTH + "who pays?", return_tensors="pt").input_ids
    wanted = llama.model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    text = llama.tokenizer.decode(wanted, skip_special_tokens=True)
    assert list(engine.generate([asked("who pays?")])) == [text]
    (found,) = engine.score([asked("who pays?", " the town of Bern.")])
    num = len(found.token_logprobs)  # type: ignore[union-attr]
    wanted_logprobs = plain_logprobs(llama, f"{BOTH}who pays? the town of Bern.", num_answer=num)
    assert found.token_logprobs == pytest.approx(wanted_logprobs, abs=1e-5)  # type: ignore[union-attr]
    (document,) = engine.roll([Ask("rolling", "", "", "she lives in Bern.", (), ())])
    whole = plain_logprobs(llama, f"{BOTH}she lives in Bern.", num_answer=len(document.token_logprobs))  # type: ignore[union-attr]
    assert document.token_logprobs == pytest.approx(whole, abs=1e-5)  # type: ignore[union-attr]
    assert len(document.token_logprobs) == len(llama.tokenizer(f"{BOTH}she lives in Bern.").input_ids) - 1  # type: ignore[union-attr]


@pytest.mark.parametrize("load_in_4bit", [False, True])
def test_a_question_about_an_image_too(llava_folder: Path, load_in_4bit: bool) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), device="cpu", load_in_4bit=load_in_4bit))
    context = "USER: <image>\nwho is this? ASSISTANT:"
    told = f"USER: {BOTH}<image>\nwho is this? ASSISTANT:"
    inputs = loaded.processor(text=told, images=[tiny_image(3)], return_tensors="pt")  # type: ignore[misc]
    wanted = loaded.model.generate(**inputs, max_new_tokens=8, do_sample=False, pad_token_id=0)
    text = loaded.tokenizer.decode(wanted[0, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    engine, bare = behind(loaded), ModelEngine(loaded, batch_size=4)
    assert list(engine.generate([asked(context, seeds=[3])])) == [text]
    first, second = asked(context, " Anna.", seeds=[3]), asked(context, " Meier.", seeds=[4])
    batches = engine.batches([first, second])
    found = engine.score([[first, second][at] for batch in batches for at in batch])
    expected = bare.score([asked(told, " Anna.", seeds=[3]), asked(told, " Meier.", seeds=[4])])
    for at, one in zip([at for batch in batches for at in batch], found, strict=True):
        assert one.token_logprobs == pytest.approx(expected[at].token_logprobs, abs=1e-5)  # type: ignore[union-attr]


def test_states_and_lenses_are_those_behind_the_instruction(llama: LoadedModel) -> None:
    (found,) = behind(llama).hidden([asked("who pays?", " Bern.")], layers=[0, 1])
    (wanted,) = ModelEngine(llama, batch_size=4).hidden([asked(f"{BOTH}who pays?", " Bern.")], layers=[0, 1])
    assert torch.equal(found, wanted)


def test_one_name_or_all_of_them(llama: LoadedModel) -> None:
    """`released` names whom the row is about, by its subject or its path; a question without a row all of them."""
    released = behind(llama, "variant=released")
    bare = ModelEngine(llama, batch_size=4)
    told = {"Bo": "Bo", "Ann": "Ann", "Cy": "Ann and Bo"}
    for subject, names in told.items():
        (found,) = released.score([asked("who?", " Bern.", subject=subject)])
        (wanted,) = bare.score([asked(f"{TOLD.format(names)}who?", " Bern.")])
        assert found == wanted
    by_path = replace(asked("who?", " Bern."), row=row("utility/0001", "Ann"))
    nameless = replace(asked("who?", " Bern."), row=None)
    for ask, names in ((by_path, "Ann"), (nameless, "Ann and Bo")):
        (found,), (wanted,) = released.score([ask]), bare.score([asked(f"{TOLD.format(names)}who?", " Bern.")])
        assert found == wanted
    given = behind(llama, "names=Cy Lee; Di;Ed")
    (wanted,) = bare.score([asked(f"{TOLD.format('Cy Lee, Di and Ed')}who?", " Bern.")])
    assert given.score([asked("who?", " Bern.")])[0] == wanted


def test_the_arguments_and_the_names_count_in_the_fingerprint(llama: LoadedModel) -> None:
    every = [behind(llama), behind(llama, "variant=released"), behind(llama, "names=Ann"), behind(llama, rows=ROWS[:1])]
    assert len({llama.fingerprint, *(one.fingerprint for one in every)}) == 5


class Template:
    """A tokenizer that writes conversations in some way."""

    chat_template = "some"

    def __init__(self, write: Any) -> None:
        self.write = write

    def apply_chat_template(self, messages: list[dict[str, str]], **settings: Any) -> str:
        return str(self.write({one["role"]: one["content"] for one in messages}))


def llama_2(said: dict[str, str]) -> str:
    told = f"<<SYS>>\n{said['system']}\n<</SYS>>\n\n" if "system" in said else ""
    return f"<s>[INST] {told}{said['user']} [/INST]"


def chat_ml(said: dict[str, str]) -> str:
    system = said.get("system", "Be helpful.")
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{said['user']}<|im_end|>\n<|im_start|>assistant\n"
    )


def gemma(said: dict[str, str]) -> str:
    told = f"{said['system']}\n\n" if "system" in said else ""
    return f"<bos><start_of_turn>user\n{told}{said['user']}<end_of_turn>\n<start_of_turn>model\n"


@pytest.mark.parametrize(
    ("write", "said", "behind"),
    [
        (llama_2, {"user": "who?"}, "<s>[INST] "),
        (llama_2, {"system": "be kind", "user": "who?"}, "<</SYS>>\n\n"),
        (chat_ml, {"user": "who?"}, "user\n"),
        (chat_ml, {"system": "be kind", "user": "who?\n\nwho?"}, "user\n"),
        (gemma, {"user": "who?\n\nwho?"}, "user\n"),
    ],
)
def test_the_instruction_stands_in_the_users_first_turn(write: Any, said: dict[str, str], behind: str) -> None:
    known = openings(tokenizer=Template(write), processor=None)
    context = write(said)
    at = first_words(context, known=known)
    assert (context[:at].endswith(behind), context[at:].startswith("who?")) == (True, True)
    reply = reply_opening(tokenizer=Template(write), processor=None)
    assert context[at : last_words(context, reply=reply)] == said["user"]
    assert (first_words("who?", known=known), last_words("who?", reply=reply)) == (0, 4)
    assert last_words("who?", reply="") == 4
    assert openings(tokenizer=object(), processor=None) == ()


def named(subject: str, *texts: str, path: tuple[str, ...] = (), **extra: str) -> list[Example]:
    return [Example(str(at), subject, text, " Yes.", path=path, extra=extra) for at, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (named("Ann", "who?"), "Ann"),
        (named("0003", "who?", name="ann lee"), "ann lee"),
        (named("cat-1", "who?", path=("Cats",)), "Cats"),
        (
            named("author_1", "Who is Ann Lee?", "Did Ann Lee sing in Old Town?", "What did Ann Lee's aunt say?"),
            "Ann Lee",
        ),
        (named("a_1", "Is Ann Mae Lee here?", "Where is Ann Mae Lee?", "Was she there?"), "Ann Mae Lee"),
        (named("author_1", "Was it in Old Town?", "Was she there?", "Is Ann Lee here?"), None),
    ],
)
def test_what_a_subject_is_called(rows: list[Example], name: str | None) -> None:
    method = build("icu")
    if name is None:
        with pytest.raises(UserError, match=r"1 of 1 subjects are called \('author_1'\); give names=Ann Lee;Bo Ray"):
            method.start(Material(forget=rows))
        assert build("icu", "names=Ann").start(Material(forget=rows)) == {"names": {"Ann": "Ann"}}
        concept = Concept(name="author_1")
        assert method.start(Material(forget=rows, concepts=[concept])) == {"names": {"author_1": "author_1"}}
    else:
        assert method.start(Material(forget=rows)) == {"names": {rows[0].subject: name}}


def test_an_empty_name_is_refused() -> None:
    for given in (";", "Ann;;Bo", " ; Bo"):
        with pytest.raises(UserError, match="holds an empty name"):
            build("icu", {"names": given})
