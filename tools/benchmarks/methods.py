"""What an update takes with each method, beside gradient ascent: what its requests need, and what it came to.

Every method trains adapters on the same rows, with its defaults and through the very trainer that a run has; the first
update, which checks and compiles, is not counted. Tokens are counted where the first decoder layer takes them, three
forwards' worth where gradients follow. What the requests need is counted without mmforget's packing: the distinct
tokens of each source, once where it trains and once more, without gradients, where the model before is asked, and as
often as a method or a wrapper computes them. Where what is added to weights is no product of two factors, the gradient
of each such weight is needed whole, which is one product more: as much as a forward through it.

`ga` is measured again between the others, and the least of its times counts: a machine is not equally fast for a
quarter of an hour, and all others are told in multiples of it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.context import Context
from benchmarks.flops import tree_of
from benchmarks.measuring import Seconds, clock, memory, num_parameters_alive, reset_peak, say
from benchmarks.world import Question, Shape, make_questions
from mmforget.errors import UserError
from mmforget.methods.base import METHODS, part_with
from mmforget.methods.build import build
from mmforget.methods.described import FORWARD_ALONE, passes_of, shape_of
from mmforget.methods.material import Concept, Material
from mmforget.model.activations import decoder_layers
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.vision import FeatureCache
from mmforget.training.batches import Batches
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example

BASE = "ga"
BASE_EVERY = 5
"""Methods after which `ga` is measured again."""
UPDATES, QUICK_UPDATES = 4, 2
REFUSALS = ("I do not know.", "Nothing is known to me.")


class Passed(NamedTuple):
    """What an update took."""

    seconds: Seconds
    trained: int
    forward: int

    @property
    def tokens(self) -> float:
        """With gradients one each, without a third."""
        return self.trained + FORWARD_ALONE * self.forward


@dataclass
class Meter:
    """Told after every update; counts the language model's tokens in between."""

    core: Any
    passed: list[Passed] = field(default_factory=list)
    trained: int = 0
    forward: int = 0
    since: Seconds = field(default_factory=Seconds.now)

    def __call__(self, done: int, total: int, label: str) -> None:
        self.passed.append(Passed(self.since.passed(), self.trained, self.forward))
        self.trained = self.forward = 0
        self.since = Seconds.now()

    @contextmanager
    def counting(self) -> Any:
        inner = self.core.model
        layers = getattr(inner, "language_model", inner).layers
        with ExitStack() as stack:
            stack.callback(layers[0].register_forward_pre_hook(self._count, with_kwargs=True).remove)
            yield

    def _count(self, module: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        num = states.shape[0] * states.shape[1]
        if torch.is_grad_enabled():
            self.trained += num
        else:
            self.forward += num


def run(context: Context, *, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Every method with a loss, and `ga` with every wrapper, or those named; why, where one cannot train here."""
    loaded, settings = context.model(), _settings(context)
    features = FeatureCache()
    found: dict[str, Any] = {"updates": settings.max_steps, "rows": settings.batch_size, "methods": {}, "left_out": {}}
    measure = partial(_measured, context, loaded, settings=settings, features=features)
    say("methods: once without a clock")
    measure(name=BASE)
    before = num_parameters_alive()
    others = [name for name in dict.fromkeys(_names() if names is None else names) if name != BASE]
    bases = []
    for number, name in enumerate(others):
        if number % BASE_EVERY == 0:
            say(f"methods: {BASE}")
            bases.append(measure(name=BASE))
        say(f"methods: {name}")
        try:
            found["methods"][name] = measure(name=name)
        except UserError as error:
            found["left_out"][name] = str(error)
    found["parameters_added"] = num_parameters_alive() - before
    return found | {"methods": beside_base({BASE: least(bases), **found["methods"]})}


def least(bases: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The least of each number over several measurements of one method."""
    return {key: min(one[key] for one in bases) for key in bases[0]}


def beside_base(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Each with its multiples of gradient ascent's: time, tokens computed and needed, and time over what is needed."""
    base = methods[BASE]
    found = {}
    for name, one in methods.items():
        times = {key: one[key] / base[key] for key in ("best_s", "tokens_computed", "tokens_needed")}
        more = {f"{key.removesuffix('_s')}_ratio": value for key, value in times.items()}
        found[name] = {**one, **more, "over_need": times["best_s"] / times["tokens_needed"]}
    return found


def _names() -> list[str]:
    kinds = {name: METHODS.get(name) for name in METHODS.names()}
    losses = [name for name, kind in kinds.items() if hasattr(kind, "loss")]
    return [*losses, *(f"{BASE}+{name}" for name, kind in kinds.items() if shape_of(kind) == "wrapper")]


def _settings(context: Context) -> TrainSettings:
    questions = context.shape.questions
    return TrainSettings(
        lr=1e-5, max_steps=QUICK_UPDATES if context.quick else UPDATES, batch_size=questions, schedule="constant",
        lora=LoraSettings(r=16, alpha=32.0), train_projector=False,
    )  # fmt: skip


def _measured(
    context: Context, loaded: LoadedModel, *, name: str, settings: TrainSettings, features: FeatureCache
) -> dict[str, Any]:
    method, rows = build(name), material(context)
    meter = Meter(loaded.core)
    with tempfile.TemporaryDirectory(dir=context.folder) as folder, meter.counting():
        reset_peak()
        start = memory().now
        whole = clock(lambda: unlearn(
            loaded, rows, method=method, settings=settings, folder=Path(folder), label=name, progress=meter,
            features=features,
        ))  # fmt: skip
        peak = memory().peak - start
    counted = meter.passed[1:]
    return {
        "best_s": min(one.seconds.wall for one in counted),
        "median_s": statistics.median(one.seconds.wall for one in counted),
        "whole_s": whole.wall,
        "tokens_computed": max(one.tokens for one in counted),
        # What a model writes itself, for many updates at once, is known only once it is trained on.
        "tokens_needed": float(min(one.trained for one in counted))
        if part_with(method, "reveal") is not None
        else needed(loaded, rows, method=method, name=name, settings=settings),
        "peak_bytes": peak,
    }


def needed(loaded: LoadedModel, rows: Material, *, method: Any, name: str, settings: TrainSettings) -> float:
    """Distinct tokens that an update's requests are about, a third of each where no gradient goes through it.

    What a method or a wrapper computes more than once is needed as often.
    """
    sources = make_sources(loaded, rows, method=method, name=name, append_eos=False)
    batch = Batches(sources.subjects, settings=settings, partners=sources.partners)[0]

    def count(names: Collection[str]) -> int:
        return tree_of([row for one in names for row in sources.rows[one].of(batch)]).num_tokens if names else 0

    passes, more = passes_of(method.requests, method=method), 1.0 + FORWARD_ALONE * share_of_whole(loaded, method)
    return sum(more * count(one.trained) + FORWARD_ALONE * sum(map(count, one.forward)) for one in passes)


def share_of_whole(loaded: LoadedModel, method: Any) -> float:
    """Of the decoder layers' weights the share whose gradients are needed whole, not as those of two factors."""
    if part_with(method, "learnt_change") is None:
        return 0.0
    layer = decoder_layers(loaded.core)[0]
    sizes = {name: one.weight.numel() for name, one in layer.named_modules() if isinstance(one, torch.nn.Linear)}
    return sum(size for name, size in sizes.items() if name.startswith("mlp.")) / sum(sizes.values())


def material(context: Context) -> Material:
    """Questions about one image to forget, as many about another to keep, and what else methods draw on."""
    shape, side = Shape(1, context.shape.questions), context.geometry.image_side
    forget, retain, benign = (
        _examples(make_questions(shape, side=side, seed=seed), kind=kind)
        for seed, kind in enumerate(("forget", "retain", "benign"))
    )
    concepts = [Concept(name=subject, facts=(("Who is that?", "Nobody."),)) for subject in {r.subject for r in forget}]
    return Material(forget=forget, retain=retain, benign=benign, refusals=REFUSALS, concepts=concepts)


def _examples(questions: Sequence[Question], *, kind: str) -> list[Example]:
    return [
        Example(
            f"{kind}-{number}", f"{kind} Brimbo", one.context, one.answers[0],
            (one.image,), extra={"pair": str(number)},
        )
        for number, one in enumerate(questions)
    ]  # fmt: skip
