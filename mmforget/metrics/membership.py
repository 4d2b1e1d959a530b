"""Scores by which members are told from non-members: higher for an answer that looks like training data.

Each takes a sample and gives a `Score`, from one pass over its tokens. OpenUnlearning's are the same with the sign
turned round, and its AUC is of holdout above forget rows, which is the same number.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence

from mmforget.metrics.logprobs import NOT_FINITE, mean_loss, role_losses
from mmforget.metrics.tokens import NO_TOKENS, answer_tokens, hits, statistic
from mmforget.types import GRADIENT_NORM, GRADIENT_NORM_BUT_LAST, PREFIXED, SWAPPED, Sample, Score

Scoring = Callable[[Sample], Score]
REFERENCE = "reference/answer"
"""Role of the answer's log-probs under another model, the retain model."""
LEAST_VARIANCE = 1e-6
"""Below it a token's variance counts as this, as OpenUnlearning has it."""
LEAST_DOUBT = 2.0**-53
BOTH_IMPOSSIBLE = "both models hold the answer impossible"
NOT_SWAPPED = "not asked about another subject's pictures, or there are none"
NO_GRADIENT = "no gradient of the answer: a guard or quantised weights have none"
STATISTICS = ("entropy", "variance")
"""What Min-K%++ reads of each token."""


def loss_score(sample: Sample, *, role: str = "answer") -> Score:
    """Mean log-prob of all tokens of the answer, its end included where that is one (Yeom et al.)."""
    answers = sample.with_role(role)
    loss = mean_loss(answers[0] if answers else (), profile="clean")
    return Score(None if loss.value is None else -loss.value, sample.subject, loss.reason)


def zlib_score(sample: Sample) -> Score:
    """Mean log-prob over the length in bytes of the answer's text under zlib (Carlini et al., arXiv 2012.07805)."""
    found = loss_score(sample)
    if found.value is None:
        return found
    return found._replace(value=found.value / len(zlib.compress(sample.answer.encode("utf-8", "replace"))))


def reference_score(sample: Sample) -> Score:
    """Mean log-prob less that under the reference model."""
    own, other = loss_score(sample), loss_score(sample, role=REFERENCE)
    if own.value is None or other.value is None:
        reason = own.reason or f"reference: {other.reason}"
        return Score(None, sample.subject, reason)
    difference = own.value - other.value
    reason = BOTH_IMPOSSIBLE if math.isnan(difference) else ""
    return Score(None if reason else difference, sample.subject, reason)


def confidence_score(sample: Sample) -> Score:
    """Mean probability of the answer's tokens."""
    tokens = answer_tokens(sample, profile="clean")
    if tokens.reason:
        return Score(None, sample.subject, tokens.reason)
    return Score(math.fsum(map(math.exp, tokens.values)) / len(tokens.values), sample.subject)


def lowest_score(sample: Sample) -> Score:
    """Log-prob of the answer's least likely token."""
    tokens = answer_tokens(sample, profile="clean")
    return Score(None, sample.subject, tokens.reason) if tokens.reason else Score(min(tokens.values), sample.subject)


def entropy_score(sample: Sample) -> Score:
    """Minus the mean entropy of the distributions that the answer's tokens are drawn from."""
    found = statistic(sample, "entropy", profile="clean")
    if found.reason or not found.values:
        return Score(None, sample.subject, found.reason or NO_TOKENS)
    return Score(-math.fsum(found.values) / len(found.values), sample.subject)


def correctness_score(sample: Sample) -> Score:
    """Share of the answer's tokens that the model holds the most likely ones."""
    found = hits(sample, profile="clean")
    if found.reason or not found.values:
        return Score(None, sample.subject, found.reason or NO_TOKENS)
    return Score(sum(found.values) / len(found.values), sample.subject)


def neighbour_score(sample: Sample) -> Score:
    """Mean log-prob less the mean of that of the row's paraphrased answers (Mattern et al., arXiv 2305.18462).

    There neighbours are made by a masked language model.
    """
    own, others = loss_score(sample), role_losses(sample, "rephrased", profile="clean")
    if own.value is None or others.reason:
        return Score(
            None, sample.subject, own.reason or others.reason, lacking=own.value is not None and others.lacking
        )
    value = own.value + math.fsum(others.values) / len(others.values)
    return Score(None, sample.subject, NOT_FINITE) if math.isnan(value) else Score(value, sample.subject)


def lira_score(sample: Sample) -> Score:
    """Log-odds of the answer's mean token probability less those under the reference model.

    LiRA (arXiv 2112.03570) without members' models, with one reference model and one variance for all rows.
    """
    own, other = loss_score(sample), loss_score(sample, role=REFERENCE)
    if own.value is None or other.value is None:
        return Score(None, sample.subject, own.reason or f"reference: {other.reason}")
    value = _log_odds(own.value) - _log_odds(other.value)
    return Score(None, sample.subject, BOTH_IMPOSSIBLE) if math.isnan(value) else Score(value, sample.subject)


def ratio_score(sample: Sample) -> Score:
    """Minus the loss over that under the reference model."""
    own, other = loss_score(sample), loss_score(sample, role=REFERENCE)
    if own.value is None or other.value is None:
        return Score(None, sample.subject, own.reason or f"reference: {other.reason}")
    if other.value == 0.0 or math.isinf(other.value):
        return Score(None, sample.subject, "reference: a loss that nothing can be divided by")
    return Score(own.value / -other.value, sample.subject)


def _log_odds(logprob: float) -> float:
    """Of a log-prob; of a certain one those of the largest probability below one that a float holds."""
    bounded = min(logprob, -LEAST_DOUBT)
    return bounded - math.log(-math.expm1(bounded))


def recall_score(sample: Sample, *, shots: int) -> Score:
    """Mean log-prob behind rows that nobody has seen over that without them (Xie et al., arXiv 2406.15968)."""
    own = loss_score(sample)
    if own.value is None:
        return own
    role = f"{PREFIXED}/{shots}/answer"
    if role not in sample.token_logprobs:
        return Score(None, sample.subject, f"not asked behind {shots} rows nobody has seen")
    moved = loss_score(sample, role=role)
    if moved.value is None or not math.isfinite(own.value) or not math.isfinite(moved.value):
        return Score(None, sample.subject, moved.reason or NOT_FINITE)
    if own.value == 0.0:
        return Score(None, sample.subject, "the model is certain of the answer, which nothing can be divided by")
    return Score(moved.value / own.value, sample.subject)


def image_swap_score(sample: Sample) -> Score:
    """Mean log-prob less that where the question shows another subject's pictures: what the picture itself tells.

    The difference of two conditions that image-conditioned membership inference asks for; which other picture stands in
    is our own choice, so it is a reconstruction.
    """
    own = loss_score(sample)
    if own.value is None:
        return own
    if f"{SWAPPED}/answer" not in sample.token_logprobs:
        return Score(None, sample.subject, NOT_SWAPPED)
    other = loss_score(sample, role=f"{SWAPPED}/answer")
    if other.value is None:
        return Score(None, sample.subject, f"another's pictures: {other.reason}")
    difference = own.value - other.value
    return Score(None, sample.subject, NOT_FINITE) if math.isnan(difference) else Score(difference, sample.subject)


def gradient_norm_score(sample: Sample, *, profile: str) -> Score:
    """Minus the norm of the gradient of the answer's loss; `openunlearning` leaves the last token out."""
    name = GRADIENT_NORM_BUT_LAST if profile == "openunlearning" else GRADIENT_NORM
    tokens, found = answer_tokens(sample, profile=profile), sample.token_values.get(name, {}).get("answer")
    if tokens.reason or not found:
        return Score(None, sample.subject, tokens.reason or NO_GRADIENT)
    return Score(-found[0], sample.subject) if math.isfinite(found[0]) else Score(None, sample.subject, NOT_FINITE)


def min_k_score(sample: Sample, *, percent: int, profile: str) -> Score:
    """Mean of the lowest floor(T percent / 100) token log-probs, at least one but under `muse_paper`."""
    tokens = answer_tokens(sample, profile=profile)
    if tokens.reason:
        return _without_tokens(sample, tokens.reason, profile=profile)
    return _mean_of_lowest(sample, tokens.values, percent=percent, profile=profile)


def min_k_pp_score(sample: Sample, *, percent: int, profile: str) -> Score:
    """The same of log-probs in standard deviations above the mean log-prob of a token in that place."""
    tokens = answer_tokens(sample, profile=profile)
    if tokens.reason:
        return _without_tokens(sample, tokens.reason, profile=profile)
    entropy, variance = (statistic(sample, name, profile=profile) for name in STATISTICS)
    if entropy.reason or variance.reason:
        return Score(None, sample.subject, entropy.reason or variance.reason)
    values = [
        (logprob + mean) / math.sqrt(max(LEAST_VARIANCE, spread))
        for logprob, mean, spread in zip(tokens.values, entropy.values, variance.values, strict=True)
    ]
    return _mean_of_lowest(sample, values, percent=percent, profile=profile)


def _without_tokens(sample: Sample, reason: str, *, profile: str) -> Score:
    as_coded = profile == "openunlearning" and reason == NO_TOKENS and bool(sample.with_role("answer"))
    return Score(0.0, sample.subject) if as_coded else Score(None, sample.subject, reason)


def _mean_of_lowest(sample: Sample, values: Sequence[float], *, percent: int, profile: str) -> Score:
    least = 0 if profile == "muse_paper" else 1
    num_lowest = max(least, len(values) * percent // 100)
    if not num_lowest:
        return Score(None, sample.subject, f"too few tokens for {percent} % of them", lacking=True)
    return Score(math.fsum(sorted(values)[:num_lowest]) / num_lowest, sample.subject)
