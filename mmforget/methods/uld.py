"""Logit difference (ULD): an assistant that remembers the rows to forget is taken away from the model's logits.

Source: Ji et al. 2024, "Reversing the Forget-Retain Objectives", https://arxiv.org/abs/2406.08607. Adapted: its
training data are augmented by a language model, with paraphrases of the rows to forget and with wrong answers; here
there are no paraphrases, and the wrong answers are those of other rows to forget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmforget.asking import Engine, PassingEngine
from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Source, Step, TokenStats
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.methods.requests import Positions
from mmforget.methods.rewriting import answered
from mmforget.types import Example

FORGET = Scores("forget")
SHARE = 8 / 32
"""The share of a model's layers that its assistant has: 8 of the 32 of Llama 2 7B."""
NEVER = -1000.0
"""The logit of a token that is not to be chosen, as published."""


def from_uniform(logprobs: Tensor, target: Tensor) -> Tensor:
    """KL(uniform || p) of each row of log-probs [n, V], in nats, >= 0: float32 [n]."""
    return -math.log(logprobs.shape[-1]) - logprobs.mean(-1)


def present(logprobs: Tensor, target: Tensor) -> Tensor:
    """1 for each token: float32 [n]; where it is 0, there is padding."""
    return torch.ones_like(target, dtype=torch.float32)


@dataclass(frozen=True)
class LogitDifference:
    """Tokens are scored by z + weight z_assistant, where z are the model's logits, and chosen among its likely ones.

    The assistant is the first `layers` decoder layers (None: a quarter, as published), the final norm and the head of
    the model itself, frozen, with an adapter on these layers. It learns the answers to forget by their NLL, and on the
    retain answers and on wrong answers to the questions to forget `uniform_weight` times KL(uniform || assistant),
    averaged over the answers' tokens, or, `variant=released`, over every place of their sequences. `perturbed=False`
    leaves the wrong answers out, as whole documents have to, which answer nothing.

    Where log p(token) < max log p + log `threshold` under the model, and `threshold` of the vocabulary is likelier, the
    assistant's logit counts 0, and such a token is never chosen; 0 filters nothing. With a weight of 0 the guard
    answers as the model does. Published for TOFU: LoRA of rank 16, alpha 32 and dropout 0.05 on all linear layers, lr
    1e-3, 10 epochs of batches of 32, warm-up 0.1; weights of -0.7 and -0.5 for copyrighted books.
    """

    layers: int | None = None
    weight: float = -0.8
    threshold: float = 0.01
    uniform_weight: float = 5.0
    perturbed: bool = True
    variant: Literal["clean", "released"] = "clean"

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2406.08607"
    grid: ClassVar[Grid] = {**USUAL, "weight": (-0.5, -0.8, -1.5), "uniform_weight": (1.0, 5.0)}

    def __post_init__(self) -> None:
        require_not_negative(uniform_weight=self.uniform_weight)
        if not self.weight <= 0:
            raise UserError(f"weight={self.weight} would add what the assistant remembers; give 0 or a number below it")
        if not 0 <= self.threshold < 1:
            raise UserError(f"threshold={self.threshold} is not allowed; give a number from 0 to below 1")
        if self.layers is not None and self.layers < 1:
            raise UserError(f"layers={self.layers} is not allowed; give a whole number of at least 1")

    @property
    def first_layers(self) -> int | float:
        """What the assistant is cut out of the model as."""
        return SHARE if self.layers is None else self.layers

    @property
    def requests(self) -> tuple[Request, ...]:
        found = [request for pair in self._uniform for request in pair] if self.uniform_weight else []
        return (FORGET, *found)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The questions to forget with wrong answers."""
        asked = self.perturbed and self.uniform_weight > 0
        return (Source(name="perturbed", draw="each", rows=wrong_answers),) if asked else ()

    @property
    def _uniform(self) -> list[tuple[TokenStats, TokenStats]]:
        """Of each source on which it is uniform: the divergence, and which tokens there are."""
        at: Positions = "answer" if self.variant == "clean" else "all"
        names = ("retain", "perturbed") if self.perturbed else ("retain",)
        return [(TokenStats(name, from_uniform, at), TokenStats(name, present, at)) for name in names]

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`remember` >= 0, in nats a token, and `uniform` >= 0, weighted."""
        terms = {"remember": token_mean_nll(step[FORGET])}
        if not self.uniform_weight:
            return terms
        divergence, count = (
            torch.stack([step[request].sum() for request in column]).sum()
            for column in zip(*self._uniform, strict=True)
        )
        return terms | {"uniform": self.uniform_weight * divergence / count}

    def mix(self, before: Tensor, adapted: Tensor) -> Tensor:
        """The logits that count, [n, V], from those of the model and of the assistant."""
        if not self.weight:
            return before
        return before + self.weight * torch.where(self._likely(before), adapted, 0.0)

    def choose(self, before: Tensor, adapted: Tensor) -> Tensor:
        """The logits that a next token is chosen by, [n, V]."""
        if not self.weight:
            return before
        return self.mix(before, adapted).masked_fill(~self._likely(before), NEVER)

    def _likely(self, before: Tensor) -> Tensor:
        """Which tokens the assistant has a say in, bool [n, V]."""
        if not self.threshold:
            return torch.ones_like(before, dtype=torch.bool)
        kept = before.topk(max(1, int(self.threshold * before.shape[-1])), dim=-1).values
        # A threshold on log-probs is one on logits, from which they differ by a constant.
        lowest = (kept[..., :1] + math.log(self.threshold)).minimum(kept[..., -1:])
        return before >= lowest

    def guard(self, engine: Engine) -> Engine:
        """Passes on scores and texts, which the engine makes of mixed logits; states and lenses are not shown."""
        return PassingEngine(engine)


def wrong_answers(material: Material) -> list[Example]:
    """Each question to forget with the answer of the next row, of another subject and to the same question if possible.

    Raises UserError for a whole document, and where no row has another answer.
    """
    rows = material.forget
    document = next((row.id for row in rows if row.is_document), None)
    if document is not None:
        raise UserError(f"row '{document}' is a whole document, to which no answer is wrong; add perturbed=False")
    return [
        answered(row, _wrong(row, [*rows[at + 1 :], *rows[:at], *material.retain]).answer.strip())
        for at, row in enumerate(rows)
    ]


def _wrong(row: Example, others: Sequence[Example]) -> Example:
    """The first of the rows whose answer is wrong for this one."""
    wrong = [one for one in others if one.answer.strip() != row.answer.strip() and not one.is_document]
    if not wrong:
        raise UserError(f"row '{row.id}': no other row has another answer; add perturbed=False")
    return min(wrong, key=lambda one: (one.subject == row.subject, one.context != row.context))


METHOD = LogitDifference
