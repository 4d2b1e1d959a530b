"""Attacks that learn, on rows to keep, how states of a layer are to be read, and then look at what was forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from mmforget.asking import Ask, Depth, Look
from mmforget.attacks.base import Learning, Probing
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.batching import chunks
from mmforget.lm.lens import looks
from mmforget.model.activations import decoder_layers
from mmforget.model.examples import as_asked
from mmforget.plugins import running
from mmforget.results.fingerprint import hash_image

T = TypeVar("T")
Move = Callable[[Tensor], Tensor]


@torch.no_grad()
def translated(
    lm: MMForgetLM,
    asks: Sequence[Ask],
    *,
    attack: Learning,
    depths: Sequence[Depth],
    taught: Sequence[Ask],
    look: Look[T],
) -> list[list[T]]:
    """What `look` makes of the logits at each place that predicts a token of a question's continuation.

    Args:
        depths: where the attack looks.
        taught: the questions with answers that it learns on.
    """
    layers = sorted({depth.layer for depth in depths})
    places = [layers.index(depth.layer) for depth in depths]
    move = _learned(lm, taught, attack=attack, depths=depths)
    found: list[list[T]] = []
    for part in chunks(range(len(asks)), size=lm.batch_size):
        own = [asks[at] for at in part]
        for ask, states in zip(own, lm.asked.hidden(own, layers=layers), strict=True):
            encoded = lm.engine.encode(ask)
            tokens = encoded.ids[encoded.num_context :]
            if not tokens:
                raise UserError(f"{ask.where or 'request'}: has no answer whose tokens could be looked for")
            moved = looks(lm.loaded, move(states[places].transpose(0, 1)), depths=depths)
            found.append([look(logits, token) for logits, token in zip(moved, tokens, strict=True)])
    return found


def taught_asks(lm: MMForgetLM, bound: Bound, *, attack: Learning | Probing, template: bool | str) -> list[Ask]:
    """The first rows to keep as questions with their answers.

    Raises UserError where the benchmark has none that are questions, and for a model of many edits.
    """
    if lm.loaded.stack is not None:
        raise UserError(f"{attack.label} learns how one model is read, and this one is edited for each row; attack one")
    examples = [one for one in bound.examples(bound.benchmark.retain_set) if not one.is_document][: attack.rows]
    if not examples:
        raise UserError(f"{attack.label} learns on questions to keep, and the benchmark has none in this data")
    return [
        Ask(
            "score",
            "",
            one.context,
            one.answer,
            one.images,
            tuple(map(hash_image, one.images)),
            where=f"row '{one.id}'",
        )
        for one in as_asked(examples, loaded=lm.loaded, template=template)
    ]


def _learned(lm: MMForgetLM, taught: Sequence[Ask], *, attack: Learning, depths: Sequence[Depth]) -> Move:
    last = len(decoder_layers(lm.loaded.core)) - 1
    layers = sorted({last, *(depth.layer for depth in depths)})
    states = torch.cat([one.transpose(0, 1) for one in lm.asked.hidden(taught, layers=layers)])
    with running(attack, what=f"attack {attack.label}: learn"):
        return attack.learn(states[:, [layers.index(depth.layer) for depth in depths]], states[:, -1])
