"""What a document says of metrics: arguments, profiles of their own, and which failures count for collapse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_benchmark import GROUP, collapse_reasons, generated, scored, write_toy

from mmforget.benchmark.find import find
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.benchmark.task_files import TaskFileError
from mmforget.cli import ls, validate
from mmforget.cli.recheck import _metrics as changed_metrics
from mmforget.errors import UnknownName, UserError
from mmforget.evaluation.collapse import failures_of
from mmforget.evaluation.plan import plan
from mmforget.evaluation.record import score_record
from mmforget.leaderboard.board import boards
from mmforget.leaderboard.details import closeness_table, metric_tables
from mmforget.pipeline.checking import check_document
from mmforget.results.consistency import contradictions
from mmforget.results.schema import BenchmarkUse, MethodUse, Provenance, RunRecord, SetUse
from mmforget.results.store import StoredRun
from mmforget.types import Sample
from tests.plugin_packages import AT_MOST, ATTACK, installed, write_package

pytestmark = pytest.mark.slow

FULL, HALF, QUARTER, WORDY = "a b c d", "a b x y", "a x y z", "a b x y z w"
DATA = DataSource("synthetic")


def model(forget: str, *, logprob: float) -> list[Sample]:
    spread = [0.01 * number for number in range(6)]
    return [
        *generated("forget", [forget] * 6),
        *scored("forget", [logprob - value for value in spread]),
        *generated("keep", [FULL] * 6),
        *scored("keep", [-0.1 - value for value in spread]),
    ]


TARGET, RETAIN, OWN = model(FULL, logprob=-0.1), model(QUARTER, logprob=-2.0), model(WORDY, logprob=-1.9)


def benchmark(folder: Path, *uses: Mapping[str, Any], **changes: Any) -> Benchmark:
    """The toy benchmark with these uses of metrics before its own, and other keys of its document changed."""
    group = yaml.safe_load(GROUP)
    document = group["metadata"]["unlearning"]
    document |= {"metrics": [*uses, *document["metrics"]], **changes}
    write_toy(folder)
    (folder / "toy.yaml").write_text(yaml.safe_dump(group))
    return find("toy", [folder])


def use(metric: str, set_name: str = "forget", **more: Any) -> dict[str, Any]:
    return {"metric": metric, "set": set_name, "direction": "lower", **more}


def record_of(toy: Benchmark) -> RunRecord:
    record = RunRecord(
        role="unlearned",
        name="npo",
        benchmark=BenchmarkUse("toy", "two", "clean", "toy"),
        method=MethodUse("npo"),
        model_info={"fingerprint": "f"},
        data={},
        provenance=Provenance("0", None, None, {}, "3", "Linux", "cpu", 1, {}, (), "2026", 0.0, 0),
        sets={name: SetUse(6, 6, 4, name) for name in ("forget", "keep")},
    )
    return score_record(record, bound=toy.bind(DATA), samples=OWN, target=TARGET, retain=RETAIN)


def test_two_uses_of_one_metric_stay_apart_from_the_document_to_the_board(tmp_path: Path) -> None:
    """Of `a b c d` the answer `a b x y z w` has 2 of 4 words, and 2 of its own 6: F1 = 2 x 2 / (4 + 6)."""
    toy = benchmark(tmp_path, use("rouge_l", args={"part": "f1"}), use("rouge_l", args={"part": "precision"}))
    check_document(toy)
    record = record_of(toy)
    found = {one.name: one.estimate.value for one in record.metrics if (one.set, one.profile) == ("forget", "clean")}
    assert found["rouge_l"] == 2 / 4
    assert found["rouge_l(part=precision)"] == pytest.approx(2 / 6)
    assert found["rouge_l(part=f1)"] == pytest.approx(4 / 10)
    read = RunRecord.from_json(json.loads(json.dumps(record.to_json())), source="x")
    assert read == record
    assert contradictions(read) == []
    assert list(changed_metrics(read, record_of(toy))) == []
    # Nearness to the retain model, which has 1 of 4 words in 4: of recall .25, of F1 .25, with .75 of room for either.
    parts = {name: one.value for name, one in read.headline.items() if name.startswith("closeness/forget/rouge_l")}
    assert parts == pytest.approx(
        {
            "closeness/forget/rouge_l": 1 - 0.25 / 0.75,
            "closeness/forget/rouge_l(part=f1)": 1 - 0.15 / 0.75,
            "closeness/forget/rouge_l(part=precision)": 1 - (1 / 3 - 1 / 4) / 0.75,
        }
    )
    (board,) = boards([StoredRun(read, tmp_path / "results.json", {})])
    names = [line.name for line in metric_tables(board)[0].lines if line.set == "forget"]
    assert {"rouge_l", "rouge_l(part=f1)", "rouge_l(part=precision)"} <= set(names)
    assert {line.name for line in closeness_table(board).lines} >= {"rouge_l", "rouge_l(part=f1)"}


def test_a_gate_may_have_arguments(tmp_path: Path) -> None:
    gate = {"metric": "rouge_l", "args": {"part": "f1"}, "profile": "clean", "set": "forget", "minimum": 0.8}
    found = record_of(benchmark(tmp_path, gate=gate)).gate
    assert found is not None
    assert (found.metric, found.target, found.retain, found.passed) == ("rouge_l(part=f1)", 1.0, 0.25, True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (use("rouge_l", args={"prat": "f1"}), "'rouge_l' in the document of toy 'prat'; did you mean 'part'?"),
        (
            use("exact_match", profiles=["openunlearning"]),
            "of metric 'exact_match' in the document of toy 'openunlearning'",
        ),
        (use("mia_auc_min_k", args={"percent": 200}), "'mia_auc_min_k' in the document of toy: percent is 200; give"),
    ],
)
def test_what_a_document_gets_wrong_is_one_line_before_any_work(tmp_path: Path, wrong: Any, said: str) -> None:
    toy = benchmark(tmp_path, wrong)
    with pytest.raises(UserError) as caught:
        check_document(toy)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    report = validate.check("toy", data=DATA, include_paths=[str(tmp_path)])
    unknown = said.replace(" in the document of toy", "")
    assert len([fault for fault in report.faults if unknown in fault]) == 1, "the other metrics are sound"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("part=f1", "args is 'part=f1'; give a mapping from names of arguments to values"),
        ({1: 2}, "args is {1: 2}; give a mapping from names"),
        ({"part": {"a": 1}}, "args.part is {'a': 1}; give a number, a text, true, false, null or a list"),
    ],
)
def test_arguments_that_are_none_are_faults_of_the_document(tmp_path: Path, args: Any, said: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        benchmark(tmp_path, use("rouge_l", args=args))
    assert said in str(caught.value)


def test_a_metric_and_a_profile_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, arguments and profile stand in a document, in records, in `ls metrics` and in `validate`."""
    write_package(tmp_path / "site", "theirs", code=AT_MOST, points={"mmforget.metrics": "at_most = theirs"})
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        uses = [use("at_most", args={"limit": limit}, profiles=["openunlearning"]) for limit in (4, 6)]
        toy = benchmark(tmp_path / "tasks", *uses)
        check_document(toy)
        record = record_of(toy)
        (item,) = [one for one in ls.collect(["metrics"], opened=["metrics"]).items["metrics"] if one.name == "at_most"]
        report = validate.check("toy", data=DATA, include_paths=[str(tmp_path / "tasks")])
        assert [fault for fault in report.faults if "at_most" in fault] == []
        with pytest.raises(UnknownName, match="argument of metric 'at_most' in the document of toy 'limmit'"):
            check_document(benchmark(tmp_path / "others", use("at_most", args={"limmit": 3})))
    found = {one.name: one.estimate.value for one in record.metrics if one.profile == "openunlearning"}
    assert found == {"at_most(limit=4)": 0.0, "at_most(limit=6)": 1.0}
    assert item == (
        "at_most",
        "theirs",
        "from theirs",
        {"limit": 3, "unit": "words"},
        {"openunlearning": "open-unlearning, official code"},
    )
    assert contradictions(RunRecord.from_json(record.to_json(), source="x")) == []


def test_a_document_names_what_counts_for_collapse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looping = model("la la la la la la la la", logprob=-2.0)
    reason = "collapsed: 100% of the answers on the forget set count as degenerate"
    usual = benchmark(tmp_path / "usual")
    assert list(failures_of(usual)) == ["degenerate"]
    assert reason in collapse_reasons(usual, looping, target=TARGET)
    none = benchmark(tmp_path / "none", collapse=[])
    assert failures_of(none) == {}
    assert reason not in collapse_reasons(none, looping, target=TARGET)
    write_package(tmp_path / "site", "theirs", code=AT_MOST, points={"mmforget.metrics": "at_most = theirs"})
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        assert list(failures_of(usual)) == ["degenerate"], "what is only installed counts nowhere"
        named = [{"metric": "at_most", "args": {"limit": 6}}, {"metric": "degenerate"}]
        theirs = benchmark(tmp_path / "theirs", collapse=named)
        assert list(failures_of(theirs)) == ["at_most(limit=6)", "degenerate"]
        found = collapse_reasons(theirs, OWN, target=model("a b c d e f g h", logprob=-0.1))
        assert "collapsed: 100% of the answers on the forget set count as at_most(limit=6)" in found


def test_collapse_by_what_is_no_failure_is_refused(tmp_path: Path) -> None:
    toy = benchmark(tmp_path / "one", collapse=[{"metric": "rouge_l"}])
    with pytest.raises(UserError, match="collapse in the document of toy: 'rouge_l' is no rate of failures") as caught:
        check_document(toy)
    assert "\n" not in str(caught.value)
    with pytest.raises(TaskFileError, match="collapse is 'degenerate'; give a list of metrics"):
        benchmark(tmp_path / "two", collapse="degenerate")
    with pytest.raises(TaskFileError, match=r"collapse\[0\] must be a mapping, not str"):
        benchmark(tmp_path / "three", collapse=["degenerate"])


def test_attacks_of_a_document_are_planned_and_looked_at_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name and arguments; what is wrong with one is told by `validate`, too."""
    write_package(tmp_path / "site", "theirs", code=ATTACK, points={"mmforget.attacks": "twice = theirs"})
    with installed(tmp_path / "site", monkeypatch=monkeypatch):
        named = [{"attack": "twice", "args": {"polite": "well: "}}, {"attack": "blank_image"}]
        toy = benchmark(tmp_path / "toy", attacks=named)
        check_document(toy)
        steps = plan(toy, models=["target", "retain", "ga"], blank_image=False).steps
        asked = {(step.model, step.attack) for step in steps if step.task == "toy_forget_gen"}
        attacks = (None, "twice(polite=well: )", "blank_image")
        assert asked == {(name, attack) for name in ("target", "retain", "ga") for attack in attacks}
        assert "attack twice(polite=well: )" in plan(toy, models=["target"]).text()
        text = plan(find("toy_forget_gen_text", [tmp_path / "toy"]), models=["target"])
        assert {step.attack for step in text.steps} == {None, "twice(polite=well: )"}
        for wrong, message in (
            ({"attack": "thrice"}, "unknown attack 'thrice'"),
            ({"attack": "twice", "args": {"polit": "x"}}, "did you mean 'polite'"),
        ):
            toy = benchmark(tmp_path / "wrong", attacks=[wrong])
            with pytest.raises(UnknownName, match=message):
                check_document(toy)
            faults = validate.check("toy", data=DATA, include_paths=[str(tmp_path / "wrong")]).faults
            assert [fault for fault in faults if message in fault]
    for value, message in (("twice", r"attacks is 'twice'; give a list of attacks"), ([{}], "attack' is missing")):
        with pytest.raises(TaskFileError, match=message):
            benchmark(tmp_path / "unread", attacks=value)
