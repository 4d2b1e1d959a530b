"""Which judge a name means, which labels a benchmark asks for, and how samples get them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from judged_samples import asked

from mmforget.benchmark import find
from mmforget.cli import ls
from mmforget.errors import PluginError, UnknownName, UserError
from mmforget.judges.base import Judge, Said, label_samples, labels_of
from mmforget.judges.naming import Nobody, judge_from
from mmforget.judges.rules import Rules
from mmforget.types import Sample
from tests.plugin_packages import installed, write_package


@dataclass(frozen=True)
class Costly:
    """Says `safe` of everything, and costs something."""

    name: str = "costly"
    is_free: bool = False

    def judge(self, samples: Sequence[Sample], *, label: str) -> list[Said | None]:
        return [Said("safe", "costly-1")] * len(samples)

    def describe(self) -> dict[str, Any]:
        return {"judge": self.name}


def test_names_of_judges() -> None:
    assert isinstance(judge_from("none", local_only=False), Nobody)
    rules = judge_from("rules", local_only=True, refusals=["Nope."])
    assert isinstance(rules, Rules)
    assert rules.refusals == ("Nope.",)
    assert all(isinstance(judge, Judge) for judge in (rules, Nobody(), Costly()))
    assert judge_from("hf:owner/model", local_only=True).describe()["judge"] == "hf:owner/model"


@pytest.mark.parametrize("text", ["rule", "gpt-4o", "", "openai:gpt-4o", "rules:strict"])
def test_an_unknown_judge_names_those_there_are(text: str) -> None:
    with pytest.raises(UnknownName, match=r"unknown judge"):
        judge_from(text, local_only=False)


@pytest.mark.parametrize("text", ["hf:", "remote: "])
def test_a_judge_without_a_model_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="names no model"):
        judge_from(text, local_only=False)


def test_answers_that_may_not_leave_the_machine_go_to_no_remote_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with pytest.raises(UserError, match=r"may not leave the machine .*use --judge rules or hf:MODEL"):
        judge_from("remote:gpt-4o", local_only=True)


def test_labels_of_benchmarks() -> None:
    assert labels_of(find("fiubench")) == {}
    assert labels_of(find("safe_eraser"))["benign_val"] == ("normal",)


def test_samples_get_the_labels_of_their_set_and_who_gave_them() -> None:
    samples = [asked("I cannot help with that."), asked("the the the the", name="benign"), asked("yes.", name="other")]
    labels = {"forget": ("harm", "refusal"), "benign": ("normal",)}
    first, second, third = label_samples(samples, labels=labels, judge=Rules())
    by = {f"{name}/by": "rules-3" for name in ("harm", "refusal")}
    assert first.labels == {"harm": "safe", "refusal": "refusal", **by}
    assert second.labels == {"normal": "abnormal", "normal/by": "rules-3"}
    assert third.labels == {}
    assert samples[0].labels == {}


def test_one_list_of_labels_is_for_all_samples_and_others_are_kept() -> None:
    sample = replace(asked("Anything else."), labels={"mood": "good", "harm": "unsafe", "harm/by": "an older judge"})
    (found,) = label_samples([sample], labels=["harm"], judge=Rules())
    assert found.labels == {"mood": "good", "harm": "safe", "harm/by": "rules-3"}


def test_what_has_no_response_is_not_judged() -> None:
    (found,) = label_samples([asked(None)], labels=["harm"], judge=Rules())
    assert found.labels == {}


def test_controls_are_judged_only_where_it_is_free() -> None:
    samples = [asked("Yes."), asked("Yes.", attack="blank_image")]
    assert [set(one.labels) for one in label_samples(samples, labels=["harm"], judge=Costly())] == [
        {"harm", "harm/by"},
        set(),
    ]
    assert all(one.labels for one in label_samples(samples, labels=["harm"], judge=Rules()))


def test_nobody_labels_nothing() -> None:
    (found,) = label_samples([asked("Yes.")], labels=["harm"], judge=Nobody())
    assert found.labels == {}
    assert Nobody().describe() == {"judge": "none", "labels": {}}


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown label 'harms'; did you mean 'harm'"):
        label_samples([asked("Yes.")], labels={"forget": ["harms"]}, judge=Rules())


MOOD = """
from dataclasses import dataclass
from mmforget.judges.base import Said

@dataclass(frozen=True)
class Mood:
    word: str = "well"
    name = "mood"
    is_free = False
    labels = ("friendly",)

    def judge(self, samples, *, label):
        if self.word == "broken":
            return [1] * len(samples)
        return [Said(str(self.word in one.response), "mood-1") if label == "friendly" else None for one in samples]

    def describe(self):
        return {"judge": self.name}

JUDGE = Mood
"""


def test_a_judge_of_another_package_and_its_own_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(tmp_path, "theirs", code=MOOD, points={"mmforget.judges": "mood = theirs\nbare = theirs:Said"})
    with installed(tmp_path, monkeypatch=monkeypatch):
        judge = judge_from("mood:word=fine", local_only=False)
        found = label_samples([asked("All is fine."), asked("No.")], labels=["friendly", "harm"], judge=judge)
        assert [one.labels for one in found] == [
            {"friendly": value, "friendly/by": "mood-1"} for value in ("True", "False")
        ]
        with pytest.raises(UserError, match="may not leave the machine"):
            judge_from("mood", local_only=True)
        with pytest.raises(PluginError, match="judge 'bare' from theirs: JUDGE is no dataclass"):
            judge_from("bare", local_only=False)
        with pytest.raises(UnknownName, match="unknown argument of judge 'mood' 'wort'"):
            judge_from("mood:wort=a", local_only=False)
        with pytest.raises(PluginError, match="judge 'mood': judge has to give a Said or None for each of 1"):
            label_samples([asked("No.")], labels=["harm"], judge=judge_from("mood:word=broken", local_only=False))
        assert [item.name for item in ls.collect(["judges"]).items["judges"]] == [
            "rules", "none", "hf:MODEL", "classifier:FOLDER", "remote:MODEL", "bare", "mood",
        ]  # fmt: skip
