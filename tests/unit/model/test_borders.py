"""Where answers begin and end, with real small tokenizers: what is lost there is counted and said."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mmforget.errors import BadData
from mmforget.model.choosing import StopStrings
from mmforget.model.encode import Encoded, encode
from mmforget.model.examples import encode_all, joined
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.fitting import borders
from mmforget.types import Example
from tests.helpers import CHAT_TEMPLATE, tiny_llama

pytestmark = pytest.mark.slow
PIECES = ("who", "?A", "nna", "where", "Bern") * 40
TEXTS = ("who? Anna.", "who? Bo.", "where? Bern.") * 40


def byte_level(*, bos: bool = False, chat: bool = False, eos: str | None = "</s>") -> PreTrainedTokenizerFast:
    """Byte-level BPE whose merges know no borders of words, so that `?A` is one token."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    core.train_from_iterator(PIECES, trainer)
    return _dressed(core, bos=bos, chat=chat, eos=eos)


def unigram(*, bos: bool = False, chat: bool = False, eos: str | None = "</s>") -> PreTrainedTokenizerFast:
    """As sentencepiece's: a mark in front of every word, and no piece for a newline."""
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    special = ["<unk>", "<pad>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token=special[0], show_progress=False)
    core.train_from_iterator(TEXTS, trainer)
    return _dressed(core, bos=bos, chat=chat, eos=eos)


def _dressed(core: Tokenizer, *, bos: bool, chat: bool, eos: str | None) -> PreTrainedTokenizerFast:
    if bos:
        front = [("<s>", core.token_to_id("<s>"))]
        core.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=front)
    template = {"chat_template": CHAT_TEMPLATE} if chat else {}
    special = {"bos_token": "<s>", "eos_token": eos, "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **special, **template)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llama(tmp_path_factory.mktemp("llama"))), device="cpu"))


def speaking(llama: LoadedModel, tokenizer: Any) -> LoadedModel:
    return replace(llama, tokenizer=tokenizer)


def rows(*pairs: tuple[str, str]) -> list[Example]:
    return [Example(f"row/{at}", "anna", question, answer) for at, (question, answer) in enumerate(pairs)]


@pytest.mark.parametrize("chat", [False, True], ids=["bare", "chat"])
@pytest.mark.parametrize("bos", [False, True], ids=["no bos", "bos"])
def test_answers_that_begin_inside_a_token_are_counted(
    llama: LoadedModel, bos: bool, chat: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """`?A` is one token of the first row; behind the blank of the second, which goes to the answer, `?` stays alone."""
    loaded = speaking(llama, byte_level(bos=bos, chat=chat))
    assert loaded.tokenizer.tokenize("who?Anna.") == ["who", "?A", "nna", "."]
    examples = rows(("who?", "Anna."), ("who? ", "Zoe."), ("", "Anna."))
    with caplog.at_level(logging.WARNING):
        found = encode_all(loaded, examples, append_eos=True, source=f"rows {bos} {chat}")
    assert joined(examples, found) == ["row/0"]
    assert "in 1 of 3 rows, the first 'row/0'" in caplog.text
    assert [one.ids[-1] for one in found] == [loaded.tokenizer.eos_token_id] * 3


@pytest.mark.parametrize("bos", [False, True], ids=["no bos", "bos"])
def test_sentencepiece_begins_answers_at_their_words(llama: LoadedModel, bos: bool) -> None:
    loaded = speaking(llama, unigram(bos=bos))
    examples = rows(("who?", " Anna."), ("who? ", "Anna."))
    found = encode_all(loaded, examples, append_eos=True, source="rows")
    assert joined(examples, found) == []
    assert found[0].ids == found[1].ids


@pytest.mark.parametrize("make", [byte_level, unigram])
def test_a_tokenizer_without_an_end_token_is_told(
    llama: LoadedModel, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = speaking(llama, make(eos=None))
    with caplog.at_level(logging.WARNING):
        encode_all(loaded, rows(("who?", " Anna.")), append_eos=True, source=f"rows of {make.__name__}")
    assert "has no end token, so 1 answers are learnt without one" in caplog.text


def test_every_row_that_is_empty_or_cut_is_named(llama: LoadedModel) -> None:
    loaded = speaking(llama, byte_level())
    with pytest.raises(BadData) as caught:
        encode_all(loaded, rows(("who?", ""), ("who?", "Bo."), ("who?", "xyz" * 300)), append_eos=True, source="rows")
    first, second = caught.value.faults
    assert first.startswith("row 'row/0': the answer '' has no tokens")
    assert second.startswith("row 'row/2'")
    assert "takes 512" in second


@torch.no_grad()
def test_ends_of_turns_inside_a_prompt_are_read_though_they_pad(llama: LoadedModel) -> None:
    """pad == eos, as of Llama 3: alone, packed, and beside a longer row, the score is that of a plain forward."""
    tokenizer = byte_level()
    tokenizer.pad_token = tokenizer.eos_token
    loaded = speaking(llama, tokenizer)
    short = encode(loaded, "who?</s>where?</s>", " Bern.", append_eos=True)
    long = encode(loaded, "who?" * 20 + "</s>", " Anna.", append_eos=True)
    assert short.ids.count(tokenizer.eos_token_id) == 3
    logprobs = loaded.core(torch.tensor([short.ids])).logits[0, short.num_context - 1 : -1].log_softmax(-1)
    wanted = logprobs.gather(-1, torch.tensor(short.ids[short.num_context :])[:, None])[:, 0]
    for packed in (False, True):
        scored = score(loaded, [short, long], packed=packed)
        torch.testing.assert_close(scored.token_logprobs[0][scored.mask[0]], wanted, rtol=0, atol=1e-5)


def test_a_newline_that_no_text_can_hold_is_known() -> None:
    assert StopStrings(unigram(), ("\n", "who")).unwritable == ["\n"]
    assert StopStrings(byte_level(), ("\n", "who", "?A")).unwritable == []


def test_what_is_joined_stays_so_under_an_edit() -> None:
    assert Encoded((1, 2), 1, is_joined=True).under(3).is_joined


def test_a_record_counts_them_by_set(llama: LoadedModel) -> None:
    """Each set once, however many tasks ask it."""
    loaded = speaking(llama, byte_level())
    sets = {"forget": rows(("who?", "Anna."), ("who?", "Bo.")), "retain": rows(("who?", "Bo."))}
    tasks = [SimpleNamespace(set=name, kind=kind) for name in sets for kind in ("gen", "prob")]
    bound: Any = SimpleNamespace(
        benchmark=SimpleNamespace(modality="text", tasks=tasks, group="toy"), examples=sets.__getitem__
    )
    assert borders(loaded, config=RunConfig("hf", ("toy",)), bound=bound) == {"joined_answers": {"forget": 1}}
