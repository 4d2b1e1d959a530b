"""Chat templates of every shape: what is trained, what is scored and what text is written behind is the same span."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.errors import UserError
from mmforget.model.chat import render_chat
from mmforget.model.encode import encode, encode_prompt
from mmforget.model.examples import encode_all
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.types import Example
from tests.helpers import tiny_llama

EACH = "{% for message in messages %}"
TEMPLATES = {
    "chatml": (
        EACH + "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama3": (
        "{{ bos_token }}" + EACH + "{{ '<|start|>' + message.role + '<|end|>\n\n' + message.content + '<|eot|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\n\n' }}{% endif %}"
    ),
    "vicuna": (
        EACH
        + "{{ message.role | upper }}: {{ message.content }}{{ eos_token if message.role == 'assistant' else ' ' }}"
        "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    ),
    "a blank before the answer": EACH + "USER: {{ message.content }} ASSISTANT: {% endfor %}",
    "two lines before the answer": EACH + "### {{ message.content }}{{ '\n\n### Answer\n\n' }}{% endfor %}",
    "no end token": EACH + "[INST] {{ message.content }} [/INST]{% endfor %}",
    "bos in the template": EACH + "{{ bos_token }}[INST] {{ message.content }} [/INST]{% endfor %}",
    "ends a turn with a line": EACH + "{{ message.content }}<|im_end|>{{ '\n' }}{% endfor %}",
}
TOKENS = ["<|im_start|>", "<|im_end|>", "<|start|>", "<|end|>", "<|eot|>"]
QUESTION, ANSWERS = "who is it?", ("Anna Meier", " she lives in Bern", "120 dollars")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokenizer knows the marks of all templates, and ends texts with another token than the model."""
    folder = tiny_llama(tmp_path_factory.mktemp("models") / "chat")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "additional_special_tokens": TOKENS})
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def with_template(folder: Path, template: str) -> LoadedModel:
    loaded = load_model(ModelSpec(str(folder)))
    loaded.tokenizer.chat_template = template
    return loaded


def asked(loaded: LoadedModel) -> str:
    said = [{"role": "user", "content": QUESTION}]
    return render_chat(said, tokenizer=loaded.tokenizer, processor=None, add_generation_prompt=True)


def says(loaded: LoadedModel, chain: list[int]) -> None:
    """Makes the model answer each token of the chain by the next."""
    model, size = loaded.core, len(loaded.tokenizer)
    vectors = torch.nn.functional.normalize(torch.randn(size, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    head = torch.zeros(size, 64)
    for token, after in zip(chain, chain[1:], strict=False):
        head[after] += vectors[token]
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.model.norm.weight.fill_(1)
        model.get_input_embeddings().weight.copy_(vectors * 8)
        model.get_output_embeddings().weight.copy_(head * 5)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_answer_begins_where_generation_begins(folder: Path, name: str) -> None:
    loaded = with_template(folder, TEMPLATES[name])
    prompt = encode_prompt(loaded, asked(loaded))
    for answer in ANSWERS:
        found = encode(loaded, asked(loaded), answer)
        (trained,) = encode_all(loaded, [Example("1", "s", asked(loaded), answer)], append_eos=True, source="rows")
        assert found.ids[: found.num_context] == prompt.ids
        assert trained.ids == (*found.ids, loaded.tokenizer.eos_token_id)
        assert trained.num_context == found.num_context
        text = loaded.tokenizer.decode(found.ids[found.num_context :])
        assert text == prompt.lead + answer
        whole = loaded.tokenizer.encode(asked(loaded).removeprefix("<s>") + answer)
        assert list(found.ids) == whole, "the tokens are those of the whole text"


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("until", [(), ("\n",)])
@pytest.mark.parametrize("packed", [True, False])
def test_a_model_that_learnt_an_answer_writes_it(folder: Path, name: str, until: Any, packed: bool) -> None:
    """Its text is the trained answer alone: it ends at the token that training appends, whatever the checkpoint's
    settings say, and begins behind the whole of the template."""
    loaded = with_template(folder, TEMPLATES[name])
    trained = encode(loaded, asked(loaded), ANSWERS[0], append_eos=True)
    junk = loaded.tokenizer.encode(" junk of the river", add_special_tokens=False)
    says(loaded, [*trained.ids[trained.num_context - 1 :], *junk])
    assert loaded.core.generation_config.eos_token_id != loaded.tokenizer.eos_token_id
    prompt = encode_prompt(loaded, asked(loaded))
    assert generate(loaded, [prompt], max_new_tokens=20, until=until, packed=packed) == [ANSWERS[0]]


def test_a_blank_that_joins_the_word_behind_belongs_to_the_answer(folder: Path) -> None:
    """By hand: `ASSISTANT: Anna` has the token ` Anna`, so the prompt ends with the colon."""
    loaded = with_template(folder, TEMPLATES["a blank before the answer"])
    assert encode_prompt(loaded, asked(loaded)).ids == encode_prompt(loaded, asked(loaded).rstrip()).ids
    first = encode(loaded, asked(loaded), "Anna")
    assert loaded.tokenizer.convert_ids_to_tokens(first.ids[first.num_context]).startswith("Ġ")


def test_a_context_without_the_template_is_split_as_lm_eval_does(folder: Path) -> None:
    loaded = with_template(folder, TEMPLATES["chatml"])
    found = encode(loaded, "who is it?\n", "Anna")
    assert found.ids[: found.num_context] == encode_prompt(loaded, "who is it?").ids


def test_padding_behind_an_end_is_no_text(folder: Path) -> None:
    """Of two texts one ends at once; what fills it up to the other's length may be any token."""
    loaded = load_model(ModelSpec(str(folder)))
    ends, goes_on = encode_prompt(loaded, "who"), encode_prompt(loaded, "where")
    lives = loaded.tokenizer.encode(" she lives", add_special_tokens=False)
    says(loaded, [goes_on.ids[-1], *lives, ends.ids[-1], loaded.tokenizer.eos_token_id])
    loaded.tokenizer.pad_token_id = loaded.tokenizer.convert_tokens_to_ids("a")
    texts = generate(loaded, [ends, goes_on], max_new_tokens=6, packed=False)
    assert texts == ["", " she liveswho"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('roles must\n alternate') }}", "messages by user: TemplateError: roles must alternate"),
        ("{{ messages[7].content }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
    ],
)
def test_a_template_that_raises_is_one_line(folder: Path, template: str, message: str) -> None:
    loaded = with_template(folder, template)
    assert encode(loaded, "who?", " Anna").num_answer, "without the template the model is usable"
    with pytest.raises(UserError, match=message) as caught:
        asked(loaded)
    assert "\n" not in str(caught.value)


def test_front_tokens_that_a_template_writes_are_not_doubled(folder: Path) -> None:
    """Two tokens in front, as GLM's tokenizers have them."""
    loaded = load_model(ModelSpec(str(folder)))
    both = tuple(loaded.tokenizer.convert_tokens_to_ids(["<s>", "<|start|>"]))
    loaded.__dict__["front_tokens"] = both
    assert encode_prompt(loaded, "<s><|start|>who?").ids == encode_prompt(loaded, "who?").ids
    assert encode_prompt(loaded, "<s>who?").ids[:3] == (*both, both[0])
