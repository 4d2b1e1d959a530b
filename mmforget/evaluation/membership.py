"""A suite of membership detectors on one model: can rows that it learned be told from rows that nobody has seen?

The kinds are TDDBench's (arXiv 2411.03363) as far as they can be carried over to answers of many tokens; see
`metrics.detectors`. Every detector reads the same scores, and is looked at in both directions: what is known better
than what was never seen, and what is avoided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, cast

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.picturing import about_others_pictures
from mmforget.errors import UserError
from mmforget.evaluation.measurements import unmeasured, with_reference
from mmforget.evaluation.rows import ask_of
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.base import ReferenceMetric
from mmforget.metrics.detectors import NAMES, WITH_REFERENCE, WITH_SWAPPED, Name
from mmforget.metrics.membership import STATISTICS
from mmforget.metrics.mia_auc import MiaAuc, require_percent
from mmforget.metrics.mia_strongest import MiaStrongest
from mmforget.metrics.mia_tpr import MiaTPR
from mmforget.types import SWAPPED, Estimate, Example, NoScores, Sample

NO_RETAIN = "no retain model to compare with"


@dataclass(frozen=True)
class Membership:
    """How detectors are looked at.

    Args:
        fpr: false positive rate at which members are counted, above 0 and below 1.
        percent: K of `min_k` and `min_k_pp`.
    """

    fpr: float = 0.01
    percent: int = 20

    evidence: ClassVar[str] = "adaptation"

    def __post_init__(self) -> None:
        require_percent(self.percent)
        if not 0.0 < self.fpr < 1.0:
            raise UserError(f"fpr is {self.fpr}; give a number above 0 and below 1")


@dataclass(frozen=True)
class Rates:
    """One detector.

    Attributes:
        auc: the chance that a member scores above a non-member; below .5 members are avoided.
        tpr_high, tpr_low: the share of members beyond all but `fpr` of the non-members, among the highest scores and
            among the lowest ones.
    """

    auc: Estimate
    tpr_high: Estimate
    tpr_low: Estimate


@dataclass(frozen=True)
class MembershipResult:
    """All detectors on one model.

    Attributes:
        strongest: the AUC of the one that tells best, chosen on half of the subjects and measured on the other.
        detectors: by name.
    """

    strongest: Estimate
    detectors: Mapping[str, Rates]

    @property
    def numbers(self) -> Mapping[str, Estimate]:
        """What is shown of it, in words."""
        return {"strongest": self.strongest, **{name: one.auc for name, one in self.detectors.items()}}


class Answered(NamedTuple):
    """A model's scores of answers: of what was to be forgotten, and of what nobody has seen."""

    members: Sequence[Sample]
    others: Sequence[Sample]


def scored_answers(
    lm: MMForgetLM, docs: Mapping[str, Mapping[str, Any]], rows: Sequence[Example], *, set_name: str
) -> list[Sample]:
    """The model's log-probs of the answers of a set, of their paraphrases, and behind others' pictures.

    Args:
        docs: all rows of the benchmark's set, by name, and
        rows: those that the model is asked about, as it is.
    """
    asks = [_ask(docs[row.id], row) for row in rows]
    others = Others(tuple(docs.values()))
    swapped = [about_others_pictures(ask, others) for ask in asks]
    roles = [_roles(ask, row, other) for ask, row, other in zip(asks, rows, swapped, strict=True)]
    tried = lm.tried([list(one.values()) for one in roles], label="members or not")
    return [
        _sample(docs[row.id], dict(zip(one, answers, strict=True)), set_name=set_name)
        for row, one, answers in zip(rows, roles, tried, strict=True)
    ]


def _ask(doc: Mapping[str, Any], row: Example) -> Ask:
    kind: Literal["rolling", "score"] = "rolling" if row.is_document else "score"
    return replace(ask_of(doc, row), kind=kind, continuation=row.answer, decoding=None, statistics=STATISTICS)


def _roles(ask: Ask, row: Example, swapped: Ask | Lacking) -> dict[str, Ask]:
    """By role, what is scored; documents have no paraphrases."""
    told = () if row.is_document else (ask.row or {}).get("answer_rephrased") or ()
    found = {"answer": ask}
    for number, text in enumerate(told):
        found[f"rephrased/{number}"] = replace(ask, continuation=row.delimiter + str(text), statistics=())
    if isinstance(swapped, Ask):
        found[f"{SWAPPED}/answer"] = replace(swapped, statistics=())
    return found


def _sample(doc: Mapping[str, Any], answers: Mapping[str, Any], *, set_name: str) -> Sample:
    own = answers["answer"]
    scored = {role: one.token_logprobs for role, one in answers.items() if not isinstance(one, NoScores)}
    values = {} if isinstance(own, NoScores) else {name: {"answer": told} for name, told in own.values.items()}
    return Sample(
        task=set_name, set=set_name, kind="prob", id=str(doc["id"]), subject=str(doc["subject"]),
        question=str(doc["question"]), answer=str(doc["answer"]), token_logprobs=scored, token_values=values,
        unanswered=own.reason if isinstance(own, NoScores) else "",
    )  # fmt: skip


def membership(model: Answered, retain: Answered | None, *, how: Membership) -> MembershipResult:
    """All detectors with 95 % intervals by subjects of both groups.

    Args:
        retain: the retain model's scores, that detectors with a reference model read.

    Raises UserError where a subject is in both groups.
    """
    beside = model
    if retain is not None:
        beside = Answered(*(with_reference(own, other) for own, other in zip(model, retain, strict=True)))
    has_pictures = any(f"{SWAPPED}/answer" in one.token_logprobs for one in model.members)
    names = (*NAMES, *(WITH_SWAPPED if has_pictures else ()))
    found = {}
    for name in names:
        score = cast("Name", name)
        metrics: list[ReferenceMetric] = [
            MiaAuc(score, how.percent),
            MiaTPR(how.fpr, score, how.percent),
            MiaTPR(how.fpr, score, how.percent, "low"),
        ]
        lacks = retain is None and name in WITH_REFERENCE
        found[name] = Rates(
            *(unmeasured(one, reason=NO_RETAIN) if lacks else one.compare(*beside) for one in metrics)
        )  # fmt: skip
    return MembershipResult(MiaStrongest().compare(*beside), found)
