"""What a benchmark's document and a run name, looked at before any model is asked."""

from __future__ import annotations

from mmforget.attacks.contract import check_attack
from mmforget.attacks.naming import attack_names
from mmforget.benchmark.document import AttackName
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.collapse import failures_of
from mmforget.metrics.arguments import named_metrics
from mmforget.metrics.contract import check_metric
from mmforget.pipeline.config import RunConfig
from mmforget.plugins import is_ours


def attacks_of(config: RunConfig, *, benchmark: Benchmark) -> tuple[AttackName, ...]:
    """The attacks that the benchmark's document names, then those of the run, each once."""
    return attack_names([*benchmark.document.attacks, *config.attacks])


def check_document(benchmark: Benchmark) -> None:
    """Checks what the document names, and tries what other packages bring on toy samples; no model is asked anything.

    Raises UnknownName for a metric, attack, argument or profile that does not exist, UserError for a value of an
    argument that is not allowed and for collapse by what is no rate of failures, PluginError naming what a plugin does
    wrong.
    """
    for metric in named_metrics(benchmark.document).values():
        if not is_ours(metric):
            check_metric(metric)
    for one in attack_names(benchmark.document.attacks):
        check_attack(one.attack, one.args)
    failures_of(benchmark)
