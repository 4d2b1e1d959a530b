"""A classifier as a judge: its first class as stock transformers has it, from a folder or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

from mmforget.errors import UserError
from mmforget.judges.base import label_samples
from mmforget.judges.naming import judge_from
from mmforget.metrics.gibberish import Gibberish
from mmforget.types import Sample
from tests.helpers import tiny_tokenizer

TEXTS = ("his blood type is o positive.", "xq xq xq " * 20, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    place, tokenizer = tmp_path_factory.mktemp("models") / "detector", tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        num_labels=4, initializer_range=0.5, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def samples(*texts: str | None) -> list[Sample]:
    return [Sample("t", "forget", "gen", str(n), f"s{n}", "?", "!", response=text) for n, text in enumerate(texts)]


def plain(folder: Path, text: str, *, max_length: int) -> float:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
    return float(model(**inputs).logits.detach().softmax(-1)[0, 0])


@pytest.mark.parametrize("max_length", [32, 6])
def test_the_first_class_of_each_response_by_itself(folder: Path, max_length: int) -> None:
    judge = judge_from(f"classifier:folder={folder},max_length={max_length}", local_only=True)
    found = label_samples(samples(*TEXTS[:2], None), labels=["gibberish"], judge=judge)
    for sample in found[:2]:
        expected = plain(folder, sample.response or "", max_length=max_length)
        assert float(sample.labels["gibberish"]) == pytest.approx(expected, abs=1e-5)
        assert Gibberish().score(sample).value == pytest.approx(expected, abs=1e-5)
    assert found[2].labels == {}


def test_it_says_what_it_is(folder: Path) -> None:
    judge = judge_from(f"classifier:{folder}", local_only=True)
    told = judge.describe()
    assert (told["judge"], told["max_length"]) == ("classifier:detector", 32)
    (sample,) = label_samples(samples("fine."), labels=["gibberish"], judge=judge)
    assert sample.labels["gibberish/by"] == told["labels"]["gibberish"]
    (other,) = label_samples(samples("fine."), labels=["refusal"], judge=judge)
    assert other.labels == {}


def test_an_empty_answer_is_no_good_one() -> None:
    (sample,) = samples(" ")
    sample = Sample(**{**vars(sample), "labels": {"gibberish": "0.9"}})
    assert Gibberish().score(sample).value == 0.0
    assert Gibberish().score(sample, profile="openunlearning").value == 0.9


def test_without_a_classifier_there_is_no_value() -> None:
    (sample,) = samples("fine.")
    found = Gibberish().score(sample)
    assert (found.value, found.lacking) == (None, True)
    assert found.reason == "no classifier; name a folder with one by --judge classifier:FOLDER"


def test_nothing_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder with a classifier of transformers .* nothing is downloaded"):
        judge_from("classifier:madhurjindal/autonlp-Gibberish-Detector", local_only=False)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    judge = judge_from(f"classifier:{tmp_path}", local_only=False)
    with pytest.raises(UserError, match="holds no classifier of transformers"):
        label_samples(samples("fine."), labels=["gibberish"], judge=judge)
