"""Text-only tasks, side by side with stock lm_eval's `hf` on the same model, tasks and answers.

Five-shot questions with four options, questions with one right and five wrong answers, and TOFU's whole evaluation
against a pass of stock lm_eval for every metric. Both have the model in memory and the tasks of one folder to index, so
neither its import nor its index of built-in tasks counts.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.measuring import Seconds, Watch, alternate, clock, ratios, say
from benchmarks.text_world import (
    BASE,
    FIVE_SHOT,
    MINUTE,
    PERTURBED,
    QUICK,
    TOFU,
    WHOLE,
    WIDE,
    TextGeometry,
    TextShape,
    build_llama,
    write_tasks,
)
from mmforget.benchmark.find import find_all
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark, Bound, MetricUse
from mmforget.evaluation.run import Settings, evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import CompositeMetric, kinds_read
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.measuring import AboutModel, Place, measure

BATCH_SIZES = (1, 8)
"""Among which stock gets its best, tried on a few questions."""
TRIED = 8
BATCH_SIZE = 8
"""Of TOFU's evaluation, both."""
Answers = dict[tuple[Any, ...], Any]


@dataclass(frozen=True)
class Sizes:
    """What is measured, and on which models."""

    geometry: TextGeometry
    wide: TextGeometry
    shape: TextShape


def sizes(context: Context) -> Sizes:
    return Sizes(MINUTE, MINUTE, QUICK) if context.quick else Sizes(BASE, WIDE, WHOLE)


def model_folder(context: Context, geometry: TextGeometry) -> Path:
    """The saved model of these sizes, made when first asked for."""
    return build_llama(context.folder / f"llama-{geometry.layers}x{geometry.width}-{geometry.vocabulary}", geometry)


def prepare(context: Context) -> Path:
    """Makes the models and the folder of tasks that it returns, unless they are there."""
    own, tasks = sizes(context), context.folder / "text_tasks"
    for geometry in (own.geometry, own.wide):
        model_folder(context, geometry)
    return tasks if tasks.is_dir() else write_tasks(tasks, own.shape)


def run(context: Context) -> dict[str, Any]:
    """Everything that is timed. Raises RuntimeError where both do not give the same answers."""
    own, both = sizes(context), load(context)
    return {
        "geometry": vars(own.geometry),
        "shape": vars(own.shape),
        **choices(context, both),
        "tofu": whole(context, both),
    }


def load(context: Context) -> Both:
    """The model in memory, twice, with the tasks that it is asked."""
    tasks = prepare(context)
    return Both(model_folder(context, sizes(context).geometry), tasks)


def choices(context: Context, both: Both) -> dict[str, Any]:
    """The questions with options, and those with wrong answers with and without a chat template."""
    return {
        "five_shot": _against_stock(context, both, FIVE_SHOT),
        "perturbed": _against_stock(context, both, PERTURBED, chat=True),
        "perturbed_bare": _against_stock(context, both, PERTURBED),
    }


class Both:
    """The same model loaded by mmforget and by lm_eval, and how each is asked tasks of a folder."""

    def __init__(self, folder: Path, tasks: Path) -> None:
        from lm_eval.models.huggingface import HFLM

        self.tasks = tasks
        self.loaded: LoadedModel = load_model(ModelSpec(str(folder), dtype="float32", device="cpu"))
        self.stock: Any = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=1)

    def ours(self, task: str, *, batch_size: int, chat: bool = False, answers: Answers | None = None) -> None:
        lm = recording(MMForgetLM(self.loaded, batch_size=batch_size, cache=None, progress=False), answers)
        settings = Settings(apply_chat_template=chat)
        evaluate(lm, [task], include_paths=[self.tasks], progress=False, settings=settings)

    def others(
        self,
        task: str,
        *,
        batch_size: int,
        chat: bool = False,
        answers: Answers | None = None,
        limit: int | None = None,
    ) -> None:
        self.stock.batch_size_per_gpu = batch_size
        with recorded(self.stock, answers):
            stock_evaluation(self.stock, task, folder=self.tasks, apply_chat_template=chat, limit=limit)

    def best_batch_size(self, task: str, *, chat: bool) -> int:
        """At which stock is fastest."""
        found = {
            size: clock(lambda size=size: self.others(task, batch_size=size, chat=chat, limit=TRIED)).cpu
            for size in BATCH_SIZES
        }
        return min(found, key=found.__getitem__)


def stock_evaluation(
    lm: Any, task: str, *, folder: Path, metadata: Mapping[str, Any] | None = None, **settings: Any
) -> None:
    """What `lm_eval run` does once its model is in memory."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False, metadata=dict(metadata or {}))
    simple_evaluate(model=lm, tasks=[task], task_manager=manager, log_samples=False, **settings)


METHODS = ("loglikelihood", "generate_until")


def recording(lm: Any, answers: Answers | None) -> Any:
    """An lm_eval model that also puts every answer into `answers`, by the texts that were asked."""
    for method in METHODS if answers is not None else ():
        setattr(lm, method, _kept(getattr(lm, method), answers))
    return lm


@contextmanager
def recorded(lm: Any, answers: Answers | None) -> Iterator[None]:
    """Inside, as `recording` does."""
    recording(lm, answers)
    try:
        yield
    finally:
        for method in METHODS:
            vars(lm).pop(method, None)


def _kept(function: Callable[..., list[Any]], answers: Any) -> Callable[..., list[Any]]:
    def kept(requests: Sequence[Any], *args: Any, **kwargs: Any) -> list[Any]:
        found = function(requests, *args, **kwargs)
        answers.update(zip((tuple(map(str, request.args)) for request in requests), found, strict=True))
        return found

    return kept


def _against_stock(context: Context, both: Both, task: str, *, chat: bool = False) -> dict[str, Any]:
    """One task asked by both in turn, everything that lm_eval does included."""
    size = both.best_batch_size(task, chat=chat)
    say(f"text, {task}{', in a chat template' if chat else ''}: stock at batch size {size}")
    works = {"ours": both.ours, "stock": both.others}
    cores = {"ours": both.loaded.core, "stock": both.stock.model}
    answers: dict[str, Answers] = {name: {} for name in works}
    counted, before = {}, {}
    for name, work in works.items():
        with Watch(cores[name]) as watch:
            before[name] = clock(lambda w=work, n=name: w(task, batch_size=size, chat=chat, answers=answers[n]))
        counted[name] = {"tokens_computed": watch.num_tokens}
    timed = {name: (lambda work=work: work(task, batch_size=size, chat=chat)) for name, work in works.items()}
    timings = alternate(timed, repeats=context.repeats, before={"stock": before["stock"]})
    return {
        "batch_size": size,
        "requests": len(answers["ours"]),
        **{name: timing.as_dict() | counted[name] for name, timing in timings.items()},
        **ratios(timings["stock"], timings["ours"]),
        "largest_difference": largest_difference(answers["ours"], answers["stock"]),
    }


def largest_difference(ours: Answers, stock: Answers) -> float:
    """Of the log-likelihoods of the same continuations, in nats a token. Raises RuntimeError where others were asked,
    or a text or the most likely continuation is another.
    """
    if ours.keys() != stock.keys():
        raise RuntimeError(f"stock was asked other things: {next(iter(ours.keys() ^ stock.keys()))}")
    largest = 0.0
    for asked, found in ours.items():
        other = stock[asked]
        if isinstance(found, str):
            if found != other:
                raise RuntimeError(f"{asked[0]!r}: ours writes {found!r}, stock writes {other!r}")
            continue
        if bool(found[1]) != bool(other[1]):
            raise RuntimeError(f"{asked}: only one of both has this as its most likely continuation")
        largest = max(largest, abs(found[0] - other[0]) / len(found.token_logprobs))
    return largest


# -- TOFU --------------------------------------------------------------------------------------------------------------


def whole(context: Context, both: Both) -> dict[str, Any]:
    """The record of TOFU's evaluation, and every metric asked in a pass of its own by stock lm_eval, and by ours."""
    (benchmark,), shape = find_all(TOFU), sizes(context).shape
    bound = benchmark.bind(DataSource("synthetic"))
    names = [task.name for task in benchmark.tasks]
    passes = Counter(name for use in benchmark.metrics for name in tasks_read(benchmark, use))
    say(f"text, {TOFU}: {len(names)} tasks, {sum(passes.values())} passes of {len(benchmark.metrics)} metrics")
    place = _Fresh(context.folder / "text_records", bound, shape)
    whole = alternate({"ours": lambda: place.record(both.loaded)}, repeats=context.repeats)["ours"]
    alone, answers = _alone(both, benchmark, shape=shape)
    found: dict[str, Any] = {
        "batch_size": BATCH_SIZE,
        "tasks": len(names),
        "metrics": len(benchmark.metrics),
        "passes": dict(passes),
        "ours": whole.as_dict(),
        "largest_difference": largest_difference(answers["ours"], answers["stock"]),
    }
    for name, seconds in alone.items():
        total = [sum(seconds[task][clocked] * count for task, count in passes.items()) for clocked in (0, 1)]
        found[f"{name}_alone"] = {
            "wall_s": total[0],
            "cpu_s": total[1],
            "once": {k: v.wall for k, v in seconds.items()},
        }
        found[f"ratio_to_{name}"], found[f"ratio_to_{name}_cpu"] = total[0] / whole.best, total[1] / whole.best_cpu
    return found


def tasks_read(benchmark: Benchmark, use: MetricUse) -> list[str]:
    """The tasks whose answers one metric of the document needs on its set."""
    metric = metric_of(use, document=benchmark.name)
    if isinstance(metric, CompositeMetric):
        sets = benchmark.document.sets
        read = [(sets.get(part.role, part.role), metric_of(part).kind) for part in metric.components]
    else:
        read = [(use.set, metric.kind)]
        if getattr(metric, "other", None) == "holdout" and benchmark.holdout_set is not None:
            read.append((benchmark.holdout_set, metric.kind))
    wanted = {(name, kind) for name, of in read for kind in kinds_read(of)}
    return [task.name for task in benchmark.tasks if (task.set, task.kind) in wanted]


@dataclass
class _Fresh:
    """Where the whole evaluation is stored, each time anew."""

    folder: Path
    bound: Bound
    shape: TextShape
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def record(self, loaded: LoadedModel) -> None:
        """The evaluation as `mmforget eval --output_path` does it: all tasks, all metrics, intervals and files."""
        out = self.folder / str(next(self.numbers))
        config = RunConfig(
            "hf", (TOFU,), data="synthetic", batch_size=BATCH_SIZE, gen_kwargs=_gen_kwargs(self.shape),
            limit=self.shape.limit, output_path=str(out),
        )  # fmt: skip
        place = Place(config, self.bound, out / TOFU)
        measure(loaded, about=AboutModel("base", "bench"), place=place, progress=lambda *_: None)


def _gen_kwargs(shape: TextShape) -> dict[str, Any]:
    return {"max_gen_toks": shape.new_tokens}


def _alone(
    both: Both, benchmark: Benchmark, *, shape: TextShape
) -> tuple[dict[str, dict[str, Seconds]], dict[str, Answers]]:
    """Seconds of each task by itself, stock's and ours, and the answers of all."""
    seconds: dict[str, dict[str, Seconds]] = {"stock": {}, "ours": {}}
    answers: dict[str, Answers] = {"stock": {}, "ours": {}}
    both.stock.batch_size_per_gpu = BATCH_SIZE
    for task in benchmark.tasks:
        say(f"text, {task.name} by itself")
        with recorded(both.stock, answers["stock"]):
            seconds["stock"][task.name] = clock(
                lambda name=task.name, folder=task.path.parent: stock_evaluation(
                    both.stock,
                    name,
                    folder=folder,
                    metadata={"data": "synthetic"},
                    gen_kwargs=_gen_kwargs(shape),
                    limit=shape.limit,
                )
            )
        lm = recording(MMForgetLM(both.loaded, batch_size=BATCH_SIZE, cache=None, progress=False), answers["ours"])
        settings = Settings(gen_kwargs=_gen_kwargs(shape))
        seconds["ours"][task.name] = clock(
            lambda lm=lm, name=task.name, settings=settings: evaluate(
                lm, [name], data=DataSource("synthetic"), limit=shape.limit, progress=False, settings=settings
            )
        )
    return seconds, answers


# -- memory ------------------------------------------------------------------------------------------------------------


def work_of(context: Context, variant: str) -> Callable[[], object]:
    """The five-shot task for one process: `ours` or `stock`, and `wide-` with the large vocabulary."""
    own, tasks = sizes(context), prepare(context)
    kind, _, name = variant.rpartition("-")
    folder = model_folder(context, own.wide if kind else own.geometry)
    if name == "ours":
        loaded = load_model(ModelSpec(str(folder), dtype="float32", device="cpu"))
        lm: Any = MMForgetLM(loaded, batch_size=BATCH_SIZE, cache=None, progress=False)
        return lambda: evaluate(lm, [FIVE_SHOT], include_paths=[tasks], progress=False)
    from lm_eval.models.huggingface import HFLM

    stock = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=BATCH_SIZE)
    # A second full batch takes no more memory than the first.
    return lambda: stock_evaluation(stock, FIVE_SHOT, folder=tasks, limit=TRIED)
