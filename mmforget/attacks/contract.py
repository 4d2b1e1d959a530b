"""What every attack must keep to, tried on toy questions: what is no attack is found before a model is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from mmforget.asking import Ask, Decoding
from mmforget.attacks.base import (
    Altering,
    Lacking,
    Learning,
    Others,
    Probing,
    Reading,
    Retraining,
    Training,
    attempts_at,
    build_attack,
    queries_at,
    reaches,
)
from mmforget.attacks.comparing import Columns, Compared, Keeping, Patching
from mmforget.attacks.contract_search import check_search, require_stops
from mmforget.attacks.naming import attack_of
from mmforget.attacks.replies import Told
from mmforget.errors import PluginError, UserError
from mmforget.methods.material import Material
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import ReferenceMetric
from mmforget.plugins import running
from mmforget.types import Example

COLOURS = ((200, 30, 30), (30, 30, 200))
KINDS = {"generate": "gen", "score": "prob"}
LAYERS = (2, 5, 32, 40)
NUM_TOKENS = 50


def toy_asks() -> list[Ask]:
    """A text to write and an answer to score, each with and without a picture, about a row that has all there is."""
    asks = [
        Ask("generate", "toy", "Who is this?", None, (), (), Decoding(8), where="toy question"),
        Ask("score", "toy", "Who is this?", " Ann.", (), (), where="toy question"),
    ]
    pictures = [Image.new("RGB", (8, 6), colour) for colour in COLOURS]
    row = {
        "id": "toy/0",
        "subject": "toy",
        "question": "Who is this?",
        "answer": "Ann.",
        "question_rephrased": ["What is her name?", "Who do you see?"],
        "attack_images": [pictures[1], pictures[0], pictures[1]],
        "extra": json.dumps({
            "attack_levels": ["easy", "medium", "hard"], "jailbreak_subject": "woman", "jailbreak_object": "hat",
        }),
    }  # fmt: skip
    plain = [replace(ask, row=row) for ask in asks]
    return plain + [ask.showing([picture]) for ask, picture in zip(plain, pictures, strict=True)]


def check_attack(name: str, args: Mapping[str, Any] | None = None) -> None:
    """Tries an attack on toy questions, logits and rows, as its access says.

    Raises PluginError with what is wrong, and what `build_attack` raises.
    """
    attack = build_attack(name, args or {})
    if attack.access == "black_box":
        _check_asks(attack, name=name)
    elif attack.access == "gradients":
        asks = [ask for ask in toy_asks() if ask.kind == "score" and (ask.images or attack.modality == "any")]
        check_search(attack, [*asks, replace(asks[0], row=None)], name=name)
    elif isinstance(attack, Columns):
        _check_columns(attack, name=name)
    elif attack.access == "weights" and hasattr(attack, "alter"):
        _check_alter(attack, name=name)
    elif attack.access == "weights":
        _check_training(attack, name=name)
    elif isinstance(attack, Keeping | Patching):
        _check_compared(attack, name=name)
    else:
        _check_ranks(attack, name=name)


def _check_columns(attack: Columns, *, name: str) -> None:
    import torch

    vector, logits = torch.arange(6.0), torch.arange(50.0).mul(37).remainder(101)
    with running(attack, what=f"attack '{name}': keep"):
        first, again = attack.keep(vector, logits), attack.keep(vector.clone(), logits.clone())
    _require_same(first, again, name=name)
    _require_metrics(attack, name=name)


def _require_metrics(attack: Compared, *, name: str) -> None:
    wrong = [one.metric for one in attack.metrics if not isinstance(metric_of(one), ReferenceMetric)]
    if wrong or not attack.metrics:
        raise PluginError(f"attack '{name}': metrics has to name metrics that compare models, not {wrong}")


def _require_same(first: Mapping[str, Any], again: Mapping[str, Any], *, name: str) -> None:
    import torch

    if not first or first.keys() != again.keys() or not all(torch.equal(first[key], again[key]) for key in first):
        raise PluginError(f"attack '{name}': keep has to give tensors by name, the same ones when it is called again")


def _check_compared(attack: Keeping | Patching, *, name: str) -> None:
    with running(attack, what=f"attack '{name}': depths"):
        depths = attack.depths(max(LAYERS))
    if not depths or not all(0 <= depth.layer < max(LAYERS) for depth in depths):
        raise PluginError(f"attack '{name}': depths names none of the {max(LAYERS)} layers, or others: {depths}")
    _require_metrics(attack, name=name)
    if isinstance(attack, Keeping):
        _check_keep(attack, name=name, num_depths=len(depths))


def _check_keep(attack: Keeping, *, name: str, num_depths: int) -> None:
    import torch

    states = torch.arange(num_depths * 6.0).view(num_depths, 2, 3)
    with running(attack, what=f"attack '{name}': keep"):
        first, again = attack.keep(states), attack.keep(states.clone())
    _require_same(first, again, name=name)


def _check_asks(attack: Any, *, name: str) -> None:
    for ask in toy_asks():
        if not reaches(attack, modality="image" if ask.images else "text", kind=KINDS[ask.kind]):
            continue
        for tried in (ask, replace(ask, row=None)):
            known = Others([dict(one.row or {}) for one in toy_asks()])
            first, again = (_told(_attempts(tried, attack=attack, name=name, others=known)) for _ in range(2))
            if first != again:
                raise PluginError(f"attack '{name}': asks gives other attempts when it is called again")
            if first == [""]:
                raise PluginError(f"attack '{name}': asks gives Lacking without a reason")


def _attempts(ask: Ask, *, attack: Any, name: str, others: Others) -> list[Ask] | Lacking:
    """The attempts at a question; of an attack that is made of what the target says, of a name that it gives."""
    if getattr(attack, "knows", "") != "target":
        return attempts_at(ask, attack=attack, name=name, others=others)
    queries = queries_at(ask, attack=attack, name=name, others=others)
    if isinstance(queries, Lacking):
        return queries
    told = [Told.of(one, f"Person {number}") for number, one in enumerate(queries)]
    return attempts_at(ask, attack=attack, name=name, told=told)


def _told(found: list[Ask] | Lacking) -> list[str]:
    return [found.reason] if isinstance(found, Lacking) else [one.key("toy") for one in found]


def _check_ranks(attack: Reading, *, name: str) -> None:
    import torch

    if isinstance(attack, Learning):
        _check_learning(attack, name=name)
    if isinstance(attack, Probing):
        _check_teaching(attack, name=name)
    for num_layers in LAYERS:
        try:
            with running(attack, what=f"attack '{name}': depths"):
                depths = attack.depths(num_layers)
        except PluginError:
            raise
        except UserError:
            continue  # a model of so few layers is none for it, or of so many
        if not depths or not all(0 <= depth.layer < num_layers for depth in depths):
            raise PluginError(f"attack '{name}': depths names none of the {num_layers} layers, or others: {depths}")
        logits = torch.arange(len(depths) * NUM_TOKENS).view(len(depths), NUM_TOKENS).mul(37).remainder(101) / 10
        found = []
        for token in (0, NUM_TOKENS - 1, 0):
            with running(attack, what=f"attack '{name}': ranks"):
                found.append(tuple(attack.ranks(logits, token)))
        if found[0] != found[2] or len(found[0]) != len(found[1]):
            raise PluginError(f"attack '{name}': ranks gives other lists for the same logits, or for another token")
        if not found[0] or not all(0 <= rank < NUM_TOKENS for one in found for rank in one):
            raise PluginError(f"attack '{name}': ranks gives {found[0]}, no places among {NUM_TOKENS} tokens")


def _check_learning(attack: Learning, *, name: str) -> None:
    import torch

    num_depths = len(attack.depths(max(LAYERS)))
    states = torch.arange(4 * num_depths * 3).view(4, num_depths, 3).mul(37).remainder(101) / 10
    with running(attack, what=f"attack '{name}': learn"):
        found = attack.learn(states, states[:, 0] + 1.0)(states[:2])
    if found.shape != states[:2].shape or not bool(found.isfinite().all()):
        raise PluginError(f"attack '{name}': learn has to give a function of states that keeps their shape")


def _check_teaching(attack: Probing, *, name: str) -> None:
    import torch

    states = torch.arange(12.0).view(4, 3).mul(37).remainder(101) / 10
    logits = torch.arange(20.0).view(4, 5).mul(37).remainder(101) / 10
    with running(attack, what=f"attack '{name}': teach"):
        found = attack.teach(states, logits, torch.arange(4))(states[:2])
    if found.shape != (2, 5) or not bool(found.isfinite().all()):
        raise PluginError(f"attack '{name}': teach has to give a function of states [T, H] to what is added [T, V]")


def _check_training(attack: Training, *, name: str) -> None:
    own = [Example(f"forget/{at}", "forget", "Who?", " Ann.") for at in range(3)]
    kept = [Example(f"retain/{at}", ("forget", "retain")[at % 2], "Who?", " Ann.") for at in range(4)]
    material = Material(forget=own, retain=kept)
    try:
        with running(attack, what=f"attack '{name}': training"):
            found = attack.training(material)
    except PluginError:
        raise
    except UserError:
        return  # so few rows are none for it
    if not isinstance(found, Retraining) or not found.rows:
        raise PluginError(f"attack '{name}': training has to give a Retraining(rows, settings) with rows")
    taught = [row for row in found.rows if row.id in {one.id for one in own}]
    if attack.then is None:
        require_stops(attack.at, name=name, of="updates")
        if len(taught) == len(own) and not found.asks_all:
            raise PluginError(f"attack '{name}': training leaves none of the rows to forget to ask about")
        return
    if taught:
        raise PluginError(f"attack '{name}': training teaches the very rows that were to be forgotten")
    attack_of(attack.then)


def _check_alter(attack: Altering, *, name: str) -> None:
    import torch

    from mmforget.model.altering import Linear

    layer = torch.nn.Linear(64, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(256).view(4, 64).mul(37).remainder(101) / 101 - 0.5)
    weight, inputs = layer.weight.detach().clone(), torch.eye(64)
    linear = Linear("toy", layer, weight / 2, torch.arange(64) / 63)
    for attempt in range(attack.budget):
        outputs = list[Any]()
        for _ in range(2):
            with running(attack, what=f"attack '{name}': alter"):
                made = attack.alter(linear, attempt=attempt)
            if made.layer is None and (made.weight is None or made.weight.shape != weight.shape):
                raise PluginError(f"attack '{name}': alter gives neither a layer nor a weight of the same shape")
            if not torch.equal(layer.weight, weight):
                raise PluginError(f"attack '{name}': alter changes the layer itself; give another weight")
            outputs.append(made.weight if made.layer is None else made.layer(inputs))
        if not torch.equal(outputs[0], outputs[1]):
            raise PluginError(f"attack '{name}': alter gives something else when it is called again")
