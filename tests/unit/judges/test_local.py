"""A judge on this machine: rendered by its own chat template, loaded when first asked, tested before it judges."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged_samples import asked

from mmforget.errors import UnknownName, UserError
from mmforget.judges.local import _answers, _rendered, local_judge
from mmforget.judges.naming import judge_from
from mmforget.judges.reading import Turn
from mmforget.model.load import ModelSpec, load_model
from tests.helpers import tiny_llama, tiny_llava


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("judge") / "toy-instruct")


def test_conversations_in_the_models_own_template(folder: Path) -> None:
    """The helpers' template writes `ROLE: text ` for each turn, and `ASSISTANT:` where the model goes on."""
    loaded = load_model(ModelSpec(str(folder), device="cpu"))
    conversation = (Turn("user", "Is <image>it?"), Turn("assistant", "Yes."))
    assert _rendered(loaded, conversation) == "USER: Is it? ASSISTANT: Yes. ASSISTANT:"


def test_an_image_text_model_judges_too(tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(tiny_llava(tmp_path / "vlm")), device="cpu"))
    assert _rendered(loaded, (Turn("user", "Is it?"),)) == "USER: Is it? ASSISTANT:"
    assert len(_answers(loaded, [(Turn("user", "Is it?"),)] * 10)) == 10


def test_a_random_model_is_no_judge(folder: Path) -> None:
    judge = judge_from(f"hf:{folder}", local_only=True, device="cpu")
    assert judge.name == "hf:toy-instruct"
    with pytest.raises(UserError, match="cannot serve as a judge"):
        judge.judge([asked("a chair")], label="harm")


def test_model_arguments_and_guards() -> None:
    judge = local_judge("pretrained=meta/Llama-Guard-3-8B,load_in_4bit=True,revision=abc", refusals=(), device="cpu")
    assert judge.is_guard
    assert (judge.facts["model"], judge.facts["load_in_4bit"], judge.facts["revision"]) == (
        "meta/Llama-Guard-3-8B", True, "abc",
    )  # fmt: skip
    with pytest.raises(UnknownName, match="unknown model argument 'pretraind'"):
        local_judge("pretraind=x", refusals=(), device=None)


def test_a_model_that_is_not_there_says_so(tmp_path: Path) -> None:
    judge = judge_from(f"hf:{tmp_path / 'nowhere'}", local_only=True, device="cpu")
    with pytest.raises(UserError, match="there is no folder"):
        judge.judge([asked("a chair")], label="harm")


def test_a_model_without_a_chat_template_says_so(tmp_path: Path) -> None:
    place = tiny_llama(tmp_path / "base")
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        path = place / name
        if name.endswith("jinja"):
            path.unlink(missing_ok=True)
        else:
            path.write_text(path.read_text().replace("chat_template", "no_template"))
    judge = judge_from(f"hf:{place}", local_only=True, device="cpu")
    with pytest.raises(UserError, match="has no chat template"):
        judge.judge([asked("a chair")], label="harm")
