"""MedForget (arXiv 2512.09867): official parquet files or the synthetic twin, as Rows.

    load(unlearning={"set": "forget", "setting": "patient"}, data="synthetic")["test"]

`load` is every task's `custom_dataset`; `--metadata` settings arrive as further keywords. A row's `path` ends at the
level its question is about: a patient's name stands at (institution, patient), and forgetting one of the studies leaves
it. `--metadata '{"forget_path": "inst_03/pat_0012"}'` (or --forget_path) forgets a subtree of the training rows in
place of the files' own split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmforget.benchmark import images
from mmforget.benchmark.files import is_hidden, stamp
from mmforget.benchmark.hierarchy import divide, relation
from mmforget.benchmark.medical_records import LEVELS, MedicalQuestion, Reader
from mmforget.benchmark.rows import EmptySet, candidates, check_rows, make_dataset
from mmforget.benchmark.source import LoadOptions, asked_for, options_from
from mmforget.errors import BadData, UserError
from mmforget.metrics.lm_eval import clean_scores, response_of, sample_of
from mmforget.results.fingerprint import hash_file
from mmforget.synthetic import hospital as synthetic
from mmforget.synthetic.hospital_scans import Scan, draw
from mmforget.synthetic.portraits import HELD_OUT_VIEW, TRAIN_VIEWS

if TYPE_CHECKING:
    import datasets

__all__ = ["candidates", "describe", "load", "notes", "process"]

SETS = ("full", "full_retain", "forget", "retain", "rephrase")
METRIC_NAMES = ("answer_accuracy", "rouge_l_f1", "exact_match", "degenerate")
DEFAULT_SETTING = "patient"
UNUSED = ("num_subjects", "portraits", "perturbed", "revision")
NO_HUB = (
    "MedForget's data are made of MIMIC-CXR, which PhysioNet gives to credentialed users alone, so nothing is fetched; "
    "give --data FOLDER with the official parquet files, or --data synthetic"
)


class Question(NamedTuple):
    """One question, and of the twin's its scan and which wording it is; official ones bring their picture."""

    said: MedicalQuestion
    scan: Scan | None = None
    wording: int = 0

    @property
    def path(self) -> tuple[str, ...]:
        return self.said.path


class Corpus(NamedTuple):
    """Everything the files say, before any choice of set.

    `asked` is what forget and retain sets are cut from where a path says what to forget; `forget` and `retain` are the
    files' own, or None where there are none.
    """

    full: tuple[Question, ...]
    asked: tuple[Question, ...]
    forget: tuple[Question, ...] | None
    retain: tuple[Question, ...] | None
    rephrase: tuple[Question, ...]
    facts: Mapping[str, Any]
    remarks: tuple[str, ...]


class Request(NamedTuple):
    """Which rows are asked for: hashable, so that each is made once a process."""

    set: str
    setting: str
    data: str
    forget_path: str | None
    seed: int


def load(*, unlearning: Mapping[str, Any], **keywords: Any) -> dict[str, datasets.Dataset]:
    """The rows of a set as `{"test": Dataset}`.

    Args:
        unlearning: the label of the task that asks: `set`, and `setting` where the task fixes one.
        keywords: `--metadata` settings (`source.OPTION_NAMES`) among whatever else lm_eval passes on.

    Raises UserError, and EmptySet where the data cannot fill the set.
    """
    request = _request(unlearning, options_from(keywords))
    return {"test": _dataset(request, _stamp(request.data))}


def notes(*, unlearning: Mapping[str, Any], **keywords: Any) -> list[str]:
    """What was guessed, joined or made up in reading, with counts, and what the data lack."""
    return list(_corpus(_request(unlearning, options_from(keywords))).remarks)


def describe(*, unlearning: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    """Counts of nodes and questions, what is forgotten, file hashes and the protocol, for the run record."""
    request = _request(unlearning, options_from(keywords))
    corpus = _corpus(request)
    path = _forget_path(request)
    nodes = {name: {q.path[: size + 1] for q in corpus.full if len(q.path) > size} for size, name in enumerate(LEVELS)}
    kinds = Counter(question.said.task for question in corpus.full)
    return {
        **corpus.facts,
        "num_nodes": {name: len(found) for name, found in nodes.items()},
        "num_questions": dict(sorted(kinds.items())),
        "forgotten": path or [list(target) for target in _targets(corpus.forget or (), level=request.setting)],
        "protocol": "official" if path is None else f"everything below {path}, cut from the training rows",
    }


def process(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """`process_results`: clean scores of one generated answer by metric name; NaN where a metric does not score it."""
    return clean_scores(METRIC_NAMES, sample_of(doc, kind="gen", response=response_of(results)))


def _request(unlearning: Mapping[str, Any], options: LoadOptions) -> Request:
    name, setting = asked_for(unlearning, options, benchmark="medforget", sets=SETS, settings=LEVELS)
    given = [key for key in UNUSED if getattr(options, key) is not None]
    if given:
        raise UserError(f"--metadata {', '.join(given)} means nothing to medforget; leave it out")
    if options.source.kind == "hub":
        raise UserError(NO_HUB)
    return Request(
        set=name,
        setting=setting or DEFAULT_SETTING,
        data=str(options.source.path or options.source.kind),
        forget_path=options.forget_path,
        seed=options.seed,
    )


@lru_cache(maxsize=64)
def _dataset(request: Request, stamp: tuple[Any, ...]) -> datasets.Dataset:
    docs = _chosen(request, _corpus(request))
    if not docs:
        what = f"below {request.forget_path}" if request.forget_path else f"of the setting {request.setting}"
        raise EmptySet(f"medforget set '{request.set}' is empty with --data {request.data}: no such rows {what}")
    check_rows(docs, source=f"medforget {request.set} ({request.data})")
    return make_dataset(docs)


def _chosen(request: Request, corpus: Corpus) -> list[dict[str, Any]]:
    """The docs of a set: below a path and all others, or as the files have them."""
    path = _forget_path(request)
    if request.set == "full":
        return [_doc(question) for question in corpus.full]
    if path is None:
        return [_doc(question) for question in _as_filed(request, corpus)]
    divide([{"path": question.path} for question in corpus.asked], path)
    pool = {"full_retain": corpus.full, "rephrase": corpus.rephrase}.get(request.set, corpus.asked)
    wants_inside = request.set in ("forget", "rephrase")
    return [_doc(question) for question in pool if (relation(question.path, path) == "inside") == wants_inside]


def _as_filed(request: Request, corpus: Corpus) -> Sequence[Question]:
    """A set as the files of the level have it; the retain model learns nothing of, at or below what they forget."""
    if corpus.forget is None or corpus.retain is None:
        raise UserError(
            f"{request.data}: no {request.setting}_level folder with forget_set_*.parquet and retain_set_*.parquet, so "
            "the files do not say what to forget; give such a folder, or name a subtree with --forget_path"
        )
    targets, size = _targets(corpus.forget, level=request.setting), LEVELS.index(request.setting) + 1
    named = {_key(question) for question in corpus.forget}
    kept = [q for q in corpus.full if q.path[:size] not in targets and _key(q) not in named]
    return {"forget": corpus.forget, "retain": corpus.retain, "rephrase": corpus.rephrase, "full_retain": kept}[
        request.set
    ]


def _key(question: Question) -> tuple[str, str, str]:
    """What makes two rows of different files the same question."""
    return question.said.image_id, question.said.question, question.said.answer


def _forget_path(request: Request) -> str | None:
    if request.forget_path is None and request.data == "synthetic":
        return synthetic.FORGOTTEN[request.setting]
    return request.forget_path


def _targets(questions: Sequence[Question], *, level: str) -> list[tuple[str, ...]]:
    """The nodes of a level that questions lie at or below, in order; questions about what is above have none."""
    size = LEVELS.index(level) + 1
    return list(dict.fromkeys(question.path[:size] for question in questions if len(question.path) >= size))


def _doc(question: Question) -> dict[str, Any]:
    said = question.said
    extra: dict[str, Any] = {"task": said.task, "level": said.level, "image_id": said.image_id}
    view = 0
    if question.scan is not None:
        held_out = question.wording >= synthetic.NUM_WORDINGS
        view = HELD_OUT_VIEW if held_out else TRAIN_VIEWS[question.wording % len(TRAIN_VIEWS)]
        extra["view"] = view
    return {
        "id": said.id,
        "subject": "/".join(said.path),
        "images": [said.image if question.scan is None else _drawn(question.scan, view)],
        "question": said.question,
        "answer": said.answer,
        "path": said.path,
        "extra": extra,
    }


@lru_cache(maxsize=4096)
def _drawn(scan: Scan, view: int) -> images.ImageValue:
    return images.from_picture(draw(scan, view=view))


def _corpus(request: Request) -> Corpus:
    return _read(request.data, request.setting, request.seed, _stamp(request.data))


@lru_cache(maxsize=8)
def _read(data: str, setting: str, seed: int, stamp: tuple[Any, ...]) -> Corpus:
    if data == "synthetic":
        return _synthetic(seed=seed)
    folder = Path(data)
    if not folder.is_dir():
        raise UserError(f"{data}: give the folder that holds the official files, not one of them")
    return _official(folder=folder, setting=setting)


def _synthetic(*, seed: int) -> Corpus:
    records, reader = synthetic.records(seed=seed), Reader([], Counter())
    scans = [Scan.from_dict(record["scan"]) for record in records]
    found = [
        Question(said, scans[said.row], records[said.row]["wording"])
        for said in reader.questions(records, source="synthetic record", with_images=False)
    ]
    if reader.faults:
        raise BadData("synthetic hospitals", faults=reader.faults)
    full = tuple(question for question in found if question.wording < synthetic.NUM_WORDINGS)
    asked = tuple(question for question in full if question.wording == 0)
    held_out = tuple(question for question in found if question.wording >= synthetic.NUM_WORDINGS)
    return Corpus(full, asked, None, None, held_out, {"generator_seed": seed}, ())


def _official(*, folder: Path, setting: str) -> Corpus:
    level, training = folder / f"{setting}_level", _training_file(folder)
    paths = {name: _split_file(level, name) for name in ("forget", "retain", "rephrase")}
    if training is None and (paths["forget"] is None or paths["retain"] is None):
        raise UserError(
            f"{folder}: no MedForget files; needed: {level.name}/forget_set_all.parquet and retain_set_all.parquet, "
            "and the training parquet beside the level folders"
        )
    reader, remarks = Reader([], Counter()), list[str]()
    parts = {name: None if path is None else tuple(map(Question, reader.file(path))) for name, path in paths.items()}
    if training is not None:
        full = tuple(map(Question, reader.file(training)))
    else:
        full = (*(parts["forget"] or ()), *(parts["retain"] or ()))
        remarks.append(f"no training parquet: stage one learns {level.name}'s forget and retain files together")
    if parts["rephrase"] is None:
        remarks.append(f"no rephrased questions in {level.name}: the rephrase tasks are left out")
    if reader.faults:
        raise BadData(str(folder), faults=reader.faults)
    files = [path for path in (training, *paths.values()) if path is not None]
    facts = {"sha256": {str(path.relative_to(folder)): hash_file(path) for path in files}}
    rephrase = parts["rephrase"] or ()
    return Corpus(full, full, parts["forget"], parts["retain"], rephrase, facts, (*remarks, *reader.remarks()))


def _training_file(folder: Path) -> Path | None:
    """The parquet file with everything the target model learns: the only one there, or `train*` or `full*`."""
    found = sorted(path for path in folder.glob("*.parquet") if not is_hidden(path, below=folder))
    named = [path for path in found if path.name.startswith(("train", "full"))]
    chosen = found if len(found) == 1 else named
    if len(chosen) > 1 or (found and not chosen):
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: which parquet file is for training ({names})? Name one of them train.parquet")
    return chosen[0] if chosen else None


def _split_file(folder: Path, name: str) -> Path | None:
    """`<name>_set_all.parquet`, or the only `<name>_set_*.parquet`. Rephrased forget rows may also be named so."""
    found = sorted(folder.glob(f"{name}_set_*.parquet"))
    if name == "rephrase":
        found += sorted(folder.glob("rephrased_set_*.parquet")) + sorted(folder.glob("forget_set_rephrase*.parquet"))
    elif name == "forget":
        found = [path for path in found if not path.name.startswith("forget_set_rephrase")]
    for path in found:
        if len(found) == 1 or path.name == f"{name}_set_all.parquet":
            return path
    if found:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: several {name} sets ({names}), none of them '{name}_set_all.parquet'; keep one")
    return None


def _stamp(data: str) -> tuple[Any, ...]:
    """Names, sizes and times of the files at a path, so that edited files are read again."""
    return stamp(data, "*.parquet", "*_level/*.parquet")
