"""From what only samples can tell to the verdict on a model; the rules themselves are in `results/rules.py`."""

from __future__ import annotations

from collections.abc import Sequence

from mmforget.benchmark.spec import Bound
from mmforget.evaluation.headline import Closeness
from mmforget.results import rules
from mmforget.results.schema import RunRecord, Verdict


def ruling(
    record: RunRecord,
    *,
    bound: Bound,
    collapse: Sequence[rules.Finding],
    parts: Sequence[Closeness],
    has_retain: bool,
) -> Verdict:
    """The verdict on a model whose record has gate, headline and sets.

    Args:
        collapse: its signs of collapse.
        parts: what the forget score is made of, to tell where the model forgets beyond the retain model.
        has_retain: whether there is a retain model to compare with.
    """
    return rules.verdict(
        record,
        collapse=collapse,
        beyond=[found for part in parts for found in _beyond(part)],
        data_notes=bound.data.describe()["notes"],
        lacks_retain=bound.benchmark.has_retain_model and not has_retain,
    )


def _beyond(part: Closeness) -> list[rules.Finding]:
    if part.unlearned is None or part.retain is None:
        return []
    return rules.beyond_retain(
        part.metric, set_name=part.set, unlearned=part.unlearned, retain=part.retain, overshoot=part.overshoot
    )
