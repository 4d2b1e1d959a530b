"""Every registered attack: what it says of itself, and that it can be made on toy questions, logits and rows."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from typing import get_args

import pytest

from mmforget.attacks.base import (
    ATTACKS,
    NEEDS,
    Access,
    budget_of,
    build_attack,
    cost_of,
    reaches,
    shape_faults,
)
from mmforget.attacks.comparing import metrics_of
from mmforget.attacks.contract import check_attack
from mmforget.attacks.naming import SUITES

NAMES = ATTACKS.names()
PICTURES_AWAY = ("blank_image", "shuffled_images")
"""Controls on every kind of task; the one without a question is for those with options."""
EVERYWHERE = (*SUITES["controls"], "representations")
"""Made on sets to keep, too: what gets no answer back."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_says_what_it_needs_and_takes(name: str) -> None:
    kind = ATTACKS.get(name)
    attack = build_attack(name)
    assert shape_faults(name, kind) == []
    assert attack.access in get_args(Access)
    assert metrics_of(attack) or all(hasattr(attack, key) for key in NEEDS[attack.access])
    assert budget_of(attack) is not None
    assert cost_of(attack)
    assert ATTACKS.entries[name].summary.endswith(".")
    assert 0 < len(attack.label.split()) <= 3


def test_it_is_frozen_and_made_without_arguments(name: str) -> None:
    kind = ATTACKS.get(name)
    assert is_dataclass(kind)
    assert build_attack(name) == build_attack(name)
    assert hash(build_attack(name)) == hash(build_attack(name))
    for field in fields(kind):
        with pytest.raises(AttributeError):
            setattr(build_attack(name), field.name, None)


def test_it_can_be_made(name: str) -> None:
    check_attack(name)


def test_every_choice_of_an_argument_can_be_made(name: str) -> None:
    hints = inspect.get_annotations(ATTACKS.get(name), eval_str=False)
    for field in fields(ATTACKS.get(name)):
        if (
            field.name in ("variant", "level", "question_level", "image_level", "ends", "look", "on", "kind")
            and field.name in hints
        ):
            kind = inspect.get_annotations(ATTACKS.get(name), eval_str=True)[field.name]
            for choice in get_args(kind):
                check_attack(name, {field.name: choice})


def test_what_gets_forgotten_answers_back_is_made_on_the_forget_set_alone(name: str) -> None:
    attack = build_attack(name)
    assert reaches(attack, modality="image", kind="gen", is_forget=True)
    assert reaches(attack, modality="image", kind="gen", is_forget=False) == (name in EVERYWHERE)
    assert reaches(attack, modality="image", kind="prob", is_forget=True) == (name in PICTURES_AWAY)
    assert reaches(attack, modality="text", kind="gen") == (attack.modality == "any")
