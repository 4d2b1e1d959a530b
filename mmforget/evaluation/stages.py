"""A model that an attack changes time after time, and that is asked the plain questions after each: an attempt each.

Trained on, it is asked about rows that were not trained on; those that were take no part. Afterwards the model is what
it was, bit by bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mmforget.asking import Ask
from mmforget.attacks.base import Calibrated, Lacking, Retraining
from mmforget.evaluation.changing import alteration, inputs_seen
from mmforget.evaluation.retraining import asked_instead, bound_of, learnable, settings_on
from mmforget.evaluation.samples import unasked_sample
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.lm import inside
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.altering import NOTHING_SEEN, altered
from mmforget.model.loaded import LoadedModel
from mmforget.model.merging import Whole, merged
from mmforget.training.continuing import Looks, continued
from mmforget.types import Sample

Asked = Callable[[MMForgetLM, Any, int], list[Sample]]
"""The samples of the plain questions to a model, with the number of its attempt."""
TRAINED_ON = "the attack trains on this very row"


class Staged(NamedTuple):
    """What came of an attack, and what it counted in the weights, by its name."""

    samples: list[Sample]
    counted: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Plain:
    """Asks as the benchmark does, of rows that are not among those left out."""

    label: str
    left_out: frozenset[str]

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        name = None if ask.row is None else str(ask.row["id"])
        return Lacking(TRAINED_ON) if name in self.left_out else [ask]


def is_asked_in_stages(attack: Any) -> bool:
    """Whether an attack on weights is asked the plain questions, at each of its stages."""
    return hasattr(attack, "alter") or attack.then is None


def in_stages(
    lm: MMForgetLM,
    loaded: LoadedTasks,
    *,
    attack: Any,
    key: str,
    tasks: Sequence[str],
    template: bool | str,
    ask: Asked,
) -> Staged:
    """Raises UserError where the model cannot be changed so, BadData for rows that cannot be encoded."""
    if lm.loaded.stack is not None:
        reason = f"{attack.label} changes one model, and subjects are forgotten many at a time"
        return Staged(unanswered(loaded, tasks=tasks, key=key, attempts=[0], reason=reason), {})
    with tempfile.TemporaryDirectory(prefix="mmforget-") as folder:
        if hasattr(attack, "alter"):
            with merged(lm.loaded, folder=Path(folder)) as whole:
                inputs = _inputs(whole, loaded, attack=attack, tasks=tasks, template=template)
                return _altered(lm, whole, attack=attack, key=key, ask=ask, folder=Path(folder), inputs=inputs)
        asked, learned = learnable(lm, loaded, attack=attack, tasks=tasks, template=template)
        wanted = learned(asked)
        plain = Plain(attack.label, frozenset(() if wanted.asks_all else (row.id for row in wanted.rows)))
        reached, samples = list[int](), list[Sample]()

        def look(model: LoadedModel, update: int) -> None:
            samples.extend(ask(asked_instead(lm, model), plain, len(reached)))
            reached.append(update)

        _trained(lm, wanted, attack=attack, look=look, folder=Path(folder))
    missed = range(len(reached), len(attack.at))
    reason = f"the training ended after {reached[-1] if reached else 0} updates"
    return Staged([*samples, *unanswered(loaded, tasks=tasks, key=key, attempts=missed, reason=reason)], {})


def _trained(
    lm: MMForgetLM, wanted: Retraining, *, attack: Any, look: Callable[[LoadedModel, int], None], folder: Path
) -> None:
    """Trains the model, its adapter merged; one on quantised weights, which it cannot be, goes on training itself."""
    looks, features = Looks(attack.at, look), lm.engine.features
    settings = settings_on(lm.loaded, wanted)
    train = partial(continued, settings=settings, label=attack.label, features=features, looks=looks)
    if lm.loaded.quantisation is not None:
        with train(lm.loaded, wanted.rows):
            return
    with merged(lm.loaded, folder=folder) as whole, train(whole.loaded, wanted.rows):
        return


def _inputs(
    whole: Whole, loaded: LoadedTasks, *, attack: Any, tasks: Sequence[str], template: bool | str
) -> Mapping[str, Tensor]:
    """What goes into each layer on the rows that an attack looks at, which are of one benchmark."""
    if not isinstance(attack, Calibrated):
        return NOTHING_SEEN
    return inputs_seen(whole.loaded, bound_of(loaded, attack=attack, tasks=tasks), attack=attack, template=template)


def _altered(
    lm: MMForgetLM, whole: Whole, *, attack: Any, key: str, ask: Asked, folder: Path, inputs: Mapping[str, Tensor]
) -> Staged:
    plain, samples, counted = Plain(attack.label, frozenset()), list[Sample](), dict[str, float]()
    for number in range(attack.budget):
        alter, place = alteration(attack, number, key=key), folder / str(number)
        with altered(whole, alter, name=f"{key} {number}", folder=place, inputs=inputs) as (model, counts):
            samples += ask(asked_instead(lm, model), plain, number)
            counted |= counts
    return Staged(samples, {key: counted} if counted else {})


def unanswered(
    loaded: LoadedTasks, *, tasks: Sequence[str], key: str, attempts: Iterable[int], reason: str
) -> list[Sample]:
    """A sample for every question that could not be asked, which says why."""
    return [
        replace(unasked_sample(task, label=loaded.labels[task], doc=doc, attack=key), attempt=number, unanswered=reason)
        for number in attempts
        for task in tasks
        for doc in inside.docs_asked(loaded.tasks[task])
    ]
