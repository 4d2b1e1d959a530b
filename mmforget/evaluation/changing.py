"""A model whose weights an attack has changed, for whoever asks it anything else than the attack does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mmforget.benchmark.spec import Bound
from mmforget.evaluation.retraining import retraining
from mmforget.model.altering import altered
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
            with continued(
                whole.loaded, wanted.rows, settings=wanted.settings, label=attack.label, features=features
            ) as trained:
                yield trained
            return
        last = attack.budget - 1

        def alter(layer: Any, before: Any) -> Any:
            with running(attack, what=f"attack '{key}': alter"):
                return attack.alter(layer, before, attempt=last)

        with altered(whole, alter, name=f"{key} {last}", folder=Path(folder) / "altered") as (model, _):
            yield model
