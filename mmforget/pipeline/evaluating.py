"""One model on any tasks, ours or lm_eval's: what `mmforget eval` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.find import find_all
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.evaluation.logged import logged_lines
from mmforget.evaluation.plan import Evaluations, plan
from mmforget.evaluation.run import evaluate
from mmforget.evaluation.tasks import Named, divide, other_names
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import check_place
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.asked import response_cache, settings_of
from mmforget.pipeline.checking import check_document
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.measuring import AboutModel, Place, judge_of, measure
from mmforget.pipeline.models import Models
from mmforget.pipeline.stage_one import prepare
from mmforget.pipeline.workers import threads_of
from mmforget.results.codec import to_jsonable
from mmforget.results.files import read_json, write_json, write_text
from mmforget.results.provenance import model_name
from mmforget.results.samples import samples_file
from mmforget.results.store import read_run, safe_name, timestamp
from mmforget.types import Progress


@dataclass(frozen=True)
class Wanted:
    """What an evaluation is to leave and show, beside its numbers."""

    blank_image: bool = True
    dry_run: bool = False
    bars: bool = True
    log_samples: bool = False
    predict_only: bool = False
    write_out: bool = False
    confirm_run_unsafe_code: bool = False


@dataclass(frozen=True)
class Output:
    """Where `--output_path` puts things: a folder for records, and a results file where it is called so."""

    folder: Path | None
    file: Path | None = None

    @classmethod
    def of(cls, text: str | None) -> Output:
        if text is None:
            return cls(None)
        path = Path(text).expanduser()
        return cls(path.with_suffix(""), path) if path.suffix == ".json" else cls(path)


@dataclass(frozen=True)
class EvaluationPlan:
    """What `mmforget eval` does with one model.

    Attributes:
        config: what was asked for.
        named: the tasks by whose they are.
        model: its name.
        benchmarks: those that tasks belong to, each with its data and all that the model is asked of it.
    """

    config: RunConfig
    wanted: Wanted
    place: Output
    data: DataSource
    named: Named
    model: str
    benchmarks: tuple[tuple[Bound, Evaluations], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the names of lm_eval's own tasks spelled out."""
        others = other_names(self.named, data=self.data)
        asked = [evaluations.as_dict() for _, evaluations in self.benchmarks]
        return {"plan": [*asked, *({"model": self.model, "task": name} for name in others)]}


def make_evaluation_plan(config: RunConfig, *, wanted: Wanted) -> EvaluationPlan:
    """Raises UserError, UnknownName and PluginError for whatever would stop the evaluation, but what loading shows."""
    place = Output.of(config.output_path)
    named = divide(config.tasks, include_paths=config.include_path)
    folders = tuple(map(str, named.include_paths))
    config = replace(config, output_path=str(place.folder) if place.folder else None, include_path=folders)
    data = DataSource.parse(config.data, config.model, metadata=config.metadata)
    settings_of(config)
    model = "target"
    if config.model != "micro":
        spec = config.with_pretrained(None)
        check_place(spec)
        spec.target_device()
        model = model_name(spec.pretrained)
    found = find_all(named.ours, config.include_path) if named.ours else []
    asked = tuple(_asked(config, bound=one.bind(data), model=model, wanted=wanted) for one in found)
    return EvaluationPlan(config, wanted, place, data, named, model, asked)


def _asked(config: RunConfig, *, bound: Bound, model: str, wanted: Wanted) -> tuple[Bound, Evaluations]:
    """All that the model is asked of one benchmark, with the number of documents that were chosen."""
    check_document(bound.benchmark)
    judge_of(config, bound=bound)
    found = plan(bound, models=[model], limit=config.limit, blank_image=wanted.blank_image)
    samples = config.asking.samples or {}
    changed = (replace(s, num_rows=len(set(samples[s.task]))) if s.task in samples else s for s in found.steps)
    return bound, replace(found, steps=tuple(changed))


def evaluate_only(config: RunConfig, *, wanted: Wanted, progress: Progress) -> dict[str, Any]:
    """Evaluate `--model` on `--tasks` and return lm_eval's results, with the key `unlearning` for our benchmarks.

    Tasks that belong to one of our benchmarks get a full record under the output folder, one a benchmark; tasks of
    lm_eval give its results file and, where asked for, its sample files. An output path that ends in `.json` is the
    name of the results file, as in lm_eval, and records go to a folder of that name beside it. For a dry run, the plan.
    """
    made = make_evaluation_plan(config, wanted=wanted)
    if wanted.dry_run:
        return made.as_dict()
    with threads_of(config):
        documents = _evaluated(made, progress=progress)
    document = documents[0] if len(documents) == 1 else _merged(documents)
    if made.place.file is not None:
        path = made.place.file.with_name(f"{made.place.file.stem}_{timestamp()}.json")
        parallel.on_main(lambda: write_json(path, to_jsonable(document, strict=False).value))
    return document


def _evaluated(made: EvaluationPlan, *, progress: Progress) -> list[dict[str, Any]]:
    """The results files: one a benchmark that gets a record, and one of all other tasks."""
    models = Models()
    loaded = models.get(_spec(made, models=models, progress=progress))
    documents: list[dict[str, Any]] = []
    rest = [*made.named.ours, *made.named.others]
    if made.config.output_path and not made.wanted.predict_only:
        rest = made.named.others
        for bound, _ in made.benchmarks:
            documents.append(_record(loaded, bound, made=made, progress=progress))
    if rest:
        documents.append(_plain(loaded, rest, made=made))
    return documents


def _record(loaded: LoadedModel, bound: Bound, *, made: EvaluationPlan, progress: Progress) -> dict[str, Any]:
    folder = made.config.output / safe_name(bound.benchmark.group)
    about = AboutModel("base", Path(loaded.spec.pretrained).name)
    place = Place(made.config, bound, folder, made.wanted.blank_image)
    measured = measure(loaded, about=about, place=place, progress=progress)
    found: dict[str, Any] = parallel.on_main(partial(_document, measured.folder))
    return found


def _document(folder: Path) -> Any:
    """The results file of the newest record."""
    return read_json(read_run(folder).path)


def _plain(loaded: LoadedModel, names: Sequence[str], *, made: EvaluationPlan) -> dict[str, Any]:
    """Tasks whose results are lm_eval's alone."""
    config, wanted, place = made.config, made.wanted, made.place
    cache = response_cache(config)
    features = run_features(config)
    lm = MMForgetLM(loaded, batch_size=config.batch_size, cache=cache, features=features, progress=wanted.bars)
    done = evaluate(
        lm,
        names,
        include_paths=config.include_path,
        data=made.data,
        limit=config.limit,
        blank_image=wanted.blank_image and not wanted.predict_only,
        progress=wanted.bars,
        settings=replace(
            settings_of(config),
            log_samples=wanted.log_samples,
            predict_only=wanted.predict_only,
            write_out=wanted.write_out,
            confirm_run_unsafe_code=wanted.confirm_run_unsafe_code,
        ),
    )
    results: dict[str, Any] = to_jsonable(done.results, strict=False).value
    if place.folder is not None:
        folder = place.file.parent if place.file else place.folder
        parallel.on_main(lambda: _write_plain(folder, results if place.file is None else None, logged=done.logged))
    return results


def _write_plain(
    folder: Path, results: Mapping[str, Any] | None, *, logged: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """lm_eval's files: the samples of each task, then the results."""
    time = timestamp()
    for task, samples in logged.items():
        write_text(folder / samples_file(f"{task}_{time}"), logged_lines(samples))
    if results is not None:
        write_json(folder / f"results_{time}.json", results)


def _spec(made: EvaluationPlan, *, models: Models, progress: Progress) -> ModelSpec:
    """The model that was named; for `--model micro` the target model of the benchmark asked for."""
    if made.config.model != "micro":
        return made.config.with_pretrained(None)
    if len(made.benchmarks) != 1:
        raise UserError("--model micro has one target model a benchmark; name the tasks of one benchmark")
    return prepare(made.config, bound=made.benchmarks[0][0], role="target", models=models, progress=progress).spec


def _merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several results files as one: each record under its group, each task's numbers, the first one's other keys."""
    merged: dict[str, Any] = {key: value for key, value in documents[0].items() if not isinstance(value, dict)}
    merged |= {"config": documents[0].get("config", {})}
    records = {one["unlearning"]["benchmark"]["group"]: one["unlearning"] for one in documents if "unlearning" in one}
    for key in MERGED:
        parts = [one[key] for one in documents if key in one]
        if parts:
            merged[key] = {name: value for part in parts for name, value in part.items()}
    return merged | ({"unlearning": records} if records else {})


MERGED = (
    "results", "groups", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples", "configs",
    "task_hashes",
)  # fmt: skip
"""Keys of lm_eval's results that go by task."""
