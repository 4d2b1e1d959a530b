"""A peer's log as a run record: its numbers stand beside ours in table, page and JSON, and are never ranked.

The record holds numbers alone. The log's rows are single means where ours are tokens, so they are no samples of ours:
what is to be computed again is computed from the log itself, which the record names with its hash.
"""

from __future__ import annotations

from collections.abc import Iterator

from mmforget.metrics.base import METRICS
from mmforget.pipeline.peers import PeerScores
from mmforget.results.fingerprint import hash_file
from mmforget.results.peers.log import PeerLog
from mmforget.results.provenance import Begun, collect
from mmforget.results.schema import BenchmarkUse, MethodUse, MetricResult, RunRecord, SetUse, Verdict
from mmforget.types import Estimate

TOFU_BY_ROWS = {40: "tofu_forget01", 200: "tofu_forget05", 400: "tofu_forget10"}
"""Which of TOFU's splits has so many rows to forget."""


def record_of(scores: PeerScores, *, name: str, whole: PeerLog, begun: Begun) -> RunRecord:
    """A record of a log's numbers in one profile.

    Args:
        name: of the model, chosen by the user: logs do not say which method made it.
        whole: the log with all its rows, of which a profile may take a part.
    """
    log = scores.log
    reason = f"numbers of a log that {log.peer} wrote: neither its target nor its retain model was asked here"
    return RunRecord(
        role="unlearned",
        name=name,
        benchmark=BenchmarkUse(
            _family(whole), _setting(whole), scores.profile, title=f"log of {log.peer}", modality="text"
        ),
        method=MethodUse(name),
        model_info={"pretrained": str(log.path), "fingerprint": hash_file(log.path)},
        data={"source": log.peer, "path": str(log.path), "findings": list(scores.findings)},
        provenance=collect(begun),
        sets={name: SetUse(log.num_rows(name), whole.num_rows(name)) for name in whole.sets},
        metrics=tuple(_metrics(scores)),
        verdict=Verdict("refused", collapsed=False, eligible=False, reasons=(reason,)),
        references={} if scores.reference is None else {"retain": hash_file(scores.reference.path)},
    )


def _metrics(scores: PeerScores) -> Iterator[MetricResult]:
    for name, cells in scores.cells.items():
        for key, estimate in cells.items():
            yield MetricResult(key, name, scores.profile, estimate)
    for mean, estimate in scores.utility.items():
        key = "model_utility" if mean == "geometric" else f"model_utility(mean={mean})"
        yield MetricResult(key, "utility", scores.profile, estimate)
    if scores.quality is not None:
        found = scores.quality
        for key, value in (
            ("ks_forget_quality", found.p),
            ("ks_log10_p", found.log10_p),
            ("ks_distance", found.ks_statistic),
        ):
            metric = METRICS.get(key)
            told = Estimate(value, num_scored=found.num, higher_is_better=metric.higher_is_better, range=metric.range)
            yield MetricResult(key, "forget", scores.profile, told)


def _family(log: PeerLog) -> str:
    if "real_authors" in log.sets or log.peer == "tofu":
        return "tofu"
    return "muse" if any(name.endswith("mem") for name in log.sets) else log.peer


def _setting(log: PeerLog) -> str:
    """The split, where the number of rows to forget says it."""
    return TOFU_BY_ROWS.get(log.num_rows("forget"), "") if _family(log) == "tofu" else ""
