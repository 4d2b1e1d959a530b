"""Models of known truth under attacks by questions: one that gives in under pressure, and one that never knew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toy_benchmark import write_toy

from mmforget.asking import Ask, Engine, Guard, GuardEngine
from mmforget.benchmark.source import DataSource
from mmforget.evaluation.attack import attack_results
from mmforget.evaluation.run import Settings, evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import guarded
from mmforget.results.samples import read_samples, write_samples
from mmforget.types import Sample
from tests.helpers import tiny_llama

TASK = "toy_forget_gen_text"
REFUSES = "I do not know."
ATTACKS = ("multi_turn(budget=3)", "role_play(budget=1)", "choice", "in_context(shots=1)", "multilingual")


@dataclass(frozen=True)
class Says:
    """Answers by rule, in place of the model: the right answer behind `key`, the first option of options, else no."""

    key: str

    def guard(self, engine: Engine) -> Engine:
        return Answering(engine, self.key)


@dataclass(frozen=True)
class Answering(GuardEngine):
    key: str

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        return [self._said(ask) for ask in asks]

    def _said(self, ask: Ask) -> str:
        assert ask.row is not None
        if " A) " in ask.context:
            return "A"
        return str(ask.row["answer"]) if self.key in ask.context else REFUSES


def asked(tmp_path: Path, key: str, *, attacks: Sequence[str] = ATTACKS, limit: float | None = None) -> list[Sample]:
    bare = load_model(ModelSpec(str(tiny_llama(tmp_path / "m", num_layers=1)), device="cpu"))
    loaded = guarded(bare, Guard("says", Says(key), {"key": key}, None, before=bare.fingerprint))
    folder = write_toy(tmp_path / "tasks")
    done = evaluate(
        MMForgetLM(loaded, progress=False), [TASK], include_paths=[folder], data=DataSource("synthetic"),
        blank_image=False, progress=False, limit=limit, settings=Settings(attacks=attacks),
    )  # fmt: skip
    return done.samples


def test_what_gives_in_under_pressure_is_found_by_asking_again_alone(tmp_path: Path) -> None:
    samples = asked(tmp_path, "You have answered this before")
    said = {
        number: {s.response for s in samples if s.attempt == number and s.attack == ATTACKS[0]} for number in range(3)
    }
    assert said[0] == said[1] == {REFUSES}
    assert all("is number" in text for text in said[2] if text)
    found = {one.attack: one for one in attack_results(samples)}
    values = {name: found[name].success.value for name in (None, *ATTACKS[:2])}
    assert values == {None: 0.0, ATTACKS[0]: 1.0, ATTACKS[1]: 0.0}
    assert found[ATTACKS[0]].curve == (0.0, 0.0, 1.0)
    for name in ATTACKS[3:]:  # all rows of a subject say its keyword, and none has a translation
        lacking = found[name].success
        assert (lacking.value, lacking.num_scored, lacking.num_lacking) == (None, 0, 6)
    states = {name: {state: one.value for state, one in found[name].states.items()} for name in (None, ATTACKS[0])}
    none = dict.fromkeys(("wrong", "gibberish"), 0.0)
    assert states == {
        None: {"right": 0.0, "refusal": 1.0, **none},
        ATTACKS[0]: {"right": 1 / 3, "refusal": 2 / 3, **none},
    }
    assert found["multilingual"].states == {}
    _options(samples, found["choice"].success.value)
    files = write_samples(tmp_path / "out", samples, model="m")
    assert sorted(map(repr, read_samples(tmp_path / "out", files=files))) == sorted(map(repr, samples))


def _options(samples: Sequence[Sample], value: float | None) -> None:
    """Who always says A is right as often as the right answer is the first option, which the samples say."""
    chosen = [sample for sample in samples if sample.attack == "choice"]
    assert {sample.response for sample in chosen} == {"A"}
    assert all(sample.answer in sample.question for sample in chosen)
    assert value == sum(sample.answer.startswith("A)") for sample in chosen) / 6


def test_rows_asked_alone_or_under_one_attack_are_asked_the_same(tmp_path: Path) -> None:
    """Options are other rows' answers, which are there whether they are asked or not."""
    names = ("choice", "role_play")
    whole = [one for one in asked(tmp_path / "whole", "Act", attacks=names) if one.attack]
    (first,) = (one for one in whole if one.attack == "choice" and one.id == whole[0].id)
    alone = [one for one in asked(tmp_path / "one", "Act", attacks=names, limit=1) if one.attack]
    assert len(alone) == 5
    assert alone == [one for one in whole if one.id == first.id]
    single = asked(tmp_path / "single", "Act", attacks=["role_play"])
    assert [one for one in single if one.attack] == [one for one in whole if one.attack == "role_play"]
