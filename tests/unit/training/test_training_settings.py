"""Recipes and flags become one checked record."""

from __future__ import annotations

from typing import Any

import pytest

from mmforget.errors import UnknownName, UserError
from mmforget.model.lora import LoraSettings
from mmforget.training.settings import TrainSettings, settings_from

RECIPE = {"lora": {"r": 128, "alpha": 256, "dropout": 0.05}, "lr": 1.0e-4, "epochs": 5, "order": "file", "seed": 233}


def test_a_recipe_becomes_settings() -> None:
    settings = settings_from(RECIPE)
    assert settings.lora == LoraSettings(r=128, alpha=256, dropout=0.05)
    assert (settings.lr, settings.epochs, settings.order, settings.seed) == (1e-4, 5.0, "file", 233)


def test_flags_override_a_recipe_and_none_means_not_given() -> None:
    settings = settings_from(RECIPE, {"lora_r": 4, "lr": "3e-4", "max_steps": None, "train_batch_size": 7})
    assert settings.lora == LoraSettings(r=4, alpha=256, dropout=0.05)
    assert (settings.lr, settings.max_steps, settings.batch_size) == (3e-4, None, 7)


@pytest.mark.parametrize("recipe", [{"lora": None}, {"lora_r": 0}, {}])
def test_no_lora_trains_the_whole_language_model(recipe: dict[str, Any]) -> None:
    assert settings_from(recipe).lora is None


def test_flags_can_add_lora_to_a_full_recipe() -> None:
    assert settings_from({"lora": None}, {"lora_r": 8}).lora == LoraSettings(r=8)


def test_lora_targets_may_be_names_or_an_expression() -> None:
    named = settings_from({"lora": {"r": 2, "target_modules": ["q_proj", "v_proj"]}}).lora
    assert named is not None
    assert named.target_modules == ("q_proj", "v_proj")
    expression = settings_from({"lora_r": 2, "lora_target_modules": r".*q_proj"}).lora
    assert expression is not None
    assert expression.target_modules == ".*q_proj"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lr": 0}, "lr=0.0"),
        ({"lr": "fast"}, "'fast'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"epochs": 0}, "epochs=0.0"),
        ({"max_steps": -1}, "max_steps=-1"),
        ({"warmup_ratio": 1}, "warmup_ratio=1.0"),
        ({"seed": -1}, "seed=-1"),
        ({"schedule": "square"}, "'square'"),
        ({"order": "random"}, "'random'"),
        ({"lora": 8}, "lora: {r: 8, alpha: 16}"),
        ({"lora_r": 2, "lora_dropout": 1}, "dropout=1"),
    ],
)
def test_values_that_make_no_sense_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings_from(given)


def test_an_unknown_setting_is_suggested() -> None:
    with pytest.raises(UnknownName, match="did you mean 'epochs'"):
        settings_from({"epoch": 3})


def test_an_unknown_lora_setting_is_suggested() -> None:
    with pytest.raises(UnknownName, match="did you mean 'lora_alpha'"):
        settings_from({"lora": {"r": 2, "alfa": 3}})


def test_settings_are_plain_values_in_the_record() -> None:
    assert settings_from(RECIPE).as_dict()["lora"]["r"] == 128
    assert set(TrainSettings().as_dict()) >= {"lr", "order", "lora"}
