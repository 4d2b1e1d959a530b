"""A guard stands between every question and the model, and its answers are never taken for the model's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from lm_requests import request

from mmforget.asking import Ask, Engine, Guard, GuardEngine
from mmforget.errors import PluginError, UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.cache import ResponseCache
from mmforget.methods.base import hyper_parameters
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, guarded
from mmforget.types import NoScores, TokenScores
from tests.helpers import tiny_image, tiny_llava

QUESTION = "<image>\nwhat is the name of this person?"


@dataclass(frozen=True)
class Warning_(GuardEngine):
    """Writes something before every question."""

    words: str

    def score(self, asks: Sequence[Ask]) -> list[TokenScores]:
        return self.engine.score([replace(ask, context=self.words + ask.context) for ask in asks])

    def generate(self, asks: Sequence[Ask]) -> list[str]:
        return [text.upper() for text in self.engine.generate(asks)]


@dataclass(frozen=True)
class Warn:
    words: str = "be careful. "

    def guard(self, engine: Engine) -> Engine:
        return Warning_(engine, self.words)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llava(tmp_path_factory.mktemp("llava"))), device="cpu"))


def behind(loaded: LoadedModel, method: Any = None, *, code: str | None = None) -> LoadedModel:
    method = method or Warn()
    return guarded(loaded, Guard("warn", method, hyper_parameters(method), code, before=loaded.fingerprint))


def adapter(loaded: LoadedModel, **settings: Any) -> MMForgetLM:
    return MMForgetLM(loaded, progress=False, **settings)


def asked(context: str = QUESTION) -> list[Any]:
    return [
        request("loglikelihood", context, answer, images=[tiny_image(seed)])
        for seed in (1, 2)
        for answer in (" Anna.", " his blood type.")
    ]


def written() -> list[Any]:
    return [request("generate_until", QUESTION, {"max_gen_toks": 6}, images=[tiny_image(seed)]) for seed in (1, 2)]


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_model_is_asked_what_the_guard_makes_of_a_question(loaded: LoadedModel, batch_size: int) -> None:
    lm, bare = adapter(behind(loaded), batch_size=batch_size), adapter(loaded, batch_size=batch_size)
    wanted = bare.loglikelihood(asked("be careful. " + QUESTION))
    plain = bare.loglikelihood(asked())
    for found, want, other in zip(lm.loglikelihood(asked()), wanted, plain, strict=True):
        assert found.token_logprobs == pytest.approx(want.token_logprobs, abs=1e-5)
        assert found.token_logprobs != pytest.approx(other.token_logprobs, abs=1e-3)
    assert lm.generate_until(written()) == [text.upper() for text in bare.generate_until(written())]
    assert lm.get_model_info()["model_sha"] != bare.get_model_info()["model_sha"]


def test_what_a_guard_passes_on_is_computed_as_without_it(loaded: LoadedModel) -> None:
    """To the last bit, and every token once."""
    lm, bare = adapter(behind(loaded)), adapter(loaded)
    assert [text.upper() for text in bare.generate_until(written())] == lm.generate_until(written())
    assert lm.engine.num_tokens == bare.engine.num_tokens > 0


def test_the_cache_never_mixes_the_two(loaded: LoadedModel, tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "cache.db")
    first = adapter(loaded, cache=cache).loglikelihood(asked())
    lm = adapter(behind(loaded), cache=cache)
    found = lm.loglikelihood(asked())
    assert lm.cost().num_cached == 0
    assert found != first
    again = adapter(behind(loaded), cache=cache)
    assert again.loglikelihood(asked()) == found
    assert (again.cost().num_cached, again.cost().num_tokens) == (4, 0)
    other = adapter(behind(loaded, Warn("take care. ")), cache=cache)
    other.loglikelihood(asked())
    assert other.cost().num_cached == 0
    assert adapter(loaded, cache=cache).loglikelihood(asked()) == first


def test_a_fingerprint_names_model_guard_arguments_and_code(loaded: LoadedModel) -> None:
    every = [loaded, behind(loaded), behind(loaded, Warn("x")), behind(loaded, code="a"), behind(loaded, code="b")]
    every.append(behind(replace(loaded, fingerprint="another model")))
    assert len({one.fingerprint for one in every}) == len(every)
    assert behind(loaded).fingerprint == behind(loaded).fingerprint
    assert behind(loaded).base_fingerprint == loaded.fingerprint
    assert adapter(behind(loaded)).engine.fingerprint == loaded.fingerprint


@dataclass(frozen=True)
class Picky(GuardEngine):
    """Asks the model about Anna alone."""

    def score(self, asks: Sequence[Ask]) -> list[TokenScores]:
        passed = {id(ask): ask for ask in asks if "Anna" in str(ask.continuation)}
        found = dict(zip(passed, self.engine.score(list(passed.values())), strict=True))
        return [found.get(id(ask), TokenScores((-9.0,), False)) for ask in asks]


@dataclass(frozen=True)
class Picks:
    def guard(self, engine: Engine) -> Engine:
        return Picky(engine)


def test_a_guard_may_answer_some_or_all_questions_itself(loaded: LoadedModel) -> None:
    lm = adapter(behind(loaded, Picks()))
    found, bare = lm.loglikelihood(asked()), adapter(loaded).loglikelihood(asked())
    assert [one.token_logprobs for one in found[1::2]] == [(-9.0,)] * 2
    for one, other in zip(found[::2], bare[::2], strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-5)
    others = [one for one in asked() if "Anna" not in one.args[1]]
    computed = lm.engine.num_tokens
    assert [one.token_logprobs for one in lm.loglikelihood(others)] == [(-9.0,)] * 2
    assert lm.engine.num_tokens == computed
    assert adapter(behind(loaded, Picks())).engine.batches([]) == []


@dataclass(frozen=True)
class Quiet(GuardEngine):
    """Leaves what is said of Anna unanswered, and defines nothing else."""

    def score(self, asks: Sequence[Ask]) -> list[TokenScores | NoScores]:
        found = self.engine.score(asks)
        said = zip(asks, found, strict=True)
        return [NoScores("it is about Anna") if "Anna" in str(ask.continuation) else one for ask, one in said]


@dataclass(frozen=True)
class Quietens:
    def guard(self, engine: Engine) -> Engine:
        return Quiet(engine)


def test_what_a_guard_has_no_answer_to_is_never_the_models_number(loaded: LoadedModel, tmp_path: Path) -> None:
    """Nor zero: the pair is (nan, no), the text says that it is none; from the cache, too."""
    cache = ResponseCache(tmp_path / "cache.db")
    bare = adapter(loaded).loglikelihood(asked())
    for _ in range(2):
        lm = adapter(behind(loaded, Quietens()), cache=cache)
        found = [copy(one) for one in lm.loglikelihood(asked())]
        assert [one.reason for one in found[::2]] == ["it is about Anna"] * 2
        assert all(math.isnan(one[0]) and one[1] is False for one in found[::2])
        assert [one.token_logprobs for one in found[1::2]] == [one.token_logprobs for one in bare[1::2]]
        text = copy(lm.generate_until(written())[0])
        assert (text, text.reason) == ("", "the guard gives no text")
        assert math.isnan(lm.loglikelihood_rolling([request("loglikelihood_rolling", "a river by the town")])[0])
    assert (lm.cost().num_cached, lm.cost().num_tokens) == (7, 0)


@dataclass(frozen=True)
class Gives:
    """Gives what it is told to, in place of an engine or of answers."""

    what: Any

    def guard(self, engine: Engine) -> Any:
        return self.what if self.what is None else self

    def score(self, asks: Sequence[Ask]) -> Any:
        return self.what

    generate = roll = score


@pytest.mark.parametrize("what", [[], [1.0] * 4, ["a"] * 5, 7])
def test_what_is_no_answer_is_named(loaded: LoadedModel, what: Any) -> None:
    with pytest.raises(PluginError, match=r"method 'warn': score( \(|: has to give a TokenScores for each of 4)"):
        adapter(behind(loaded, Gives(what))).loglikelihood(asked())


def test_what_is_no_engine_is_named(loaded: LoadedModel) -> None:
    with pytest.raises(PluginError, match="guard gives a NoneType without score, generate, roll"):
        adapter(behind(loaded, Gives(None)))


def test_token_ids_do_not_pass_by_a_guard(loaded: LoadedModel) -> None:
    pair = [(("a", "b"), [1, 5], [6])]
    assert adapter(loaded)._loglikelihood_tokens(pair)
    with pytest.raises(UserError, match="a guard reads questions as text"):
        adapter(behind(loaded))._loglikelihood_tokens(pair)
