"""The six defences of UnLOK-VQA: each one's loss and rows by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from mmforget.errors import BadData, UserError
from mmforget.methods.base import AtLayers, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.head_projection import Margin
from mmforget.methods.input_rephrasing import BEGINNINGS, NAMES
from mmforget.methods.material import Material
from mmforget.types import Example
from tests.toy_steps import loss, scored, step

HALF, TENTH = math.log(0.5), math.log(0.1)
CONTEXT = "<image>\nAnswer the question in one word\n Question: Which breed is it? Answer:"
ROW = Example("2/forget/0", "2", CONTEXT, " Lab", extra={"alternatives": ["", "lab", "Terrier", "Poodle"]})


def written(name: str, *rows: Example, args: str = "", retain: tuple[Example, ...] = ()) -> list[Example]:
    """What the method writes for its first source."""
    source = build(name, args).sources[0]
    found: list[Example] = source.rows(Material(forget=rows, retain=retain))
    return found


def test_fact_erasure_is_the_probability_of_whole_answers() -> None:
    """0.5 x 0.1 = 0.05 and 0.5: their mean 0.275 and, as released, their product 0.025."""
    made = step(forget=scored([HALF, TENTH], [HALF]))
    assert loss(build("fact_erasure"), made).total.item() == pytest.approx(0.275)
    assert loss(build("fact_erasure", "variant=released"), made).total.item() == pytest.approx(0.025)


def test_fact_erasure_of_one_answer_is_the_same_in_both_variants() -> None:
    made = step(forget=scored([HALF, TENTH]))
    losses = [loss(build("fact_erasure", f"variant={one}"), made).total.item() for one in ("clean", "released")]
    assert losses == pytest.approx([0.05, 0.05])


def test_input_rephrasing_takes_five_wordings() -> None:
    """0.5 four times and 0.1: mean 0.42, product 0.5^4 x 0.1."""
    found: dict[Any, Any] = {Scores(name): scored([HALF]) for name in NAMES}
    made = Step(found | {Scores("forget"): scored([TENTH])})
    assert loss(build("input_rephrasing"), made).total.item() == pytest.approx(0.42)
    assert loss(build("input_rephrasing", "variant=released"), made).total.item() == pytest.approx(0.00625)


def test_input_rephrasing_puts_its_words_right_before_the_question() -> None:
    sources = build("input_rephrasing").sources
    rows = [source.rows(Material(forget=[ROW]))[0] for source in sources]
    assert [row.context for row in rows] == [
        f"<image>\nAnswer the question in one word\n {words}Question: Which breed is it? Answer:"
        for words in BEGINNINGS
    ]
    assert {row.answer for row in rows} == {" Lab"}


def test_words_go_behind_images_where_nothing_marks_the_question() -> None:
    plain = replace(ROW, context="<image> <image>\nwho is this?")
    assert written("input_rephrasing", plain)[0].context == f"<image> <image>\n{BEGINNINGS[0]}who is this?"
    assert written("input_rephrasing", replace(ROW, context="who?"))[0].context == f"{BEGINNINGS[0]}who?"


def test_of_a_conversation_the_last_question_gets_the_words() -> None:
    turns = (
        {"role": "user", "content": "<image>\nhello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "who is this?"},
    )
    row = replace(ROW, context="<image>\nhello hi\nwho is this?", turns=turns)
    found = written("input_rephrasing", row)[0]
    assert found.context == f"<image>\nhello hi\n{BEGINNINGS[0]}who is this?"
    assert [turn["content"] for turn in found.turns] == ["<image>\nhello", "hi", f"{BEGINNINGS[0]}who is this?"]


def test_empty_response_is_one_fixed_text_with_the_rows_delimiter() -> None:
    assert [row.answer for row in written("empty_response", ROW)] == [" I don't know"]
    assert written("empty_response", ROW, args="variant=released")[0].answer == " dummy"
    assert written("empty_response", ROW, args="text=No idea.")[0].answer == " No idea."


def test_a_new_answer_is_learnt_by_its_tokens() -> None:
    """(1 + 2 + 3) / 3 tokens."""
    for name, source in (("empty_response", "empty"), ("error_injection", "false")):
        made = Step({Scores(source): scored([-1.0, -2.0], [-3.0])})
        assert loss(build(name), made).total.item() == pytest.approx(2.0)


def test_error_injection_takes_the_first_alternative_that_is_none_of_the_true_answers() -> None:
    """`lab` is the answer itself; with the neighbouring picture's answer `Terrier` left out it is `Poodle`."""
    assert written("error_injection", ROW)[0].answer == " Terrier"
    assert written("error_injection", ROW, args="variant=released")[0].answer == " lab"
    shown = replace(ROW, extra={**ROW.extra, "neighbour_answer": "Terrier"})
    assert written("error_injection", shown)[0].answer == " Poodle"


def test_error_injection_names_rows_without_an_alternative() -> None:
    bare = replace(ROW, id="3/forget/0", extra={"alternatives": []})
    with pytest.raises(BadData, match="'3/forget/0': no false answer is given for 'Lab'"):
        written("error_injection", ROW, bare)


def test_where_nothing_is_offered_the_false_answer_is_another_rows() -> None:
    """Also as released, whose code then takes any other answer; the same every time, and never the row's own."""
    bare = replace(ROW, extra={})
    others = tuple(
        replace(bare, id=str(number), answer=f" {name}") for number, name in enumerate(["lab", "Oak", "Elm"])
    )
    found = {written("error_injection", bare, retain=others)[0].answer for _ in range(3)}
    assert len(found) == 1
    assert found <= {" Oak", " Elm"}
    empty = replace(ROW, extra={"alternatives": []})
    assert written("error_injection", empty, args="variant=released", retain=others)[0].answer in (" Oak", " Elm")
    with pytest.raises(UserError, match="no other row has another answer"):
        written("error_injection", bare)


@pytest.mark.parametrize("name", ["empty_response", "input_rephrasing"])
def test_documents_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="'2/forget/0' is a whole document"):
        written(name, replace(ROW, is_document=True))


def test_a_margin_is_the_distance_to_the_nearer_end() -> None:
    """Eight tokens, k = 2 on either side: 0.4 is 0.2 above the second most likely one's 0.2, 0.02 is 0.01 below the
    second least likely one's 0.03, and 0.1 is in between.
    """
    probs = torch.tensor([0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02])
    found = Margin(2)(probs.log().expand(3, 8), torch.tensor([0, 7, 2]))
    assert found.tolist() == pytest.approx([0.2, 0.01, 0.0], abs=1e-6)


def test_of_a_small_vocabulary_a_quarter_counts_on_either_side() -> None:
    logprobs = torch.tensor([0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02]).log().expand(2, 8)
    target = torch.tensor([0, 7])
    assert torch.equal(Margin(100)(logprobs, target), Margin(2)(logprobs, target))


@pytest.mark.parametrize(("name", "sign"), [("head_projection", 1), ("max_entropy", -1)])
def test_lenses_are_averaged_over_layers_and_tokens(name: str, sign: int) -> None:
    """Two layers, answers of two tokens and one: (1 + 3) / 2, (2 + 4) / 2, (5 + 7) / 2 over three tokens is 11 / 3;
    of the last tokens alone (3 + 6) / 2.
    """
    values = torch.tensor([[[1.0, 2.0], [5.0, 0.0]], [[3.0, 4.0], [7.0, 0.0]]])
    found = AtLayers(values, torch.tensor([[True, True], [True, False]]))
    for variant, wanted in (("clean", 11 / 3), ("released", 4.5)):
        method = build(name, f"variant={variant}")
        (lens,) = method.requests
        assert lens.is_double == (variant == "released")
        values_of = Step({lens: found})
        assert method.loss(values_of).popitem()[1].item() == pytest.approx(sign * wanted)


def test_values_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="k=0 is not allowed"):
        build("head_projection", "k=0")
