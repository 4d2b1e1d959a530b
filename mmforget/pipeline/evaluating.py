"""One model on any tasks, ours or lm_eval's: what `mmforget eval` does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.find import find_all, read_index
from mmforget.benchmark.source import DataSource
from mmforget.errors import UserError
from mmforget.evaluate.plan import plan
from mmforget.evaluate.run import evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.cache import ResponseCache
from mmforget.model.load import load_model
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.measuring import Place, Subject, cache_file, check_metrics, measure, settings_of
from mmforget.pipeline.stage_one import prepare
from mmforget.pipeline.workers import threads_of
from mmforget.results.files import read_json, write_json
from mmforget.results.store import read_run, safe_name, timestamp

Progress = Callable[[int, int, str], None]


def evaluate_only(
    config: RunConfig, *, blank_control: bool, dry_run: bool, bars: bool, progress: Progress
) -> dict[str, Any]:
    """Evaluate `--model` on `--tasks` and return lm_eval's results, with the key `unlearning` for our benchmarks.

    Tasks that belong to one of our benchmarks get a full record under the output folder, one a benchmark; tasks of
    lm_eval give its results file alone.
    """
    ours = _are_ours(config)
    data = DataSource.parse(config.data, config.model, metadata=config.metadata)
    if ours and dry_run:
        benchmarks = find_all(config.tasks, config.include_path)
        steps = [
            plan(b, models=[config.model], data=b.bind(data), limit=config.limit, blank_control=blank_control)
            for b in benchmarks
        ]
        return {"plan": [step.as_dict() for step in steps]}
    if dry_run:
        return {"plan": [{"task": name} for name in config.tasks]}
    with threads_of(config):
        if ours and config.output_path:
            return _record(config, data=data, blank_control=blank_control, progress=progress)
        return _plain(config, data=data, blank_control=blank_control, bars=bars, progress=progress)


def _are_ours(config: RunConfig) -> bool:
    index = read_index(config.include_path)
    labelled = {file.name for file in (*index.tasks.values(), *index.groups.values()) if file.label is not None}
    return any(name in labelled or any(c in name for c in "*?[") for name in config.tasks)


def _record(config: RunConfig, *, data: DataSource, blank_control: bool, progress: Progress) -> dict[str, Any]:
    documents: dict[str, Any] = {}
    benchmarks = find_all(config.tasks, config.include_path)
    for benchmark in benchmarks:
        check_metrics(benchmark)
    for benchmark in benchmarks:
        bound = benchmark.bind(data)
        loaded = load_model(_spec(config, data=data, progress=progress))
        folder = config.output / safe_name(benchmark.group)
        subject = Subject("base", Path(loaded.spec.pretrained).name)
        place = Place(config, benchmark, bound, folder, blank_control)
        measured = measure(loaded, subject=subject, place=place, progress=progress)
        documents[benchmark.group] = parallel.on_main(partial(_document, measured.folder))
    return next(iter(documents.values())) if len(documents) == 1 else _merged(documents)


def _document(folder: Path) -> Any:
    """The results file of the newest record."""
    return read_json(read_run(folder).path)


def _plain(
    config: RunConfig, *, data: DataSource, blank_control: bool, bars: bool, progress: Progress
) -> dict[str, Any]:
    loaded = load_model(_spec(config, data=data, progress=progress))
    is_cached = parallel.is_main() and (config.use_cache or config.output_path)
    cache = ResponseCache(cache_file(config)) if is_cached else None
    lm = MMForgetLM(loaded, batch_size=config.batch_size, cache=cache, features=run_features(config), progress=bars)
    done = evaluate(
        lm,
        config.tasks,
        include_paths=config.include_path,
        data=data,
        limit=config.limit,
        blank_control=blank_control,
        progress=bars,
        settings=settings_of(config),
    )
    if config.output_path:
        parallel.on_main(lambda: write_json(config.output / f"results_{timestamp()}.json", done.results))
    return done.results


def _spec(config: RunConfig, *, data: DataSource, progress: Progress) -> ModelSpec:
    """The model that was named; for `--model micro` the target model of the benchmark asked for."""
    if config.model != "micro":
        return ModelSpec.parse(config.model_args, device=config.device)
    benchmarks = find_all(config.tasks, config.include_path)
    if len(benchmarks) != 1:
        raise UserError("--model micro has one target model a benchmark; name the tasks of one benchmark")
    benchmark = benchmarks[0]
    return prepare(config, benchmark=benchmark, data=benchmark.bind(data), role="target", progress=progress).spec


def _merged(documents: dict[str, Any]) -> dict[str, Any]:
    """Several benchmarks' results files as one table, each record under its group."""
    merged: dict[str, Any] = {"unlearning": {group: one["unlearning"] for group, one in documents.items()}}
    for key in ("results", "groups", "versions", "n-shot", "higher_is_better", "n-samples", "configs"):
        parts = [one[key] for one in documents.values() if key in one]
        if parts:
            merged[key] = {name: value for part in parts for name, value in part.items()}
    return merged
