"""Plugins of other packages: what is broken is named in one line, and changes nothing for anybody else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mmforget.attacks.base import build_attack
from mmforget.attacks.contract import check_attack
from mmforget.cli import checks, validate
from mmforget.errors import PluginError, UnknownName, UserError
from mmforget.evaluation.collapse import signs_of_collapse
from mmforget.evaluation.measurements import Measurements
from mmforget.methods.base import METHODS
from mmforget.methods.build import build
from mmforget.methods.contract import check_method
from mmforget.metrics.base import METRICS
from mmforget.metrics.contract import check_metric
from mmforget.plugins import code_of
from mmforget.types import Sample
from tests.plugin_packages import ATTACK, GUARD, MILD, installed, write_package

METRIC = """
from dataclasses import dataclass
from mmforget.metrics.estimate import mean_estimate
from mmforget.types import Score

@dataclass(frozen=True)
class Words:
    name: str = "words"
    profiles: tuple = ("clean",)
    range: tuple = (0.0, 1.0)
    higher_is_better: bool = False
    kind: str = "gen"

    def score(self, sample, *, profile="clean"):
        return Score(1.0, sample.subject)

    def aggregate(self, scores):
        return mean_estimate(self, scores)

METRIC = Words()
"""
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Writes one plugin of a kind and says where; `use` installs what was written."""

    def write(kind: str, name: str, code: str, *, package: str = "theirs") -> Path:
        return write_package(tmp_path, package, code=code, points={f"mmforget.{kind}s": f"{name} = {package}"})

    return write


def refusal(site: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> str:
    with installed(site, monkeypatch=monkeypatch), pytest.raises(PluginError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sound_plugins_pass(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("metric", "words", METRIC)
    install("method", "mild", MILD, package="others")
    with installed(tmp_path, monkeypatch=monkeypatch):
        check_metric("words")
        check_method(build("mild", "weight=0.5"), name="mild")
        assert validate.check("words", data=None, include_paths=[]).faults == []  # type: ignore[arg-type]
        assert METHODS.entries["mild"].origin == "others"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("METRIC = Words()", "METRIC = Words"), "METRIC is the class Words; it has to be an object: METRIC = Words()"),
        (('name: str = "words"', 'name: str = "other"'), "its name is 'other', and its entry point says 'words'"),
        (("def score(", "def scores("), "METRIC (Words) is no metric"),
        (('profiles: tuple = ("clean",)', "profiles: tuple = ()"), "profiles () is no tuple of"),
        (("range: tuple = (0.0, 1.0)", "range: tuple = (1.0, 0.0)"), "range (1.0, 0.0) is no pair of numbers"),
        (('kind: str = "gen"', 'kind: str = "image"'), "kind 'image' is none of gen, prob"),
        (("from dataclasses", "import sys; sys.exit(3)\nfrom dataclasses"), "cannot be loaded: SystemExit: 3"),
        (("from dataclasses", "from datacls"), "cannot be loaded: ModuleNotFoundError"),
        (("METRIC = Words()", "RATE = Words()"), "cannot be loaded: AttributeError"),
        (
            ("Score(1.0, sample.subject)", "Score(1 / len(sample.response), 'p0')"),
            "score (theirs.py:15): ZeroDivisionError",
        ),
        (("Score(1.0, sample.subject)", "1.0"), "score: gives a float, not a Score(value, subject)"),
        (("Score(1.0", "Score(float('nan')"), "score: the value nan is not a finite number"),
        (("Score(1.0", "Score(7.0"), "score: the value 7 lies outside its range [0, 1]"),
        (("Score(1.0", "Score(None"), "score: a value of None without a reason"),
        (("sample.subject)", "sample.id)"), "not the sample's"),
        (("mean_estimate(self, scores)", "sum(s.value for s in scores) / len(scores)"), "aggregate: gives a float"),
        (
            ("mean_estimate(self, scores)", "mean_estimate(self, scores[:1])"),
            "of 8 scores, 8 with a value, it counts 1",
        ),
    ],
)
def test_a_metric_that_breaks_the_contract_is_named_with_the_place(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], words: str
) -> None:
    assert change[0] in METRIC
    install("metric", "words", METRIC.replace(*change))
    said = refusal(tmp_path, monkeypatch, lambda: check_metric("words"))
    assert said.startswith("metric 'words' from theirs")
    assert words in said
    with installed(tmp_path, monkeypatch=monkeypatch):
        report = checks.check_plugin("words")
    assert report is not None
    assert [words in fault for fault in report.faults] == [True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("METHOD = Mild", "METHOD = Mild()"), "METHOD is an object of Mild; it has to be the class itself"),
        (("@dataclass(frozen=True)", ""), "METHOD (Mild) is no dataclass"),
        (("def loss(", "def losses("), "METHOD (Mild) lacks loss"),
        (('{"forget": total}', '{"forget": total.item()}'), "loss: the term 'forget' is a float, not a scalar tensor"),
        ((".mean() * self.weight", ".mean(1)"), "the term 'forget' is a Tensor of shape [3], not a scalar tensor"),
        (('{"forget": total}', '{"forget": total.detach()}'), "loss: no term has a gradient"),
        (('{"forget": total}', "(total, total)"), "loss: gives a tuple, not a mapping of names to tensors"),
        (('{"forget": total}', "{}"), "loss: gives a dict, not a mapping of names to tensors"),
        (("self.weight", "self.wait"), "loss (theirs.py:16): AttributeError"),
        (("self.weight", "float('inf')"), "on toy answers, or its gradient, is not finite"),
        (("step[FORGET]", "step[Scores('retain')]"), "add Scores(source='retain', positions='answer')"),
        (("return (FORGET,)", "return ['forget']"), "requests has to be a tuple of Scores, Reference"),
        (("return (FORGET,)", "return (1 / 0,)"), "requests (theirs.py:13): ZeroDivisionError"),
        (("weight: float = 1.0", "weight: 'Weight' = 1.0"), "NameError"),
    ],
)
def test_a_method_that_breaks_the_contract_is_named_with_the_place(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], words: str
) -> None:
    assert change[0] in MILD
    install("method", "mild", MILD.replace(*change))
    said = refusal(tmp_path, monkeypatch, lambda: check_method(build("mild"), name="mild"))
    assert words in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("return Hushing(engine, self.word)", "return engine.nothing"), "guard (theirs.py:21): AttributeError"),
        (("return Hushing(engine, self.word)", "return 3"), "guard gives a int without score, generate, roll"),
        (("[self.word for _ in asks]", "[]"), "generate: has to give a str for each of 1 questions"),
        (("TokenScores(tuple(2 * x for x in one.token_logprobs), one[1])", "1.0"), "score: has to give a TokenScores"),
    ],
)
def test_a_guard_that_breaks_the_contract_is_named(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], words: str
) -> None:
    assert change[0] in GUARD
    install("method", "hushed", GUARD.replace(*change))
    said = refusal(tmp_path, monkeypatch, lambda: check_method(build("hushed"), name="hushed"))
    assert said.startswith("method 'hushed': ")
    assert words in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("ATTACK = Twice", "ATTACK = Twice()"), "ATTACK is no dataclass; it has to be the class itself"),
        (("def asks(", "def ask("), "ATTACK (Twice) lacks asks"),
        (('access: ClassVar = "black_box"', 'access: ClassVar = "weight"'), "access 'weight' is none of black_box"),
        (('access: ClassVar = "black_box"', 'access: ClassVar = "weights"'), "ATTACK (Twice) lacks training and then"),
        (('access: ClassVar = "black_box"', 'access: ClassVar = "hidden"'), "lacks depths and ranks and is_whole"),
        (("ask.context)", "ask.text)"), "asks (theirs.py:13): AttributeError"),
        (("[replace(ask, context=begin + ask.context)", "[begin"), "asks has to give questions (Ask) of the kind"),
        (
            ("self.polite,", "str(__import__('time').time_ns()),"),
            "asks gives other attempts when it is called again",
        ),
    ],
)
def test_an_attack_that_breaks_the_contract_is_named(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], words: str
) -> None:
    assert change[0] in ATTACK
    install("attack", "twice", ATTACK.replace(*change))
    said = refusal(tmp_path, monkeypatch, lambda: check_attack("twice"))
    assert said.startswith("attack 'twice'")
    assert words in said
    with installed(tmp_path, monkeypatch=monkeypatch):
        report = checks.check_plugin("twice")
    assert report is not None
    assert [words in fault for fault in report.faults] == [True]


def test_guards_and_attacks_that_are_sound(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("method", "hushed", GUARD)
    install("attack", "twice", ATTACK, package="others")
    with installed(tmp_path, monkeypatch=monkeypatch):
        for name in ("hushed", "twice", "blank_image"):
            report = checks.check_plugin(name)
            assert report is not None
            assert report.faults == []
        with pytest.raises(UserError, match="'hushed' is a guard, so nothing can be added to it"):
            build("ga+hushed")
        assert build_attack("twice", "polite=do").polite == "do"  # type: ignore[attr-defined]
        with pytest.raises(UnknownName, match="argument"):
            build_attack("twice", "rude=do")


def test_one_broken_and_one_colliding_plugin_leave_the_others(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("metric", "words", "raise RuntimeError('half installed')", package="broken")
    install("metric", "rouge_l", METRIC, package="colliding")
    install("metric", "a+b c", METRIC, package="misnamed")
    bad = write_package(tmp_path, "unreadable", code="", points={"mmforget.metrics": "empty ="})
    assert bad.exists()
    with installed(tmp_path, monkeypatch=monkeypatch):
        assert METRICS.get("exact_match").name == "exact_match"
        assert METRICS.get("keyword_em").name == "keyword_em"
        with pytest.raises(PluginError, match="two plugins are named 'rouge_l' \\(metric\\): mmforget and colliding"):
            METRICS.get("rouge_l")
        told = METRICS.faults
        assert "rouge_l" not in METRICS.names()
    assert len(told) == 3
    assert any("'a+b c' is no name for a metric" in fault for fault in told)
    assert any("metric 'empty': '' is not MODULE or MODULE:ATTRIBUTE" in fault for fault in told)


@pytest.mark.parametrize("name", [None, 3, ["rouge_l"], {"a": 1}])
def test_a_name_that_is_no_text_is_unknown(name: object) -> None:
    with pytest.raises(UserError, match="unknown metric"):
        METRICS.get(name)  # type: ignore[arg-type]


def answers(task: str, used: str, response: str) -> list[Sample]:
    return [Sample(task, used, "gen", f"a/{i}", f"a{i}", "Who?", "it is ann.", response=response) for i in range(4)]


def test_a_metric_that_is_only_installed_collapses_nobody(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`words` calls every answer a failure; the benchmark's document does not name it."""
    from mmforget.benchmark.find import find

    benchmark = find("fiubench")
    task = next(t for t in benchmark.tasks if t.set == benchmark.utility_set and t.kind == "gen")
    samples = answers(task.name, benchmark.utility_set, "it is ann.")
    install("metric", "words", METRIC)
    install("metric", "junk", "1 / 0", package="broken")
    before = signs_of_collapse(benchmark, samples, target=samples)
    with installed(tmp_path, monkeypatch=monkeypatch):
        assert signs_of_collapse(benchmark, samples, target=None) == before == ()


def test_a_metric_that_is_only_installed_joins_no_composite(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`model_utility` has an optional component `judge`, which nothing of ours brings."""
    from mmforget.benchmark.find import find

    benchmark = find("fiubench")
    task = next(t for t in benchmark.tasks if t.set == benchmark.utility_set and t.kind == "gen")
    samples = answers(task.name, benchmark.utility_set, "it is ann.")
    install("metric", "judge", METRIC.replace('"words"', '"judge"'))
    with installed(tmp_path, monkeypatch=monkeypatch):
        parts, _ = Measurements(benchmark, samples).components(METRICS.get("model_utility"), profile="clean")  # type: ignore[arg-type]
    assert "rouge" in parts
    assert "judge" not in parts


def test_the_code_of_a_plugin_is_part_of_what_it_is(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code_of(build("ga")) is None
    assert code_of(build("ga+pd")) is None
    path = install("method", "mild", MILD)
    hashes = []
    for text in (MILD, MILD.replace("mean()", "sum()"), MILD):
        path.write_text(text)
        with installed(tmp_path, monkeypatch=monkeypatch):
            hashes.append(code_of(build("mild")))
            joined = code_of(build("mild+pd"))
        assert joined == hashes[-1]
    assert hashes[0] == hashes[2] == hashlib.sha256(b"theirstheirs.py\0" + MILD.encode() + b"\0").hexdigest()
    assert hashes[1] != hashes[0]
