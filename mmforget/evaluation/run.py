"""One model on any tasks: lm_eval runs them, and the answers become samples beside lm_eval's own results.

done = evaluate(lm, ["some_benchmark"], data=DataSource("synthetic"))
done.results["results"], done.samples
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmforget import parallel
from mmforget.attacks.base import build_attack
from mmforget.benchmark.document import AttackName
from mmforget.benchmark.source import DataSource
from mmforget.errors import UserError
from mmforget.evaluation.attacking import (
    Attacked,
    attack_tasks,
    chosen_attacks,
    require_access,
    require_rows_of,
)
from mmforget.evaluation.attempting import NO_HELP, Chosen, Helpers
from mmforget.evaluation.prefixed import with_prefixes
from mmforget.evaluation.rewriting import require_attacker
from mmforget.evaluation.samples import BLANK_IMAGE, samples_of
from mmforget.evaluation.swapped import with_swapped
from mmforget.evaluation.tasks import LeftOut, LoadedTasks, load_tasks
from mmforget.evaluation.token_statistics import wanted_statistics
from mmforget.evaluation.undecoded import leave_undecoded
from mmforget.lm import inside
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.progress import Shown
from mmforget.results.fingerprint import hash_docs
from mmforget.results.provenance import model_name
from mmforget.results.schema import Cost, SetUse
from mmforget.training.report import peak_memory, reset_peak_memory
from mmforget.types import Sample, why_unanswered

logger = logging.getLogger(__name__)
COUNTED = ("num_tokens", "num_requests", "num_cached", "num_images_encoded", "num_image_hits")
"""What of a cost grows with every answer."""


@dataclass(frozen=True)
class Settings:
    """What lm_eval lets people set beside the model and the tasks; names and defaults as in `lm_eval run`.

    `samples` names documents by task, `seeds` are those of random, numpy, torch and the choice of examples,
    `log_samples` keeps what lm_eval logs of every document of every task, and `attacks` are those that benchmarks'
    tasks are asked under as well. `retain` are the retain model's samples, for attacks that put its states elsewhere,
    `helpers` whom others ask.
    """

    num_fewshot: int | None = None
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    apply_chat_template: bool | str = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = False
    samples: Mapping[str, Sequence[int]] | None = None
    seeds: tuple[int | None, int | None, int | None, int | None] = (0, 1234, 1234, 1234)
    log_samples: bool = False
    predict_only: bool = False
    write_out: bool = False
    confirm_run_unsafe_code: bool = False
    bootstrap_iters: int = 100_000
    attacks: tuple[str | AttackName, ...] = ()
    retain: Sequence[Sample] = ()
    helpers: Helpers = NO_HELP


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        results: lm_eval's own schema, with stable hashes of the documents as `task_hashes`.
        samples: the answered questions of every task that belongs to a benchmark of ours, and under attacks.
        sets: by set, how much of it was asked.
        left_out: tasks that were named and could not be asked.
        cost: what this evaluation took.
        logged: by task, what lm_eval logs of each document, where that was asked for.
        training: what it took to make the models that were asked, where that was done on the way; `attacks` has by
            attack what it counted in the weights.
    """

    results: dict[str, Any]
    samples: list[Sample]
    sets: dict[str, SetUse]
    left_out: tuple[LeftOut, ...]
    cost: Cost
    logged: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def evaluate(
    lm: MMForgetLM,
    tasks: Sequence[str],
    *,
    include_paths: Sequence[str | Path] = (),
    data: DataSource | None = None,
    limit: float | None = None,
    blank_image: bool | Collection[str] = True,
    progress: Shown = True,
    settings: Settings | None = None,
) -> Evaluation:
    """Runs tasks on a model.

    Args:
        tasks: names of tasks and groups, globs or YAML files; lm_eval's own tasks too, which give results only.
        include_paths: further folders with task files.
        data: where the rows of benchmarks come from.
        limit: documents of each task, or their share where below 1; for a quick look, the record says so.
        blank_image: ask every image task again with grey images, none of them (False), or only the tasks named.
        progress: True shows bars on stderr, False nothing, a function is called with done, total and a label.

    Raises UnknownName and UserError for what the user can have got wrong.
    """
    settings = settings or Settings()
    before, started = lm.cost(), time.monotonic()
    reset_peak_memory(lm.device)
    _seed(settings)
    loaded = load_tasks(tasks, include_paths=include_paths, data=data)
    settings = replace(settings, samples=_chosen(settings.samples, loaded=loaded, limit=limit))
    _apply(settings, loaded=loaded, limit=limit)
    for task in loaded.tasks.values():
        leave_undecoded(task)
        inside.show_turns(task)
    chosen = _chosen_attacks(settings, loaded=loaded, blank_image=blank_image)
    require_access(lm, chosen)
    require_rows_of(lm, loaded, chosen)
    shown, lm.progress = lm.progress, progress
    lm.template = settings.apply_chat_template if isinstance(settings.apply_chat_template, str) else None
    lm.statistics = wanted_statistics(loaded)
    try:
        with inside.bars_off(), inside.quiet(), inside.templates_kept(), inside.prompts_shown(settings.write_out):
            results = _run(lm, loaded, limit=limit, settings=settings)
            inside.without_numbers(results, _unanswered(loaded))
            attacked = _attacked(lm, loaded, chosen=chosen, settings=settings)
            samples = with_prefixes(lm, loaded, _samples(loaded), template=settings.apply_chat_template)
            samples = with_swapped(lm, loaded, samples)
            samples += attacked.samples
    finally:
        lm.progress = shown
    logged = results.pop("samples", {})
    hashes = _hashes(loaded)
    cost = _spent(before, lm.cost(), wall_s=time.monotonic() - started, device=lm.device)
    results |= _about(lm, limit=limit, settings=settings, wall_s=cost.wall_s) | {"task_hashes": hashes}
    left_out = (*loaded.left_out, *attacked.left_out)
    counted = {"attacks": dict(attacked.counted)} if attacked.counted else {}
    return Evaluation(results, samples, _sets(loaded, hashes=hashes), left_out, cost, logged, counted)


def _attacked(lm: MMForgetLM, loaded: LoadedTasks, *, chosen: Sequence[Chosen], settings: Settings) -> Attacked:
    template, retain = settings.apply_chat_template, settings.retain
    return attack_tasks(lm, loaded, chosen=chosen, template=template, retain=retain, helpers=settings.helpers)


def _seed(settings: Settings) -> None:
    """lm_eval's seeds, set before tasks are loaded: some draw their rows."""
    setters: tuple[Callable[[int], object], ...] = (random.seed, np.random.seed, inside.set_torch_seed)
    for set_seed, seed in zip(setters, settings.seeds, strict=False):
        if seed is not None:
            set_seed(seed)


def _chosen(
    samples: Mapping[str, Sequence[int]] | None, *, loaded: LoadedTasks, limit: float | None
) -> dict[str, list[int]] | None:
    """The documents to ask by task, in their order: lm_eval logs unsorted ones under each other's numbers."""
    if samples is None:
        return None
    if limit is not None:
        raise UserError("samples and limit exclude each other; give one of them")
    for name, numbers in samples.items():
        if name not in loaded.tasks:
            raise UserError(f"samples name '{name}', which is not among the tasks that run: {', '.join(loaded.tasks)}")
        count = inside.num_docs(loaded.tasks[name])
        wrong = [n for n in numbers if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < count]
        if wrong or not numbers:
            raise UserError(f"samples of {name}: {wrong or 'none'}; give numbers of documents from 0 to {count - 1}")
    return {name: sorted(set(numbers)) for name, numbers in samples.items()}


def _apply(settings: Settings, *, loaded: LoadedTasks, limit: float | None) -> None:
    """The settings in the places where lm_eval's own command line puts them."""
    if limit is not None and limit <= 0:
        raise UserError(f"limit is {limit}; give a number of documents, or a share of them below 1")
    for name, task in loaded.tasks.items():
        if inside.runs_unsafe_code(task) and not settings.confirm_run_unsafe_code:
            raise UserError(f"task {name} runs code that the model writes; allow it with --confirm_run_unsafe_code")
        if settings.predict_only:
            inside.set_no_metrics(task)
        if settings.gen_kwargs and inside.generates(task):
            inside.set_gen_kwargs(task, settings.gen_kwargs)
        is_heard = inside.set_num_fewshot(task, settings.num_fewshot, seed=settings.seeds[3])
        if settings.num_fewshot and not is_heard:
            logger.warning("task %s is always asked without examples; num_fewshot is ignored", name)


def _run(lm: MMForgetLM, loaded: LoadedTasks, *, limit: float | None, settings: Settings) -> dict[str, Any]:
    _seed(settings)
    results: dict[str, Any] | None = inside.run_tasks(
        lm,
        tasks=loaded.tasks,
        groups=loaded.groups,
        limit=limit,
        bootstrap_iters=settings.bootstrap_iters,
        samples=settings.samples,
        log_samples=settings.log_samples or settings.predict_only,
        write_out=settings.write_out,
        confirm_run_unsafe_code=settings.confirm_run_unsafe_code,
        system_instruction=settings.system_instruction,
        apply_chat_template=settings.apply_chat_template,
        fewshot_as_multiturn=settings.fewshot_as_multiturn,
    )
    if results is None:
        raise UserError("this process is not the first of several; run one process a model")
    for config in results["configs"].values():
        metadata = config.get("metadata") or {}
        if metadata.get("config_source"):
            metadata["config_source"] = "/".join(Path(metadata["config_source"]).parts[-2:])
    return dict(results)


def _unanswered(loaded: LoadedTasks) -> list[str]:
    """The tasks with questions that a guard has no answer to, each said: lm_eval takes those for wrong answers."""
    found = []
    for name, task in loaded.tasks.items():
        answers = inside.answers_of(inside.requests_of(task))
        reasons = [reason for one in answers if (reason := why_unanswered(one))]
        if reasons:
            found.append(name)
            logger.warning("task %s: %d of %d unanswered (%s)", name, len(reasons), len(answers), reasons[0])
    return found


def _samples(loaded: LoadedTasks) -> list[Sample]:
    found: list[Sample] = []
    for name, label in loaded.labels.items():
        requests = inside.requests_of(loaded.tasks[name])
        found += samples_of(
            name, label=label, requests=requests, answers=inside.answers_of(requests),
            choices_of=inside.choices_of(loaded.tasks[name]),
        )  # fmt: skip
    return found


def _blanked(loaded: LoadedTasks, *, wanted: bool | Collection[str]) -> list[str]:
    """The tasks to ask again without their images. Raises UserError for a name that is not among those that run."""
    with_image = [name for name, label in loaded.labels.items() if label.modality != "text"]
    if isinstance(wanted, bool):
        return with_image if wanted else []
    unknown = [name for name in wanted if name not in loaded.labels]
    if unknown:
        raise UserError(f"blank images for {', '.join(unknown)}, which is not among the tasks that run")
    return [name for name in with_image if name in wanted]


def _chosen_attacks(settings: Settings, *, loaded: LoadedTasks, blank_image: bool | Collection[str]) -> list[Chosen]:
    """The blank image, on the tasks that are to be asked without images, then the attacks that are named."""
    blanked = tuple(_blanked(loaded, wanted=blank_image))
    named = chosen_attacks(settings.attacks, loaded=loaded)
    for one in named:
        require_attacker(one.key, one.attack, is_there=settings.helpers.attacker is not None)
    first = [] if any(one.key == BLANK_IMAGE for one in named) else [(BLANK_IMAGE, build_attack(BLANK_IMAGE), blanked)]
    return [*(Chosen(*one) for one in first if blanked), *named]


def _hashes(loaded: LoadedTasks) -> dict[str, str]:
    """A stable hash of the documents of each task; none for a foreign task whose documents hold what has none."""
    found: dict[str, str] = {}
    for name, task in loaded.tasks.items():
        try:
            found[name] = hash_docs(inside.docs_asked(task))
        except TypeError as error:
            if name in loaded.labels:
                raise UserError(f"task {name}: {error}; rows hold texts, numbers and images only") from error
            logger.info("task %s gets no hash of its documents: %s", name, error)
    return found


def _sets(loaded: LoadedTasks, *, hashes: Mapping[str, str]) -> dict[str, SetUse]:
    """How much of every set was asked; where several tasks ask one set, the one that asked least of it."""
    found: list[tuple[str, SetUse]] = []
    for name, label in loaded.labels.items():
        docs = inside.docs_asked(loaded.tasks[name])
        use = SetUse(
            num_questions=len(docs),
            num_expected=inside.num_docs(loaded.tasks[name]),
            num_subjects=len({doc["subject"] for doc in docs}),
            rows_hash=hashes[name],
        )
        found.append((label.set, use))
    return least_asked(found)


def least_asked(uses: Iterable[tuple[str, SetUse]]) -> dict[str, SetUse]:
    """By set the first of its uses that asked least of it."""
    found: dict[str, SetUse] = {}
    for name, use in uses:
        if name not in found or use.num_questions < found[name].num_questions:
            found[name] = use
    return found


def _about(lm: MMForgetLM, *, limit: float | None, settings: Settings, wall_s: float) -> dict[str, Any]:
    """The keys that `lm_eval run` adds to the results, with the same names."""
    names = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
    seeds = dict(zip(names, settings.seeds, strict=True))
    config = {
        **lm.get_model_info(),
        "device": str(lm.device),
        "limit": limit,
        "bootstrap_iters": settings.bootstrap_iters,
        "gen_kwargs": dict(settings.gen_kwargs),
        **seeds,
    }
    template = lm.chat_template(settings.apply_chat_template) if settings.apply_chat_template else None
    about: dict[str, Any] = {
        "config": config,
        "date": time.time() - wall_s,
        "model_source": "mmforget",
        "model_name": model_name(lm.loaded.spec.pretrained),
        "system_instruction": settings.system_instruction,
        "fewshot_as_multiturn": settings.fewshot_as_multiturn,
        "chat_template": template,
        "total_evaluation_time_seconds": str(wall_s),
        **json.loads(_environment()),
    }
    inside.add_tokenizer_info(about, lm)
    return about


@cache
def _environment() -> str:
    """What lm_eval says about the machine, as JSON: the same for the whole process, and slow to find out."""
    is_repository = any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))
    return json.dumps(inside.environment(in_repository=is_repository))


def _spent(before: Cost, after: Cost, *, wall_s: float, device: torch.device) -> Cost:
    differences = {name: getattr(after, name) - getattr(before, name) for name in COUNTED}
    memory = max(parallel.gather(peak_memory(device).num_bytes))
    return replace(after, **differences, wall_s=wall_s, peak_memory_bytes=memory)
