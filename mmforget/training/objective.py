"""From a micro-batch of positions to a loss: the model is asked what is wanted of it, once, and the method told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.base import (
    Beginning,
    Method,
    Reference,
    Request,
    Scores,
    Step,
    finish_of,
    hook,
    hook_of,
    part_with,
)
from mmforget.methods.computing import Scoped
from mmforget.methods.contract import loss_of, state_of
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.requests import (
    ALTERNATE,
    FORGET,
    RETAIN,
    Hidden,
    Influence,
    Positions,
    asked_sources,
    compares_with_before,
    kept_sources,
)
from mmforget.model.activations import require_layers
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import MAX_TOKENS, Looked, Wanted, look
from mmforget.model.vision import FeatureCache
from mmforget.plugins import is_ours
from mmforget.training import draws
from mmforget.training.answering import Answering
from mmforget.training.batches import Batch
from mmforget.training.beginning import begin_adapters, change_adapters, row_weights, trained_parts
from mmforget.training.one_expert import Expert, anchored, choose, masks, overlap
from mmforget.training.reference import before_training, reference_logprobs, suffix_logprobs
from mmforget.training.repeating import WRAPPED, Once, Portion, Repeating, parted
from mmforget.training.revealed import Revealed
from mmforget.training.sharding import reaching_all
from mmforget.training.shares import RowScores, score_shared
from mmforget.training.sources import SourceRows
from mmforget.types import Scored

logger = logging.getLogger(__name__)


class Losses(NamedTuple):
    """A micro-batch's loss.

    Attributes:
        total: scalar to minimise.
        parts: its weighted terms, by name.
        nll: NLL of `forget` and `retain` answers in nats a token, of those that were scored.
        terms: the parts again, differentiable; for as long as somebody looks at each by itself.
    """

    total: Tensor
    parts: Mapping[str, float]
    nll: Mapping[str, float]
    terms: Mapping[str, Tensor] = {}


class Objective(Protocol):
    """What the trainer minimises."""

    @property
    def state(self) -> dict[str, Tensor]:
        """What is kept from one update to the next, and in checkpoints; empty for most."""

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """Which elements of weights train, by name, bool; of a weight without one all do. With any, none decays."""

    @property
    def wraps(self) -> bool:
        """Whether `gradients` does more than to compute an update once."""

    def loss(self, batch: Batch, *, update: int, portion: Portion | None = None) -> Losses:
        """Of a micro-batch, differentiable as far as the portion goes; None: all of it."""

    def retain_nll(self, batch: Batch) -> float | None:
        """NLL of the batch's retain partners, without gradients; None where there are none."""

    def gradients(self, once: Once, *, num_batches: int, update: int) -> Tensor:
        """Leaves an update's gradients in what trains, and returns its loss; see `methods.base.Wrapper`."""

    def finish(self, *, update: int) -> None:
        """What is done to what trains when the training has ended."""


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
        """Scores of the answers, or of all positions."""
        return self.look(encoded, wanted=Wanted(), positions=positions).scored

    def look(self, encoded: Sequence[Encoded], *, wanted: Wanted, positions: Positions = "answer") -> Looked:
        """Scores, and what else is wanted of each token's distribution."""
        # Where weights are divided, every process has to go through the model equally often.
        max_tokens = sys.maxsize if parallel.is_sharded() else MAX_TOKENS

        def compute(rows: Sequence[Encoded]) -> RowScores:
            scored, values = look(
                self.loaded, rows, wanted=wanted, positions=positions, packed=self.packed, features=self.features,
                max_tokens=max_tokens,
            )  # fmt: skip
            return RowScores(scored.mask, scored.is_greedy, (scored.token_logprobs, *values))

        with torch.autocast(self.loaded.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            found = score_shared(encoded, score=compute)
        logprobs, *values = found.values
        return Looked(Scored(logprobs, found.mask, found.is_greedy), tuple(values))


class ObjectiveModule(nn.Module):
    """The model that trains, with the objective that looks at it.

    Weights are divided among processes module by module, so whatever looks at them has to be a module's forward.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(
        self, batch: Batch, *, update: int = 0, portion: Portion | None = None, probe: bool = False
    ) -> Losses | float | None:
        """The micro-batch's loss, or for a `probe` the NLL of its retain partners."""
        if probe:
            return self.objective.retain_nll(batch)
        losses = self.objective.loss(batch, update=update, portion=portion)
        return losses._replace(total=reaching_all(losses.total, module=self))


@dataclass(frozen=True)
class Memorise:
    """Stage one: NLL of the answers, token-mean over the micro-batch, as a Hugging Face forward computes it."""

    score: Scoring
    encoded: Sequence[Encoded]
    state: dict[str, Tensor] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)

    wraps: ClassVar[bool] = False

    def loss(self, batch: Batch, *, update: int = 0, portion: Portion | None = None) -> Losses:
        total = token_mean_nll(self.score([self.encoded[row] for row in batch.rows]))
        return Losses(total, {"nll": total.item()}, {})

    def retain_nll(self, batch: Batch) -> float | None:
        return None

    def gradients(self, once: Once, *, num_batches: int, update: int) -> Tensor:
        return once([Portion(None, {})] * num_batches)

    def finish(self, *, update: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Unlearn:
    """A method's loss on what it asks for; `prepare` comes before the first.

    Attributes:
        rows: by source.
        has_adapters: whether the model before training is the same one with adapters off.
        references: by key of the request, log-probs under another model, where the method asks for them.
        row_weights: by request, how much each row counts, where the method asks.
        masks: by weight, which of its elements train, where the method says so.
        expert: the one that trains alone, where the method says so.
        revealed: writes the rows to forget, where the method has the model do that.
        state: of the method.
    """

    score: Scoring
    method: Method
    rows: dict[str, SourceRows]
    has_adapters: bool
    num_updates: int = 1
    updates_per_epoch: int = 1
    seed: int = 0
    references: dict[str, list[Tensor]] = field(default_factory=dict)
    row_weights: dict[Influence, Tensor] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    expert: list[Expert] = field(default_factory=list)
    revealed: Revealed | None = None
    state: dict[str, Tensor] = field(default_factory=dict)

    def prepare(self, *, batch_size: int) -> None:
        """Computes what has to be known before the first update. Raises UserError where there is no reference."""
        requests = self.method.requests
        self._check_layers(requests)
        looks_back = compares_with_before(requests)
        if looks_back and not self.has_adapters:
            raise UserError(
                "this method compares with the model before training at every step, which needs adapters to switch "
                "off; train with LoRA (--lora_r 8)"
            )
        if self.revealed is not None:
            self.revealed.require(requests, has_adapters=self.has_adapters)
            self.rows.update(self.revealed.at(0) or {})
        self._refer(batch_size)
        for asked in requests:
            if isinstance(asked, Influence):
                self.row_weights[asked] = row_weights(self.score, asked, self._own(asked, asked.kind), rows=self.rows)
        single = part_with(self.method, "choose_expert")
        if single is not None:
            self.expert.append(choose(self.score, single, self._routed, has_adapters=self.has_adapters))
            self.masks.update(masks(self.expert[0], self.score.loaded))
        changing = hook_of(self.method, "learnt_change")
        if changing is not None:
            change_adapters(self.score.loaded, changing, has_adapters=self.has_adapters)
        begin = hook_of(self.method, "first_factors")
        if begin is not None:
            begin_adapters(self.score, begin, rows=self.rows, has_adapters=self.has_adapters)
        part = hook_of(self.method, "trained_part")
        if part is not None:
            sources = sorted(asked_sources(part.owner))
            parts = trained_parts(self.score, part, rows=self.rows, sources=sources, within=self.masks)
            self.masks.update(parts)
        self.state.update(state_of(self.method, self._beginning()))

    def _refer(self, batch_size: int) -> None:
        """Computes what other models say of the rows."""
        requests = self.method.requests
        kept = [one for one in requests if isinstance(one, Reference) and one.source != ALTERNATE]
        if kept or compares_with_before(requests):
            # Even where nothing is computed: a base with an unmerged adapter is refused now, not at the first step.
            with self._before():
                self.references.update({one.key: self._reference(one, batch_size=batch_size) for one in kept})

    def _turn(self, update: int) -> None:
        """Where a round of rows begins with this update, they are written."""
        fresh = None if self.revealed is None else self.revealed.at(update)
        if self.revealed is not None and fresh is not None:
            self.rows.update(fresh)
            self._refer(self.revealed.model.batch_size)

    def _reference(self, request: Reference, *, batch_size: int) -> list[Tensor]:
        """The log-probs of all rows that a request asks for; inside of `before_training`."""
        rows = self.rows[request.source]
        if request.of == "retain_model" and rows.retain_logprobs is not None:
            return list(rows.retain_logprobs)
        if request.suffix is not None:
            return suffix_logprobs(self.score, rows.encoded, share=request.suffix)
        return reference_logprobs(self.score, rows.encoded, batch_size=batch_size)

    def _check_layers(self, requests: Sequence[Request]) -> None:
        """Raises UserError where the model has no layer that the method asks about."""
        layers = {layer for one in requests if isinstance(one, Hidden) for layer in one.layers}
        require_layers(self.score.loaded.core, layers)

    @property
    def wraps(self) -> bool:
        return bool(self.masks) or hasattr(self.method, "gradients")

    def loss(self, batch: Batch, *, update: int = 0, portion: Portion | None = None) -> Losses:
        losses = self.losses(self.found(batch, portion=portion), update=update)
        return self._anchored(losses, batch=batch, portion=portion) if self.expert else losses

    def _anchored(self, losses: Losses, *, batch: Batch, portion: Portion | None) -> Losses:
        """With the term that holds the router of the expert that trains, which belongs to the rows to forget."""
        keeps = portion is not None and portion.part == "keep"
        with torch.no_grad() if keeps else nullcontext():
            method = part_with(self.method, "choose_expert")
            term = anchored(self.score, method, self.expert[0], self.rows[FORGET].of(batch))
        return losses._replace(
            total=losses.total + term,
            parts={**losses.parts, "anchor": term.item()},
            terms={**losses.terms, "anchor": term},
        )

    def found(self, batch: Batch, *, portion: Portion | None = None) -> dict[Request, Any]:
        """What the method's requests come to, differentiable as far as the portion goes."""
        asked = self.method.requests
        if portion is None or portion.part is None:
            return self.answering(asked, batch=batch)
        answer = partial(self.answering, batch=batch)
        return parted(asked, portion, kept=kept_sources(self.method), answer=answer)

    def losses(self, found: Mapping[Request, Any], *, update: int) -> Losses:
        """The method's loss on what its requests came to."""
        total, terms = loss_of(self.method, self._step(found, update=update))
        return Losses(total, {name: one.item() for name, one in terms.items()}, self._nll(found), terms)

    def step(self, batch: Batch, *, update: int = 0) -> Step:
        """What the method is told of a micro-batch."""
        return self._step(self.answering(self.method.requests, batch=batch), update=update)

    def gradients(self, once: Once, *, num_batches: int, update: int) -> Tensor:
        return self.wrapped(once, num_batches=num_batches, update=update, weights=self.score.loaded.trainable())

    def wrapped(self, once: Once, *, num_batches: int, update: int, weights: Mapping[str, Tensor]) -> Tensor:
        """The gradients of one update, as the method's wrappers want them, of the elements that train."""
        self._turn(update)

        def masked(portions: Sequence[Portion]) -> Tensor:
            loss = once(portions)
            for name, mask in self.masks.items():
                gradient = weights[name].grad
                if gradient is not None:
                    gradient.mul_(mask)
            return loss

        numbers = (update, self.num_updates, draws.wrapper_seed(self.seed, update=update))
        compute = Repeating(masked, num_batches=num_batches, whole=self.state, numbers=numbers)
        if not hasattr(self.method, "gradients"):
            return compute()
        found: Tensor = hook(self.method, self.method.gradients, what="gradients")(compute, weights=weights)
        return found

    def finish(self, *, update: int, weights: Mapping[str, Tensor] | None = None) -> None:
        """What the method does in the end to what trains, or to these weights."""
        if self.expert:
            for source, share in overlap(self.score, self.expert[0], self._routed).items():
                logger.info("of the experts that %s rows went through there, %.1f %% are the same", source, 100 * share)
        end = finish_of(self.method)
        if end is not None:
            own = self.score.loaded.trainable() if weights is None else weights
            end(own, state=Scoped(self.state, WRAPPED), update=update)

    @property
    def _routed(self) -> dict[str, Sequence[Encoded]]:
        """Rows whose experts are looked at, by source."""
        return {name: self.rows[name].encoded for name in (FORGET, RETAIN) if name in self.rows}

    def _step(self, found: Mapping[Request, Any], *, update: int) -> Step:
        """Without the scores that were come by on the way."""
        asked = {request: found[request] for request in self.method.requests}
        return Step(asked, update, self.num_updates, self.state)

    def retain_nll(self, batch: Batch) -> float | None:
        if RETAIN not in self.rows or not batch.partners.get(RETAIN):
            return None
        with torch.no_grad():
            return token_mean_nll(self.score(self.rows[RETAIN].of(batch))).item()

    @cached_property
    def answering(self) -> Answering:
        vocabulary = int(self.score.loaded.core.config.get_text_config().vocab_size)
        loaded = self.score.loaded
        return Answering(
            self.score.look, self.rows, self._before, vocabulary, loaded.device, self.references, self.row_weights,
            self._own,
        )  # fmt: skip

    def _own(self, request: Request, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function that a request asks for, of which the method's package answers for its own."""
        if is_ours(self.method):
            return function
        return hook(self.method, function, what=f"kind of {type(request).__name__}")

    def _before(self) -> AbstractContextManager[object]:
        """Inside, the model is the one that training started from."""
        return before_training(self.score.loaded, has_adapters=self.has_adapters)

    def _beginning(self) -> Beginning:
        config = self.score.loaded.core.config.get_text_config()
        return Beginning(
            num_updates=self.num_updates, seed=self.seed, hidden_size=config.hidden_size,
            num_layers=config.num_hidden_layers, updates_per_epoch=self.updates_per_epoch,
        )  # fmt: skip

    def _nll(self, found: Mapping[Any, Any]) -> dict[str, float]:
        """NLL of forget and retain answers, as far as they were scored."""
        scores = {name: found.get(Scores(name)) for name in (FORGET, RETAIN)}
        return {
            name: token_mean_nll(one._replace(token_logprobs=one.token_logprobs.detach())).item()
            for name, one in scores.items()
            if one is not None
        }
