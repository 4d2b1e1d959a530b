"""What `--dry-run` prints: every model, method, task and count of a run, without doing any of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mmforget.cli.printing import print_json, say

if TYPE_CHECKING:
    from mmforget.benchmark.spec import Bound
    from mmforget.evaluate.plan import Plan
    from mmforget.pipeline.config import RunConfig
    from mmforget.pipeline.recipes import MethodPlan


def print_plan(config: RunConfig, *, as_json: bool, evaluates: bool = True) -> int:
    """Resolve and check everything, print the plan on stdout, and return the exit status.

    Args:
        evaluates: models are asked afterwards; otherwise one method trains one model and that is all.

    Raises what the run itself would raise for wrong input.
    """
    from mmforget.pipeline.run import check, one_bound, resolve

    documents = []
    for bound in resolve(config) if evaluates else [one_bound(config)]:
        methods = check(config, bound=bound)
        steps = _asked(config, bound=bound, methods=methods) if evaluates else _trained(config, bound=bound)
        if as_json:
            documents.append({**steps.as_dict(), "methods": [method.as_dict() for method in methods]})
            continue
        say(steps.text())
        for method in methods:
            say(f"  method {method.label}: {_settings(method.as_dict())}")
    if as_json:
        print_json(documents)
    return 0


def _asked(config: RunConfig, *, bound: Bound, methods: Sequence[MethodPlan]) -> Plan:
    """Every model that there will be, asked every task: no retain model where the protocol and the flags have none."""
    from mmforget.evaluate.plan import plan

    has_retain = bound.benchmark.has_retain_model or config.retain_model is not None
    retain = [f"retain, seed {seed}" for seed in config.stage_one_seeds] or ["retain"]
    names = ["target", *(retain if has_retain else []), *(method.label for method in methods)]
    return plan(bound, models=names, limit=config.limit)


@dataclass(frozen=True)
class Training:
    """What `unlearn` will do: one model, trained on these rows."""

    benchmark: str
    model: str
    rows: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        rows = ", ".join(f"{count} rows of the {name} set" for name, count in self.rows.items())
        return f"{self.benchmark}: unlearn from {self.model} with {rows}"


def _trained(config: RunConfig, *, bound: Bound) -> Training:
    from mmforget.model.spec import ModelSpec
    from mmforget.results.provenance import model_name

    benchmark = bound.benchmark
    model = "the micro model's target" if config.model == "micro" else ""
    named = model or model_name(ModelSpec.parse(config.model_args, device=config.device).pretrained)
    sets = (benchmark.forget_set, benchmark.retain_set)
    return Training(benchmark.group, named, {name: bound.num_rows(name) for name in sets})


def _settings(plan: Mapping[str, Any]) -> str:
    """Arguments and training settings as `key=value`, those that are off left out."""
    flat = {**plan["args"], **{k: v for k, v in plan["settings"].items() if k != "lora"}}
    flat |= {f"lora_{key}": value for key, value in (plan["settings"].get("lora") or {}).items()}
    return ", ".join(f"{key}={value}" for key, value in flat.items() if value is not None)
