"""What the model said before training: the same weights with adapters off, never a second copy of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from mmforget.model.activations import evaluating
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import adapters_off
from mmforget.model.suffixes import with_suffixes
from mmforget.types import Scored

Scorer = Callable[[Sequence[Encoded]], Scored]


@contextmanager
def before_training(loaded: LoadedModel, *, has_adapters: bool) -> Iterator[None]:
    """Inside, the model answers as it did before training: adapters off, no dropout, no gradients.

    Without adapters it must be used before the first update. Raises UserError where an adapter was loaded into the
    base and not merged, since switching adapters off would switch that one off, too.
    """
    with torch.no_grad(), evaluating(loaded.model), adapters_off(loaded) if has_adapters else nullcontext():
        yield


def reference_logprobs(score: Scorer, encoded: Sequence[Encoded], *, batch_size: int) -> list[Tensor]:
    """Log-probs of every answer, float32 [T_i] on the CPU, in order. Call it inside `before_training`."""
    kept: list[Tensor] = []
    for start in range(0, len(encoded), batch_size):
        scored = score(encoded[start : start + batch_size])
        kept += [row[mask].float().cpu() for row, mask in zip(scored.token_logprobs, scored.mask, strict=True)]
    return kept


def suffix_logprobs(score: Scorer, encoded: Sequence[Encoded], *, share: float) -> list[Tensor]:
    """Log-probs of every answer's tokens, float32 [T_i] on the CPU, each given the last `share` of what stands before.

    A row takes as many sequences as its answer has tokens. Call it inside `before_training`.
    """
    return [
        score(with_suffixes(one, share=share)).token_logprobs[:, 0].float().cpu() if one.num_answer else torch.zeros(0)
        for one in encoded
    ]


def padded(rows: Sequence[Tensor], *, like: Tensor) -> Tensor:
    """Rows [T_i] as one float32 tensor of `like`'s shape [B, T] and device, 0 where padded."""
    out = torch.zeros(like.shape, dtype=torch.float32)
    for position, row in enumerate(rows):
        out[position, : row.numel()] = row
    return out.to(like.device)
