"""The numbers of a peer's log, computed anew from what it keeps of each row, and what of the file they deny."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmforget.benchmark.document import MetricName
from mmforget.errors import UnknownName
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import METRICS, NAMED_PROFILES, Component, ReferenceMetric, SampleMetric, profile_of
from mmforget.metrics.harmonic_mean import HarmonicMean
from mmforget.metrics.logprobs import Mean
from mmforget.metrics.overlap import rouge
from mmforget.pipeline.peer_totals import Total, totals
from mmforget.results.peers.log import PeerLog
from mmforget.results.peers.reference import FORGET, KEPT_RATIOS, check_reference
from mmforget.statistics.kolmogorov_smirnov import is_floor, ks_test, lowest_log10_p
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
ACCURACY = "acc"
TOLERANCE = 1e-9
"""How far a value that is kept may lie from the one of its row."""


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
        totals: what the file itself states, and what its rows give; of the peer's own profile.
        checks: by number that the file keeps a row.
        findings: what a reader has to know.
    """

    log: PeerLog
    reference: PeerLog | None
    profile: str
    cells: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    utility: Mapping[str, Estimate] = field(default_factory=dict)
    quality: Quality | None = None
    totals: Mapping[str, Total] = field(default_factory=dict)
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
            "rows": {name: self.log.num_rows(name) for name in self.log.sets},
            "unscored": {
                f"{key} on {name}": one.num_unscored
                for name, cells in self.cells.items()
                for key, one in cells.items()
                if one.num_unscored
            },
            "totals": {name: one._asdict() for name, one in self.totals.items()},
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
    cells, utility = _cells(log, profile=profile), _utility(log, profile=profile)
    stated: dict[str, Total] = {}
    if log.totals and profile == whole.profile:
        p = None if quality is None else quality.p
        stated = totals(log, cells=cells, utility=utility.get("geometric"), p=p, reference=reference)
    found = PeerScores(log, reference, profile, cells, utility, quality, stated, checks)
    return replace(found, findings=tuple(_findings(found, num_rows=whole.num_rows(FORGET))))


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
        uses += [MetricName("choice_accuracy")] if log.of_set(set_name, "mc") else []
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


def _quality(log: PeerLog, reference: PeerLog, *, profile: str) -> Quality | None:
    mine, theirs = log.of_set(FORGET, "prob"), reference.of_set(FORGET, "prob")
    if not all(_have_ratios(samples) for samples in (mine, theirs)):
        return _quality_of_kept(log, reference, profile=profile)
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


def _have_ratios(samples: Sequence[Sample]) -> bool:
    return any({"rephrased/0", "perturbed/0"} <= set(sample.token_logprobs) for sample in samples)


def _quality_of_kept(log: PeerLog, reference: PeerLog, *, profile: str) -> Quality | None:
    """The test between truth ratios that the files keep as they are, without what they are made of."""
    mine, theirs = (list(one.stored.get(KEPT_RATIOS, {}).values()) for one in (log, reference))
    if profile != log.profile or not mine or not theirs:
        return None
    tested, sizes = ks_test(mine, theirs), (len(mine), len(theirs))
    return Quality(tested.p, tested.log10_p, tested.distance, *sizes, lowest_log10_p(*sizes), is_floor(tested))


def _checks(log: PeerLog) -> Iterable[tuple[str, Check]]:
    """What the file keeps of a row, against what its texts and likelihoods give."""
    texts = {f"{sample.set}/{sample.id}": sample for sample in log.samples if sample.kind in ("gen", "mc")}
    for name, values in log.stored.items():
        known = {place: value for place, value in values.items() if place in texts}
        if name in (*STORED_ROUGE, ACCURACY) and known:
            again = {place: _again(name, texts[place]) for place in known}
            different = [place for place, value in known.items() if _is_other(again[place], value)]
            yield name, Check(len(known), tuple(different))


def _again(name: str, sample: Sample) -> float | None:
    if name == ACCURACY:
        metric = METRICS.get("choice_accuracy")
        return metric.score(sample).value if isinstance(metric, SampleMetric) else None
    of, part = STORED_ROUGE[name]
    found = rouge(sample.answer, sample.response or "", of=of, profile="released")
    return float(getattr(found, part))


def _is_other(found: float | None, kept: float) -> bool:
    return found is None or abs(found - kept) > TOLERANCE


def _findings(scores: PeerScores, *, num_rows: int) -> Iterable[str]:
    """What a reader has to know of the numbers, a line each.

    Args:
        num_rows: of the forget set in the file.
    """
    for name, check in scores.checks.items():
        if check.different:
            yield (
                f"{name}: {len(check.different)} of {check.num_compared} kept values are not those of their rows, such "
                f"as {check.different[0]}"
            )
    for name, total in scores.totals.items():
        if total.differs:
            yield f"{name}: the file says {total.stated:.6g}, its rows give {total.found:.6g}"
    yield from _findings_on_rows(scores, num_rows=num_rows)


def _findings_on_rows(scores: PeerScores, *, num_rows: int) -> Iterable[str]:
    kept, quality = scores.log.num_rows(FORGET), scores.quality
    if kept < num_rows:
        yield f"{scores.profile} takes the first {kept} rows of {num_rows}"
    if scores.profile == "openunlearning" and scores.log.peer == "tofu" and num_rows == ROWS["tofu_paper"]:
        yield "the log has the first 300 rows, and OpenUnlearning asks all 400: p is not comparable at another number"
    if quality is not None and quality.is_floor:
        yield (
            f"forget quality is the floor of {quality.num} rows: the truth ratios are wholly apart, and p says nothing "
            "more"
        )
    if kept and scores.reference is None:
        yield "no reference, so no forget quality; give the retain model's log with --reference"
    elif kept and quality is None:
        yield "no forget quality: one of the files keeps no truth ratios"


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value
