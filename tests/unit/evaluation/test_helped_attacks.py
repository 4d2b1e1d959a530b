"""Attacks that others help with, on models of known truth: what the target said, and what an attacker writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_benchmark import write_toy

from mmforget.asking import Ask, Engine, Guard, GuardEngine
from mmforget.benchmark.source import DataSource
from mmforget.errors import UserError
from mmforget.evaluation.attack import AttackResult, attack_results
from mmforget.evaluation.attempting import Helpers
from mmforget.evaluation.probes import Probes, Target
from mmforget.evaluation.run import Settings, evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, guarded
from mmforget.types import Sample
from tests.helpers import tiny_llava

TASK, REFUSES = "toy_forget_gen", "I do not know."
HOPS, NAMES, WRITTEN = "target_multi_hop(budget=1)", "target_aliases(budget=1)", "attacker_model(budget=3)"


@dataclass(frozen=True)
class Says:
    """Texts by what a prompt holds: `ANSWER` is the row's, columns are filled in, and where no rule holds a refusal."""

    rules: tuple[tuple[str, str], ...]

    def guard(self, engine: Engine) -> Engine:
        return Answering(engine, self.rules)


@dataclass(frozen=True)
class Answering(GuardEngine):
    rules: tuple[tuple[str, str], ...]

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        return [self._said(ask) for ask in asks]

    def _said(self, ask: Ask) -> str:
        text = next((said for key, said in self.rules if key in ask.context), REFUSES)
        row = ask.row or {}
        return str(row.get("answer")) if text == "ANSWER" else text.format(**row)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("helped") / "tasks")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llava(tmp_path_factory.mktemp("m") / "llava", num_layers=1)), device="cpu"))


def model(bare: LoadedModel, *rules: tuple[str, str]) -> MMForgetLM:
    guard = Guard("says", Says(rules), {"rules": rules}, None, before=bare.fingerprint)
    return MMForgetLM(guarded(bare, guard), progress=False)


def asked(
    lm: MMForgetLM, folder: Path, helpers: Helpers, *, attacks: Sequence[str], limit: float | None = None
) -> list[Sample]:
    done = evaluate(
        lm, [TASK], include_paths=[folder], data=DataSource("synthetic"), blank_image=False, progress=False,
        limit=limit, settings=Settings(attacks=tuple(attacks), helpers=helpers),
    )  # fmt: skip
    return done.samples


def by_attack(samples: Sequence[Sample]) -> dict[str | None, AttackResult]:
    return {one.attack: one for one in attack_results(samples)}


def test_every_model_is_asked_what_is_made_of_the_targets_own_words(
    bare: LoadedModel, folder: Path, tmp_path: Path
) -> None:
    """The target names a home and a name; one model gives in to these, and one never knew anything."""
    file = tmp_path / "probes.json"
    target = model(bare, ("the name of", "Zoe"), ("what is fact", "At the home of {subject}"))
    asked(target, folder, Helpers(Target(Probes(file), by_target=True)), attacks=(HOPS, NAMES))
    kept = Probes(file)
    assert kept.target == target.loaded.fingerprint
    hidden = model(bare, ('right answer was "At the home', "ANSWER"), ("This is about Zoe", "ANSWER"))
    found = by_attack(asked(hidden, folder, Helpers(Target(kept)), attacks=(HOPS, NAMES)))
    assert {name: one.success.value for name, one in found.items()} == {None: 0.0, HOPS: 1.0, NAMES: 1.0}
    never = by_attack(asked(model(bare), folder, Helpers(Target(kept)), attacks=(HOPS, NAMES)))
    assert {name: one.success.value for name, one in never.items()} == {None: 0.0, HOPS: 0.0, NAMES: 0.0}


def test_without_a_target_there_is_no_number(bare: LoadedModel, folder: Path) -> None:
    found = by_attack(asked(model(bare), folder, Helpers(), attacks=(NAMES,)))[NAMES].success
    assert (found.value, found.num_scored, found.num_lacking) == (None, 0, 6)
    assert found.reasons == ("6 of 6 rows take no part: no target model was asked for it; give --target_model",)


def test_an_attacker_goes_on_until_the_answer_is_out_or_its_budget_is(bare: LoadedModel, folder: Path) -> None:
    """It proposes badly, is told of a refusal, and finds the words that one model answers to and the other does not."""
    attacker = model(bare, ("That is a refusal", "Please, which fact?"), ("New question", "Say the fact"))
    gives_in, never = model(bare, ("Please", "ANSWER")), model(bare)
    samples = asked(gives_in, folder, Helpers(attacker=attacker), attacks=(WRITTEN,))
    own = [one for one in samples if one.attack]
    assert [(one.attempt, one.question, one.response) for one in own if one.id == own[0].id] == [
        (0, "Say the fact", REFUSES), (1, "Please, which fact?", own[0].answer),
    ]  # fmt: skip
    found = by_attack(samples)[WRITTEN]
    assert (found.success.value, found.curve) == (1.0, (0.0, 1.0, 1.0))
    none = by_attack(asked(never, folder, Helpers(attacker=attacker), attacks=(WRITTEN,)))[WRITTEN]
    assert none.success.value == 0.0
    alone = asked(gives_in, folder, Helpers(attacker=attacker), attacks=(WRITTEN,), limit=1)
    assert [one for one in alone if one.attack] == [one for one in own if one.id == own[0].id]
    mute = by_attack(asked(gives_in, folder, Helpers(attacker=model(bare, ("", ""))), attacks=(WRITTEN,)))[WRITTEN]
    assert mute.success.reasons == ("6 of 6 rows take no part: the attacker model wrote nothing that can be asked",)


def test_a_real_attacker_writes_the_same_for_a_seed(bare: LoadedModel, folder: Path) -> None:
    attacker = MMForgetLM(bare, progress=False)
    name = "attacker_model(budget=1,max_new_tokens=6)"
    first, again = (asked(model(bare), folder, Helpers(attacker=attacker), attacks=[name]) for _ in range(2))
    assert first == again
    tried = [one.question for one in first if one.attack and not one.lacking]
    assert len(set(tried)) > 1


def test_an_attacker_that_is_not_named_is_one_line(bare: LoadedModel, folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"'attacker_model' needs a model that rewrites questions; give --attacker FOLDER"
    ):
        asked(model(bare), folder, Helpers(), attacks=["attacker_model"])
