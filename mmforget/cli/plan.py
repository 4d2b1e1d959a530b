"""What `--dry-run` prints: every model, method, task and count of a run, without doing any of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmforget.cli.printing import print_json

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
        names = ["target", "retain", *(method.label for method in methods)]
        steps = plan(use.benchmark, models=names, data=use.data, limit=config.limit)
        if as_json:
            documents.append({**steps.as_dict(), "methods": [method.as_dict() for method in methods]})
            continue
        print(steps.text())
        for method in methods:
            print(f"  method {method.label}: {_settings(method.as_dict())}")
    if as_json:
        print_json(documents)
    return 0


def _settings(plan: Mapping[str, Any]) -> str:
    """Arguments and training settings as `key=value`, those that are off left out."""
    flat = {**plan["args"], **{k: v for k, v in plan["settings"].items() if k != "lora"}}
    flat |= {f"lora_{key}": value for key, value in (plan["settings"].get("lora") or {}).items()}
    return ", ".join(f"{key}={value}" for key, value in flat.items() if value is not None)
