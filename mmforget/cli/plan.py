"""What `--dry-run` prints: every model, method, task and count of a run, without doing any of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmforget.pipeline.config import RunConfig


def print_plan(config: RunConfig, *, as_json: bool) -> int:
    """Resolve and check everything, print the plan on stdout, and return the exit status.

    Raises what the run itself would raise for wrong input.
    """
    from mmforget.evaluate.plan import plan
    from mmforget.pipeline.run import check, resolve

    documents = []
    for use in resolve(config):
        methods = check(config, use=use)
        names = ["target", "retain", *(method.name for method in methods)]
        steps = plan(use.benchmark, models=names, data=use.data, limit=config.limit)
        if as_json:
            documents.append({**steps.as_dict(), "methods": [method.as_dict() for method in methods]})
            continue
        print(steps.text())
        for method in methods:
            print(f"  {method.name}: {method.method}")
            print(f"    {replace(method.settings)}")
    if as_json:
        json.dump(documents, sys.stdout, indent=2, default=str)
        print()
    return 0
