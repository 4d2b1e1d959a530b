"""Attacks that keep columns of weights: read once a subject, whatever rows ask about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mmforget.attacks.comparing import Columns
from mmforget.errors import UserError
from mmforget.evaluation.keeping import Named
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.columns import column
from mmforget.plugins import running
from mmforget.types import States

NO_COLUMN = "no vector of its subject is known"


def kept_columns(lm: MMForgetLM, subjects: Sequence[str], *, attack: Columns) -> list[Named]:
    """By subject, what is kept of its columns; nothing where none is known."""
    found = {subject: _of_subject(lm, subject, attack=attack) for subject in dict.fromkeys(subjects)}
    return [found[subject] for subject in subjects]


@torch.no_grad()
def _of_subject(lm: MMForgetLM, subject: str, *, attack: Columns) -> Named:
    found: dict[str, States] = {}
    for number, (layer, at) in enumerate(attack.columns(subject)):
        vector = column(lm.loaded, layer=layer, number=at)
        placed = vector.to(lm.loaded.device, lm.loaded.core.dtype)
        logits = lm.loaded.family.head(lm.loaded.core, placed[None])[0].float().cpu()
        with running(attack, what=f"attack {attack.label}: keep"):
            kept = attack.keep(vector, logits)
        found |= {f"{name}/{number}": States.of(one.float()) for name, one in kept.items()}
    return found


def require_columns(lm: MMForgetLM, *, attack: Columns) -> None:
    """Raises UserError where a guard stands before the model, for many edits, and for columns that are not there."""
    if lm.loaded.guard is not None:
        raise UserError(f"reads weights, and a guard ({lm.loaded.guard.name}) stands before them; look without guard=")
    if lm.loaded.stack is not None:
        raise UserError("reads the weights of one model, and this one is edited for each row; look at one")
    for layer, number in attack.named():
        column(lm.loaded, layer=layer, number=number)
