"""Form-dependence: whether what was forgotten is forgotten in every form that it is asked in, or in one alone.

Of each form of a question the probability of its right answer is taken, as ORT does: by token, and of the whole. How
much of it a model has lost beside the target is the drop of that form. ORT has no number for all forms together: the
bias, 1 - smallest / largest drop, is ours, and so are the forms and their wordings. A reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others, attempts_at
from mmforget.attacks.naming import attack_names, attack_of
from mmforget.errors import UserError
from mmforget.evaluation.rows import ask_of
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.base import Quantity
from mmforget.metrics.estimate import no_estimate, unscored_reasons, with_interval
from mmforget.statistics.jackknife import derived, mean_replicates
from mmforget.types import Estimate, Example, NoScores, Replicates, Score

PLAIN = "question"
"""The form in which the benchmark asks."""
NOTHING_KNOWN = "the target holds none of the answers possible"
NOTHING_LOST = "no form has lost anything, so that none can have lost more than another"
TOO_FEW_FORMS = "fewer than two forms have a drop"


@dataclass(frozen=True)
class FormDependence:
    """In which forms questions are asked.

    Args:
        forms: attacks by questions, or a suite of them; each makes other questions of one, which say what is right.
    """

    forms: str = "forms"

    evidence: ClassVar[str] = "reconstruction"

    def __post_init__(self) -> None:
        for key in self.keys:
            if attack_of(key).access != "black_box":
                raise UserError(f"forms={self.forms}: '{key}' asks no questions; name attacks by questions")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(one.key for one in attack_names(self.forms))


class Probability(NamedTuple):
    """Of one row in one form: the right answer's by token, exp of the mean log-prob, and of the whole; or why none."""

    by_token: Score
    whole: Score


Asked = Mapping[str, Sequence[Probability]]
"""By form, the probabilities of all rows in their order."""


def asked_in_forms(
    lm: MMForgetLM, docs: Mapping[str, Mapping[str, Any]], rows: Sequence[Example], *, how: FormDependence
) -> Asked:
    """A model's probabilities of the right answers, in every form and as the benchmark asks.

    Args:
        docs: all rows of the benchmark's set, by name, and
        rows: those that the model is asked about, as it is.
    """
    asks = [ask_of(docs[row.id], row) for row in rows]
    found = {PLAIN: _probabilities(lm, [[_scored(ask, row)] for ask, row in zip(asks, rows, strict=True)], rows)}
    others = Others(tuple(docs.values()))
    for key in how.keys:
        attack = attack_of(key)
        made = [attempts_at(ask, attack=attack, name=key, others=others) for ask in asks]
        groups = [
            one if isinstance(one, Lacking) else list(_distinct(_scored(ask, row) for ask in one))
            for one, row in zip(made, rows, strict=True)
        ]
        found[key] = _probabilities(lm, groups, rows)
    return found


def _scored(ask: Ask, row: Example) -> Ask:
    """The question with the right answer behind it that it asks for."""
    answer = row.delimiter + str((ask.row or {})["answer"])
    return replace(ask, kind="score", continuation=answer, decoding=None)


def _distinct(asks: Iterator[Ask]) -> Iterator[Ask]:
    seen: set[str] = set()
    for ask in asks:
        if ask.key("") not in seen:
            seen.add(ask.key(""))
            yield ask


def _probabilities(lm: MMForgetLM, groups: Sequence[list[Ask] | Lacking], rows: Sequence[Example]) -> list[Probability]:
    tried = lm.tried([[] if isinstance(one, Lacking) else one for one in groups], label="in other forms")
    return [_probability(group, answers, row) for group, answers, row in zip(groups, tried, rows, strict=True)]


def _probability(group: list[Ask] | Lacking, answers: Sequence[Any], row: Example) -> Probability:
    """The mean over the questions that a form makes of one."""
    if isinstance(group, Lacking) or not answers:
        reason = group.reason if isinstance(group, Lacking) else "the form makes no question of it"
        none = Score(None, row.subject, reason, lacking=True)
        return Probability(none, none)
    refused = next((one for one in answers if isinstance(one, NoScores)), None)
    if refused is not None:
        none = Score(None, row.subject, refused.reason)
        return Probability(none, none)
    by_token = [math.exp(one[0] / len(one.token_logprobs)) for one in answers]
    whole = [math.exp(one[0]) for one in answers]
    return Probability(*(Score(math.fsum(one) / len(one), row.subject) for one in (by_token, whole)))


# -- what is made of it ------------------------------------------------------------------------------------------------


DROP = Quantity("form_dependence", (-math.inf, 1.0), higher_is_better=None, profiles=("reconstruction",))
"""At most 1, and below 0 where an answer has become likelier."""
BIAS = Quantity("form_dependence", (0.0, math.inf), higher_is_better=False, profiles=("reconstruction",))


@dataclass(frozen=True)
class Drops:
    """One of ORT's two probabilities.

    Attributes:
        drops: by form, the share of the target's probability that is gone, 1 - model / target.
        bias: 1 - smallest / largest of them; 0 where every form has lost as much, above 1 where one has gained.
    """

    drops: Mapping[str, Estimate]
    bias: Estimate


@dataclass(frozen=True)
class FormResult:
    """A model beside the target: by token (length-normalised, as ORT's code), and of whole answers (as its card)."""

    by_token: Drops
    whole: Drops

    @property
    def numbers(self) -> Mapping[str, Estimate]:
        """What is shown of it, in words."""
        return {"bias": self.by_token.bias, **self.by_token.drops}


def form_dependence(model: Asked, target: Asked) -> FormResult:
    """Drops and bias with 95 % intervals by subject; both models answered the same questions."""
    return FormResult(
        _drops({form: _scores(model[form], target[form], of="by_token") for form in model}),
        _drops({form: _scores(model[form], target[form], of="whole") for form in model}),
    )


Pair = tuple[Score, Score]


def _scores(model: Sequence[Probability], target: Sequence[Probability], *, of: str) -> list[Pair]:
    return [(getattr(own, of), getattr(other, of)) for own, other in zip(model, target, strict=True)]


def _drops(forms: Mapping[str, Sequence[Pair]]) -> Drops:
    found = {form: _drop(pairs) for form, pairs in forms.items()}
    parts = {form: replicates for form, (_, replicates) in found.items() if replicates is not None}
    return Drops({form: estimate for form, (estimate, _) in found.items()}, _bias(parts))


def _drop(pairs: Sequence[Pair]) -> tuple[Estimate, Replicates | None]:
    """The drop of one form, over the rows that both models have a probability for, with its replicates."""
    scored = [(own.value, other.value, own.subject) for own, other in pairs if None not in (own.value, other.value)]
    reasons = unscored_reasons([own if own.value is None else other for own, other in pairs])
    num_lacking = sum(own.lacking or other.lacking for own, other in pairs)
    num_unscored = len(pairs) - len(scored) - num_lacking
    model, target = ([float(pair[at] or 0.0) for pair in scored] for at in (0, 1))
    if math.fsum(target) == 0.0:
        why = (*reasons, NOTHING_KNOWN) if scored else reasons
        return no_estimate(DROP, reasons=why, num_unscored=num_unscored, num_lacking=num_lacking), None
    subjects = [subject for _, _, subject in scored]
    # Probabilities as small as these are no rates of right answers: there is nothing that equal ones would hide.
    both = {
        name: mean_replicates(values, subjects, bounds=(-math.inf, math.inf))
        for name, values in (("model", model), ("target", target))
    }
    found = derived(lambda values: 1.0 - values["model"] / values["target"], both)
    estimate = Estimate(
        found.value, num_scored=len(scored), num_unscored=num_unscored, num_lacking=num_lacking, range=DROP.range,
        reasons=reasons,
    )  # fmt: skip
    return with_interval(estimate, found), found


def _bias(parts: Mapping[str, Replicates]) -> Estimate:
    if len(parts) < 2:
        return no_estimate(BIAS, reasons=(TOO_FEW_FORMS,))
    if max(part.value for part in parts.values()) <= 0.0:
        return no_estimate(BIAS, reasons=(NOTHING_LOST,))
    found = derived(_spread, parts)
    estimate = Estimate(found.value, num_scored=len(parts), range=BIAS.range, higher_is_better=False)
    return with_interval(estimate, found)


def _spread(drops: Mapping[str, float]) -> float:
    """Of drops of which one is above 0; where leaving out a subject leaves none there, as far apart as can be told."""
    most = max(drops.values())
    return 1.0 - min(drops.values()) / most if most > 0.0 else 1.0
