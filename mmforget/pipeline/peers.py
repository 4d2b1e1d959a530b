"""The numbers of a peer's log, computed anew from what it keeps of each row, and what of the file they deny."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmforget.benchmark.document import MetricName
from mmforget.errors import UnknownName
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import METRICS, NAMED_PROFILES, Component, ReferenceMetric, SampleMetric, profile_of
from mmforget.metrics.harmonic_mean import HarmonicMean
from mmforget.metrics.logprobs import Mean
from mmforget.metrics.overlap import rouge
from mmforget.results.peers.log import PeerLog
from mmforget.results.peers.reference import FORGET, check_reference
from mmforget.statistics.kolmogorov_smirnov import lowest_log10_p
from mmforget.types import Estimate, Sample

PROFILES = (*NAMED_PROFILES, "clean")
ROWS = {"tofu_paper": 300}
"""Rows of a set that a profile takes, the first ones; the others take all."""
KEPT = {"retain": "probability", "real_authors": "probability_normalised", "world_facts": "probability_normalised"}
"""The three sets of TOFU's model utility, and which probability counts there."""
FORGET_PARTS = ("probability", "rouge_l", "truth_ratio")
TEXTS = {"forget_knowmem": "f1", "retain_knowmem": "f1", "forget_verbmem": "f1"}
"""Sets of MUSE, and the part of ROUGE-L that is reported there."""
STORED_ROUGE = {"rouge1_recall": ("rouge1", "recall"), "rougeL_recall": ("rougeL", "recall"),
                "rougeL_f1": ("rougeL", "f1")}  # fmt: skip
TOLERANCE = 1e-9
"""How far a ROUGE that is kept may lie from the one of its texts."""


@dataclass(frozen=True)
class Quality:
    """The KS test between the truth ratios of a log and of its reference.

    Attributes:
        floor_log10_p: what log10 of p is at least with so many rows; `is_floor` where it is just that, and p says
            nothing but how many rows there are.
    """

    p: float | None
    log10_p: float | None
    ks_statistic: float | None
    num: int
    num_reference: int
    floor_log10_p: float
    is_floor: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """How many of the file's own values were computed again, and which differ."""

    num_compared: int
    different: tuple[str, ...] = ()


@dataclass(frozen=True)
class PeerScores:
    """A log's numbers in one profile.

    Attributes:
        cells: by set, the numbers of that set.
        utility: by mean over the wrong answers, the harmonic mean of the nine parts; empty without TOFU's sets.
        quality: None without a reference.
        checks: by number that the file keeps a row.
        findings: what a reader has to know.
    """

    log: PeerLog
    reference: PeerLog | None
    profile: str
    cells: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    utility: Mapping[str, Estimate] = field(default_factory=dict)
    quality: Quality | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    findings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "from": self.log.peer,
            "log": str(self.log.path),
            "reference": None if self.reference is None else str(self.reference.path),
            "profile": self.profile,
            "model_utility": _value(self.utility.get("geometric")),
            "model_utility_arithmetic": _value(self.utility.get("arithmetic")),
            "forget_quality": None if self.quality is None else vars(self.quality),
            "sets": {name: {key: _value(one) for key, one in cells.items()} for name, cells in self.cells.items()},
            "rows": {name: _num_rows(self.log, name) for name in self.log.sets},
            "unscored": {
                f"{key} on {name}": one.num_unscored
                for name, cells in self.cells.items()
                for key, one in cells.items()
                if one.num_unscored
            },
            "stored": dict(self.log.totals),
            "checks": {name: {**vars(one), "num_different": len(one.different)} for name, one in self.checks.items()},
            "findings": list(self.findings),
        }


def score_log(log: PeerLog, *, reference: PeerLog | None = None, profile: str | None = None) -> PeerScores:
    """All numbers of a log that rest on what it keeps.

    Args:
        reference: the retain model's log.
        profile: whose formulas; without one those of the peer itself.

    Raises UnknownName for a profile that is none, UserError where the reference was not asked the same.
    """
    profile = profile or log.profile
    if profile not in PROFILES:
        raise UnknownName("profile", name=profile, known=PROFILES)
    checks = dict(_checks(log))
    if reference is not None:
        check_reference(log, reference=reference)
    whole = log
    if profile in ROWS:
        log = log.first(ROWS[profile])
        reference = None if reference is None else reference.first(ROWS[profile])
    quality = None if reference is None else _quality(log, reference, profile=profile)
    return PeerScores(
        log,
        reference,
        profile,
        cells=_cells(log, profile=profile),
        utility=_utility(log, profile=profile),
        quality=quality,
        checks=checks,
        findings=tuple(_findings(whole, log, quality=quality, checks=checks, profile=profile)),
    )


def utility_parts(mean: Mean = "geometric") -> tuple[str, ...]:
    """The nine parts of TOFU's model utility as `harmonic_mean` names them."""
    truth = "truth_ratio_retain" if mean == "geometric" else "truth_ratio_retain(mean=arithmetic)"
    return tuple(f"{name} on {kept}" for kept, share in KEPT.items() for name in (share, "rouge_l", truth))


def _utility(log: PeerLog, *, profile: str) -> dict[str, Estimate]:
    if not set(KEPT) & set(log.sets):
        return {}
    means: tuple[Mean, ...] = ("geometric", "arithmetic")
    found: dict[str, Estimate] = {}
    for mean in means:
        metric = HarmonicMean(of=utility_parts(mean))
        parts = {part.key: estimate for part in metric.components if (estimate := _part(part, log, profile=profile))}
        found[mean] = metric.combine(parts, profile=profile_of(metric, profile))
    return found


def _part(part: Component, log: PeerLog, *, profile: str) -> Estimate | None:
    return _measured(part, log, set_name=part.role, profile=profile)


def _cells(log: PeerLog, *, profile: str) -> dict[str, dict[str, Estimate]]:
    named = {FORGET: FORGET_PARTS} | {name: (share, "rouge_l", "truth_ratio_retain") for name, share in KEPT.items()}
    found = {}
    for set_name in log.sets:
        uses = [MetricName(name) for name in named.get(set_name, ())]
        uses += [MetricName("rouge_l", {"part": TEXTS[set_name]})] if set_name in TEXTS else []
        cells = {use.key: _measured(use, log, set_name=set_name, profile=profile) for use in uses}
        found[set_name] = {key: estimate for key, estimate in cells.items() if estimate is not None}
    return found


def _measured(use: Component | MetricName, log: PeerLog, *, set_name: str, profile: str) -> Estimate | None:
    """A metric on a set; None where the log has nothing of that kind."""
    metric = metric_of(use)
    if not isinstance(metric, SampleMetric):
        return None
    samples = log.of_set(set_name, metric.kind)
    own = profile_of(metric, profile)
    return metric.aggregate([metric.score(sample, profile=own) for sample in samples]) if samples else None


def _quality(log: PeerLog, reference: PeerLog, *, profile: str) -> Quality:
    mine, theirs = log.of_set(FORGET, "prob"), reference.of_set(FORGET, "prob")
    p, log10_p, distance = (
        metric.compare(mine, theirs, profile=profile_of(metric, profile))
        for metric in map(METRICS.get, ("ks_forget_quality", "ks_log10_p", "ks_distance"))
        if isinstance(metric, ReferenceMetric)
    )
    num = p.num_scored
    return Quality(
        p=p.value,
        log10_p=log10_p.value,
        ks_statistic=distance.value,
        num=num,
        num_reference=len(theirs),
        floor_log10_p=lowest_log10_p(num, len(theirs)),
        is_floor=distance.value == 1.0,
        reasons=p.reasons,
    )


def _checks(log: PeerLog) -> Iterable[tuple[str, Check]]:
    """ROUGE of the texts that the file keeps, against the one it keeps beside them."""
    texts = {f"{sample.set}/{sample.id}": sample for sample in log.samples if sample.kind == "gen"}
    for name, values in log.stored.items():
        if name in STORED_ROUGE and values:
            different = [
                place for place, value in values.items() if abs(_rouge(name, texts[place]) - value) > TOLERANCE
            ]
            yield name, Check(len(values), tuple(different))


def _rouge(name: str, sample: Sample) -> float:
    of, part = STORED_ROUGE[name]
    found = rouge(sample.answer, sample.response or "", of=of, profile="released")
    return float(getattr(found, part))


def _findings(
    whole: PeerLog, log: PeerLog, *, quality: Quality | None, checks: Mapping[str, Check], profile: str
) -> Iterable[str]:
    for name, check in checks.items():
        if check.different:
            yield (
                f"{name}: {len(check.different)} of {check.num_compared} kept values are not those of the texts, such "
                f"as {check.different[0]}"
            )
    num, kept = _num_rows(whole, FORGET), _num_rows(log, FORGET)
    if kept < num:
        yield f"{profile} takes the first {kept} rows of {num}"
    if profile == "openunlearning" and whole.peer == "tofu" and num == ROWS["tofu_paper"]:
        yield "the log has the first 300 rows, and OpenUnlearning asks all 400: p is not comparable at another number"
    if quality is None:
        if kept:
            yield "no reference, so no forget quality; give the retain model's log with --reference"
    elif quality.is_floor:
        yield (
            f"forget quality is the floor of {quality.num} rows: the truth ratios are wholly apart, and p says nothing "
            "more"
        )


def _num_rows(log: PeerLog, name: str) -> int:
    return max((len(log.of_set(name, kind)) for kind in ("gen", "prob", "mc")), default=0)


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def utility_reasons(scores: PeerScores) -> Sequence[str]:
    """Why there is no model utility; empty where there is one."""
    found = scores.utility.get("geometric")
    return () if found is None or found.value is not None else found.reasons
