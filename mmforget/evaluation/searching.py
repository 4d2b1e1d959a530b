"""A model under attacks that search by its gradients: what they find, kept in the cache, and the questions under it.

A search is told answers. One that is told each question's own is made for every question alone; one that is told those
of others learns on the rows of some subjects, drawn by its seed, and is tried on the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from PIL import Image

from mmforget import parallel
from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.changes import Change, Seen, Shift, applied, from_json, searched_for, to_json
from mmforget.evaluation.retraining import asked_instead
from mmforget.evaluation.stages import Asked, unanswered
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.progress import told
from mmforget.lm.whitebox import WhiteBox, require_gradients
from mmforget.model.seen import sight_of
from mmforget.model.slopes import module_of
from mmforget.plugins import code_of
from mmforget.results.fingerprint import hash_json
from mmforget.types import Sample

LEARNED_ON = "the attack learns on a row of its subject"
ALONE = "no other row that the attack could learn on"
TRIED = (96, 64)
"""Size of the picture by which it is found out whether a processor allows a search."""
VERSION = 1
"""Raised when a search of the same name would find something else, so that old finds are not found."""
Found = list[Change] | Lacking


class Halves(NamedTuple):
    """Questions that an attack learns on, and the ids of all rows that take no part for that."""

    learned: Sequence[Ask]
    left_out: frozenset[str]


@dataclass(frozen=True)
class Searched:
    """Asks each question as it was changed for it alone, an attempt each."""

    label: str
    found: Mapping[str, Found]
    seen: Seen

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        found = self.found[ask.where]
        if isinstance(found, Lacking):
            return found
        tried = [applied(change, ask, seen=self.seen) for change in found]
        lacking = next((one for one in tried if isinstance(one, Lacking)), None)
        return lacking or [one for one in tried if isinstance(one, Ask)]


@dataclass(frozen=True)
class Held:
    """Asks each question under one change, but those that it was learned on."""

    label: str
    change: Change
    left_out: frozenset[str]
    seen: Seen

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        if ask.row is not None and str(ask.row["id"]) in self.left_out:
            return Lacking(LEARNED_ON)
        found = applied(self.change, ask, seen=self.seen)
        return found if isinstance(found, Lacking) else [found]


@dataclass(frozen=True)
class Nobody:
    """Asks nothing, and says why."""

    label: str
    reason: str

    def asks(self, ask: Ask) -> Lacking:
        return Lacking(self.reason)


def require_search(lm: MMForgetLM, attack: Any) -> None:
    """Raises UserError where a model, or a guard before it, does not show what an attack searches by."""
    require_gradients(lm.loaded)
    if attack.through == "pixels":
        sight_of(lm.loaded, Image.new("RGB", TRIED))
    if getattr(attack, "layer", None) is not None:
        module_of(lm.loaded, attack.layer)


def searched(
    lm: MMForgetLM, loaded: LoadedTasks, *, attack: Any, key: str, task: str, asks: Sequence[Ask], ask: Asked
) -> list[Sample]:
    """The samples of a task under what a search finds.

    Args:
        asks: the task's questions, with the true answers behind them.
        ask: asks a model the task's questions under an attack, with the number of its first attempt.
    """
    if lm.loaded.stack is not None:
        reason = f"{attack.label} searches in one model, and subjects are forgotten many at a time"
        return unanswered(loaded, tasks=[task], key=key, attempts=[0], reason=reason)
    box = WhiteBox(lm.engine)
    if attack.told == "own":
        found = _found(lm, [[one] for one in asks], attack=attack, key=key, box=box)
        made = {one.where: changes for one, changes in zip(asks, found, strict=True)}
        return ask(lm, Searched(attack.label, made, box.seen), 0)
    return _on_the_rest(lm, asks, attack=attack, key=key, box=box, ask=ask)


def _on_the_rest(
    lm: MMForgetLM, asks: Sequence[Ask], *, attack: Any, key: str, box: WhiteBox, ask: Asked
) -> list[Sample]:
    """What is learned on some questions and tried on the others."""
    halves = halves_of(asks, rows=attack.rows, seed=attack.seed)
    if not halves.learned:
        return ask(lm, Nobody(attack.label, ALONE), 0)
    (changes,) = _found(lm, [halves.learned], attack=attack, key=key, box=box)
    if isinstance(changes, Lacking):
        return ask(lm, Nobody(attack.label, changes.reason), 0)
    samples = list[Sample]()
    for number, change in enumerate(changes):
        with _asked_under(lm, change, box=box) as asked:
            samples += ask(asked, Held(attack.label, change, halves.left_out, box.seen), number)
    return samples


@contextmanager
def _asked_under(lm: MMForgetLM, change: Change, *, box: WhiteBox) -> Iterator[MMForgetLM]:
    """Inside, what asks the model: of a shift, the model with that."""
    if not isinstance(change, Shift):
        yield lm
        return
    with box.shifted(layer=change.layer, vector=change.vector) as model:
        yield asked_instead(lm, model)


def halves_of(asks: Sequence[Ask], *, rows: int, seed: int) -> Halves:
    """So many questions of as few subjects as have them, at most half of all, in an order drawn by the seed.

    Of a single subject it is at most half of its rows.
    """
    known = {str(ask.row["id"]): ask for ask in asks if ask.row is not None}
    subjects: dict[str, list[str]] = {}
    for name, one in known.items():
        subjects.setdefault(str((one.row or {})["subject"]), []).append(name)
    groups = list(subjects.values()) if len(subjects) > 1 else [[name] for name in known]
    Random(f"search {seed}").shuffle(groups)
    chosen = list[str]()
    for group in groups[: len(groups) // 2]:
        if len(chosen) < rows:
            chosen += group
    return Halves([known[name] for name in chosen[:rows]], frozenset(chosen))


def _found(lm: MMForgetLM, groups: Sequence[Sequence[Ask]], *, attack: Any, key: str, box: WhiteBox) -> list[Found]:
    """What a search finds for each group of questions, found before or now; each is kept as soon as it is found."""
    names = [_name(lm, group, attack=attack, key=key) for group in groups]
    cache = lm.cache
    known = parallel.on_main(lambda: {} if cache is None else cache.get_many(names))
    labels = [f"{group[0].task or 'requests'} ({attack.label}, search)" for group in groups]
    found: dict[str, Any] = dict(known)
    with told(lm.progress, labels=labels) as advance:
        for at in range(0, len(groups), parallel.world_size()):
            part = range(at, min(at + parallel.world_size(), len(groups)))
            new = {names[one]: one for one in part if names[one] not in found}
            own = next((one for rank, one in enumerate(part) if rank == parallel.rank() and names[one] in new), None)
            made = {} if own is None else {names[own]: _written(searched_for(attack, groups[own], box, name=key))}
            for several in parallel.gather(made):
                found |= several
            if cache is not None and parallel.is_main() and new:
                cache.put_many({name: found[name] for name in new})
            advance(list(part))
    return [_read(found[name]) for name in names]


def _name(lm: MMForgetLM, asks: Sequence[Ask], *, attack: Any, key: str) -> str:
    """Names what a search finds: equal only where it must be."""
    fingerprint = lm.asked.fingerprint
    about = {"search": VERSION, "attack": key, "code": code_of(attack), "asks": [ask.key(fingerprint) for ask in asks]}
    rows = [
        [ask.row["id"], ask.row["question"], list(ask.row["keywords"] or ())] for ask in asks if ask.row is not None
    ]
    return hash_json(about | {"rows": rows})


def _written(found: Found) -> Any:
    return {"lacking": found.reason} if isinstance(found, Lacking) else [to_json(one) for one in found]


def _read(value: Any) -> Found:
    return Lacking(value["lacking"]) if isinstance(value, Mapping) else [from_json(one) for one in value]
