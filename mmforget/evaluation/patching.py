"""Attacks that put a model's hidden states into the target model, layer by layer.

One model is held. The retain model, asked first, keeps its states; they are put into the target model when that is
asked; and an unlearned model has the target below its adapter, where its own states are put.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from mmforget.asking import Ask
from mmforget.attacks.comparing import Patching
from mmforget.evaluation.keeping import Named, layers_of
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.batching import chunks
from mmforget.lm.progress import told
from mmforget.model.activations import evaluating
from mmforget.model.adapter_switch import without_adapter
from mmforget.model.patching import patched_logprobs
from mmforget.types import KEPT, PATCHED, PLAIN, RETAIN_PATCHED, Sample, States


def put_in(lm: MMForgetLM, asks: Sequence[Ask], *, attack: Patching, retain: Mapping[str, Sample]) -> list[Named]:
    """By question, its answer's mean log-probs by layer; and the states themselves, while nobody has kept any.

    Args:
        retain: by row, the samples of the retain model under this attack.

    Raises UserError where the model, or the guard before it, shows no states.
    """
    layers = layers_of(attack, lm=lm)
    found: list[Named] = []
    with told(lm.progress, labels=[f"{ask.task or 'requests'} ({attack.label})" for ask in asks]) as advance:
        for part in chunks(range(len(asks)), size=lm.batch_size):
            own = [asks[at] for at in part]
            for ask, states in zip(own, lm.asked.hidden(own, layers=layers), strict=True):
                row = retain.get("" if ask.row is None else str(ask.row["id"]))
                found.append(_of_one(lm, ask, layers=layers, states=states, retain=row))
            advance(part)
    return found


def _of_one(lm: MMForgetLM, ask: Ask, *, layers: Sequence[int], states: torch.Tensor, retain: Sample | None) -> Named:
    """The states of a model with an adapter, put into what it stands on; else the retain model's, put into this one."""
    loaded, kept = lm.loaded, {KEPT: States.of(states)}
    if loaded.stack is not None or loaded.guard is not None or loaded.replaced:
        return kept
    if loaded.has_adapter:
        with without_adapter(loaded):
            put = _logprobs(lm, ask, layers=layers, states=states, name=PATCHED)
        return put if retain is not None else {**kept, **put}
    theirs = None if retain is None else retain.states.get(KEPT)
    if theirs is None or theirs.shape != tuple(states.shape):
        return kept
    put = _logprobs(lm, ask, layers=layers, states=torch.from_numpy(theirs.array().copy()), name=RETAIN_PATCHED)
    # Its own states in their own places change nothing.
    return {**put, PATCHED: States.of([float(put[PLAIN].array())] * len(layers))}


def _logprobs(lm: MMForgetLM, ask: Ask, *, layers: Sequence[int], states: torch.Tensor, name: str) -> Named:
    engine = lm.engine
    with evaluating(engine.loaded.model):
        plain, *patched = patched_logprobs(
            engine.loaded, engine.encode(ask), layers=layers, states=states, features=engine.features
        )
    return {PLAIN: States.of(plain), name: States.of(patched)}
