"""A model whose weights an attack has changed, for whoever asks it anything else than the attack does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mmforget.attacks.base import Calibrated
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.evaluation.retraining import retraining, settings_on
from mmforget.model.altering import NOTHING_SEEN, Alter, Altered, Linear, altered, seen_inputs
from mmforget.model.examples import as_asked
from mmforget.model.loaded import LoadedModel
from mmforget.model.merging import merged
from mmforget.model.vision import FeatureCache
from mmforget.plugins import running
from mmforget.training.continuing import continued


@contextmanager
def changed(
    loaded: LoadedModel,
    bound: Bound,
    *,
    attack: Any,
    key: str,
    template: bool | str = False,
    features: FeatureCache | None = None,
) -> Iterator[LoadedModel]:
    """Inside, the model as the attack leaves it: trained to its end, or altered as far as it goes; adapters are merged.

    Afterwards the model is what it was, bit by bit.

    Args:
        attack: one on weights that is asked the plain questions.
        key: what records call it.
        template: the chat template that rows are learnt in.

    Raises UserError where the model cannot be changed so, BadData for rows that cannot be encoded.
    """
    with tempfile.TemporaryDirectory(prefix="mmforget-") as folder, merged(loaded, folder=Path(folder)) as whole:
        if not hasattr(attack, "alter"):
            render = partial(as_asked, loaded=whole.loaded, template=template)
            subjects = set(bound.column(bound.benchmark.forget_set, "subject"))
            wanted = retraining(subjects, bound=bound, attack=attack, render=render)
            settings = settings_on(whole.loaded, wanted)
            with continued(
                whole.loaded, wanted.rows, settings=settings, label=attack.label, features=features
            ) as trained:
                yield trained
            return
        last = attack.budget - 1
        alter, inputs = (
            alteration(attack, last, key=key),
            inputs_seen(whole.loaded, bound, attack=attack, template=template),
        )
        with altered(whole, alter, name=f"{key} {last}", folder=Path(folder) / "altered", inputs=inputs) as (model, _):
            yield model


def alteration(attack: Any, attempt: int, *, key: str) -> Alter:
    """What an attempt makes of each layer."""

    def alter(linear: Linear) -> Altered:
        with running(attack, what=f"attack '{key}': alter"):
            made: Altered = attack.alter(linear, attempt=attempt)
            return made

    return alter


def inputs_seen(loaded: LoadedModel, bound: Bound, *, attack: Any, template: bool | str) -> Mapping[str, Tensor]:
    """What goes into each layer on the rows to keep that the attack looks at; nothing of one that looks at none.

    Raises UserError where the benchmark has none.
    """
    if not isinstance(attack, Calibrated) or not attack.rows_seen:
        return NOTHING_SEEN
    rows = bound.examples(bound.benchmark.retain_set)[: attack.rows_seen]
    if not rows:
        raise UserError(f"{attack.label} looks at rows to keep, and the benchmark has none in this data")
    return seen_inputs(loaded, as_asked(rows, loaded=loaded, template=template))
