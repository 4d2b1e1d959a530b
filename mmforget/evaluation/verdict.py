"""From what only samples can tell to the verdict on a model: the rules are in `results/rules.py` and `deciding.py`."""

from __future__ import annotations

from collections.abc import Sequence

from mmforget.benchmark.spec import Bound
from mmforget.evaluation.evidence import Found
from mmforget.evaluation.headline import Closeness
from mmforget.results import deciding, rules
from mmforget.results.schema import RunRecord, Verdict


def ruling(
    record: RunRecord,
    *,
    bound: Bound,
    collapse: Sequence[rules.Finding],
    parts: Sequence[Closeness],
    evidence: Sequence[Found],
    has_retain: bool,
) -> Verdict:
    """The verdict on a model whose record has gate, headline and sets.

    Args:
        collapse: its signs of collapse.
        parts: what the forget score is made of, to tell where the model forgets beyond the retain model.
        evidence: what plain questions and attacks find.
        has_retain: whether there is a retain model to compare with.
    """
    return deciding.verdict(
        record,
        collapse=collapse,
        beyond=[found for part in parts for found in _beyond(part)],
        evidence=[found.evidence for found in evidence],
        data_notes=bound.data.describe()["notes"],
        lacks_retain=bound.benchmark.has_retain_model and not has_retain,
    )


def _beyond(part: Closeness) -> list[rules.Finding]:
    if part.unlearned is None or part.retain is None:
        return []
    return rules.beyond_retain(
        part.metric, set_name=part.set, unlearned=part.unlearned, retain=part.retain, overshoot=part.overshoot
    )
