"""A model under attacks by questions: what they ask of all rows of a task is answered together, and becomes samples.

Questions of many attacks begin alike, with a picture or an instruction: what they share is computed once for all.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others, attempts_at, budget_of, next_attempt, queries_at
from mmforget.errors import PluginError
from mmforget.evaluation.probes import Target, told_by_target
from mmforget.evaluation.rewriting import Rewriting, or_lacking
from mmforget.evaluation.samples import Attempt, samples_of, unasked_sample
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.lm import inside
from mmforget.lm.adapter import MMForgetLM
from mmforget.types import Sample, why_unanswered

logger = logging.getLogger(__name__)

MAX_TOGETHER = 2048
"""Questions that are made before they are asked, unless one attack makes more: their pictures are held meanwhile."""


@dataclass(frozen=True)
class Chosen:
    """An attack, what records call it, and the tasks that it is made on."""

    key: str
    attack: Any
    tasks: tuple[str, ...]


class Wanted(NamedTuple):
    """An attack on one task; its attempts count from `first`."""

    chosen: Chosen
    task: str
    first: int = 0


class Helpers(NamedTuple):
    """Who helps attacks: the target model's answers, and a model that writes questions."""

    target: Target | None = None
    attacker: MMForgetLM | None = None


NO_HELP = Helpers()


class Made(NamedTuple):
    """What an attack on a task asks: by request of the task its attempts, or what the row lacks for them."""

    wanted: Wanted
    requests: Sequence[Any]
    asks: Sequence[Ask]
    found: Sequence[list[Ask] | Lacking]

    @property
    def attempts(self) -> list[list[Ask]]:
        return [[] if isinstance(one, Lacking) else one for one in self.found]

    @property
    def num_asks(self) -> int:
        return sum(map(len, self.attempts))


def attempted(
    lm: MMForgetLM, loaded: LoadedTasks, *, wanted: Iterable[Wanted], helpers: Helpers = NO_HELP
) -> dict[tuple[str, str], list[Sample]]:
    """By attack and task the samples of attacks by questions: of each attempt, and of a row that lacks what they need.

    After another model's attempts (`first` above 0), what rows lack was said.
    """
    found = {}
    for together in _together(_made(lm, loaded, one, target=helpers.target) for one in wanted):
        names = ", ".join(dict.fromkeys(one.wanted.chosen.attack.label for one in together))
        answers = iter(lm.tried([asks for one in together for asks in one.attempts], label=names))
        for one in together:
            own = [next(answers) for _ in one.asks]
            if helpers.attacker is not None and getattr(one.wanted.chosen.attack, "knows", "") == "attacker":
                one, own = _rewritten(lm, loaded, made=one, attacker=helpers.attacker)
            found[one.wanted.chosen.key, one.wanted.task] = _samples(lm, loaded, made=one, answers=own)
    return found


def _together(made: Iterable[Made]) -> Iterator[list[Made]]:
    """Attacks in groups of not too many questions."""
    group, count = list[Made](), 0
    for one in made:
        if group and count + one.num_asks > MAX_TOGETHER:
            yield group
            group, count = [], 0
        group.append(one)
        count += one.num_asks
    if group:
        yield group


def _made(lm: MMForgetLM, loaded: LoadedTasks, wanted: Wanted, *, target: Target | None) -> Made:
    chosen, task = wanted.chosen, loaded.tasks[wanted.task]
    requests = inside.requests_of(task)
    asks = lm.asks(requests, method=requests[0].request_type)
    others = Others(*inside.rows_and_pictures(task))
    if getattr(chosen.attack, "knows", "") == "target":
        return Made(wanted, requests, asks, _of_target(lm, asks, chosen=chosen, others=others, target=target))
    found = [attempts_at(ask, attack=chosen.attack, name=chosen.key, others=others) for ask in asks]
    return Made(wanted, requests, asks, found)


def _of_target(
    lm: MMForgetLM, asks: Sequence[Ask], *, chosen: Chosen, others: Others, target: Target | None
) -> list[list[Ask] | Lacking]:
    """The attempts that are made of what the target model says."""
    attack, name = chosen.attack, chosen.key
    queries = [queries_at(ask, attack=attack, name=name, others=others) for ask in asks]
    told = told_by_target(lm, queries, target=target, label=attack.label)
    return [
        said if isinstance(said, Lacking) else attempts_at(ask, attack=attack, name=name, told=said)
        for ask, said in zip(asks, told, strict=True)
    ]


def _rewritten(
    lm: MMForgetLM, loaded: LoadedTasks, *, made: Made, attacker: MMForgetLM
) -> tuple[Made, list[list[Any]]]:
    """An attack whose attempts another model has written, and the answers to them."""
    (chosen, task, _), found = made.wanted, made.found
    rewriting = Rewriting(
        lm, attacker, chosen.attack, chosen.key, loaded.labels[task], tuple(loaded.owners[task].refusals)
    )
    open_ = [None if isinstance(one, Lacking) else ask for ask, one in zip(made.asks, found, strict=True)]
    tried = rewriting.carried_out(open_)
    attempts = [one if isinstance(one, Lacking) else or_lacking(own) for one, own in zip(found, tried, strict=True)]
    return made._replace(found=attempts), [[reply.said for reply in own] for own in tried]


def _samples(lm: MMForgetLM, loaded: LoadedTasks, *, made: Made, answers: list[list[Any]]) -> list[Sample]:
    (chosen, task, first), requests, asks, _ = made
    label, attempts = loaded.labels[task], made.attempts
    _require_even(requests, answers, name=chosen.key)
    _follow(lm, asks, made=attempts, answers=answers, chosen=chosen)
    samples = _of_lacking(made, label=label) if not first else []
    for number in range(max(map(len, answers))):
        tried = [at for at, one in enumerate(answers) if number < len(one)]
        samples += samples_of(
            task, label=label, requests=[_about(requests[at], attempts[at][number]) for at in tried],
            answers=[answers[at][number] for at in tried], attempt=Attempt(chosen.key, first + number),
            choices_of=inside.choices_of(loaded.tasks[task]),
        )  # fmt: skip
    return samples


def _of_lacking(made: Made, *, label: Any) -> list[Sample]:
    """A sample for each row that lacks something; how many lack what is said."""
    chosen, task, _ = made.wanted
    lacking = {
        ask.where: (ask, one.reason if isinstance(one, Lacking) else "the attack makes no attempt")
        for ask, one in zip(made.asks, made.found, strict=True)
        if not one or isinstance(one, Lacking)
    }
    for reason, count in Counter(reason for _, reason in lacking.values()).most_common():
        logger.warning("task %s, attack %s: %d rows left out (%s)", task, chosen.key, count, reason)
    return [
        unasked_sample(task, label=label, doc=ask.row or {}, attack=chosen.key, lacking=reason)
        for ask, reason in lacking.values()
    ]


def _about(request: Any, ask: Ask) -> Any:
    """The request, about the row that an attempt is about where that is another one than its own."""
    if ask.row is None or ask.row is request.doc:
        return request
    other = copy(request)
    other.doc = ask.row
    return other


def _follow(
    lm: MMForgetLM, asks: Sequence[Ask], *, made: list[list[Ask]], answers: list[list[Any]], chosen: Chosen
) -> None:
    """Adds attempts and their answers, round by round, where the attack goes on by what was answered."""
    for _ in range(budget_of(chosen.attack) or len(asks)):
        more: list[list[Ask]] = []
        for ask, said in zip(asks, answers, strict=True):
            goes_on = said and not why_unanswered(said[-1])
            found = next_attempt(ask, attack=chosen.attack, name=chosen.key, said=said) if goes_on else None
            more.append([] if found is None else [found])
        if not any(more):
            return
        for at, answered in enumerate(lm.tried(more, label=chosen.attack.label)):
            made[at] = [*made[at], *more[at]]
            answers[at] = [*answers[at], *answered]


def _require_even(requests: Sequence[Any], answers: Sequence[Sequence[Any]], *, name: str) -> None:
    """Raises PluginError where an attack does not try all candidate answers of a document equally often."""
    counts: dict[Any, set[int]] = {}
    for request, tried in zip(requests, answers, strict=True):
        counts.setdefault(request.doc_id, set()).add(len(tried))
    uneven = next((doc for doc, found in counts.items() if len(found) > 1), None)
    if uneven is not None:
        raise PluginError(
            f"attack '{name}': asks gives more questions for some answers of document {uneven} than for others"
        )
