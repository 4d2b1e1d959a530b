"""The next token, where a text ends, and which of a checkpoint's settings only `model.generate` honours."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from mmforget.model.choosing import Sampling, StopStrings, choice_for, end_tokens, other_settings
from tests.helpers import tiny_tokenizer

KNOWN = torch.tensor([[0, 0], [2, 1]])


def test_greedy_takes_the_most_likely() -> None:
    choice = choice_for(GenerationConfig(), None, ends=frozenset())
    assert choice.next_tokens(torch.tensor([[0.0, 1, 2], [0, 2, 1]]), known=KNOWN).tolist() == [2, 1]


def test_repetition_penalty_by_hand() -> None:
    """Logits 4, 3, -1 with token 0 known: 4 / 2 < 3. Logits 0, 4, 1.5 with 1 and 2 known: 2, 0.75; so still token 1.
    Half precision is widened first."""
    choice = choice_for(GenerationConfig(repetition_penalty=2.0), None, ends=frozenset())
    logits = torch.tensor([[4, 3, -1], [0, 4, 1.5]], dtype=torch.bfloat16)
    assert choice.next_tokens(logits, known=KNOWN).tolist() == [1, 1]


def test_draws_follow_temperature_and_top_p() -> None:
    """Probabilities 0.6, 0.3, 0.1: with top-p 0.8 the last never comes, the others 2 to 1; squared they are 4 to 1."""
    logits = torch.tensor([0.6, 0.3, 0.1]).log().expand(30_000, 3)
    known = torch.zeros(30_000, 1, dtype=torch.int64)
    torch.manual_seed(0)
    for sampling, wanted in (
        (Sampling(1.0, 1.0), [0.6, 0.3, 0.1]),
        (Sampling(1.0, 0.8), [2 / 3, 1 / 3, 0]),
        (Sampling(0.5, 0.8), [0.8, 0.2, 0]),
    ):
        drawn = choice_for(GenerationConfig(), sampling, ends=frozenset()).next_tokens(logits, known=known)
        found = torch.bincount(drawn, minlength=3) / len(drawn)
        torch.testing.assert_close(found, torch.tensor(wanted), atol=0.02, rtol=0)


def test_a_prompt_without_a_number_gets_the_most_likely_token() -> None:
    """Of probabilities 0.3, 0.6, 0.1 the share 0.2 is the first token, the share 0.95 the last."""
    logits = torch.tensor([0.3, 0.6, 0.1]).log().expand(3, 3)
    choice = choice_for(GenerationConfig(), Sampling(), ends=frozenset())
    drawn = torch.tensor([0.2, torch.nan, 0.95], dtype=torch.float64)
    assert choice.next_tokens(logits, known=torch.zeros(3, 1, dtype=torch.int64), drawn=drawn).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "own", "wanted"),
    [(None, None, set()), (7, None, {7}), ([7, 9], None, {7, 9}), (None, 2, {2}), (7, 2, {2, 7}), ([2, 7], 2, {2, 7})],
)
def test_tokens_that_end_a_text(given: Any, own: int | None, wanted: set[int]) -> None:
    """Those that the checkpoint's settings name, and the tokenizer's."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None if own is None else "</s>"
    assert end_tokens(GenerationConfig(eos_token_id=given), tokenizer=tokenizer) == wanted


HARMLESS: dict[str, Any] = {
    "num_beams": 1,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "repetition_penalty": 1.3,
    "temperature": 0.6,
    "top_p": 0.9,
    "top_k": 20,
    "do_sample": True,
    "eos_token_id": [1, 2],
    "use_cache": True,
    "max_length": 4096,
    "length_penalty": 1.0,
    "suppress_tokens": [],
    "chat_format": "chatml",
}


@pytest.mark.parametrize("do_sample", [False, True])
def test_settings_that_are_honoured(do_sample: bool) -> None:
    assert other_settings(GenerationConfig(**HARMLESS), do_sample=do_sample) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beams", 4),
        ("no_repeat_ngram_size", 2),
        ("min_new_tokens", 1),
        ("suppress_tokens", [5]),
        ("begin_suppress_tokens", [5]),
        ("bad_words_ids", [[5]]),
        ("forced_bos_token_id", 0),
        ("exponential_decay_length_penalty", (3, 1.1)),
        ("guidance_scale", 1.5),
        ("prompt_lookup_num_tokens", 3),
    ],
)
def test_settings_that_only_generate_honours(name: str, value: Any) -> None:
    config = GenerationConfig(**HARMLESS | {name: value})
    assert other_settings(config, do_sample=False) == {name: value}


@pytest.mark.parametrize("name", ["min_p", "typical_p", "epsilon_cutoff"])
def test_settings_for_sampling_alone(name: str) -> None:
    config = GenerationConfig(**{name: 0.2})
    assert other_settings(config, do_sample=False) == {}
    assert other_settings(config, do_sample=True) == {name: 0.2}


def test_stop_strings() -> None:
    tokenizer = tiny_tokenizer()
    stops = StopStrings(tokenizer, ("\n\n", "the river"))
    ids = tokenizer.encode("a house by the river and on", add_special_tokens=False)
    ends = [stops.ended(ids[:count]) for count in range(1, len(ids) + 1)]
    first = ends.index(True)
    assert tokenizer.decode(ids[: first + 1]).endswith("the river")
    assert stops.cut("a house by the river\n\nand on") == "a house by "
    assert stops.cut("\n\nAnna\n\n", lead="\n\n") == "Anna"
    lead = tokenizer.encode("\n\nAnna", add_special_tokens=False)
    assert stops.ended(lead)
    assert not stops.ended(lead, lead="\n\n")
    assert not StopStrings(tokenizer, ()).ended(ids)
    assert StopStrings(tokenizer, ()).cut("a b") == "a b"
