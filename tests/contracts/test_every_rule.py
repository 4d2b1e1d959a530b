"""Every rule that says something of a row: its code is documented, its text is shown, and nobody goes by its text."""

from __future__ import annotations

import ast
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmforget.leaderboard import export, page, plots, words
from mmforget.leaderboard.board import BoardRow, boards
from mmforget.leaderboard.table import render_all
from mmforget.results import deciding, rules
from mmforget.results.evidence import Evidence
from mmforget.results.rules import CODES, Finding
from mmforget.results.schema import RunRecord, SetUse, Verdict
from mmforget.results.store import StoredRun
from mmforget.types import Estimate
from tests.unit.leaderboard.fake_runs import DATA, GATE, PROVENANCE, rate, record, stored
from tests.unit.results.hand_made import HELD, PLAIN, line

ROOT = Path(__file__).parents[2]
NO_PICTURES = plots.Pictures(light=b"", dark=b"")
SCORES = {name: rate(0.9) for name in (*rules.HEADLINE, "utility_ratio")}


def gate(**numbers: float | None) -> StoredRun:
    return run(gate=rules.gated(replace(GATE, **numbers)))


def run(**changes: Any) -> StoredRun:
    """A method's record as the board finds it; it has no finding of its own but that its data are synthetic."""
    (found,) = stored([record("npo", **{"data": {"source": "hub"}, **changes})])
    return found


def ruled(
    *, collapse: str = "", overshoot: float = 0.0, note: str = "", evidence: Sequence[Evidence] = (), **changes: Any
) -> StoredRun:
    """The same with the verdict that the rules give it."""
    found = run(**changes)
    verdict = deciding.verdict(
        found.record,
        collapse=[rules.finding(collapse, f"it is {collapse}")] if collapse else [],
        beyond=rules.beyond_retain("rouge_l", set_name="forget", unlearned=0.0, retain=0.4, overshoot=overshoot),
        evidence=evidence,
        data_notes=[note] if note else [],
        lacks_retain=False,
    )
    return replace(found, record=found.record.replace(verdict=verdict))


SEEDS_DIFFER = deciding.joint_verdict(
    {0: Verdict("removed", False, True), 1: Verdict("suppressed", False, True)},
    evidence=[PLAIN, HELD], kept=0.9, forget_score=0.9,
)  # fmt: skip
CASES: Mapping[str, StoredRun] = {
    "no_gate": run(gate=None),
    "gate_failed": run(gate=replace(GATE, passed=False, reason="the target recalls 0.13")),
    "target_unmeasured": gate(target=None),
    "not_memorised": gate(target=0.2),
    "room_unknown": gate(retain=None),
    "no_room": gate(retain=0.9),
    "no_retain_model": run(references={"target": "t"}),
    "no_reference_record": replace(run(), absent=("retain",)),
    "partial_set": ruled(sets={"forget": SetUse(5, 28, 1, "a")}),
    "sets_unknown": run(sets={}),
    "unofficial_data": ruled(note="a subset of the people"),
    "no_number": run(headline={name: rate(0.9) for name in rules.HEADLINE[:2]}),
    "low_coverage": ruled(headline={**SCORES, "utility": Estimate(0.9, 0.8, 1.0, 94, 6)}),
    "one_training": replace(run(), seeds=()),
    "no_verdict": run(verdict=None),
    "refused": run(verdict=Verdict("refused", False, False)),
    "reference": stored([record("target", role="target")])[0],
    **{code: ruled(collapse=code) for code, kind in CODES.items() if kind == "collapse"},
    "still_answers": ruled(evidence=[line(None, 0.9), HELD]),
    "came_back": ruled(evidence=[PLAIN, line("cloze", 0.9)]),
    "withstood": ruled(evidence=[PLAIN, HELD]),
    "not_attacked": ruled(evidence=[PLAIN]),
    "no_base_rate": ruled(evidence=[replace(PLAIN, retain=None, outcome="blind")]),
    "attacks_blind": ruled(evidence=[PLAIN, replace(HELD, outcome="blind")]),
    "too_wide": ruled(evidence=[PLAIN, line("cloze", 0.1, high=0.6)]),
    "utility_short": ruled(evidence=[PLAIN, HELD], headline={**SCORES, "utility_ratio": rate(0.5)}),
    "seeds_differ": run(verdict=SEEDS_DIFFER),
    "rows_lacking": ruled(headline={**SCORES, "utility": rate(0.9, num_lacking=3)}),
    "beyond_retain": ruled(overshoot=0.4),
    "unverified": replace(run(), unverified="samples_x.jsonl is missing"),
    "uncommitted_code": run(provenance=replace(PROVENANCE, dirty=True)),
    "synthetic_data": run(data=DATA),
    "data_note": run(data=DATA),
    "nonfinite": run(num_nonfinite=2),
}


def row_of(found: StoredRun) -> BoardRow:
    ((row,),) = (board.rows for board in boards([found]))
    return row


def said(found: StoredRun, code: str) -> Finding:
    return next(one for one in row_of(found).eligibility.findings if one.code == code)


def test_there_is_a_case_of_every_code() -> None:
    assert set(CASES) == set(CODES)
    assert row_of(run()).eligibility.findings == ()


@pytest.mark.parametrize("code", CASES)
def test_a_rule_gives_its_code_and_a_refusal_is_the_only_one(code: str) -> None:
    found = row_of(CASES[code]).eligibility
    assert said(CASES[code], code).refuses == (CODES[code] == "refusal")
    assert [one.code for one in found.findings if one.refuses] == ([code] if CODES[code] == "refusal" else [])
    assert found.eligible == (CODES[code] != "refusal")


def test_the_guide_lists_every_code_with_its_kind() -> None:
    lines = re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs" / "rules.md").read_text(), flags=re.M)
    assert dict(lines) == dict(CODES)
    assert len(lines) == len(CODES)


@pytest.mark.parametrize("code", [code for code in CASES if code != "reference"])
def test_page_table_and_json_show_what_a_rule_says(code: str) -> None:
    """References are shown as what they are; that nobody ranks them needs no sentence."""
    found, text = CASES[code], said(CASES[code], code).text
    shown = boards([found])
    console = io.StringIO()
    Console(file=console, width=200, color_system=None).print(render_all(shown))
    sentence = text[1:]  # it may begin a sentence
    assert sentence in " ".join(console.getvalue().split())
    assert sentence in html.unescape(" ".join(page.render(shown, pictures=[NO_PICTURES]).split()))
    (row,) = export.document(shown)["rows"]
    assert {"code": code, "text": text, "refuses": CODES[code] == "refusal"} in row["findings"]


def with_other_words(found: StoredRun) -> StoredRun:
    """The same record, every sentence in it another."""
    item: RunRecord = found.record
    headline = {name: replace(one, reasons=("so",) * len(one.reasons)) for name, one in item.headline.items()}
    verdict = item.verdict and replace(
        item.verdict, reasons=tuple(f"other {n}" for n, _ in enumerate(item.verdict.reasons))
    )
    gate = item.gate and replace(item.gate, reason="other" if item.gate.reason else "")
    return replace(found, record=item.replace(headline=headline, verdict=verdict, gate=gate))


@pytest.mark.parametrize("code", CASES)
def test_nobody_goes_by_what_a_sentence_says(code: str) -> None:
    before, after = row_of(CASES[code]), row_of(with_other_words(CASES[code]))
    assert {one.code for one in after.eligibility.findings} == {one.code for one in before.eligibility.findings}
    assert (after.eligibility.eligible, after.rank, after.collapsed) == (
        before.eligibility.eligible, before.rank, before.collapsed,
    )  # fmt: skip
    assert words.status(after) == words.status(before)


def test_what_an_older_record_says_without_codes_counts_as_its_verdict_does() -> None:
    """Refused: all it says keeps it from being ranked. Not refused: nothing does, whatever it says."""
    told = ("the people are drawn", "forgets beyond the retain model")
    refused = row_of(run(verdict=Verdict("undecided", False, False, told))).eligibility
    assert refused.reasons == told
    free = row_of(run(verdict=Verdict("collapsed", True, True, told)))
    assert free.rank == 1
    assert [(one.code, one.text) for one in free.eligibility.remarks] == [("uncoded", text) for text in told]


def test_a_verdict_that_is_refused_may_not_call_itself_eligible() -> None:
    """An edited flag does not undo a code."""
    item = ruled(note="a subset of the people").record
    assert item.verdict is not None
    edited = run(verdict=replace(item.verdict, eligible=True))
    assert row_of(edited).rank is None


@pytest.mark.parametrize("code", ["data_note", "beyond_retain", "made_up", ""])
def test_what_was_refused_stays_so_whatever_code_it_is_given(code: str) -> None:
    assert row_of(run(gate=replace(GATE, passed=False, reason="no", code=code))).rank is None
    assert row_of(run(verdict=Verdict("refused", False, False, ("no",), (code,)))).rank is None


LOOKS = {"startswith", "endswith", "removeprefix", "removesuffix", "split", "partition", "find", "index", "count"}


@pytest.mark.parametrize("package", ["results", "evaluation", "leaderboard", "pipeline"])
def test_no_code_looks_into_a_reason(package: str) -> None:
    found = []
    for path in sorted((ROOT / "mmforget" / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            looked: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOOKS:
                looked = [node.func.value]
            elif isinstance(node, ast.Compare) and any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops):
                looked = node.comparators
            found += [f"{path.name}:{one.lineno}" for one in looked if re.search(r"\breasons?\b", ast.unparse(one))]
    assert found == []
