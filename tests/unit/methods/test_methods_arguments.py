"""Arguments typed on the command line become typed fields, or a message that says what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from mmforget.arguments import coerce
from mmforget.errors import UnknownName, UserError
from mmforget.methods.arguments import as_mapping, from_arguments
from mmforget.methods.build import arguments


@dataclass(frozen=True)
class Knobs:
    rate: float = 0.5
    count: int = 3
    fast: bool = False
    kind: Literal["a", "b"] = "a"
    limit: int | None = None
    name: str = "x"


def test_text_becomes_the_fields_types() -> None:
    made = from_arguments(Knobs, "rate=1, count=4,fast=true,kind=b,limit=7,name=y", owner="knobs")
    assert made == Knobs(rate=1.0, count=4, fast=True, kind="b", limit=7, name="y")
    assert isinstance(made.rate, float)


def test_nothing_given_means_the_defaults() -> None:
    assert from_arguments(Knobs, "", owner="knobs") == from_arguments(Knobs, {}, owner="knobs") == Knobs()


def test_none_is_allowed_only_where_the_type_says_so() -> None:
    assert from_arguments(Knobs, "limit=none", owner="knobs").limit is None
    with pytest.raises(UserError, match="count of knobs: 'none' is not a whole number"):
        from_arguments(Knobs, "count=none", owner="knobs")


@pytest.mark.parametrize("args", ["count=1.5", "rate=inf", "fast=maybe", "rate=true", "limit=x"])
def test_wrong_types_name_argument_and_value(args: str) -> None:
    name, _, value = args.partition("=")
    with pytest.raises(UserError, match=f"{name} of knobs: '{value}'"):
        from_arguments(Knobs, args, owner="knobs")


def test_an_unknown_argument_is_suggested() -> None:
    with pytest.raises(UnknownName, match="unknown argument of knobs 'rat'; did you mean 'rate'"):
        from_arguments(Knobs, "rat=1", owner="knobs")


@pytest.mark.parametrize(("text", "said"), [("rate", "knobs: .rate. has no value"), ("rate=1,rate=2", "given twice")])
def test_malformed_text_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        as_mapping(text, owner="knobs")


def test_a_method_lists_its_arguments() -> None:
    assert arguments("npo") == ("beta", "retain_weight", "retain", "variant")
    assert arguments("ga") == ()


@pytest.mark.parametrize("value", [10**400, "9" * 5000, "1e999", float("inf"), [1], None], ids=range(6))
@pytest.mark.parametrize("kind", [int, float])
def test_numbers_beyond_all_bounds_are_refused_in_few_words(kind: type, value: object) -> None:
    with pytest.raises(UserError, match="is not a (whole )?number") as caught:
        coerce(value, kind, name="beta of method 'npo'")
    assert len(str(caught.value)) < 300


def test_a_whole_number_keeps_all_its_digits() -> None:
    """2^53 + 1 is no float."""
    assert coerce(9007199254740993, int, name="seed") == 9007199254740993
    assert coerce("12", int, name="seed") == 12
