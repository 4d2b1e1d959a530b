"""From a micro-batch of positions to a loss: scores what is needed, once, and hands it to the method."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.base import Method, Need, Step
from mmforget.methods.contract import loss_of
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.steps import RETAIN_NEEDS
from mmforget.model.encode import Encoded
from mmforget.model.head import Reference
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import MAX_TOKENS, Divergence, Positions, score, score_against
from mmforget.model.vision import FeatureCache
from mmforget.training.batches import Batch
from mmforget.training.built import Built
from mmforget.training.data import Refusals
from mmforget.training.reference import before_training, padded, reference_logprobs
from mmforget.training.sharding import reaching_all
from mmforget.training.shares import Rows, Scores, score_shared
from mmforget.types import Scored

KL_NEEDS = frozenset({Need.RETAIN_KL, Need.BUILT_KL})


class Losses(NamedTuple):
    """A micro-batch's loss.

    Attributes:
        total: scalar to minimise.
        parts: its weighted terms, by name.
        nll: NLL of `forget` and `retain` answers in nats a token, of those that were scored.
    """

    total: Tensor
    parts: Mapping[str, float]
    nll: Mapping[str, float]


class Objective(Protocol):
    """What the trainer minimises."""

    def loss(self, batch: Batch) -> Losses: ...

    def retain_nll(self, batch: Batch) -> float | None:
        """NLL of the batch's retain partners, without gradients; None where there are none."""


@dataclass(frozen=True)
class Scoring:
    """A model and how it scores: the one way in which training looks at it, reference log-probs included.

    Among several processes each computes a share of the rows, see `shares.py`.
    """

    loaded: LoadedModel
    packed: bool = True
    bf16: bool = False
    features: FeatureCache | None = None

    def __call__(self, encoded: Sequence[Encoded], *, positions: Positions = "answer") -> Scored:
        def compute(rows: Rows) -> Scores:
            scored = score(self.loaded, rows, positions=positions, **self._how)
            return Scores(scored.mask, scored.is_greedy, (scored.token_logprobs,))

        return _scored(self._shared(encoded, score=compute))

    def against(
        self,
        encoded: Sequence[Encoded],
        *,
        reference: Reference,
        positions: Positions = "answer",
        vocabulary: Tensor | None = None,
    ) -> Divergence:
        """Scores, and how far each token's distribution is from that inside `reference()`."""

        def compute(rows: Rows) -> Scores:
            scored, kl = score_against(
                self.loaded, rows, reference=reference, vocabulary=vocabulary, positions=positions, **self._how
            )
            return Scores(scored.mask, scored.is_greedy, (scored.token_logprobs, kl))

        found = self._shared(encoded, score=compute)
        return Divergence(_scored(found), found.values[1])

    def _shared(self, encoded: Sequence[Encoded], *, score: Callable[[Rows], Scores]) -> Scores:
        with torch.autocast(self.loaded.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return score_shared(encoded, score=score)

    @property
    def _how(self) -> dict[str, Any]:
        # Where weights are divided, every process has to go through the model equally often.
        max_tokens = sys.maxsize if parallel.is_sharded() else MAX_TOKENS
        return {"packed": self.packed, "features": self.features, "max_tokens": max_tokens}


def _scored(found: Scores) -> Scored:
    return Scored(found.values[0], found.mask, found.is_greedy, None)


class ObjectiveModule(nn.Module):
    """The model that trains, with the objective that looks at it.

    Weights are divided among processes module by module, so whatever looks at them has to be a module's forward.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch, *, probe: bool = False) -> Losses | float | None:
        """The micro-batch's loss, or for a `probe` the NLL of its retain partners."""
        if probe:
            return self.objective.retain_nll(batch)
        losses = self.objective.loss(batch)
        return losses._replace(total=reaching_all(losses.total, module=self))


@dataclass(frozen=True)
class Memorise:
    """Stage one: NLL of the answers, token-mean over the micro-batch, as a Hugging Face forward computes it."""

    score: Scoring
    encoded: Sequence[Encoded]

    def loss(self, batch: Batch) -> Losses:
        scored = self.score([self.encoded[row] for row in batch.rows])
        total = token_mean_nll(scored.token_logprobs, scored.mask)
        return Losses(total, {"nll": total.item()}, {})

    def retain_nll(self, batch: Batch) -> float | None:
        return None


@dataclass(frozen=True)
class Unlearn:
    """A method's loss on what it asks for. `forget_reference` is filled by `prepare` where the method needs it.

    Attributes:
        has_adapters: whether the reference is the same model with adapters off.
        built: the rows that the method wrote, which batches then run over.
    """

    score: Scoring
    method: Method
    forget: Sequence[Encoded]
    retain: Sequence[Encoded]
    refusals: Refusals | None
    has_adapters: bool
    benign: Sequence[Encoded] = ()
    built: Built | None = None
    forget_reference: list[Tensor] = field(default_factory=list)

    def prepare(self, *, batch_size: int) -> None:
        """Computes what has to be known before the first update. Raises UserError where there is no reference."""
        needs = self.method.needs
        if needs & KL_NEEDS and not self.has_adapters:
            raise UserError(
                "this method compares with the model before training at every step, which needs adapters to switch "
                "off; train with LoRA (--lora_r 8)"
            )
        if Need.REFERENCE_FORGET in needs and not self.forget_reference:
            with self._before():
                self.forget_reference.extend(reference_logprobs(self.score, self.forget, batch_size=batch_size))
        elif needs & KL_NEEDS:
            # Nothing is computed: a base with an unmerged adapter is refused now and not at the first step.
            with self._before():
                pass

    def loss(self, batch: Batch) -> Losses:
        step = self.step(batch)
        total, parts = loss_of(self.method, step)
        return Losses(total, parts, self._nll(step))

    def step(self, batch: Batch) -> Step:
        """Scores what the method's needs name, as far as possible in one pass through the model."""
        needs, plain = self.method.needs, {}
        if Need.FORGET in needs:
            plain["forget"] = [self.forget[row] for row in batch.rows]
        if Need.ALTERNATE in needs and self.refusals is not None:
            plain["alternate"] = [self.refusals.get(*pair) for pair in zip(batch.rows, batch.refusals, strict=True)]
        if Need.BENIGN in needs:
            plain["benign"] = [self.benign[row] for row in batch.benign]
        retain = [self.retain[row] for row in batch.retain]
        if needs & RETAIN_NEEDS and not self._retain_apart:
            plain["retain"] = retain
        found: dict[str, Any] = _together(self.score, plain)
        if Need.RETAIN_KL in needs:
            found["retain"], found["retain_kl"] = self.score.against(
                retain, reference=self._before, positions=self._retain_positions
            )
        elif needs & RETAIN_NEEDS and self._retain_apart:
            found["retain"] = self.score(retain, positions=self._retain_positions)
        if Need.REFERENCE_FORGET in needs:
            rows = [self.forget_reference[row] for row in batch.rows]
            found["forget_reference"] = padded(rows, like=found["forget"].token_logprobs)
        if Need.BUILT in needs and self.built is not None:
            found |= self._step_of_built(batch, built=self.built)
        return Step(**found)

    def _step_of_built(self, batch: Batch, *, built: Built) -> dict[str, Any]:
        rows = [built.encoded[row] for row in batch.rows]
        if Need.BUILT_KL not in self.method.needs:
            return {"built": self.score(rows)}
        found = self.score.against(rows, reference=self._before, positions=built.positions, vocabulary=built.vocabulary)
        return {
            "built": built.answers(found.scored, rows=batch.rows),
            "built_kl": found.token_kl,
            "built_keep": built.keep(found, rows=batch.rows),
            "num_vocabulary": int(built.vocabulary.sum()),
        }

    def retain_nll(self, batch: Batch) -> float | None:
        if not batch.retain:
            return None
        with torch.no_grad():
            scored = self.score([self.retain[row] for row in batch.retain])
        return token_mean_nll(scored.token_logprobs, scored.mask).item()

    @property
    def _retain_apart(self) -> bool:
        return bool(self.method.needs & {Need.RETAIN_KL, Need.ALL_POSITIONS})

    @property
    def _retain_positions(self) -> Positions:
        return "all" if Need.ALL_POSITIONS in self.method.needs else "answer"

    def _before(self) -> AbstractContextManager[object]:
        """Inside, the model is the one that training started from."""
        return before_training(self.score.loaded, has_adapters=self.has_adapters)

    def _nll(self, step: Step) -> dict[str, float]:
        needs, nll = self.method.needs, {}
        if Need.FORGET in needs:
            nll["forget"] = token_mean_nll(step.forget.token_logprobs.detach(), step.forget.mask).item()
        if needs & RETAIN_NEEDS and Need.ALL_POSITIONS not in needs:
            nll["retain"] = token_mean_nll(step.retain.token_logprobs.detach(), step.retain.mask).item()
        return nll


def _together(
    score: Callable[[Sequence[Encoded]], Scored], groups: Mapping[str, Sequence[Encoded]]
) -> dict[str, Scored]:
    """Scores all groups in one call and hands each its rows back, so that one pass serves forget and retain."""
    if not groups:
        return {}
    scored = score([item for group in groups.values() for item in group])
    found, start = {}, 0
    for name, group in groups.items():
        rows = slice(start, start + len(group))
        found[name] = Scored(scored.token_logprobs[rows], scored.mask[rows], scored.is_greedy[rows], None)
        start += len(group)
    return found
