"""Many edits and attacks: ours side by side, a plain model one at a time, and the edit repeated for every attack.

Each kind of work is timed by itself, ours for all subjects side by side, the plain one for one of them, and counted as
often as it is done; the document says what was timed and how often that counts. What is asked does not depend on the
defence, so it is asked under one edit and counted for all. Before the edits ours asks all subjects of one model; the
plain one does there what it does under an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch

from benchmarks.context import Context
from benchmarks.edits_plain import Plain
from benchmarks.edits_world import (
    ATTACK_LR,
    ATTACKS,
    DEFENCES,
    LR,
    NUM_DEFENCES,
    Instance,
    Size,
    make_instances,
    size_of,
    texts_of,
    unrelated_row,
)
from benchmarks.measuring import Seconds, clock, say
from mmforget.asking import Ask, Decoding
from mmforget.lm.engine import ModelEngine
from mmforget.methods.build import build
from mmforget.model.feature_cache import FeatureCache
from mmforget.model.lens import as_last, layers_from
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.lower_states import LowerStates
from mmforget.results.fingerprint import hash_image
from mmforget.training.many import Edits, Sharing, unlearn_many
from mmforget.training.settings import TrainSettings

LAYER = 1
"""Of 6 layers the one as deep as the published seventh of 32."""
TARGET = rf".*language_model.*layers\.{LAYER}\.mlp\.down_proj"
NUM_PLAIN = 1
"""Subjects that the plain model does."""
BATCH_SIZE = 20
TRAIN_TOKENS = 700
"""Of one forward and backward pass: one subject, which keeps two cores busy and takes the memory of a single edit."""
LOWER_BYTES, FEATURE_BYTES = 80 * 2**20, 32 * 2**20
"""What is kept for all subjects counts as memory of their edits."""
ASKED = "error_injection"
"""The defence under which everything is asked, which moves even a model that knows nothing."""
WHITE_BOX = 3
"""Attacks that look at one forward pass of the edit as it is."""


def run(context: Context) -> dict[str, Any]:
    """Seconds of every kind of work, put together for all subjects, defences and attacks."""
    size, side = size_of(context), context.geometry.image_side
    instances = make_instances(size, side=side)
    say(f"edits: {size.instances} subjects x {NUM_DEFENCES} defences x {len(ATTACKS)} attacks")
    ours = _ours(context, instances, size=size)
    plain = _plain(context, instances[:NUM_PLAIN], size=size)
    difference = abs(ours.pop("answer") - plain.pop("answer"))
    found = {
        "shape": vars(size) | {"defences": NUM_DEFENCES, "attacks": len(ATTACKS)},
        "ours": _all_of(ours, num=size.instances, size=size),
        "plain": _all_of(plain, num=NUM_PLAIN, size=size),
        "official": _official(plain, size=size),
        "largest_difference": difference,
    }
    for name in ("plain", "official"):
        found[f"ratio_to_{name}"] = found[name]["wall_s"] / found["ours"]["wall_s"]
        found[f"ratio_to_{name}_cpu"] = found[name]["cpu_s"] / found["ours"]["cpu_s"]
    return found


def settings_of(size: Size) -> TrainSettings:
    """The published place of the edit; without dropout and warm-up, so that both ways make the same edit."""
    return TrainSettings(
        lr=LR, max_steps=size.edit_steps, batch_size=1, schedule="constant", weight_decay=0.0, train_projector=False,
        lora=LoraSettings(r=1, alpha=1, target_modules=TARGET),
    )  # fmt: skip


class Ours:
    """All subjects side by side on one model, whose tower features and states below the edits are kept."""

    def __init__(self, loaded: LoadedModel, instances: Sequence[Instance], *, size: Size, side: int) -> None:
        self.loaded, self.instances, self.size = loaded, instances, size
        self.unrelated = unrelated_row(size, side=side)
        self.features = FeatureCache(FEATURE_BYTES)
        self.lower = LowerStates(LOWER_BYTES)
        self.keys = {id(p.image): hash_image(p.image) for one in instances for p in one.prompts}

    @contextmanager
    def edited(self, defence: str) -> Iterator[Edits]:
        materials = {one.name: one.material for one in self.instances}
        sharing = Sharing(self.features, self.lower, TRAIN_TOKENS)
        method = build(defence)
        with unlearn_many(
            self.loaded, materials, method=method, settings=settings_of(self.size), sharing=sharing
        ) as edits:
            yield edits

    def engine(self, loaded: LoadedModel) -> ModelEngine:
        return ModelEngine(loaded, batch_size=BATCH_SIZE, features=self.features)

    def look(self, loaded: LoadedModel) -> list[list[int]]:
        """By subject, the rank of the answer's first token at every deeper layer."""
        engine = self.engine(loaded)
        layers = list(layers_from(loaded.core, 2 / 3))
        asks = [
            self._ask(one.name, one.row.context, one.row.images[0], answer=one.row.answer) for one in self.instances
        ]
        states = engine.hidden(asks, layers=layers)
        with torch.no_grad():
            first = torch.stack([one[:, 0] for one in states])
            logits = loaded.family.head(loaded.core, as_last(loaded, first))
        targets = [loaded.token_ids(one.row.answer)[0] for one in self.instances]
        return [(at > at[:, token, None]).sum(-1).tolist() for at, token in zip(logits, targets, strict=True)]

    def attack_weights(self, edits: Edits) -> None:
        rows = {one.name: [self.unrelated] for one in self.instances}
        settings = replace(settings_of(self.size), lr=ATTACK_LR, max_steps=self.size.attack_steps)
        with edits.continue_training(rows, settings) as attacked:
            self.look(attacked.loaded)

    def write(self, loaded: LoadedModel, *, num: int | None = None) -> list[str]:
        """All texts of all subjects, or of the first ones."""
        asks = []
        for instance in self.instances[:num]:
            for number, prompt in texts_of(instance):
                seed = number if prompt.num_sampled else None
                decoding = Decoding(self.size.new_tokens, do_sample=seed is not None, seed=seed)
                asks.append(
                    replace(self._ask(instance.name, prompt.context, prompt.image), kind="generate", decoding=decoding)
                )
        engine = self.engine(loaded)
        return [text for part in engine.batches(asks) for text in engine.generate([asks[at] for at in part])]

    def _ask(self, name: str, context: str, image: Any, *, answer: str | None = None) -> Ask:
        if id(image) not in self.keys:
            self.keys[id(image)] = hash_image(image)
        return Ask("score", "bench", context, answer, (image,), (self.keys[id(image)],), row={"subject": name})

    def answer(self, edits: Edits) -> float:
        """Log-prob of the first subject's answer under its edit."""
        one = self.instances[0]
        (found,) = self.engine(edits.loaded).score(
            [self._ask(one.name, one.row.context, one.row.images[0], answer=one.row.answer)]
        )
        return sum(found.token_logprobs)


def ours_of(context: Context, *, num: int | None = None) -> Ours:
    """For all subjects or the first ones, with one step of each training: a second takes no more memory."""
    size, side = replace(size_of(context), edit_steps=1, attack_steps=1), context.geometry.image_side
    return Ours(context.model(), make_instances(size, side=side)[:num], size=size, side=side)


def _ours(context: Context, instances: Sequence[Instance], *, size: Size) -> dict[str, Any]:
    """Seconds of each kind of work for all subjects."""
    ours = Ours(context.model(), instances, size=size, side=context.geometry.image_side)
    taken: dict[str, Any] = {
        "look_before": _timed("ours, hidden states before", lambda: ours.look(ours.loaded)),
        "write_before": _timed("ours, texts before", lambda: ours.write(ours.loaded)),
    }
    for defence in DEFENCES:
        with _entered(taken, f"edit, {defence}", ours.edited(defence)) as edits:
            if defence == ASKED:
                taken["answer"] = ours.answer(edits)
                taken["look"] = _timed("ours, hidden states", lambda edits=edits: ours.look(edits.loaded))
                taken["attack_weights"] = _timed("ours, weights", lambda edits=edits: ours.attack_weights(edits))
                taken["write"] = _timed("ours, texts", lambda edits=edits: ours.write(edits.loaded))
    return taken


def _plain(context: Context, instances: Sequence[Instance], *, size: Size) -> dict[str, Any]:
    """Seconds of each kind of work for the first subjects, texts by their purpose."""
    plain = Plain(context.model_folder(), target=TARGET)
    unrelated = unrelated_row(size, side=context.geometry.image_side)
    taken: dict[str, Any] = {}

    def written(purpose: str) -> Seconds:
        prompts = [p for one in instances for _, p in texts_of(one) if p.purpose == purpose]
        return _timed(f"plain, {purpose}", lambda: [plain.write(prompt, size=size) for prompt in prompts])

    for defence in DEFENCES:
        for one in instances:
            with _entered(taken, f"edit, {defence}", plain.edited(one.row, defence=defence, num_steps=size.edit_steps)):
                if defence != ASKED:
                    continue
                taken["answer"] = plain.answer(instances[0])
                for name, everywhere in (("look", False), ("look_everywhere", True)):
                    taken[name] = _timed(
                        f"plain, {name}", lambda at=everywhere, one=one: plain.look(one.row, everywhere=at)
                    )
                taken |= {purpose: written(purpose) for purpose in (*ATTACKS[WHITE_BOX + 1 :], "metrics")}
                taken["attack_weights"] = _timed(
                    "plain, weights",
                    lambda one=one: (
                        plain.attack_weights(unrelated, num_steps=size.attack_steps),
                        plain.look(one.row, everywhere=False),
                    ),
                )
    return taken


@contextmanager
def _entered(taken: dict[str, Any], name: str, opened: Any) -> Iterator[Any]:
    """Inside what is opened; the time that opening it takes is kept."""
    with ExitStack() as stack:
        found: list[Any] = []
        taken[name] = _timed(name, lambda: found.append(stack.enter_context(opened)))
        yield found[0]


def _timed(name: str, work: Callable[[], object]) -> Seconds:
    seconds = clock(work)
    say(f"  {name}: {seconds.wall:.2f} s")
    return seconds


def _all_of(taken: Mapping[str, Seconds], *, num: int, size: Size) -> dict[str, Any]:
    """Every subject under every defence, asked once before and once under each edit; edited once for all attacks."""
    before = [name for name in taken if name.endswith("_before")]
    asked = [name for name in taken if name in ("look", "write", *ATTACKS, "metrics")]
    times = _edits(1) | {"attack_weights": NUM_DEFENCES} | dict.fromkeys(before, 1)
    times |= dict.fromkeys(asked, NUM_DEFENCES + (not before))
    return _counted(taken, times=times, subjects=size.instances / num, measured=num)


def _edits(times: int) -> dict[str, int]:
    return {f"edit, {name}": times * len(counted) for name, counted in DEFENCES.items()}


def _official(taken: Mapping[str, Seconds], *, size: Size) -> dict[str, Any]:
    """Every attack by itself: the edit again, all metrics before and after it, the attack before and after it."""
    both = 2 * NUM_DEFENCES
    times = _edits(len(ATTACKS)) | {name: both for name in ATTACKS if name in taken}
    times |= {"metrics": both * len(ATTACKS), "attack_weights": NUM_DEFENCES, "look_everywhere": both * WHITE_BOX}
    return _counted(taken, times=times, subjects=size.instances / NUM_PLAIN, measured=NUM_PLAIN)


def _counted(
    taken: Mapping[str, Seconds], *, times: Mapping[str, int], subjects: float, measured: int
) -> dict[str, Any]:
    """Seconds of everything, and what was measured and how often that was counted."""
    parts = {
        name: {
            "measured_wall_s": taken[name].wall,
            "measured_cpu_s": taken[name].cpu,
            "times_counted": count,
            "subjects_measured": measured,
            "subjects_multiplied_by": subjects,
        }
        for name, count in times.items()
        if count
    }
    wall_s = subjects * sum(taken[name].wall * count for name, count in times.items())
    cpu_s = subjects * sum(taken[name].cpu * count for name, count in times.items())
    return {"wall_s": wall_s, "cpu_s": cpu_s, "parts": parts}
