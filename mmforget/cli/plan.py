"""What `--dry-run` prints: the plan that a run would carry out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmforget.cli.printing import print_json, say

if TYPE_CHECKING:
    from mmforget.pipeline.plan import Plan


def print_plan(plan: Plan, *, as_json: bool) -> int:
    """Prints every model, method, task and count on stdout, and returns the exit status."""
    if as_json:
        print_json(plan.as_dict())
    else:
        say(plan.text())
    return 0
