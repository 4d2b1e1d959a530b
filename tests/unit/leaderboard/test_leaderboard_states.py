"""Right, wrong, refusals and gibberish on a board: over seeds, in the document, in bars and in numbers on the page."""

from __future__ import annotations

import re
from dataclasses import replace

from fake_runs import record, stored

from mmforget.leaderboard import export, page, states
from mmforget.leaderboard.board import boards
from mmforget.leaderboard.over_seeds import join_seeds
from mmforget.results.answer_states import AnswerStates, StateCounts
from mmforget.results.evidence import Evidence
from mmforget.results.schema import RunRecord, Verdict

TARGET, RETAIN = StateCounts(8, 0, 0, 0), StateCounts(0, 8, 0, 0)


def refusing(*, attacked: StateCounts, **changes: object) -> RunRecord:
    """Plainly asked, it refuses six of eight times; under `cloze` it answers as told."""
    plain = Evidence(None, "t", "black_box", 8, 0, 4, 0.125, 1.0, 0.0)
    lines = (
        AnswerStates("t", "forget", None, StateCounts(1, 1, 6, 0), TARGET, RETAIN),
        AnswerStates("t", "forget", "cloze", attacked, TARGET, RETAIN),
    )
    verdict = Verdict("undecided", False, True, evidence=(plain, replace(plain, attack="cloze")))
    return record("po", verdict=verdict, answer_states=lines, **changes)


def test_a_bar_has_the_shares_of_what_was_answered() -> None:
    """Of eight answers one is right, one wrong and six are refusals: 12.5, 12.5 and 75 of 100; two unanswered ones no
    part of them."""
    assert states.shares(StateCounts(1, 1, 6, 0, unanswered=2)) == [
        ("right", 0.0, 12.5), ("wrong", 12.5, 12.5), ("refusal", 25.0, 75.0),
    ]  # fmt: skip
    assert states.shares(StateCounts(0, 0, 0, 0)) == []


def test_answers_of_all_seeds_are_counted_together() -> None:
    first = refusing(attacked=StateCounts(5, 3, 0, 0))
    assert first.method is not None
    second = refusing(
        attacked=StateCounts(1, 5, 0, 2), method=replace(first.method, seed=1), model_info={"fingerprint": "2"}
    )
    lone = replace(second, answer_states=second.answer_states[1:])
    (joint,) = join_seeds(stored([replace(first, model_info={"fingerprint": "1"}), lone]))
    assert joint.record.answer_states == (
        AnswerStates("t", "forget", "cloze", StateCounts(6, 8, 0, 2), TARGET, RETAIN),
    )  # fmt: skip


def test_the_document_and_the_page_show_them() -> None:
    """A bar for each of three models beside the success of either line, and all counts in a table."""
    runs = stored([record("target", role="target"), refusing(attacked=StateCounts(5, 2, 0, 1, unanswered=3))])
    found = boards(runs)
    row = export.document(found)["rows"][1]
    assert row["answer_states"][0] == {
        "task": "t", "set": "forget", "attack": None,
        "own": {"right": 1, "wrong": 1, "refusal": 6, "gibberish": 0, "unanswered": 0},
        "target": {"right": 8, "wrong": 0, "refusal": 0, "gibberish": 0, "unanswered": 0},
        "retain": {"right": 0, "wrong": 8, "refusal": 0, "gibberish": 0, "unanswered": 0},
    }  # fmt: skip
    html = page.render(found)
    bars = re.findall(r'<svg class="states".*?</svg>', html)
    assert len(bars) == 6
    assert "1 right, 1 wrong, 6 refusals, 0 gibberish" in bars[2]
    assert re.findall(r'class="(\w+)" x="([\d.]+)" width="([\d.]+)"', bars[5]) == [
        ("right", "0.0", "62.5"), ("wrong", "62.5", "25.0"), ("gibberish", "87.5", "12.5"),
    ]  # fmt: skip
    assert "5 / 2 / 0 / 1</span><small>3 not answered</small>" in html
    assert "a refusal is no error of memory" in html
    assert 'class="states"' not in page.render(boards(stored([record("npo")])))
