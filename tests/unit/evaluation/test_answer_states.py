"""How many answers are right, wrong, a refusal or gibberish: counted by hand, of three models, plain and attacked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from test_evaluate_uses import record_of
from toy_benchmark import generated, scored, toy

from mmforget.evaluation.answer_states import answer_states
from mmforget.results.answer_states import AnswerStates, StateCounts
from mmforget.results.consistency import contradictions
from mmforget.results.schema import RunRecord

REFUSES = "I cannot say who that is."
OWN_REFUSAL = "Ask somebody else"
LOOP = "the the the the"
FORGET, KEEP = "toy_forget_gen", "toy_keep_gen"


def test_counts_by_hand(tmp_path: Path) -> None:
    """The answer is `a b c d`, and its keyword, `a b`, makes an answer right wherever it stands.

    Plain: two say it, one after a refusal; one says something else, one refuses, one refuses in the benchmark's own
    words, one loops, one says nothing, which is gibberish, and a guard has no answer to one. A row that lacks what the
    attack needs is none of them, nor are ranks of an attack that looks inside.
    """
    plain = generated(
        "forget", ["a b c d", f"{REFUSES} a b", "x y", REFUSES, f"{OWN_REFUSAL}, please", LOOP, "", "never said"]
    )
    plain[-1] = replace(plain[-1], response=None, unanswered="the guard has none")
    attacked = generated("forget", ["a b", "x y", "x z", "lacking"], attack="cloze")
    attacked[-1] = replace(attacked[-1], response=None, lacking="no name")
    ranked = [replace(one, response=None, ranks=(3,)) for one in generated("forget", ["r"], attack="logit_lens")]
    target = generated("forget", ["a b c d"] * 3)
    found = answer_states(
        toy(tmp_path), [*plain, *attacked, *ranked, *generated("keep", ["a b"]), *scored("forget", [-1.0])],
        target=target, retain=None, refusals=(OWN_REFUSAL,),
    )  # fmt: skip
    assert found == [
        AnswerStates(FORGET, "forget", None, StateCounts(2, 1, 2, 2, unanswered=1), StateCounts(3, 0, 0, 0), None),
        AnswerStates(FORGET, "forget", "cloze", StateCounts(1, 2, 0, 0), None, None),
        AnswerStates(KEEP, "keep", None, StateCounts(1, 0, 0, 0), None, None),
    ]
    assert found[0].own.num_answered == 7


def test_a_record_has_them_and_says_the_same_again(tmp_path: Path) -> None:
    """Six answers each: the unlearned model says `a b x y z w`, which has the keyword; the retain model `a x y z`."""
    record = record_of(toy(tmp_path))
    (line, keep) = record.answer_states
    assert (line.own, line.target, line.retain) == (
        StateCounts(6, 0, 0, 0), StateCounts(6, 0, 0, 0), StateCounts(0, 6, 0, 0),
    )  # fmt: skip
    assert keep.task == KEEP
    assert RunRecord.from_json(json.loads(json.dumps(record.to_json())), source="x") == record
    assert contradictions(record) == []


def test_counts_that_cannot_be_are_named(tmp_path: Path) -> None:
    line = AnswerStates(FORGET, "forget", "cloze", StateCounts(1, 2, 0, 0), None, StateCounts(0, -1, 0, 0))
    wrong = contradictions(record_of(toy(tmp_path)).replace(answer_states=(line, line)))
    assert wrong[:2] == [
        f"answer_states of {FORGET} under cloze are there 2 times", f"answer_states of {FORGET}: negative counts",
    ]  # fmt: skip
