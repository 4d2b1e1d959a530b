"""Attacks as they are typed: with arguments, as suites, and one line for what is none."""

from __future__ import annotations

import pytest

from mmforget.attacks.base import ATTACKS, budget_of, cost_of
from mmforget.attacks.naming import SUITES, SUMMARIES, attack_names, attack_of
from mmforget.benchmark.document import AttackName
from mmforget.errors import UnknownName, UserError


def keys(text: str) -> list[str]:
    return [one.key for one in attack_names(text)]


def test_names_arguments_and_suites() -> None:
    assert keys("logit_lens, image_rephrase") == ["logit_lens", "image_rephrase"]
    assert keys("question_rephrase(level=easy,budget=4)") == ["question_rephrase(budget=4,level=easy)"]
    assert keys("unlok7,logit_lens,blank_image") == [*SUITES["unlok7"], "blank_image"]
    assert keys("logit_lens(layers=[2,3])") == ["logit_lens(layers=[2, 3])"]
    given = AttackName("logit_lens", {"variant": "faithful"})
    assert attack_names([given, "unlok7"])[0] is given


def test_what_a_record_calls_an_attack_is_that_attack() -> None:
    for text in ("logit_lens(layers=[2,3],variant=faithful)", "multimodal_rephrase(image_level=easy,temperature=0.5)"):
        (name,) = attack_names(text)
        assert attack_of(name.key) == attack_of(text)
    assert attack_of("logit_lens(layers=[2, 3])").layers == (2, 3)


def test_every_attack_of_a_suite_is_there() -> None:
    assert set(SUMMARIES) == set(SUITES)
    assert {one.partition("(")[0] for suite in SUITES.values() for one in suite} <= set(ATTACKS.names())
    assert all(attack_names(suite) for suite in SUITES)
    assert len(SUITES["unlok7"]) == 7
    for name in SUITES["unlok7"]:
        assert budget_of(attack_of(name)) == 20
        assert cost_of(attack_of(name))


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("", UserError, "no attack is named; see 'mmforget ls attacks'"),
        ("unlok8", UnknownName, "unknown attack 'unlok8'; did you mean 'unlok7'?"),
        ("logit_lense", UnknownName, "unknown attack 'logit_lense'; did you mean 'logit_lens'?"),
        ("logit_lens(budget=0)", UserError, "attack 'logit_lens': budget=0 is not allowed; give a number above 0"),
        ("image_rephrase(budget=0)", UserError, "attack 'image_rephrase': budget=0 is not allowed"),
        ("finetuning(steps=0)", UserError, "attack 'finetuning': steps=0 is not allowed"),
        ("question_rephrase(level=eazy)", UnknownName, "did you mean 'easy'?"),
        ("question_rephrase(levle=easy)", UnknownName, "unknown argument of attack 'question_rephrase' 'levle'"),
        ("logit_lens(budget=3", UserError, r"has no closing bracket; write NAME\(ARGUMENT=VALUE,...\)"),
        ("unlok7(budget=3)", UserError, "'unlok7' is a suite of attacks, which takes no arguments"),
    ],
)
def test_what_is_no_attack_is_one_line(text: str, error: type[UserError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        attack_names(text)
    assert "\n" not in str(caught.value)
