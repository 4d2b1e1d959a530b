"""What is known of each token beside its log-prob: against a plain forward pass, kept, stored and asked for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch
from lm_requests import adapter, request
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.lm.cache import ResponseCache
from mmforget.model.token_stats import entropy, variance
from mmforget.results.samples import read_samples, write_samples
from mmforget.types import DocumentScore, Sample
from tests.helpers import TEXTS, tiny_llama

CONTEXT, ANSWER = "what is his blood type?", " his blood type is o positive."


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def plain(folder: Path, context: str, answer: str) -> dict[str, list[float]]:
    """By name, a number for each token of the answer from stock transformers and plain formulas."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer(context + answer)["input_ids"]
    num_context = len(tokenizer(context)["input_ids"]) if context else 1
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    found: dict[str, list[float]] = {"is_best": [], "entropy": [], "variance": []}
    for place in range(num_context, len(ids)):
        row = logprobs[place - 1]
        mean = (row.exp() * row).sum()
        found["is_best"].append(float(row.argmax() == ids[place]))
        found["entropy"].append(-float(mean))
        found["variance"].append(float((row.exp() * row**2).sum() - mean**2))
    return found


def test_statistics_that_are_asked_for_are_those_of_a_plain_forward_pass(llama: Path) -> None:
    lm = adapter(llama)
    lm.statistics = {"toy": ("entropy", "variance")}
    requests = [request("loglikelihood", CONTEXT, ANSWER), request("loglikelihood", CONTEXT, " no.", doc_id=1)]
    for found, answer in zip(lm.loglikelihood(requests), (ANSWER, " no."), strict=True):
        expected = plain(llama, CONTEXT, answer)
        assert set(found.values) == set(expected)
        for name, values in expected.items():
            assert list(found.values[name]) == pytest.approx(values, abs=2e-4), name


def test_without_asking_only_what_costs_nothing_is_there(llama: Path) -> None:
    (found,) = adapter(llama).loglikelihood([request("loglikelihood", CONTEXT, ANSWER)])
    assert set(found.values) == {"is_best"}
    assert len(found.values["is_best"]) == len(found.token_logprobs)


def test_whole_documents_have_them_across_windows(llama: Path) -> None:
    lm = adapter(llama)
    lm.statistics = {"toy": ("entropy",)}
    text = " ".join(TEXTS * 8)
    (found,) = lm.loglikelihood_rolling([request("loglikelihood_rolling", text)])
    assert isinstance(found, DocumentScore)
    assert len(found.token_logprobs) > lm.max_length
    assert {len(values) for values in found.values.values()} == {len(found.token_logprobs)}


def test_the_cache_keeps_them_and_tells_questions_with_and_without_apart(llama: Path, tmp_path: Path) -> None:
    lm = adapter(llama, cache=ResponseCache(tmp_path / "cache.db"))
    asked = [request("loglikelihood", CONTEXT, ANSWER)]
    (bare,) = lm.loglikelihood(asked)
    lm.statistics = {"toy": ("entropy",)}
    (first,), (again,) = lm.loglikelihood(asked), lm.loglikelihood(asked)
    assert lm.tally.num_cached == 1
    assert again.values == first.values
    assert set(first.values) - set(bare.values) == {"entropy"}


def test_the_variance_of_a_distribution_by_hand() -> None:
    """Two tokens of log-prob -log 2 spread nothing; 1/4 and 3/4: p (1-p) (log 3)^2; an impossible one has no part."""
    logprobs = torch.log(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]]))
    expected = [0.0, 3 / 16 * math.log(3) ** 2]
    assert variance(logprobs, torch.tensor([0, 0])).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("num_tokens", [3, 1000, 200_000])
def test_many_rows_have_what_scipy_and_a_plain_sum_give(num_tokens: int) -> None:
    """In blocks of rows, the last of them smaller; a row longer than a block; whole, with gradients."""
    num_rows = 300 if num_tokens < 10_000 else 3
    logprobs = torch.randn(num_rows, num_tokens, generator=torch.manual_seed(0)) * 3
    logprobs[:, 0] = -torch.inf
    logprobs = logprobs.log_softmax(-1)
    exact = logprobs.double().exp()
    target = torch.zeros(len(logprobs), dtype=torch.long)
    wanted = scipy.stats.entropy(exact.numpy(), axis=-1)
    held = torch.where(exact > 0, logprobs.double(), 0.0)
    spread = (exact * (held - (exact * held).sum(-1, keepdim=True)).square()).sum(-1)
    for given in (logprobs, logprobs.clone().requires_grad_()):
        assert entropy(given, target).tolist() == pytest.approx(wanted.tolist(), rel=5e-5, abs=1e-6)
        assert variance(given, target).tolist() == pytest.approx(spread.tolist(), rel=1e-4, abs=1e-5)


def stored(folder: Path, samples: list[Sample]) -> list[Sample]:
    return read_samples(folder, files=write_samples(folder, samples, model="m"))


def test_samples_are_stored_with_them(tmp_path: Path) -> None:
    """Also where only some samples, or roles, have them."""
    roles = {"answer": (-1.0, -2.0), "perturbed/0": (-3.0,)}
    values: dict[str, Any] = {
        "is_best": {"answer": (1.0, 0.0), "perturbed/0": (0.0,)},
        "entropy": {"answer": (0.5, 2.0)},
    }
    whole = Sample("t", "forget", "prob", "a", "s", "?", "!", token_logprobs=roles, token_values=values)
    bare = replace(whole, id="b", token_values={})
    assert stored(tmp_path, [whole, bare]) == [whole, bare]
