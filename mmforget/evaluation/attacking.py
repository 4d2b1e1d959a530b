"""A model under attacks: on which tasks each is made, and what comes of it, as samples.

Attacks that look into the model do so together: one forward pass of every question with its answer serves them all.
Those by questions are asked together, too, as `attempting` says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmforget.asking import Ask, Depth
from mmforget.attacks.base import (
    Attack,
    Learning,
    Probing,
    budget_of,
    build_attack,
    reaches,
)
from mmforget.attacks.comparing import Columns, Keeping, Patching, is_compared
from mmforget.attacks.naming import attack_names, attack_of
from mmforget.benchmark.document import AttackName
from mmforget.benchmark.spec import Bound
from mmforget.errors import PluginError, UserError
from mmforget.evaluation.attempting import NO_HELP, Chosen, Helpers, Wanted, attempted
from mmforget.evaluation.columns import NO_COLUMN, kept_columns, require_columns
from mmforget.evaluation.keeping import Named, kept, layers_of
from mmforget.evaluation.patching import put_in
from mmforget.evaluation.probing import probed
from mmforget.evaluation.retraining import bound_of, require_rows, retrained, said_of
from mmforget.evaluation.samples import unasked_sample
from mmforget.evaluation.searching import require_search, searched
from mmforget.evaluation.stages import in_stages, is_asked_in_stages
from mmforget.evaluation.tasks import LeftOut, LoadedTasks
from mmforget.evaluation.translated import taught_asks, translated
from mmforget.lm import inside
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.activations import decoder_layers
from mmforget.plugins import running
from mmforget.results.deciding import ACCESS
from mmforget.types import Sample

logger = logging.getLogger(__name__)

Ranks = tuple[int, ...]
APPLIES_TO_NONE = "applies to none of the tasks that run"


class Attacked(NamedTuple):
    """What came of attacks.

    Attributes:
        left_out: those that applied to none of the tasks.
        counted: by attack, what it counted in the model's weights.
    """

    samples: list[Sample]
    left_out: list[LeftOut]
    counted: Mapping[str, Mapping[str, float]] = {}


def why_not_behind_a_guard(attack: Attack) -> str | None:
    """Why an attack is not made on a model behind a guard, in words; None of one that asks questions, which it is."""
    if attack.access == "black_box":
        return None
    return f"needs a model's {ACCESS[attack.access]}, and a guard stands before this one"


def chosen_attacks(names: Iterable[str | AttackName], *, loaded: LoadedTasks) -> list[Chosen]:
    """The attacks that are named, each with the tasks that it applies to. Raises what `attack_names` does."""
    found = []
    for one in attack_names(names):
        attack = build_attack(one.attack, one.args)
        reached = (
            name
            for name, label in loaded.labels.items()
            if reaches(attack, modality=label.modality, kind=label.kind, is_forget=loaded.is_forget(name))
        )
        found.append(Chosen(one.key, attack, tuple(reached)))
    return found


def require_access(lm: MMForgetLM, chosen: Iterable[Chosen]) -> None:
    """Raises UserError where the model, or a guard before it, does not give an attack what it needs."""
    for one in (some for some in chosen if some.tasks):
        with said_of(one.key):
            _require(lm, one)


def _require(lm: MMForgetLM, one: Chosen) -> None:
    if isinstance(one.attack, Columns):
        require_columns(lm, attack=one.attack)
    elif one.attack.access == "gradients":
        require_search(lm, one.attack)
    elif one.attack.access == "weights":
        _require_weights(lm, one.attack)
        if not is_asked_in_stages(one.attack):
            _require(lm, replace(one, attack=attack_of(one.attack.then)))
    elif one.attack.access != "black_box":
        _require_lens(lm, one)


def require_rows_of(lm: MMForgetLM, loaded: LoadedTasks, chosen: Iterable[Chosen]) -> None:
    """Raises UserError where the benchmark has not the rows that an attack trains on.

    Fewer subjects by a limit, and subjects that are forgotten many at a time, have rows of their own: those are seen
    when they are attacked.
    """
    if lm.loaded.stack is not None:
        return
    for one in (some for some in chosen if some.tasks and hasattr(some.attack, "training")):
        require_rows(bound_of(loaded, attack=one.attack, tasks=one.tasks), attack=one.attack, key=one.key)


def attack_tasks(
    lm: MMForgetLM,
    loaded: LoadedTasks,
    *,
    chosen: Sequence[Chosen],
    template: bool | str = False,
    retain: Sequence[Sample] = (),
    helpers: Helpers = NO_HELP,
) -> Attacked:
    """The answers of the model under attacks, in their order; lm_eval's own scores are left as they are.

    Args:
        template: the chat template that questions are asked in; see `Settings.apply_chat_template`.
        retain: what the retain model was found to be under the same attacks.
        helpers: whom attacks ask besides.
    """
    looking = [one for one in chosen if one.attack.access in ("logits", "hidden") or is_compared(one.attack)]
    ranked = _looked_into(lm, loaded, chosen=looking, template=template, retain=retain) if looking else {}
    asking = [one for one in chosen if one.attack.access == "black_box"]
    tried = attempted(lm, loaded, wanted=[Wanted(one, task) for one in asking for task in one.tasks], helpers=helpers)
    samples: list[Sample] = []
    left_out: list[LeftOut] = []
    counted: dict[str, Mapping[str, float]] = {}
    for one in chosen:
        if not one.tasks:
            left_out.append(LeftOut(f"attack {one.key}", APPLIES_TO_NONE))
            logger.warning("attack %s %s", one.key, APPLIES_TO_NONE)
            continue
        if one.attack.access == "weights" and not is_compared(one.attack):
            found = _changed(lm, loaded, chosen=one, template=template, helpers=helpers)
            samples += found.samples
            left_out += found.left_out
            counted |= found.counted
        elif one.attack.access == "gradients":
            samples += _searched(lm, loaded, chosen=one, template=template)
        samples += [sample for task in one.tasks for sample in tried.get((one.key, task), ())]
        samples += ranked.get(one.key, ())
    return Attacked(samples, left_out, counted)


def _changed(
    lm: MMForgetLM, loaded: LoadedTasks, *, chosen: Chosen, template: bool | str, helpers: Helpers
) -> Attacked:
    """What comes of a model whose weights an attack changes."""
    attack, tasks = chosen.attack, chosen.tasks
    if is_asked_in_stages(attack):
        ask = partial(_asked_of, loaded=loaded, chosen=chosen)
        staged = in_stages(lm, loaded, attack=attack, key=chosen.key, tasks=tasks, template=template, ask=ask)
        return Attacked(staged.samples, [], staged.counted)
    then = replace(chosen, attack=attack_of(attack.then))
    with retrained(lm, loaded, attack=attack, tasks=tasks, template=template) as other:
        return attack_tasks(other, loaded, chosen=[then], template=template, helpers=helpers)


def _searched(lm: MMForgetLM, loaded: LoadedTasks, *, chosen: Chosen, template: bool | str) -> list[Sample]:
    found = list[Sample]()
    for task in chosen.tasks:
        asks = _answered(lm, loaded, task=task, template=template)
        ask = partial(_asked_of, loaded=loaded, chosen=replace(chosen, tasks=(task,)))
        found += searched(lm, loaded, attack=chosen.attack, key=chosen.key, task=task, asks=asks, ask=ask)
    return found


def _with_answer(ask: Ask, delimiter: str) -> Ask:
    """The question with the right answer behind it."""
    answer = "" if ask.row is None else ask.row["answer"]
    return replace(ask, kind="score", continuation=delimiter + str(answer), decoding=None)


def _answered(lm: MMForgetLM, loaded: LoadedTasks, *, task: str, template: bool | str) -> list[Ask]:
    """A task's questions with the right answers behind them."""
    requests = inside.requests_of(loaded.tasks[task])
    delimiter = inside.delimiter_of(loaded.tasks[task], template=template)
    return [_with_answer(ask, delimiter) for ask in lm.asks(requests, method=requests[0].request_type)]


def _asked_of(lm: MMForgetLM, plain: Any, number: int, *, loaded: LoadedTasks, chosen: Chosen) -> list[Sample]:
    """The plain questions to a model that an attack has changed so many times before."""
    wanted = [Wanted(replace(chosen, attack=plain), task, number) for task in chosen.tasks]
    return [one for samples in attempted(lm, loaded, wanted=wanted).values() for one in samples]


# -- attacks that look into the model ----------------------------------------------------------------------------------


def _looked_into(
    lm: MMForgetLM, loaded: LoadedTasks, *, chosen: Sequence[Chosen], template: bool | str, retain: Sequence[Sample]
) -> dict[str, list[Sample]]:
    """The samples of each attack, by its key: the model looks at every question once for all of them."""
    found: dict[str, list[Sample]] = {one.key: [] for one in chosen}
    for task in dict.fromkeys(task for one in chosen for task in one.tasks):
        own = [one for one in chosen if task in one.tasks]
        requests, label = inside.requests_of(loaded.tasks[task]), loaded.labels[task]
        asks = _answered(lm, loaded, task=task, template=template)
        plain = partial(unasked_sample, task, label=label)
        searching = [one for one in own if not is_compared(one.attack)]
        for one, looked in _ranks(lm, asks, chosen=searching, bound=loaded.owners[task], template=template):
            found[one.key] += [
                plain(doc=request.doc, attack=one.key, ranks=ranks)
                for request, ranks in zip(requests, looked, strict=True)
            ]
        for one, seen in _states(lm, asks, chosen=[one for one in own if is_compared(one.attack)], retain=retain):
            found[one.key] += [
                replace(plain(doc=request.doc, attack=one.key, lacking="" if states else NO_COLUMN), states=states)
                for request, states in zip(requests, seen, strict=True)
            ]
    return found


def _states(
    lm: MMForgetLM, asks: Sequence[Ask], *, chosen: Sequence[Chosen], retain: Sequence[Sample]
) -> Iterator[tuple[Chosen, list[Named]]]:
    """By attack and question, what is kept of the model's states, in one pass, or said where they are put elsewhere."""
    keeping = [one for one in chosen if isinstance(one.attack, Keeping)]
    seen = kept(lm, asks, attacks=[one.attack for one in keeping]) if keeping else []
    yield from ((one, [states[at] for states in seen]) for at, one in enumerate(keeping))
    for one in chosen:
        if isinstance(one.attack, Patching):
            told = {sample.id: sample for sample in retain if sample.attack == one.key and sample.task == asks[0].task}
            yield one, put_in(lm, asks, attack=one.attack, retain=told)
        elif isinstance(one.attack, Columns):
            subjects = ["" if ask.row is None else str(ask.row["subject"]) for ask in asks]
            yield one, kept_columns(lm, subjects, attack=one.attack)


def _ranks(
    lm: MMForgetLM, asks: Sequence[Ask], *, chosen: Sequence[Chosen], bound: Bound, template: bool | str
) -> Iterator[tuple[Chosen, list[Ranks]]]:
    """By attack and question, the ranks of the answer: of its first token, or the worst of all of them."""
    together = [one for one in chosen if not isinstance(one.attack, Learning | Probing)]
    if together:
        looked = _together(lm, asks, chosen=together)
        yield from ((one, [ranks[at] for ranks in looked]) for at, one in enumerate(together))
    for one in chosen:
        if isinstance(one.attack, Learning | Probing):
            taught = taught_asks(lm, bound, attack=one.attack, template=template)
            depths, look = _depths(one, lm=lm), partial(_ranks_of, one)
            if isinstance(one.attack, Learning):
                seen = translated(lm, asks, attack=one.attack, depths=depths, taught=taught, look=look)
            else:
                seen = probed(lm, asks, attack=one.attack, depths=depths, taught=taught, look=look)
            yield one, [_over_tokens(one, tokens) for tokens in seen]


def _together(lm: MMForgetLM, asks: Sequence[Ask], *, chosen: Sequence[Chosen]) -> list[list[Ranks]]:
    """By question and attack, the ranks that attacks find which share a forward pass."""
    wanted = [_depths(one, lm=lm) for one in chosen]
    depths = list(dict.fromkeys(depth for own in wanted for depth in own))
    places = [[depths.index(depth) for depth in own] for own in wanted]

    def look(logits: Tensor, token: int) -> list[Ranks]:
        return [_ranks_of(one, logits[own], token) for one, own in zip(chosen, places, strict=True)]

    looked = lm.lens(asks, depths=depths, look=look, label=", ".join(one.attack.label for one in chosen))
    return [[_over_tokens(one, [token[at] for token in found]) for at, one in enumerate(chosen)] for found in looked]


def _over_tokens(chosen: Chosen, ranks: Sequence[Ranks]) -> Ranks:
    if len({len(one) for one in ranks}) > 1:
        raise PluginError(f"attack '{chosen.key}': ranks gives lists of different lengths for the tokens of one answer")
    return tuple(map(max, zip(*ranks, strict=True))) if chosen.attack.is_whole else ranks[0]


def _ranks_of(chosen: Chosen, logits: Tensor, token: int) -> Ranks:
    with running(chosen.attack, what=f"attack '{chosen.key}': ranks"):
        found = tuple(chosen.attack.ranks(logits, token))
    if not found or not all(isinstance(rank, int) and 0 <= rank < logits.shape[-1] for rank in found):
        raise PluginError(
            f"attack '{chosen.key}': ranks has to give a place in the vocabulary for each list, not {found}"
        )
    return found


def _depths(chosen: Chosen, *, lm: MMForgetLM) -> tuple[Depth, ...]:
    num_layers = len(decoder_layers(lm.loaded.core))
    with running(chosen.attack, what=f"attack '{chosen.key}': depths"):
        found = tuple(chosen.attack.depths(num_layers))
    if chosen.attack.access == "logits" and found != (Depth(num_layers - 1),):
        raise PluginError(f"attack '{chosen.key}': access 'logits' allows a look at the last layer alone; say 'hidden'")
    return found


def _require_lens(lm: MMForgetLM, chosen: Chosen) -> None:
    if is_compared(chosen.attack):
        lm.asked.hidden([], layers=layers_of(chosen.attack, lm=lm))
        return
    depths = _depths(chosen, lm=lm)
    lm.lens([], depths=depths, look=chosen.attack.ranks, label=chosen.attack.label)
    lists, budget = len(_ranks_of(chosen, torch.zeros(len(depths), 2), 0)), budget_of(chosen.attack)
    if budget is not None and budget < lists:
        raise UserError(f"its {lists} lists share a budget of {budget}, so that none has a candidate; give more")


def _require_weights(lm: MMForgetLM, attack: Any) -> None:
    guard = lm.loaded.guard
    if guard is not None:
        raise UserError(f"changes the model, and a guard ({guard.name}) stands before it; attack it without guard=")
    quantised = lm.loaded.quantisation
    if hasattr(attack, "alter") and quantised is not None:
        raise UserError(
            f"alters weights in full precision, and the model's are quantised ({quantised}); load it without"
        )
