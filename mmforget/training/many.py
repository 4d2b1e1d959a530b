"""Many edits of one model at a time: each subject is forgotten alone, all of them in one training.

    with unlearn_many(loaded, {"Ann": Material(forget=...), "Bo": Material(forget=...)}, method=method,
                      settings=settings) as edits:
        score(edits.loaded, [question.under(edits.number("Ann")), other.under(edits.number("Bo"))])
        edits.save("Ann", folder)

Every edit equals the adapter that `unlearn` makes of its material alone: rows, order, steps, dropout, start, schedule,
clipping and end are its own. What `obstacle` names cannot be had so; `edited` makes such edits one by one.
"""

from __future__ import annotations

import logging
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.base import Request, Scores, Step, part_with
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.methods.requests import FORGET, has_labels, reads_gradients
from mmforget.model import adapter_files
from mmforget.model.adapter_files import Note
from mmforget.model.adapter_names import PREFIX
from mmforget.model.fingerprint import join
from mmforget.model.loaded import ADAPTER, LoadedModel, with_adapter
from mmforget.model.lower_states import LowerStates
from mmforget.model.stack import Factors, Numbers, Stack, attached, first_edited_layer
from mmforget.model.targets import targets
from mmforget.model.vision import FeatureCache
from mmforget.results.provenance import model_name
from mmforget.training.adapters import trainable
from mmforget.training.batches import Batches
from mmforget.training.hf_arguments import num_updates, training_arguments, updates_per_epoch
from mmforget.training.many_updates import Run, make_run, train_together
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.trainer import Outcome
from mmforget.training.unlearn import name_of, require_bare, require_loss
from mmforget.types import Example, Progress

logger = logging.getLogger(__name__)

MAX_TOKENS = 2048
"""Distinct tokens of one forward and backward pass: as many edits as have no more are computed together."""
FEATURE_BUDGET_BYTES = 2**30
SIDES = ("lora_A", "lora_B")
"""PEFT's names of the factors down and up."""


class Sharing(NamedTuple):
    """What trainings on one model share.

    Attributes:
        features: of images; None keeps them for this training alone.
        lower: states below the edits; None keeps them for this training and what is asked of its edits.
        max_tokens: distinct tokens of one forward and backward pass.
    """

    features: FeatureCache | None = None
    lower: LowerStates | None = None
    max_tokens: int = MAX_TOKENS


@dataclass(frozen=True)
class Learning:
    """Minimises the NLL of answers, token-mean over the micro-batch: what an attack on the weights does."""

    @property
    def requests(self) -> tuple[Request, ...]:
        return (Scores(FORGET),)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`nll` >= 0, in nats a token."""
        return {"nll": token_mean_nll(step[Scores(FORGET)])}


@dataclass(frozen=True, eq=False)
class Edits:
    """Edits that have been made.

    Attributes:
        loaded: the model with all of them; `Encoded.under(number)` is computed under one.
        stack: their factors.
        base: the model before.
        outcomes: how each training ended, by name.
        sharing: what their trainings share.
    """

    loaded: LoadedModel
    stack: Stack
    base: LoadedModel
    outcomes: Mapping[str, Outcome]
    sharing: Sharing

    @property
    def names(self) -> tuple[str, ...]:
        return self.stack.names

    def number(self, name: str) -> int:
        """Of an edit. Raises UserError where there is none of this name."""
        return self.stack.number(name)

    def fingerprint(self, name: str) -> str:
        """Identifies what the model computes under one edit: as `load_model` has it for the edit's saved adapter."""
        return self.stack.fingerprints[self.number(name)]

    def only(self, name: str) -> LoadedModel:
        """The model under one edit, whatever a question is about. Raises UserError where there is none of this name."""
        return replace(self.loaded, edit=self.number(name), fingerprint=self.fingerprint(name))

    def save(self, name: str, folder: Path) -> Path:
        """Saves one edit as an adapter that anybody can load. Raises UserError where the folder cannot be written."""
        note = Note(model_name(self.base.spec.pretrained), self.base.quantisation)
        tensors = _tensors(self.stack, self.number(name))
        return adapter_files.write(folder, config=self.stack.config, tensors=tensors, note=note)

    @contextmanager
    def continue_training(
        self, rows: Mapping[str, Sequence[Example]], settings: TrainSettings, *, progress: Progress | None = None
    ) -> Iterator[Edits]:
        """Inside, each named edit has gone on training on its rows, whose answers it learns; `self` stays as it is.

        Edits that are not named are as they were. What trains is what is there: `settings.lora` does not count.

        Raises UserError for a name that is not there, BadData for rows that cannot be encoded.
        """
        materials = {self.number(name): Material(forget=own) for name, own in rows.items()}
        with _trained(
            self.base, _copied(self.stack), materials=materials, method=Learning(), label="attack on weights",
            settings=settings, sharing=self.sharing, progress=progress,
        ) as edits:  # fmt: skip
            yield replace(edits, outcomes={**self.outcomes, **edits.outcomes})


@contextmanager
def unlearn_many(
    loaded: LoadedModel,
    materials: Mapping[str, Material],
    *,
    method: Any,
    settings: TrainSettings,
    label: str | None = None,
    sharing: Sharing | None = None,
    progress: Progress | None = None,
) -> Iterator[Edits]:
    """Inside, the model has an edit for each of the named materials; `loaded` itself stays as it is.

    Args:
        materials: what each edit forgets, and what else it may draw on.
        method: a method with a loss, as `methods.build.build` gives it.
        sharing: what this training shares with others.
        progress: told updates of all edits together.

    Raises UserError for what `obstacle` names, and where a method lacks rows that it asks about; BadData for rows that
    cannot be encoded. An edit that diverges keeps the factors from before that update, and `outcomes` says so.
    """
    name = label or name_of(method)
    require_bare(loaded)
    require_loss(method, name=name)
    wrong = obstacle(loaded, method=method, settings=settings) or ("" if materials else "there is nothing to forget")
    if wrong:
        raise UserError(f"method '{name}': {wrong}")
    stack = _fresh(loaded, names=tuple(materials), settings=settings)
    with _trained(
        loaded, stack, materials=dict(enumerate(materials.values())), method=method, label=name, settings=settings,
        sharing=sharing or Sharing(), progress=progress,
    ) as edits:  # fmt: skip
        yield edits


def obstacle(loaded: LoadedModel, *, method: Any, settings: TrainSettings) -> str | None:
    """Why edits with a method cannot be made many at a time; None where they can."""
    if not hasattr(method, "loss"):
        return "edits many at a time are trained, and it trains nothing; make them one by one"
    if hasattr(method, "guard") or getattr(method, "learnt_times", 1.0) != 1.0:
        return "edits many at a time are what is trained, and it makes something else of that; make them one by one"
    if part_with(method, "choose_expert") is not None:
        return "edits many at a time are low-rank, and it trains an expert itself; make them one by one"
    if part_with(method, "learnt_change") is not None:
        return "edits many at a time are products of factors, and it makes more of these; make them one by one"
    if part_with(method, "reveal") is not None:
        return "edits many at a time forget rows that are there, and the model writes its own; make them one by one"
    if reads_gradients(method):
        return "it looks at gradients of rows before it trains, which edits many at a time do not; make them one by one"
    if has_labels(method):
        return "it learns rows before it trains to label their tokens; make edits one by one"
    if settings.lora is None:
        return "edits many at a time are low-rank; train with LoRA (--lora_r 1)"
    if settings.train_projector and loaded.family.projector(loaded.core) is not None:
        return "edits many at a time share the projector; set train_projector=False"
    if parallel.world_size() > 1:
        return "edits many at a time are made in one process; start one"
    if settings.gradient_checkpointing:
        return "edits many at a time keep what the backward pass needs; leave gradient_checkpointing out"
    try:
        first_edited_layer(loaded.core, _edited_layers(loaded, wanted=settings.lora.target_modules))
    except UserError as error:
        return str(error)
    if any(map(_drops, loaded.core.get_decoder().modules())):
        return (
            f"{loaded.spec.pretrained} drops activations while it trains, which would mix edits; make them one by one"
        )
    return None


def refuse_packed(loaded: LoadedModel, *, settings: TrainSettings) -> None:
    """Raises UserError for edits of a layer that lies packed in 4 or 8 bit: they are made in full precision."""
    if settings.lora is not None and loaded.quantisation is not None:
        first_edited_layer(loaded.core, _edited_layers(loaded, wanted=settings.lora.target_modules))


def _drops(module: nn.Module) -> bool:
    """Whether a module of the model itself draws random numbers while it trains."""
    if isinstance(module, nn.Dropout):
        return module.p > 0
    rate = getattr(module, "attention_dropout", 0.0)
    return isinstance(rate, float) and rate > 0


def _edited_layers(loaded: LoadedModel, *, wanted: tuple[str, ...] | str | None) -> list[str]:
    """Paths of the layers that LoRA would reach. Raises UserError where these are no linear layers."""
    reach = targets(loaded, wanted=wanted)
    if reach.parameters:
        raise UserError(f"edits many at a time change linear layers, not routed experts ({reach.parameters[0]})")
    if isinstance(reach.modules, list):
        return reach.modules
    named = loaded.core.named_modules()
    return [name for name, one in named if isinstance(one, nn.Linear) and re.fullmatch(reach.modules, name)]


def _fresh(loaded: LoadedModel, *, names: tuple[str, ...], settings: TrainSettings) -> Stack:
    """Edits that change nothing yet; each starts as an adapter of its own would."""
    with trainable(loaded, settings=replace(settings, train_projector=False)) as prepared:
        layers = {name: one for name, one in prepared.core.named_modules() if hasattr(one, "lora_A")}
        start = {
            name: Factors(*(side[ADAPTER].weight.detach().clone() for side in (one.lora_A, one.lora_B)))
            for name, one in layers.items()
        }
        scaling = next(iter(layers.values())).scaling[ADAPTER]
        config = prepared.model.peft_config[ADAPTER]
    factors = {name: [Factors(*map(nn.Parameter, _clones(one))) for _ in names] for name, one in start.items()}
    first = first_edited_layer(loaded.core, list(factors))
    return Stack(names, factors, scaling, config.lora_dropout, first, config)


def _clones(factors: Factors) -> Factors:
    return Factors(*(part.detach().clone() for part in factors))


def _copied(stack: Stack) -> Stack:
    """The same edits, to be trained further."""
    factors = {
        name: [Factors(*map(nn.Parameter, _clones(one))) for one in edits] for name, edits in stack.factors.items()
    }
    return replace(stack, factors=factors, selected=None)


@contextmanager
def _trained(
    loaded: LoadedModel,
    stack: Stack,
    *,
    materials: Mapping[int, Material],
    method: Any,
    label: str,
    settings: TrainSettings,
    sharing: Sharing,
    progress: Progress | None,
) -> Iterator[Edits]:
    """Inside, the model has the edits of a stack, of which those with materials have been trained on these."""
    features = FeatureCache(FEATURE_BUDGET_BYTES) if sharing.features is None else sharing.features
    stack.lower = sharing.lower or stack.lower or LowerStates()
    sharing = sharing._replace(features=features, lower=stack.lower)
    with attached(loaded, stack, fingerprint=f"in-training-{uuid.uuid4().hex}") as stacked:
        scoring = Scoring(stacked, packed=settings.packed, bf16=settings.bf16, features=features)
        runs = _runs(scoring, stack, materials=materials, method=method, label=label, settings=settings)
        with _in_training(stacked, stack) as numbers:
            outcomes = train_together(
                runs,
                numbers=numbers,
                max_tokens=sharing.max_tokens,
                notify=lambda done, planned: progress(done, planned, label) if progress else None,
            )
        ended = {stack.names[run.number]: outcome for run, outcome in zip(runs, outcomes, strict=True)}
        _warn(ended, label=label)
        stack.fingerprints = tuple(_fingerprint(loaded, stack, number) for number in range(len(stack.names)))
        named = replace(stacked, fingerprint=join("stack", *stack.names, *stack.fingerprints))
        yield Edits(named, stack, loaded, ended, sharing)


def _runs(
    scoring: Scoring,
    stack: Stack,
    *,
    materials: Mapping[int, Material],
    method: Any,
    label: str,
    settings: TrainSettings,
) -> list[Run]:
    """The training of each edit, ready to begin, with what its method keeps of the model before."""
    loaded, runs = scoring.loaded, list[Run]()
    # The Trainer's arguments say what optimiser it makes, and name a folder that nothing is written to.
    arguments = training_arguments(settings, loaded=loaded, folder=Path(tempfile.gettempdir()), num_batches=1)
    for number, material in materials.items():
        sources = make_sources(loaded, material, method=method, name=label, append_eos=settings.append_eos)
        rows = {name: replace(one, edit=number) for name, one in sources.rows.items()}
        batches = Batches(sources.subjects, settings=settings, partners=sources.partners)
        objective = Unlearn(
            scoring, method, rows, has_adapters=True, seed=settings.seed,
            num_updates=num_updates(settings, num_batches=len(batches)),
            updates_per_epoch=updates_per_epoch(settings, num_batches=len(batches)),
        )  # fmt: skip
        objective.prepare(batch_size=settings.batch_size)
        weights = _weights(stack, number)
        runs.append(make_run(number, objective=objective, batches=batches, weights=weights, arguments=arguments))
    return runs


@contextmanager
def _in_training(stacked: LoadedModel, stack: Stack) -> Iterator[Numbers]:
    """Inside, the edits draw random numbers; afterwards they are constant, and the model is in evaluation mode."""
    stack.numbers = numbers = Numbers(stacked.device)
    stacked.model.train()
    try:
        yield numbers
    finally:
        stack.numbers = None
        stacked.model.eval()
        for edits in stack.factors.values():
            for factors in edits:
                factors.down.requires_grad_(False)
                factors.up.requires_grad_(False)


def _weights(stack: Stack, number: int) -> dict[str, Tensor]:
    """The factors of one edit under the names that PEFT gives them while they train."""
    return {
        f"{PREFIX}{layer}.{side}.{ADAPTER}.weight": part
        for layer, edits in stack.factors.items()
        for side, part in zip(SIDES, edits[number], strict=True)
    }


def _tensors(stack: Stack, number: int) -> dict[str, Tensor]:
    """The factors of one edit under the names that they are saved by."""
    return {
        f"{PREFIX}{layer}.{side}.weight": part.detach()
        for layer, edits in stack.factors.items()
        for side, part in zip(SIDES, edits[number], strict=True)
    }


def _fingerprint(loaded: LoadedModel, stack: Stack, number: int) -> str:
    return with_adapter(loaded.fingerprint, config=stack.config, tensors=_tensors(stack, number))


def _warn(outcomes: Mapping[str, Outcome], *, label: str) -> None:
    for name, one in outcomes.items():
        if one.stopped:
            logger.warning("%s, %s: stopped early: %s", label, name, one.stopped)
