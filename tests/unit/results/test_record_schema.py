"""The run record as JSON: nothing lost, nothing unknown accepted, no NaN in a file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from mmforget.errors import UserError
from mmforget.results.answer_states import AnswerStates, StateCounts
from mmforget.results.codec import to_jsonable
from mmforget.results.evidence import Evidence
from mmforget.results.schema import (
    SCHEMA_VERSION,
    AnswerExample,
    BenchmarkUse,
    Cost,
    GateResult,
    LevelResult,
    MethodUse,
    MetricResult,
    Provenance,
    RunRecord,
    SetUse,
    Verdict,
)
from mmforget.types import Estimate, Replicates

PROVENANCE = Provenance(
    "0.1.0", None, None, {"torch": "2"}, "3.11", "Linux", "cpu", 1, {"all": 0}, ("mmforget",), "2026", 1.5, 9
)


EVIDENCE = Evidence("cloze", "t", "black_box", 3, 1, 4, 0.5, 1.0, 0.0, 0.5, 0.2, 0.8, 0.01, 0.02, 0.9, "found")


def full_record(**changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "role": "unlearned",
        "name": "npo",
        "benchmark": BenchmarkUse("fiubench", "forget5", "clean"),
        "method": MethodUse("npo", {"beta": 0.1, "targets": ["q", "v"]}, 3, "micro"),
        "model_info": {"fingerprint": "ab", "quantisation": None},
        "data": {"source": "synthetic", "notes": []},
        "provenance": PROVENANCE,
        "sets": {"forget": SetUse(3, 4, 1, "cd")},
        "metrics": (
            MetricResult("rouge_l", "forget", "paper", Estimate(0.5, 0.4, 0.6, 4, 1, False, reasons=("no text",))),
        ),
        "gate": GateResult("exact_match", "clean", "forget", 0.8, 0.5, 0.9, None, True),
        "verdict": Verdict("undecided", False, True, ("close",), evidence=(EVIDENCE,)),
        "headline": {"overall": Estimate(0.7)},
        "answer_states": (
            AnswerStates("t", "forget", None, StateCounts(1, 2, 3, 4), None, StateCounts(0, 9, 0, 0, 1)),
        ),
        "levels": (LevelResult("patient", ("a", "p1"), "inside", "exact_match", "forget", 3, 0.5, 1.0, None),),
        "judge": {"name": "rules", "prompt": None},
        "training": {"wall_s": 2.0},
        "cost": Cost(1.0, 2, 3),
        "references": {"target": "ef"},
        "examples": (AnswerExample("Ann", "forget", "Who?", "ann.", "bob."),),
        "files": {"samples_x.jsonl": "00"},
    }
    return RunRecord(**{**fields, **changes})


def round_trip(record: RunRecord) -> RunRecord:
    return RunRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)), source="results.json")


@pytest.mark.parametrize("record", [full_record(), full_record(method=None, gate=None, verdict=None, metrics=())])
def test_a_record_survives_json(record: RunRecord) -> None:
    assert round_trip(record) == record


def test_nan_becomes_null_and_is_counted() -> None:
    """Two numbers are not finite: the estimate's value and a training time. Both are null, and the count says two."""
    metrics = (MetricResult("rouge_l", "forget", "paper", Estimate(math.nan)),)
    document = full_record(metrics=metrics, training={"wall_s": math.inf}).to_json()
    assert document["metrics"][0]["estimate"]["value"] is None
    assert document["training"]["wall_s"] is None
    assert document["num_nonfinite"] == 2
    again = RunRecord.from_json(document, source="x")
    assert again.num_nonfinite == 2
    assert again.to_json()["num_nonfinite"] == 2


def test_an_unbounded_range_is_no_fault_and_comes_back() -> None:
    record = full_record(headline={"overall": Estimate(-3.0, range=(-math.inf, 0.0))})
    assert record.to_json()["num_nonfinite"] == 0
    assert round_trip(record) == record


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ((), {"extra": 1}, "unknown extra"),
        (("verdict",), {"colour": "red"}, "'verdict' are wrong: unknown colour"),
        (("verdict",), {"status": "great"}, "'verdict.status' is 'great', expected one of 'reference'"),
        (("benchmark",), {"name": 3}, "'benchmark.name' is 3, expected a str"),
        (("cost",), {"num_tokens": 1.5}, "'cost.num_tokens' is 1.5, expected a int"),
        (("cost",), {"num_tokens": True}, "'cost.num_tokens' is True"),
        ((), {"metrics": {}}, "'metrics' is {}, expected a list"),
        ((), {"sets": []}, "'sets' is [], expected an object"),
        (("levels", 0), {"relation": "cousin"}, "'levels.0.relation' is 'cousin', expected one of 'inside'"),
        (("levels", 0), {"path": "a/p1"}, "'levels.0.path' is 'a/p1', expected a list"),
        (("model_info",), {"fingerprint": []}, "model_info.fingerprint is [], which is no text"),
        (("model_info",), {"pretrained": {"a": 1}}, "model_info.pretrained is {'a': 1}, which is no text"),
        (("model_info",), {"adapter_fingerprint": 3}, "model_info.adapter_fingerprint is 3, which is no text"),
        (("data",), {"path": -1}, "data.path is -1, which is no text"),
        (("data",), {"source": ["hub"]}, "data.source is ['hub'], which is no text"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(path: tuple[str | int, ...], change: dict[str, Any], message: str) -> None:
    document = full_record().to_json()
    place = document
    for key in path:
        place = place[key]
    place.update(change)
    with pytest.raises(UserError, match="results.json") as caught:
        RunRecord.from_json(document, source="results.json")
    assert message in str(caught.value)


def test_a_missing_key_is_named() -> None:
    document = full_record().to_json()
    del document["metrics"][0]["estimate"]["low"]
    with pytest.raises(UserError, match=r"'metrics\.0\.estimate' are wrong: missing low"):
        RunRecord.from_json(document, source="results.json")


def version_1(record: RunRecord) -> dict[str, Any]:
    """What the first schema made of a record: no levels, no judge, no blurring, of examples no group or gibberish."""
    document = record.to_json()
    del document["levels"], document["judge"], document["benchmark"]["blur_images"]
    del document["examples"][0]["group"], document["examples"][0]["degenerate"]
    return {**document, "schema_version": 1}


def test_a_record_of_version_1_is_read_and_what_it_did_not_know_is_empty() -> None:
    record = full_record()
    assert RunRecord.from_json(version_1(record), source="x") == record.replace(levels=(), judge={})
    assert round_trip(RunRecord.from_json(version_1(record), source="x")).schema_version == SCHEMA_VERSION


def test_a_record_of_version_2_is_read_and_what_it_did_not_know_is_empty() -> None:
    """It counted rows that have nothing to score against among the unscored ones, and kept no replicates."""
    verdict = Verdict("undecided", False, True, ("close",))
    record = full_record(replicates={"overall": Replicates(0.7, 4, {"ann": 0.1}, {"ann": 3.0})}, verdict=verdict)
    assert round_trip(record) == record
    document = {**without(record.to_json(), "num_subjects", "num_lacking"), "schema_version": 2}
    del document["replicates"]
    document["sets"] = record.to_json()["sets"]
    assert RunRecord.from_json(document, source="x") == record.replace(replicates={})


@pytest.mark.parametrize("status", ["forgotten", "partly", "remembered"])
def test_a_verdict_of_version_7_that_no_attack_was_asked_about_is_undecided(status: str) -> None:
    record = full_record(verdict=Verdict("undecided", False, True, ("close",)))
    document = {**record.to_json(), "schema_version": 7}
    document["verdict"] = {**document["verdict"], "status": status}
    del document["verdict"]["evidence"]
    assert RunRecord.from_json(document, source="x") == record


def test_a_record_of_version_8_says_nothing_of_refusals() -> None:
    record = full_record()
    document = {**record.to_json(), "schema_version": 8}
    del document["answer_states"]
    assert RunRecord.from_json(document, source="x") == record.replace(answer_states=())


def test_a_metric_that_was_called_otherwise_is_read_by_its_name_of_today() -> None:
    """Wherever a record of version 3 names it; everything else keeps its name."""
    now = full_record(gate=GateResult("rouge_l_response", "clean", "forget", 0.3, None, 0.9, None, True))
    one = replace(now.metrics[0], name="rouge_l_response")
    parts = {"closeness/forget/rouge_l_response": Estimate(0.5), "overall": Estimate(0.5)}
    now = now.replace(
        metrics=(one, *now.metrics[1:]), headline=parts, replicates={next(iter(parts)): Replicates(0.5, 4)}
    )
    then = json.loads(json.dumps({**now.to_json(), "schema_version": 3}).replace("rouge_l_response", "rouge_l_recall"))
    assert "rouge_l_recall" in json.dumps(then)
    assert RunRecord.from_json(then, source="x") == now


def test_a_record_of_version_3_is_read_and_its_reasons_have_no_codes() -> None:
    record = full_record()
    document = {**without(record.to_json(), "code", "codes"), "schema_version": 3, "status": "complete"}
    assert RunRecord.from_json(document, source="x") == record
    with pytest.raises(UserError, match="x: the run is 'partial'"):
        RunRecord.from_json({**document, "status": "partial"}, source="x")


def test_the_attack_of_a_record_of_version_4_stood_under_control() -> None:
    record = full_record()
    record = record.replace(metrics=(*record.metrics, replace(record.metrics[0], attack="blank_image")))
    document = {**record.to_json(), "schema_version": 4}
    document["metrics"] = [
        {("control" if key == "attack" else key): one[key] for key in one} for one in document["metrics"]
    ]
    assert RunRecord.from_json(document, source="x") == record


def test_every_reason_has_its_code_or_none_has() -> None:
    told = Verdict("undecided", False, True, ("close", "far"), ("beyond_retain",))
    with pytest.raises(UserError, match="verdict has 1 codes of 2 reasons"):
        round_trip(full_record(verdict=told))


def without(value: Any, *keys: str) -> Any:
    """A document with these keys taken out wherever they stand."""
    if isinstance(value, list):
        return [without(item, *keys) for item in value]
    return {k: without(v, *keys) for k, v in value.items() if k not in keys} if isinstance(value, dict) else value


@pytest.mark.parametrize("change", [{"benchmark": None}, {"examples": None}, {"examples": [3]}, {"gate": 3}])
def test_a_damaged_record_of_version_1_is_named(change: dict[str, Any]) -> None:
    (key,) = change
    with pytest.raises(UserError, match=rf"results.json: '{key}"):
        RunRecord.from_json({**version_1(full_record()), **change}, source="results.json")


def test_a_gate_without_room_survives() -> None:
    record = full_record(gate=GateResult("exact_match", "clean", "forget", 0.8, None, 0.9, None, True))
    assert round_trip(record) == record


@pytest.mark.parametrize("version", [0, 99, None])
def test_another_schema_version_is_refused(version: int | None) -> None:
    document = {**full_record().to_json(), "schema_version": version}
    with pytest.raises(UserError, match="schema_version"):
        RunRecord.from_json(document, source="results.json")


def test_metric_takes_the_profile_asked_for_and_never_a_control() -> None:
    metrics = (
        MetricResult("em", "forget", "clean", Estimate(0.1), attack="blank_image"),
        MetricResult("em", "forget", "paper", Estimate(0.2)),
        MetricResult("em", "forget", "clean", Estimate(0.3)),
    )
    record = full_record(metrics=metrics)
    assert record.metric("em", set="forget", profile="clean") == Estimate(0.3)
    assert record.metric("em", set="forget") == Estimate(0.2)
    assert record.metric("em", set="forget", attack="blank_image") == Estimate(0.1)
    assert record.metric("em", set="retain") is None


def test_what_json_cannot_hold_is_refused_or_named() -> None:
    assert to_jsonable({"a": object}, strict=False).value["a"].startswith("<class")
    with pytest.raises(TypeError, match=r"a\.0: a object cannot be written"):
        to_jsonable({"a": [object()]})


def test_an_older_record_nested_too_deep_is_refused_in_words() -> None:
    deep: Any = 0
    for _ in range(500):
        deep = [deep]
    document = {**full_record().to_json(), "schema_version": 2, "training": {"deep": deep}}
    with pytest.raises(UserError, match="x: nested deeper than 64 levels"):
        RunRecord.from_json(document, source="x")
