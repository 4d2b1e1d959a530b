"""A record that contradicts itself: each kind of contradiction is found, and a sound record has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_record_schema import EVIDENCE, PROVENANCE, full_record

from mmforget.results.consistency import contradictions
from mmforget.results.schema import (
    BenchmarkUse,
    Cost,
    GateResult,
    LevelResult,
    MethodUse,
    MetricResult,
    RunRecord,
    SetUse,
    Verdict,
)
from mmforget.types import Estimate, Replicates

GATE = GateResult("exact_match", "clean", "forget", 0.8, 0.5, target=0.9, retain=0.1, passed=True)


def sound(**changes: Any) -> RunRecord:
    verdict = Verdict("undecided", False, True, ("close",))
    scores = {"forget_score": Estimate(0.8, 0.7, 0.9, 4, 0), "overall": Estimate(0.7, 0.6, 0.8, 4, 0)}
    return full_record(**{"gate": GATE, "headline": scores, "verdict": verdict, **changes})


def test_a_sound_record_has_none() -> None:
    assert contradictions(sound()) == []
    assert contradictions(sound(**replicates())) == []
    reference = sound(role="target", name="target", method=None, verdict=Verdict("reference", False, True))
    assert contradictions(reference) == []


def metric(estimate: Estimate) -> dict[str, Any]:
    return {"metrics": (MetricResult("rouge_l", "forget", "paper", estimate, task="t"),)}


def headline(**estimates: Estimate) -> dict[str, Any]:
    return {"headline": {**sound().headline, **estimates}}


def replicates(**changes: Any) -> dict[str, Any]:
    found = Replicates(0.7, 4, {"a": 0.1, "b": -0.1}, {"a": 3.0, "b": 3.0}, 0.01, 0.7, 0.8)
    return {"replicates": {"overall": replace(found, **changes)}}


NODE = LevelResult("patient", ("a", "p1"), "inside", "exact_match", "forget", 3, 0.5, 1.0, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (headline(overall=Estimate(7.0)), "overall: value 7 lies outside [0, 1]"),
        (headline(overall=Estimate(7.0, range=(0.0, 10.0))), "overall lies in [0, 1], and the record says in [0, 10]"),
        (
            headline(**{"closeness/forget/x": Estimate(2.0, range=(0.0, 2.0))}),
            "closeness/forget/x lies in [0, 1], and the record says in [0, 2]",
        ),
        (metric(Estimate(0.5, 0.6, 0.4)), "low 0.6 is above high 0.4"),
        (metric(Estimate(0.5, 0.6, 0.7)), "0.5 lies outside its interval [0.6, 0.7]"),
        (metric(Estimate(0.5, None, 0.4)), "0.5 lies outside its interval [-, 0.4]"),
        (metric(Estimate(0.5, -0.2, 0.7)), "low -0.2 lies outside [0, 1]"),
        (metric(Estimate(None, 0.1, 0.2)), "an interval without a value"),
        (metric(Estimate(0.5, num_scored=-1)), "negative counts"),
        (metric(Estimate(0.5, range=(1.0, 0.0))), "its range is [1, 0]"),
        ({"metrics": full_record().metrics * 2}, "rouge_l (paper) on the forget set is there 2 times"),
        (headline(overall=Estimate(0.7, higher_is_better=False)), "overall is better when higher, and the record says"),
        (replicates(value=0.75), "replicates.overall are of 0.75, and the headline says 0.7"),
        ({"replicates": {"utility": Replicates(0.7, 4)}}, "replicates.utility are of 0.7, and the headline says -"),
        (replicates(least=0.9), "replicates.overall: 0.7 lies outside [0.9, 0.8]"),
        (replicates(num_subjects=-4), "replicates.overall: -4 subjects with a variance of 0.01"),
        (replicates(floor=-1.0), "replicates.overall: 4 subjects with a variance of -1"),
        (replicates(shifts={"a": 1e300}), "replicates.overall: without 'a' it cannot move like that"),
        (replicates(degrees={"a": 3.0}), "replicates.overall: without 'b' it cannot move like that"),
        (replicates(degrees={"a": -3.0, "b": 3.0}), "replicates.overall: without 'a' it cannot move like that"),
        ({"sets": {"forget": SetUse(-1, 4)}}, "sets.forget: negative counts"),
        ({"sets": {"forget": SetUse(5, 4)}}, "sets.forget: 5 questions of 4 were asked"),
        ({"sets": {"forget": SetUse(3, 4, 9)}}, "sets.forget: 9 subjects in 3 questions"),
        ({"cost": Cost(num_tokens=-5)}, "cost.num_tokens is -5"),
        ({"training": {"wall_s": -1.0}}, "training.wall_s is -1.0"),
        ({"training": {"num_steps": 40, "num_planned": 0}}, "training: 40 weight updates of 0 that were planned"),
        (
            {"method": MethodUse("npo", {}, 7), "provenance": replace(PROVENANCE, seeds={"training": 0})},
            "method.seed is 7, and provenance.seeds.training 0",
        ),
        (
            {"method": MethodUse("npo", {"training.seed": 1}, 0)},
            "method.seed is 0, and method.args.training.seed 1",
        ),
        ({"num_nonfinite": -1}, "num_nonfinite is -1"),
        ({"gate": replace(GATE, target=0.0)}, "the gate is passed with a target at 0.0, at least 0.8 is needed"),
        ({"gate": replace(GATE, target=0.0, minimum=0.0)}, "the gate is passed with a target at 0.0"),
        ({"gate": replace(GATE, target=None)}, "the gate is passed with a target at None"),
        ({"gate": replace(GATE, retain=0.6)}, "a target at 0.9 and a retain model at 0.6, 0.5 apart is needed"),
        ({"gate": replace(GATE, retain=None)}, "a retain model at None"),
        ({"gate": None}, "the verdict is 'undecided' without a gate that was passed"),
        ({"headline": {}}, "the verdict is 'undecided' without a forget score"),
        ({"verdict": Verdict("remembered", False, True)}, "is 'remembered', and its evidence says 'undecided'"),
        ({"verdict": Verdict("removed", True, True)}, "the verdict on a collapsed model is 'removed'"),
        ({"verdict": Verdict("undecided", False, True, evidence=(EVIDENCE,))}, "an excess of cloze that is not the"),
        (
            {"verdict": Verdict("undecided", False, True, ("a", "b"), ("rows_lacking", "partial_set"))},
            "and that it may not",
        ),
        (
            {"verdict": Verdict("undecided", False, True, ("a",), ("blind",))},
            "that it has not collapsed, and its signs",
        ),
        (
            {"verdict": Verdict("collapsed", True, True, ("a",), ("rows_lacking",))},
            "that it has collapsed, and its signs",
        ),
        ({"verdict": Verdict("collapsed", False, True)}, "the verdict is 'collapsed' on a model that is not"),
        ({"verdict": Verdict("reference", False, True)}, "a model of role 'unlearned' is 'reference'"),
        ({"role": "target", "method": None}, "a model of role 'target' is 'undecided'"),
        ({"method": None}, "role 'unlearned' without a method"),
        ({"name": " "}, "name is empty"),
        ({"name": "target"}, "an unlearned model is named 'target', as the target model is"),
        ({"name": "x" * 100_000}, "name has 100,000 characters, at most 200 are allowed"),
        ({"name": "npo\x1b[2J"}, "name holds characters that cannot be shown ('npo\\x1b[2J')"),
        ({"name": "npo\ud800"}, "name holds characters that cannot be shown"),
        ({"benchmark": BenchmarkUse("b", "s" * 300, "clean")}, "benchmark.setting has 300 characters"),
        ({"method": MethodUse("")}, "method.name is empty"),
        ({"sets": {"forget\n": SetUse(3, 4)}}, "a key holds characters that cannot be shown"),
        ({"levels": (NODE, NODE)}, "levels a/p1: there twice"),
        ({"levels": (replace(NODE, num=-3),)}, "levels a/p1: negative counts"),
        ({"levels": (replace(NODE, name="rouge_l", value=5.0),)}, "levels a/p1: 5 lies outside [0, 1]"),
        ({"levels": (replace(NODE, name="rouge_l", target=-3.0),)}, "levels a/p1: -3 lies outside [0, 1]"),
        ({"levels": (replace(NODE, num=0),)}, "levels a/p1: a value of no questions"),
        ({"levels": (replace(NODE, path=()),)}, "levels: a node without a path"),
    ],
)
def test_each_contradiction_is_found(changes: dict[str, Any], words: str) -> None:
    found = contradictions(sound(**changes))
    assert any(words in fault for fault in found), found
