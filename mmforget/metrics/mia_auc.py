"""Membership inference by loss: can forgotten people be told from people never seen?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.errors import UserError
from mmforget.metrics.base import NAMED_PROFILES, OPENUNLEARNING, RATE, Declared, Kind, Other, check_profile
from mmforget.metrics.detectors import WITH_REFERENCE, WITH_SWAPPED, Name, detector, statistics_of
from mmforget.metrics.estimate import (
    count_lacking,
    count_unscored,
    is_constant,
    no_estimate,
    reasons_of_both,
    with_interval,
)
from mmforget.metrics.membership import Scoring
from mmforget.metrics.two_sample import auc, auc_replicates, group_of
from mmforget.statistics.kolmogorov_smirnov import tied
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class MiaAuc:
    """AUC of mean token log-prob of the true answer, members = forget set, non-members = holdout, in [0, 1].

    The chance that a member's answer is likelier than a non-member's, ties counting half. .5 = cannot tell, 1 = still
    known, under .5 = avoided more than people never seen, which gives them away as well. So neither end is better:
    read it against the retain model.

    Args:
        score: in place of the log-prob, another of the detectors that read the same pass: the mean probability, the
            `lowest` log-prob or minus the `entropy` of the tokens, `correctness`, the share of them that are the most
            likely ones; `zlib`, `min_k` and `min_k_pp` of `percent` %; `neighbour`, less the paraphrases' log-prob;
            beside the retain model's `reference`, `ratio` of the losses, `lira`, log-odds; `learned` and
            `learned_reference`, a logistic regression on half of the subjects of both groups, asked about the others.
            Of questions about pictures also `image_swap` (a reconstruction): less the log-prob of the same answer where
            the question shows the pictures of a row about another subject, for which each is scored once more.
        percent: K.

    Source: the LOSS attack, Yeom et al., arXiv 1709.01604; AUC on forget and holdout as in open-unlearning.

    Profiles:
        clean: as above, what rounding alone tells apart being a tie. Mends the published "MIA" of FIUBench (`min_k`),
            which has no non-members.
        openunlearning: LOSS, with ties of equal floats only (arXiv 2506.12618).
    """

    score: Name = "loss"
    percent: int = 20

    name = "mia_auc"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "Yeom et al. (arXiv 1709.01604)", "openunlearning": OPENUNLEARNING}
    range = RATE
    higher_is_better = None

    def __post_init__(self) -> None:
        require_percent(self.percent)

    @property
    def statistics(self) -> tuple[str, ...]:
        """What has to be asked of each token."""
        return statistics_of(self.score)

    @property
    def reads_reference(self) -> bool:
        """Whether the retain model's log-probs are read."""
        return self.score in WITH_REFERENCE

    @property
    def reads_swapped(self) -> bool:
        """Whether every answer is read once more, behind another subject's pictures."""
        return self.score in WITH_SWAPPED

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        check_apart(samples, other)
        found = detector(self.score, percent=self.percent)(samples, other)
        return auc_of(self, found.members, found.others, as_coded=profile in NAMED_PROFILES)


def auc_estimate(
    metric: Declared, members: Sequence[Sample], others: Sequence[Sample], *, score: Scoring, as_coded: bool = False
) -> Estimate:
    """AUC of `score` between members and non-members.

    Args:
        as_coded: only equal floats are ties.

    Raises UserError where a subject is in both groups.
    """
    check_apart(members, others)
    inside, outside = [score(sample) for sample in members], [score(sample) for sample in others]
    return auc_of(metric, inside, outside, as_coded=as_coded)


def auc_of(metric: Declared, inside: Sequence[Score], outside: Sequence[Score], *, as_coded: bool = False) -> Estimate:
    """AUC between scores of members and of non-members; see `auc_estimate`."""
    reasons = reasons_of_both(inside, outside, called="holdout")
    num_lacking = count_lacking([*inside, *outside])
    num_unscored = count_unscored([*inside, *outside])
    positive, negative = group_of(inside), group_of(outside)
    if not positive.values or not negative.values:
        reason = "no scored non-members" if positive.values else "no scored members"
        return no_estimate(metric, reasons=(*reasons, reason), num_unscored=num_unscored, num_lacking=num_lacking)
    if not as_coded:
        inside_values, outside_values = tied(positive.values, negative.values)
        positive, negative = positive._replace(values=inside_values), negative._replace(values=outside_values)
    estimate = Estimate(
        value=auc(positive.values, negative.values),
        num_scored=len(positive.values) + len(negative.values),
        num_unscored=num_unscored,
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        constant=is_constant([*positive.values, *negative.values]),
        reasons=reasons,
        num_lacking=num_lacking,
    )
    return with_interval(estimate, auc_replicates(positive, negative))


def require_percent(percent: int) -> None:
    """Raises UserError for what is no percentage of tokens."""
    if not 1 <= percent <= 100:
        raise UserError(f"percent is {percent}; give a whole number from 1 to 100")


def check_apart(members: Sequence[Sample], others: Sequence[Sample]) -> None:
    """Raises UserError where a subject is in both groups."""
    shared = {sample.subject for sample in members} & {sample.subject for sample in others}
    if shared:
        raise UserError(
            f"{len(shared)} subjects, such as '{min(shared)}', are members and non-members at once; "
            "the holdout set must hold subjects that were never trained on"
        )


METRIC = MiaAuc()
