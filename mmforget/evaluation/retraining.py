"""A model that an attack has trained for a moment, asked in the place of the one before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from mmforget.attacks.base import Retraining
from mmforget.benchmark.spec import Bound
from mmforget.errors import AttackRefused, PluginError, UserError
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.lm import inside
from mmforget.lm.adapter import MMForgetLM
from mmforget.methods.material import Material
from mmforget.model.examples import as_asked
from mmforget.model.loaded import LoadedModel
from mmforget.plugins import running
from mmforget.training.continuing import continued
from mmforget.training.many import Edits, Sharing
from mmforget.training.settings import TrainSettings
from mmforget.types import Example

Render = Callable[[Sequence[Example]], list[Example]]
Learned = Callable[[Collection[str]], Retraining]


@contextmanager
def retrained(
    lm: MMForgetLM, loaded: LoadedTasks, *, attack: Any, tasks: Sequence[str], template: bool | str
) -> Iterator[MMForgetLM]:
    """Inside, a model that has learned what the attack says; afterwards the model is what it was, bit by bit.

    Of many edits each learns the rows of its own subject, where there are such.

    Raises UserError where the tasks are of several benchmarks, which have rows of their own.
    """
    asked, learned = learnable(lm, loaded, attack=attack, tasks=tasks, template=template)
    with _trained(lm, subjects=asked, learned=learned, label=attack.label) as trained:
        yield asked_instead(lm, trained)


def asked_instead(lm: MMForgetLM, model: LoadedModel) -> MMForgetLM:
    """What asks another model just as `lm` asks its own."""
    other = MMForgetLM(
        model, batch_size=lm.batch_size, cache=lm.cache, max_gen_toks=lm.max_gen_toks, packed=lm.engine.packed,
        features=lm.engine.features, progress=lm.progress,
    )  # fmt: skip
    other.template = lm.template
    return other


def learnable(
    lm: MMForgetLM, loaded: LoadedTasks, *, attack: Any, tasks: Sequence[str], template: bool | str
) -> tuple[list[str], Learned]:
    """The subjects that are asked about, and what says what the attack trains on for some of them.

    Raises UserError where the tasks are of several benchmarks, which have rows of their own.
    """
    bound = bound_of(loaded, attack=attack, tasks=tasks)
    asked = {str(doc["subject"]): None for task in tasks for doc in inside.docs_asked(loaded.tasks[task])}
    render = partial(as_asked, loaded=lm.loaded, template=template)
    return list(asked), partial(retraining, bound=bound, attack=attack, render=render)


def bound_of(loaded: LoadedTasks, *, attack: Any, tasks: Sequence[str]) -> Bound:
    """The one benchmark of the tasks, with its data. Raises UserError where they are of several."""
    bounds = {id(loaded.owners[task]): loaded.owners[task] for task in tasks}
    if len(bounds) != 1:
        raise UserError(f"{attack.label} needs the rows of one benchmark, and the tasks are of {len(bounds)}")
    return next(iter(bounds.values()))


def require_rows(bound: Bound, *, attack: Any, key: str) -> None:
    """Raises UserError where the benchmark has not the rows that an attack trains on, if it trains."""
    if not hasattr(attack, "training"):
        return
    with said_of(key):
        retraining(None, bound=bound, attack=attack)


@contextmanager
def said_of(key: str) -> Iterator[None]:
    """Errors inside say which attack they are about, where they do not so themselves."""
    try:
        yield
    except (AttackRefused, PluginError):
        raise
    except UserError as error:
        raise AttackRefused(key, str(error)) from error


@contextmanager
def _trained(lm: MMForgetLM, *, subjects: Sequence[str], learned: Learned, label: str) -> Iterator[LoadedModel]:
    loaded, features = lm.loaded, lm.engine.features
    if loaded.stack is None:
        wanted = learned(subjects)
        settings = settings_on(loaded, wanted)
        with continued(loaded, wanted.rows, settings=settings, label=label, features=features) as trained:
            yield trained
        return
    base = replace(loaded, stack=None, fingerprint=loaded.base_fingerprint)
    each = {name: learned([name]) for name in subjects}
    settings = settings_on(loaded, next(iter(each.values())))
    edits = Edits(loaded, loaded.stack, base, {}, Sharing(features))
    with edits.continue_training({name: one.rows for name, one in each.items()}, settings) as attacked:
        yield attacked.loaded


def settings_on(loaded: LoadedModel, wanted: Retraining) -> TrainSettings:
    """How this model trains."""
    return wanted.settings_for(int(loaded.core.config.get_text_config().hidden_size))


def retraining(subjects: Collection[str] | None, *, bound: Bound, attack: Any, render: Render = list) -> Retraining:
    """What the attack trains on for these subjects.

    Of the rows to keep it gets those of their own, else all; all where it is asked the plain questions afterwards.
    """
    benchmark = bound.benchmark
    own = [] if attack.then is None else bound.examples(benchmark.retain_set, subjects=subjects)
    material = Material(
        forget=bound.examples(benchmark.forget_set, subjects=subjects),
        retain=own or bound.examples(benchmark.retain_set),
        as_asked=render,
    )
    with running(attack, what=f"attack {attack.label}: training"):
        found = attack.training(material)
    if not isinstance(found, Retraining) or not found.rows:
        raise PluginError(f"attack {attack.label}: training has to give a Retraining(rows, settings) with rows")
    return found
