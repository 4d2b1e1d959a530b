"""The table of `mmforget attack`: numbers in columns, and below them, once, why some are not there."""

from __future__ import annotations

from typing import Any

from mmforget.cli.attack import _table
from mmforget.evaluation.attack import AttackResult
from mmforget.types import Estimate

NONE = Estimate(None, reasons=("6 of 6 rows take no part: no paraphrase",))


def result(attack: str | None, success: Estimate, **changes: Any) -> AttackResult:
    return AttackResult(attack, "t", "black_box", 4, "cheap", success, success, (), **changes)


def test_what_has_no_number_says_why_below_the_columns() -> None:
    plain, half = Estimate(0.0), Estimate(0.5, 0.25, 0.75)
    depth = {"unlearning_depth, clean": Estimate(None, reasons=("no adapter",))}
    kept = [result("patching", NONE, measures={key: one}) for key in depth for one in (half, depth[key])]
    by_model = {
        "model": [result(None, plain), result("cloze", half), result("rephrase", NONE), kept[0]],
        "retain": [result(None, half), result("cloze", plain), result("rephrase", NONE), kept[1]],
    }
    assert _table("toy", by_model).splitlines() == [
        "toy",
        "  attack                             access     budget  success of model      success of retain     area",
        "  (asked plainly)                    black_box  4       0.000                 0.500 [0.250, 0.750]  0.000",
        "  cloze                              black_box  4       0.500 [0.250, 0.750]  0.000                 0.500",
        "  rephrase                           black_box  4       -                     -                     -",
        "  patching: unlearning_depth, clean  black_box          0.500 [0.250, 0.750]  -",
        "  rephrase: no number of model, retain: 6 of 6 rows take no part: no paraphrase",
        "  patching: unlearning_depth, clean: no number of retain: no adapter",
    ]
