"""What a list says of a method: its shape, what it asks for in words, and a step's cost in steps of `ga`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from mmforget.cli.main import main
from mmforget.methods.base import METHODS, Divergence, Hidden, Influence, Reference, Request, Scores, TokenStats
from mmforget.methods.build import build
from mmforget.methods.described import cost_of, described, in_words, shape_of
from mmforget.methods.inpo import ByRemoval


@pytest.mark.parametrize(
    ("requests", "cost"),
    [
        ((Scores("forget"),), 1),
        ((Scores("forget"), Scores("retain")), 2),
        ((Scores("forget"), Reference("forget"), Scores("retain")), 2),
        ((Scores("forget"), Divergence("retain")), 2 + 1 / 3),
        ((Scores("alternate"), Reference("alternate"), Scores("forget")), 2 + 1 / 3),
        ((Hidden("forget", (1,)), Hidden("retain", (1,)), Hidden("retain", (1,), before=True)), 2 + 1 / 3),
        ((Scores("forget"), Divergence("forget"), Scores("retain"), Divergence("retain")), 2 + 2 / 3),
    ],
)
def test_a_source_counts_once_and_a_pass_without_gradients_a_third(requests: tuple[Request, ...], cost: float) -> None:
    assert cost_of(requests) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("name", "args", "cost"),
    [
        ("ga", "", 1),
        ("ga+bounded", "", 1),
        ("ga+sam", "", 2 + 1 / 3),
        ("ga+sam", "kind=averaging", 1),
        ("ga+sam", "kind=smoothing", 3 + 1 / 3),
        ("grad_diff+sam", "", 3 + 1 / 3),
        ("kl+sam", "", 2 + 2 * (1 / 3) + 1),
        ("grad_diff+uoe", "", 3),
        ("grad_diff+uoe+sam", "", 5 + 2 / 3),
        ("dto", "", 2 + 2 / 3),
        ("dto", "kept_weight=0", 1),
    ],
)
def test_what_is_computed_again_counts_again(name: str, args: str, cost: float) -> None:
    """`sam` takes what is kept once, finding the rows to forget without gradients, and then these twice."""
    method = build(name, args)
    assert cost_of(method.requests, method=method) == pytest.approx(cost)


@pytest.mark.parametrize(("name", "cost"), [("bounded", 1), ("sam", 2.33), ("uoe", 2), ("dto", 2.67), ("uld", 0.75)])
def test_a_wrapper_costs_what_it_costs_around_ga(name: str, cost: float) -> None:
    assert described(METHODS.get(name)).cost == cost


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Scores("forget"), "Scores(forget)"),
        (Scores("retain", positions="all"), "Scores(retain, all positions)"),
        (Reference("forget", of="retain_model"), "Reference(forget, retain_model)"),
        (Reference("forget", suffix=0.5), "Reference(forget, by 0.5 of the context)"),
        (TokenStats("forget", "runner_up"), "TokenStats(forget, runner_up)"),
        (Influence("forget", ByRemoval(0.5)), "Influence(forget, ByRemoval)"),
        (Hidden("retain", (3,), before=True), "Hidden(retain, before)"),
    ],
)
def test_requests_in_words(request_: Request, words: str) -> None:
    assert in_words(request_) == words


@pytest.mark.parametrize(
    ("name", "shape"), [("npo", "loss"), ("chip", "edit"), ("whp_logit", "guard"), ("rmu", "loss")]
)
def test_shapes(name: str, shape: str) -> None:
    assert shape_of(METHODS.get(name)) == shape


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("whp", "before them 1.5 times as many, each as one of ga's, learn the rows to forget"),
        ("reveal_and_release", "writes, 2 times in a training, 12 texts and one for each row to forget"),
        ("dp2", "10 epochs with the gradient of each row alone"),
        ("ga", ""),
    ],
)
def test_what_is_computed_beside_the_steps_is_said(name: str, words: str) -> None:
    found = described(METHODS.get(name)).besides
    assert words in found
    assert bool(found) == bool(words)


@dataclass(frozen=True)
class Silent:
    """A method of somebody who says nothing of it, and that cannot be made without an argument."""

    layer: int

    def gradients(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("a list computes nothing")


def test_a_method_that_says_nothing_is_listed_all_the_same() -> None:
    assert described(Silent) == ("wrapper", (), None, "", "", {}, "")


def test_methods_are_opened_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "methods"]) == 0
    assert "arguments:" not in capsys.readouterr().out
    assert main(["ls", "methods", "-v"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.split()[0] == "kl")
    assert lines[at + 1].strip() == "loss; asks for Scores(forget), Divergence(retain); a step costs 2.33 of ga's"
    assert lines[at + 2].strip() == "exact: https://arxiv.org/abs/2401.06121"
    assert lines[at + 3].strip().startswith("arguments: forget_weight=1.0")
    at = next(i for i, line in enumerate(lines) if line.split()[0] == "sam")
    assert lines[at + 1].strip() == "wrapper; around ga a step costs 2.33 of ga's"


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "methods", "--json"]) == 0
    methods = {one["name"]: one for one in json.loads(capsys.readouterr().out)["methods"]}
    assert methods["ga"]["cost"] == 1
    assert methods["chip"] == methods["chip"] | {"shape": "edit", "cost": None, "requests": []}
    assert methods["npo"]["requests"] == ["Scores(forget)", "Reference(forget)", "Scores(retain)"]
