"""Form-dependence of models of known truth: silent in the plain form alone, in every form, or in some of them more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_benchmark import write_toy

from mmforget.asking import Ask, Engine, Guard, GuardEngine
from mmforget.benchmark.find import find
from mmforget.benchmark.rows import undecoded
from mmforget.benchmark.source import DataSource
from mmforget.errors import UserError
from mmforget.evaluation.forms import NOTHING_LOST, Asked, FormDependence, asked_in_forms, form_dependence
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, guarded
from mmforget.types import TokenScores
from tests.helpers import tiny_llava

HOW = FormDependence("cloze,choice,reverse_query")


@dataclass(frozen=True)
class Holds:
    """In place of the model: the probability of each token of an answer in the plain form, a blank and options."""

    plain: float
    cloze: float
    choice: float

    def guard(self, engine: Engine) -> Engine:
        return Holding(engine, self)


@dataclass(frozen=True)
class Holding(GuardEngine):
    holds: Holds

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores]:
        return [TokenScores((math.log(self._held(ask)),) * 2, False) for ask in asks]

    def _held(self, ask: Ask) -> float:
        assert ask.row is not None
        assert ask.continuation == f" {ask.row['answer']}"
        return (
            self.holds.cloze
            if "____" in ask.context
            else self.holds.choice
            if " A) " in ask.context
            else self.holds.plain
        )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llava(tmp_path_factory.mktemp("m") / "llava", num_layers=1)), device="cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("forms") / "tasks")


def asked(bare: LoadedModel, folder: Path, holds: Holds) -> Asked:
    bound = find("toy", [folder]).bind(DataSource("synthetic"))
    lm = MMForgetLM(guarded(bare, Guard("holds", holds, {}, None, before=bare.fingerprint)), progress=False)
    return asked_in_forms(
        lm, {str(doc["id"]): doc for doc in undecoded(bound.rows("full"))}, bound.examples("full"), how=HOW
    )


def test_how_much_forgetting_depends_on_the_form(bare: LoadedModel, folder: Path) -> None:
    target = asked(bare, folder, Holds(0.5, 0.5, 0.5))
    cases = [(Holds(0.05, 0.5, 0.5), (0.9, 0.0, 0.0)), (Holds(0.05, 0.05, 0.05), (0.9, 0.9, 0.9))]
    cases.append((Holds(0.05, 0.25, 0.1), (0.9, 0.5, 0.8)))
    for holds, drops in cases:
        found = form_dependence(asked(bare, folder, holds), target)
        forms = ("question", "cloze", "choice")
        assert [found.by_token.drops[form].value for form in forms] == pytest.approx(drops)
        assert found.by_token.bias.value == pytest.approx(1 - min(drops) / max(drops))
        assert found.by_token.bias.low == pytest.approx(found.by_token.bias.value)  # every row is alike
        whole = [1 - (held / 0.5) ** 2 for held in (holds.plain, holds.cloze, holds.choice)]
        assert [found.whole.drops[form].value for form in forms] == pytest.approx(whole)
    lacking = found.by_token.drops["reverse_query"]
    assert (lacking.value, lacking.num_lacking, lacking.num_unscored) == (None, 12, 0)
    assert lacking.reasons == ("12 of 12 rows take no part: the row does not say what its subject is called",)


def test_where_nothing_was_lost_there_is_no_bias(bare: LoadedModel, folder: Path) -> None:
    target = asked(bare, folder, Holds(0.5, 0.5, 0.5))
    found = form_dependence(target, target)
    assert {one.value for form, one in found.by_token.drops.items() if form != "reverse_query"} == {0.0}
    assert (found.by_token.bias.value, found.by_token.bias.reasons) == (None, (NOTHING_LOST,))


def test_a_form_that_asks_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="forms=logit_lens: 'logit_lens' asks no questions; name attacks by questions"):
        FormDependence("logit_lens")
