"""Measuring one model on a benchmark: evaluate, score against target and retain model, store the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mmforget import __version__, parallel
from mmforget.attacks.base import ATTACKS
from mmforget.attacks.naming import attack_of
from mmforget.benchmark.spec import Bound
from mmforget.benchmark.task_files import hashes_below
from mmforget.errors import UserError
from mmforget.evaluation.answers import Answers
from mmforget.evaluation.attacking import APPLIES_TO_NONE, why_not_behind_a_guard
from mmforget.evaluation.record import score_record
from mmforget.evaluation.run import Evaluation, evaluate
from mmforget.evaluation.sequence import Sequenced
from mmforget.judges.base import Judge
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.arguments import named_metrics
from mmforget.model.experts import describe
from mmforget.model.finite import not_finite
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.answers import example_answers
from mmforget.pipeline.asked import in_words, response_cache, settings_of
from mmforget.pipeline.checking import attacks_of
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.dividing import described, division_of, is_divided, told_rows
from mmforget.pipeline.features import run_features
from mmforget.pipeline.fitting import borders
from mmforget.pipeline.helping import about_helpers, helpers_of
from mmforget.pipeline.judging import Judged, find_judge, judged
from mmforget.plugins import code_of
from mmforget.results.codec import to_jsonable
from mmforget.results.files import read_yaml
from mmforget.results.fingerprint import hash_docs, hash_json
from mmforget.results.provenance import Begun, begin, collect, model_name
from mmforget.results.schema import BenchmarkUse, MethodUse, Provenance, Role, RunRecord, SetUse
from mmforget.results.store import read_run, write_config, write_results, write_run
from mmforget.types import Progress

Rows = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class AboutModel:
    """What is said of a measured model: role and name, and of an unlearned one the method, training and requests.

    `is_guarded`: the method puts a guard before it, although there is no one model that has it.
    """

    role: Role
    name: str
    method: MethodUse | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    sequence: Sequenced | None = None
    is_guarded: bool = False


@dataclass(frozen=True)
class Measured:
    """A stored record with the answers that others are compared with, scored once for all of them."""

    record: RunRecord
    samples: Answers
    folder: Path


@dataclass(frozen=True)
class Place:
    """Where and on what a model is measured; whether image tasks are asked with grey images, too, and under attacks."""

    config: RunConfig
    bound: Bound
    folder: Path
    blank_image: bool = True
    attacked: bool = True


class Evaluating(Protocol):
    """What asks the questions, told how to say how far it is."""

    def __call__(self, *, progress: Progress) -> Evaluation: ...


def measure(
    loaded: LoadedModel,
    *,
    about: AboutModel,
    place: Place,
    target: Measured | None = None,
    retain: Measured | None = None,
    progress: Progress,
    evaluating: Evaluating | None = None,
) -> Measured:
    """Evaluate a model and store its record; a record of the same model, data and settings is read, not made again.

    Args:
        evaluating: asks in place of the model itself, as what `loaded.fingerprint` names.
    """
    key = _key(loaded, about=about, place=place, target=target, retain=retain)
    stored = parallel.on_main(lambda: _stored(place.folder, key=key))
    if stored is not None:
        return stored
    begun = begin()
    judge = judge_of(place.config, bound=place.bound)
    label = f"{place.bound.benchmark.group}: measure {about.name}"
    progress(0, 1, label)
    ask = evaluating or partial(evaluate_tasks, loaded, place=place, retain=retain)
    done = ask(progress=_labelled(progress, label=label))

    def store() -> Measured:
        answered = judged(done.samples, benchmark=place.bound.benchmark, judge=judge)
        record = _record(
            loaded, about=about, place=place, done=done, answered=answered, target=target, retain=retain, begun=begun
        )  # fmt: skip
        config = {**place.config.as_dict(), "measured": about.name, "key": key}
        # Without a key until all is stored: killed in between, no half of two records passes for a whole.
        write_config(place.folder, {**config, "key": None})
        write_run(place.folder, record, samples=answered.samples, lm_eval=done.results, config=config)
        return Measured(record, answered.samples, place.folder)

    measured = parallel.on_main(store)
    progress(1, 1, label)
    return measured


def is_one_at_a_time(config: RunConfig, *, bound: Bound) -> bool:
    """Whether each subject is forgotten alone, by the benchmark's document or by the flag."""
    return config.one_at_a_time or bound.benchmark.document.one_at_a_time


def rule_on_retain(retain: Measured, *, target: Measured, bound: Bound) -> Measured:
    """The retain model's record with the target's samples to rule by, which exist only now; stored in its place."""
    return parallel.on_main(lambda: _ruled(retain, target=target, bound=bound))


def _ruled(retain: Measured, *, target: Measured, bound: Bound) -> Measured:
    fingerprint = str(target.record.model_info["fingerprint"])
    if retain.record.references.get("target") == fingerprint:
        return retain
    before = read_run(retain.folder)
    record = score_record(
        before.record,
        bound=bound,
        samples=retain.samples,
        target=target.samples,
        retain=retain.samples,
    )
    record = replace(record, references={**record.references, "target": fingerprint})
    write_results(retain.folder, record, lm_eval=before.lm_eval)
    # Whoever measures in the same folder at the same time may have done so already.
    before.path.unlink(missing_ok=True)
    return replace(retain, record=record)


def judge_of(config: RunConfig, *, bound: Bound) -> Judge | None:
    """The run's judge; None where no metric of the benchmark asks one."""
    return find_judge(config.judge, bound=bound, device=config.device)


def _labelled(progress: Progress, *, label: str) -> Progress:
    return lambda done, total, what: progress(done, total, f"{label}: {what}")


def evaluate_tasks(
    loaded: LoadedModel, *, place: Place, progress: Progress, rows: Rows | None = None, retain: Measured | None = None
) -> Evaluation:
    """The benchmark's tasks on a model, with the response cache, and under attacks.

    Args:
        rows: by task the places of the rows to ask, of which limit knows nothing; other tasks are not asked. Unless
            given, all rows, but for those of the validation part where there is one.
        retain: the retain model's record, whose states attacks may put into this one.
    """
    config = place.config
    division = division_of(config, bound=place.bound)
    if rows is None and division is not None:
        rows = told_rows(config, division=division)
    named = attacks_of(config, benchmark=place.bound.benchmark) if place.attacked else ()
    attacks = tuple(one for one in named if loaded.guard is None or why_not_behind_a_guard(attack_of(one.key)) is None)
    helpers = helpers_of(config, bound=place.bound)
    settings = replace(settings_of(config), attacks=attacks, retain=retain.samples if retain else (), helpers=helpers)
    cache = response_cache(config)
    lm = MMForgetLM(loaded, batch_size=config.batch_size, cache=cache, features=run_features(config), progress=progress)
    return evaluate(
        lm,
        [task.name for task in place.bound.benchmark.tasks] if rows is None else list(rows),
        include_paths=config.include_path,
        data=place.bound.data,
        limit=config.limit if rows is None else None,
        blank_image=place.blank_image,
        settings=settings if rows is None else replace(settings, samples=rows),
        progress=progress,
    )


def _sets(done: Evaluation, *, place: Place) -> dict[str, SetUse]:
    """How much of every set was asked.

    Where subjects are forgotten one at a time a set is asked in parts of the models after, and in one go of the model
    before: there its questions, in whatever order, say which rows these are. Of a set that is divided the test part
    counts.
    """
    division = division_of(place.config, bound=place.bound)
    if division is not None:
        told = {name: len(division.places(name, validation=False)) for name in done.sets}
        return {name: replace(use, num_expected=told[name]) for name, use in done.sets.items()}
    if not is_one_at_a_time(place.config, bound=place.bound):
        return dict(done.sets)
    found: dict[str, set[tuple[str, str, str]]] = {name: set() for name in done.sets}
    for sample in done.samples:
        if sample.attack is None and sample.set in found:
            found[sample.set].add((sample.id, sample.question, sample.answer))
    return {name: replace(use, rows_hash=hash_json(sorted(found[name]))) for name, use in done.sets.items()}


def _record(
    loaded: LoadedModel,
    *,
    about: AboutModel,
    place: Place,
    done: Evaluation,
    answered: Judged,
    target: Measured | None,
    retain: Measured | None,
    begun: Begun,
) -> RunRecord:
    bound, benchmark, samples = place.bound, place.bound.benchmark, answered.samples
    record = RunRecord(
        role=about.role,
        name=about.name,
        benchmark=BenchmarkUse(
            benchmark.name,
            benchmark.setting,
            bound.data.profile,
            benchmark.group,
            benchmark.title,
            benchmark.modality,
            asked=in_words(place.config),
            blur_images=benchmark.document.blur_images,
            one_at_a_time=is_one_at_a_time(place.config, bound=bound),
        ),
        method=about.method,
        model_info={**model_info(loaded), **borders(loaded, config=place.config, bound=place.bound)},
        data={
            **bound.describe()["data"],
            "left_out": _left_out(place, is_guarded=about.is_guarded or loaded.guard is not None, done=done),
            **described(place.config, bound=bound),
        },
        provenance=_provenance(loaded, begun=begun, seeds=_seeds(about)),
        sets=_sets(done, place=place),
        training={**about.training, **done.training},
        cost=done.cost,
        judge=answered.by,
        references={
            name: str(one.record.model_info["fingerprint"])
            for name, one in (("target", target), ("retain", retain))
            if one is not None
        },
    )
    before = samples if about.role == "target" else target.samples if target else None
    gold = retain.samples if retain else samples if about.role == "retain" else None
    scored = score_record(record, bound=bound, samples=samples, target=before, retain=gold)
    answers = example_answers(bound, samples=samples, target=before or (), retain=gold or ())
    if about.sequence is not None:
        found = about.sequence.result(benchmark, target=before or (), last=samples, retain=gold)
        scored = replace(scored, sequence=found)
    return replace(scored, examples=answers)


def _left_out(place: Place, *, is_guarded: bool, done: Evaluation) -> list[str]:
    """Tasks that could not be asked, and attacks that were not made, with the reason."""
    made = {sample.attack for sample in done.samples}
    idle = [one for one in attacks_of(place.config, benchmark=place.bound.benchmark) if one.key not in made]
    barred = {one.key: why_not_behind_a_guard(attack_of(one.key)) for one in idle if is_guarded}
    why = {one.key: barred.get(one.key) or APPLIES_TO_NONE for one in idle}
    told = [": ".join(item) for item in done.left_out]
    return list(dict.fromkeys([*told, *(f"attack {key}: {reason}" for key, reason in why.items())]))


def _provenance(loaded: LoadedModel, *, begun: Begun, seeds: Mapping[str, int]) -> Provenance:
    """Where the record comes from; device and command say how many processes there were, if several."""
    found, count = collect(begun, device=str(loaded.device), seeds=seeds), parallel.world_size()
    if count == 1:
        return found
    launched = ("torchrun", "--nproc-per-node", str(count), "-m", "mmforget", *found.command[1:])
    return replace(found, device=f"{found.device}, {count} processes", command=launched)


MAX_NOT_FINITE = 10
"""Weights that hold NaN or infinity and are named in the record."""


def model_info(loaded: LoadedModel) -> dict[str, Any]:
    """What identifies the model in its record."""
    experts, guard = describe(loaded.core), loaded.guard
    return {
        "pretrained": model_name(loaded.spec.pretrained),
        "fingerprint": loaded.fingerprint,
        "base_fingerprint": loaded.base_fingerprint or loaded.fingerprint,
        "dtype": str(loaded.core.dtype).removeprefix("torch."),
        "quantisation": loaded.quantisation,
        "num_parameters": loaded.core.num_parameters(),
        "not_finite": not_finite(loaded.model)[:MAX_NOT_FINITE],
        **({} if experts is None else {"experts": experts}),
        **({} if guard is None else {"guard": {"method": guard.name, "arguments": dict(guard.arguments)}}),
    }


def _seeds(about: AboutModel) -> dict[str, int]:
    """Seed of the training that made the model, where it was trained here."""
    if about.method is not None:
        return {"training": about.method.seed}
    settings = about.training.get("settings")
    stage = "relearning" if about.role == "relearned" else "stage_one"
    return {stage: int(settings["seed"])} if settings else {}


def _key(
    loaded: LoadedModel, *, about: AboutModel, place: Place, target: Measured | None, retain: Measured | None
) -> str:
    """Identifies a measurement: model, what it is compared with, tasks, data and every setting that counts.

    How the model's settings were chosen counts, too: the same ones may be the best of more trials, or of none.
    """
    references = [one.record.model_info["fingerprint"] if one else None for one in (target, retain)]
    tuning = about.training.get("tuning")
    tuned = {} if tuning is None else {"tuning": to_jsonable(tuning).value}
    return hash_json({"model": loaded.fingerprint, "references": references, **tuned, **_questions(place)})


def asking_key(place: Place) -> str:
    """Identifies what a model is asked and how: tasks, rows and every setting that counts."""
    return hash_json(_questions(place))


def _questions(place: Place) -> dict[str, Any]:
    config, benchmark = place.config, place.bound.benchmark
    settings = {k: getattr(config, k) for k in ("limit", "num_fewshot", "gen_kwargs", "apply_chat_template")}
    return {
        "version": __version__,
        "tasks": [task.name for task in benchmark.tasks],
        "files": hashes_below({task.path.parent for task in benchmark.tasks}),
        "benchmark": place.bound.describe(),
        "rows": _rows(place.bound),
        "settings": {**settings, "asking": asdict(config.asking)},
        "blank_image": place.blank_image,
        **({"one_at_a_time": True} if config.one_at_a_time else {}),
        **({"attacked": False} if not place.attacked else {}),
        **({"divided": True} if is_divided(config) else {}),
        **({"attacks": [one.key for one in config.attacks]} if config.attacks else {}),
        "judge": config.judge,
        **about_helpers(config, bound=place.bound),
        **_plugins(place),
    }


def _rows(bound: Bound) -> dict[str, str]:
    """A hash of the rows of each set that is asked, pictures by their bytes: it changes with every file of theirs."""
    sets = dict.fromkeys(task.set for task in bound.benchmark.tasks)
    stored = {name: bound.rows(name).with_format("arrow")[:] for name in sets}
    return {name: hash_docs(table.to_pylist()) for name, table in stored.items()}


def _plugins(place: Place) -> dict[str, dict[str, str]]:
    """The code of the metrics, attacks and the judge that other packages bring; nothing where there are none."""
    benchmark, judge = place.bound.benchmark, judge_of(place.config, bound=place.bound)
    code = {metric.name: code_of(metric) for metric in named_metrics(benchmark.document).values()}
    named = attacks_of(place.config, benchmark=benchmark)
    code |= {f"attack {one.attack}": code_of(ATTACKS.get(one.attack)) for one in named}
    code |= {} if judge is None else {f"judge {judge.name}": code_of(judge)}
    found = {name: one for name, one in code.items() if one is not None}
    return {"plugins": found} if found else {}


def _stored(folder: Path, *, key: str) -> Measured | None:
    """The record in `folder` if it is whole and of this very measurement."""
    config_file = folder / "run.yaml"
    if not config_file.is_file() or not any(folder.glob("results_*.json")):
        return None
    try:
        config = read_yaml(config_file)
        if not isinstance(config, dict) or config.get("key") != key:
            return None
        run = read_run(folder)
        return Measured(run.record, Answers(run.samples()), folder)
    except UserError:
        # A record or a configuration that was cut short is measured again; its answers are still in the response cache.
        return None
