"""Words that a text is kept from while it is written: their tokens, and tokens whose embeddings are like theirs.

Shapes: B prompts, V vocabulary, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from mmforget.asking import Avoid
    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel

Tokens = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Avoiding:
    """What one prompt's text is kept from.

    Attributes:
        sequences: tokens that are never completed.
        penalty: float32 [V], taken from the logits.
    """

    sequences: tuple[Tokens, ...]
    penalty: Tensor

    def applied(self, logits: Tensor, new: Sequence[int]) -> Tensor:
        """The logits [V] of the token behind these new ones."""
        found = logits.clone()
        # A table of embeddings may be padded, and the head not.
        penalty = self.penalty[: len(logits)].to(logits.device, logits.dtype)
        found[: len(penalty)] -= penalty
        last = [one[-1] for one in self.sequences if len(one) == 1 or tuple(new[1 - len(one) :]) == one[:-1]]
        found[last] = -torch.inf
        return found


def avoiding(loaded: LoadedModel, prompts: Sequence[Encoded]) -> list[Avoiding | None]:
    """What each prompt says, equal ones once."""
    made = {one: _of(loaded, one) for one in {prompt.avoid for prompt in prompts} if one is not None}
    return [None if prompt.avoid is None else made[prompt.avoid] for prompt in prompts]


def held_down(logits: Tensor, own: Sequence[Avoiding | None], new: Sequence[Sequence[int]]) -> Tensor:
    """Logits [B, V] of the tokens behind the new ones of each prompt; the same tensor where nothing is avoided."""
    if not any(own):
        return logits
    rows = zip(logits, own, new, strict=True)
    return torch.stack([row if one is None else one.applied(row, ids) for row, one, ids in rows])


def _of(loaded: LoadedModel, avoid: Avoid) -> Avoiding:
    sequences = {loaded.token_ids(form) for word in avoid.words for form in _forms(word)} - {()}
    table = loaded.core.get_input_embeddings().weight.detach().float()
    nearest = table.new_full((len(table),), -1.0)
    for word in avoid.words:
        ids = list(loaded.token_ids(f" {word}"))
        nearest = nearest.maximum(functional.cosine_similarity(table, table[ids].mean(0)[None], dim=-1))
    return Avoiding(tuple(sorted(sequences)), avoid.alpha * (nearest - avoid.similarity).clamp(min=0))


def _forms(word: str) -> set[str]:
    """A word as it may stand in a text: behind a blank or not, in its own letters, small ones, or with a capital."""
    cases = {word, word.lower(), word[:1].upper() + word[1:]}
    return {blank + one for one in cases for blank in ("", " ")}
