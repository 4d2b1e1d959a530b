"""The assistant's loss, and what is made of its logits and the model's, on a few tokens worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import rel_entr, softmax

from mmforget.errors import UserError
from mmforget.methods.base import Scores, Step
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.methods.uld import NEVER, from_uniform, present, wrong_answers
from mmforget.types import Example
from tests.toy_steps import loss, scored

BEFORE, ASSISTANT = torch.tensor([[2.0, 1.0, -4.0]]), torch.tensor([[1.0, -1.0, 3.0]])


def test_the_assistants_logits_are_taken_away() -> None:
    """2 - 0.5, 1 + 0.5, -4 - 1.5; nothing is filtered."""
    method = build("uld", "weight=-0.5,threshold=0")
    assert method.mix(BEFORE, ASSISTANT).tolist() == [[1.5, 1.5, -5.5]]
    assert method.choose(BEFORE, ASSISTANT).tolist() == [[1.5, 1.5, -5.5]]


def test_the_assistant_has_a_say_in_likely_tokens_alone() -> None:
    """log 0.01 is -4.6, and -4 lies 6 below 2; log 0.5 is -0.69, and 1 lies 1 below."""
    method = build("uld", "weight=-0.5,threshold=0.01")
    assert method.mix(BEFORE, ASSISTANT).tolist() == [[1.5, 1.5, -4.0]]
    assert method.choose(BEFORE, ASSISTANT).tolist() == [[1.5, 1.5, NEVER]]
    # Half of three tokens is one.
    strict = build("uld", "weight=-0.5,threshold=0.5")
    assert strict.mix(BEFORE, ASSISTANT).tolist() == [[1.5, 1.0, -4.0]]
    # Nine tenths are two, though the second is not likely enough.
    assert build("uld", "weight=-0.5,threshold=0.9").mix(BEFORE, ASSISTANT).tolist() == [[1.5, 1.5, -4.0]]


def test_a_weight_of_nothing_leaves_the_model() -> None:
    method = build("uld", "weight=0")
    assert method.mix(BEFORE, ASSISTANT) is BEFORE
    assert method.choose(BEFORE, ASSISTANT) is BEFORE


def test_it_is_far_from_uniform_as_scipy_says() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    found = from_uniform(logits.log_softmax(-1), torch.tensor([0, 1]))
    wanted = [float(rel_entr([1 / 3] * 3, softmax(row)).sum()) for row in logits.numpy()]
    assert found.tolist() == pytest.approx(wanted, abs=1e-6)
    assert found[1].item() == pytest.approx(0.0, abs=1e-6)


def test_the_loss_remembers_and_is_uniform_elsewhere() -> None:
    """(1 + 2 + 3) / 3 and 5 (0.6 + 0.2 + 0.4) / 3 over the tokens of both sources together."""
    method = build("uld")
    divergences = {"retain": torch.tensor([[0.6, 0.2]]), "perturbed": torch.tensor([[0.4, 0.0]])}
    counts = {"retain": torch.tensor([[1.0, 1.0]]), "perturbed": torch.tensor([[1.0, 0.0]])}
    of = {from_uniform: divergences, present: counts}
    found = {request: of[request.kind][request.source] for request in method.requests[1:]}
    total, parts = loss(method, Step({Scores("forget"): scored([-1.0, -2.0], [-3.0]), **found}))
    assert parts == pytest.approx({"remember": 2.0, "uniform": 2.0})
    assert total.item() == pytest.approx(4.0)
    assert len(build("uld", "uniform_weight=0").requests) == 1
    assert build("uld", "uniform_weight=0").sources == (), "nobody asks for wrong answers, which documents do not have"
    assert [request.source for request in build("uld", "perturbed=False").requests] == ["forget", "retain", "retain"]
    assert {request.positions for request in build("uld", "variant=released").requests[1:]} == {"all"}


def row(subject: str, question: str, answer: str, *, is_document: bool = False) -> Example:
    return Example(f"{subject}/{question}", subject, question, f" {answer}", is_document=is_document)


def test_wrong_answers_are_those_of_others_to_the_same_question() -> None:
    rows = [row("a", "name?", "Ann"), row("a", "town?", "Ulm"), row("b", "town?", "Bonn"), row("b", "name?", "Bo")]
    assert [one.answer for one in wrong_answers(Material(forget=rows))] == [" Bo", " Bonn", " Ulm", " Ann"]
    alone = Material(forget=rows[:2])
    assert [(one.context, one.answer) for one in wrong_answers(alone)] == [("name?", " Ulm"), ("town?", " Ann")]
    kept = Material(forget=rows[:1], retain=rows[2:3])
    assert [one.answer for one in wrong_answers(kept)] == [" Bonn"]
    with pytest.raises(UserError, match="no other row has another answer; add perturbed=False"):
        wrong_answers(Material(forget=rows[:1]))
    with pytest.raises(UserError, match="whole document, to which no answer is wrong; add perturbed=False"):
        wrong_answers(Material(forget=[row("a", "", "text", is_document=True)]))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("weight=0.1", "weight=0.1 would add what the assistant remembers; give 0 or a number below it"),
        ("threshold=1", "threshold=1.0 is not allowed; give a number from 0 to below 1"),
        ("threshold=-0.1", "threshold=-0.1"),
        ("layers=0", "layers=0 is not allowed"),
        ("uniform_weight=-1", "uniform_weight=-1.0"),
    ],
)
def test_what_is_out_of_range_is_refused(args: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build("uld", args)


def test_a_threshold_on_logits_is_one_on_log_probs() -> None:
    logits = torch.randn(7, 300, generator=torch.Generator().manual_seed(0)) * 3
    logprobs = logits.log_softmax(-1)
    lowest = torch.minimum(logprobs.amax(-1) + math.log(0.01), logprobs.sort(descending=True).values[:, 2])
    wanted = logprobs >= lowest[:, None] - 1e-6
    assert torch.equal(build("uld").choose(logits, logits) > NEVER, wanted)
