"""Attacks that keep hidden states: one forward pass of every question with its answer serves all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mmforget.asking import Ask
from mmforget.attacks.comparing import Keeping, Patching
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.batching import chunks
from mmforget.lm.progress import told
from mmforget.model.activations import decoder_layers
from mmforget.plugins import running
from mmforget.types import States

Named = Mapping[str, States]


def layers_of(attack: Keeping | Patching, *, lm: MMForgetLM) -> list[int]:
    """The decoder layers that an attack looks at, in its order."""
    with running(attack, what=f"attack {attack.label}: depths"):
        return [depth.layer for depth in attack.depths(len(decoder_layers(lm.loaded.core)))]


def kept(lm: MMForgetLM, asks: Sequence[Ask], *, attacks: Sequence[Keeping]) -> list[list[Named]]:
    """By question and attack, the states that it keeps.

    Raises UserError where the model, or the guard before it, shows none.
    """
    wanted = [layers_of(attack, lm=lm) for attack in attacks]
    layers = sorted({layer for own in wanted for layer in own})
    label = ", ".join(attack.label for attack in attacks)
    found: list[list[Named]] = []
    with told(lm.progress, labels=[f"{ask.task or 'requests'} ({label})" for ask in asks]) as advance:
        for part in chunks(range(len(asks)), size=lm.batch_size):
            for states in lm.asked.hidden([asks[at] for at in part], layers=layers):
                parts = [states[[layers.index(layer) for layer in own]] for own in wanted]
                found.append([_kept(attack, own) for attack, own in zip(attacks, parts, strict=True)])
            advance(part)
    return found


def _kept(attack: Keeping, states: Tensor) -> Named:
    with running(attack, what=f"attack {attack.label}: keep"):
        return {name: States.of(one.float()) for name, one in attack.keep(states).items()}
