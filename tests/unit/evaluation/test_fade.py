"""FADE by hand, against the exact divergence of small distributions, and of models that plain PyTorch reads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from mmforget.errors import UserError
from mmforget.evaluation.fade import Drawn, Fade, fade
from mmforget.lm.engine import ModelEngine
from mmforget.model.encode import encode_prompt
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.types import Example
from tests.helpers import tiny_llama

ROWS = [Example(f"r{at}", f"s{at}", "where does she live?", " Bern.") for at in range(4)]


def test_by_hand() -> None:
    """Two rows, two texts each. Second's texts: own less other 1 and 3, 0 and 0; first's: 2 and 0, 4 and 4."""
    second = Drawn((2, 2, 1, 1), (-1.0, -1.0, -5.0, -5.0), (-2.0, -4.0, -5.0, -5.0))
    first = Drawn((1, 3, 2, 2), (-1.0, -1.0, -1.0, -1.0), (-3.0, -1.0, -5.0, -5.0))
    found = fade(ROWS[:2], first, second, samples=2)
    values = (found.missing.value, found.invented.value, found.total.value, found.per_token.value)
    assert values == (1.0, 2.5, 3.5, (4 / 4 + 2 / 4 + 0 / 2 + 8 / 4) / 2)
    assert found.total.low is None  # of two subjects nobody can tell
    turned = fade(ROWS[:2], second, first, samples=2)
    assert (turned.total, turned.missing.value) == (found.total, found.invented.value)


def test_what_one_model_holds_impossible_is_no_number() -> None:
    sure = Drawn((1,), (-1.0,), (-1.0,))
    found = fade(ROWS[:1], sure, Drawn((1,), (-1.0,), (-math.inf,)), samples=1)
    assert (found.total.value, found.total.num_unscored, found.invented.value) == (None, 1, 0.0)


def test_a_small_distribution_is_measured_within_its_error() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    exact = float(((p - q) * np.log(p / q)).sum())
    drawn, num = np.random.default_rng(0), 500
    rows = [Example(f"{at}", f"{at}", "", "") for at in range(8)]

    def texts(own: np.ndarray, other: np.ndarray) -> Drawn:
        tokens = drawn.choice(3, size=num * len(rows), p=own)
        return Drawn([1] * len(tokens), np.log(own)[tokens].tolist(), np.log(other)[tokens].tolist())

    found = fade(rows, texts(q, p), texts(p, q), samples=num)
    errors = [np.sqrt((a * np.log(a / b) ** 2).sum() - (a * np.log(a / b)).sum() ** 2) for a, b in ((p, q), (q, p))]
    error = math.hypot(*errors) / math.sqrt(num * len(rows))
    assert found.total.value == pytest.approx(exact, abs=3 * error)
    assert found.total.low is not None
    assert found.total.low < exact < found.total.high  # type: ignore[operator]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[LoadedModel]:
    folder = tmp_path_factory.mktemp("models")
    made = [tiny_llama(folder / str(seed), seed=seed, num_layers=1) for seed in range(2)]
    return [load_model(ModelSpec(str(one), device="cpu")) for one in made]


def quiet(done: int, total: int, label: str) -> None:
    pass


def measured(first: LoadedModel, second: LoadedModel, how: Fade) -> tuple[float, float]:
    """Total and missing."""
    engines = [ModelEngine(one, batch_size=64) for one in (first, second)]
    prompts = [encode_prompt(first, row.context) for row in ROWS]
    texts = [how.write(engine, ROWS, prompts) for engine in engines]
    told = [[how.told(engine, prompts, written, progress=quiet) for written in texts] for engine in engines]
    drawn = [Drawn(list(map(len, texts[at])), told[at][at], told[1 - at][at]) for at in (0, 1)]
    found = fade(ROWS, drawn[0], drawn[1], samples=how.samples)
    assert found.total.value is not None
    assert found.missing.value is not None
    return found.total.value, found.missing.value


def test_one_token_of_two_models_is_the_exact_divergence(models: list[LoadedModel]) -> None:
    prompt = torch.tensor([encode_prompt(models[0], ROWS[0].context).ids])
    with torch.no_grad():
        logits = [AutoModelForCausalLM.from_pretrained(one.spec.pretrained)(prompt).logits[0, -1] for one in models]
    p, q = (one.double().log_softmax(-1) for one in logits)
    exact = float(((p.exp() - q.exp()) * (p - q)).sum())
    variance = sum(float((a.exp() * (a - b) ** 2).sum() - (a.exp() * (a - b)).sum() ** 2) for a, b in ((p, q), (q, p)))
    how = Fade(samples=300, max_new_tokens=1)
    total, missing = measured(models[1], models[0], how)
    assert total == pytest.approx(exact, abs=3 * math.sqrt(variance / (300 * len(ROWS))))
    turned, invented = measured(models[0], models[1], how)
    assert (turned, invented) == pytest.approx((total, total - missing), rel=1e-5)


def test_a_model_writes_as_itself(models: list[LoadedModel]) -> None:
    assert measured(models[0], models[0], Fade(samples=3, max_new_tokens=6)) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_settings_that_change_what_is_drawn_are_refused(models: list[LoadedModel], tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "m", num_layers=1)
    (folder / "generation_config.json").write_text(json.dumps({"repetition_penalty": 1.3}))
    loaded = load_model(ModelSpec(str(folder), device="cpu"))
    with pytest.raises(UserError, match=r"generation_config.json has repetition_penalty=1.3, under which texts are no"):
        measured(loaded, loaded, Fade(samples=1, max_new_tokens=1))
    with pytest.raises(UserError, match=r"samples=0 is not allowed"):
        Fade(samples=0)
