"""`mmforget rescore`: every number of a record, or of a peer's log, again from its stored samples, without a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmforget.cli import flags, peers
from mmforget.cli.printing import print_json, say, tell
from mmforget.errors import MissingReference, UserError

if TYPE_CHECKING:
    from mmforget.benchmark.source import DataSource
    from mmforget.benchmark.spec import Bound
    from mmforget.pipeline.judging import Judged
    from mmforget.results.schema import MetricResult, RunRecord
    from mmforget.results.store import StoredRun
    from mmforget.types import Sample

SUMMARY = "compute all metrics again from stored samples, without a model"
EXAMPLES = """\
  mmforget rescore demo
  mmforget rescore demo/fiubench/npo --json
  mmforget rescore out/tofu_forget10 --to openunlearning
  mmforget rescore --from tofu --log eval_log_aggregated.json --reference retain90/eval_log_aggregated.json --json
"""
ORDER = ("retain", "target", "base", "unlearned", "relearned")


@dataclass(frozen=True)
class Rescored:
    """A record before and after."""

    old: RunRecord
    new: RunRecord
    path: Path

    @property
    def changed(self) -> list[MetricResult]:
        """New results of metrics whose value is not what it was."""
        before = {_key(result): result.estimate for result in self.old.metrics}
        return [result for result in self.new.metrics if before.get(_key(result)) != result.estimate]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values: the file written, the headline before and after, and what changed."""
        from mmforget.results.codec import to_jsonable

        document: dict[str, Any] = to_jsonable(
            {
                "name": self.new.name,
                "results": self.path,
                "verdict": self.new.verdict,
                "before": {name: estimate.value for name, estimate in self.old.headline.items()},
                "after": {name: estimate.value for name, estimate in self.new.headline.items()},
                "num_metrics": len(self.new.metrics),
                "changed": self.changed,
            }
        ).value
        return document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN_FOLDER", help="folders to search for run records")
    parser.add_argument("--include_path", action="append", default=[], metavar="DIR", help="further task folders")
    flags.add_judge_flags(parser, default=None)
    peers.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def execute(args: argparse.Namespace) -> int:
    """Write a new results file beside every record found, and say what changed."""
    if args.peer is not None:
        return peers.execute(args)
    peers.check_unused(args)
    if not args.runs:
        raise UserError("no folder named; give one that 'mmforget run' or 'mmforget eval' wrote, or a log with --from")
    if args.to is not None:
        files = peers.write(_to_write(args.runs, include_paths=args.include_path), peer=args.to)
        if args.json:
            print_json({"files": list(map(str, files))})
        for file in files:
            tell(f"wrote {file}")
        return 0
    done = rescore(args.runs, include_paths=args.include_path, judge=args.judge)
    if args.json:
        print_json({"records": [item.as_dict() for item in done]})
        return 0
    for item in done:
        before, after = (record.headline.get("overall") for record in (item.old, item.new))
        values = " -> ".join("-" if one is None or one.value is None else f"{one.value:.3f}" for one in (before, after))
        changed = f"{len(item.changed)} of {len(item.new.metrics)} metrics changed"
        say(f"{item.new.name}: overall {values}; {changed}")
        tell(f"wrote {item.path}")
    return 0


def rescore(paths: Sequence[Path], *, include_paths: Sequence[str] = (), judge: str | None = None) -> list[Rescored]:
    """Score every record at or below `paths` again: retain models first, then targets, then what is compared with them.

    Args:
        judge: who labels the answers anew; without it the stored labels stand.

    The models a record was compared with are looked up by fingerprint among `paths` and the folders beside it.
    Nothing is written before every record has been scored. Raises UserError for samples that are missing or not those
    of the record, MissingReference where a target or retain record is not found.
    """
    from mmforget.results.store import find_records

    runs = sorted(find_records(paths), key=lambda run: ORDER.index(run.record.role))
    answered = {run.path: _answered(run, judge=judge, include_paths=include_paths) for run in runs}
    samples = {path: one.samples for path, one in answered.items()}
    scored = []
    for run in runs:
        references = {role: _reference(role, run=run, among=runs, samples=samples) for role in ("target", "retain")}
        record = _scored(run, samples=samples[run.path], references=references, include_paths=include_paths)
        scored.append(record.replace(judge=answered[run.path].by))
    return [
        Rescored(run.record, record, _written(run, record, samples=samples[run.path] if judge else None))
        for run, record in zip(runs, scored, strict=True)
    ]


def _to_write(
    paths: Sequence[Path], *, include_paths: Sequence[str]
) -> Iterator[tuple[StoredRun, Mapping[str, str], Sequence[Sample] | None]]:
    """Every record at or below paths, with its benchmark's sets by role and the retain model's samples."""
    from mmforget.results.store import find_records

    runs = find_records(paths)
    for run in runs:
        document = _bound(run, include_paths=include_paths).benchmark.document
        yield run, document.sets, _reference("retain", run=run, among=runs, samples={run.path: run.samples()})


def _written(run: StoredRun, record: RunRecord, *, samples: Sequence[Sample] | None) -> Path:
    """The new results file; samples are stored again where their labels are new."""
    from mmforget.results.samples import write_labelled
    from mmforget.results.store import timestamp, write_results

    if samples is not None:
        files = write_labelled(run.folder, samples, stored=run.record.files, time=timestamp())
        record = record.replace(files=files)
    return write_results(run.folder, record, lm_eval=run.lm_eval)


def _answered(run: StoredRun, *, judge: str | None, include_paths: Sequence[str]) -> Judged:
    """The stored samples, labelled anew where a judge is named."""
    from mmforget.evaluation.answers import Answers
    from mmforget.pipeline.judging import Judged, find_judge, judged

    if judge is None:
        return Judged(Answers(run.samples()), run.record.judge)
    bound = _bound(run, include_paths=include_paths)
    named = find_judge(judge, bound=bound)
    return judged(run.samples(), benchmark=bound.benchmark, judge=named)


def score_again(
    run: StoredRun, *, samples: Sequence[Sample], among: Sequence[StoredRun], include_paths: Sequence[str] = ()
) -> RunRecord:
    """One record with every number computed again from `samples` and those of the models it was compared with."""
    own = {run.path: samples}
    references = {role: _reference(role, run=run, among=among, samples=own) for role in ("target", "retain")}
    return _scored(run, samples=samples, references=references, include_paths=include_paths)


def _scored(
    run: StoredRun,
    *,
    samples: Sequence[Sample],
    references: dict[str, Sequence[Sample] | None],
    include_paths: Sequence[str],
) -> RunRecord:
    from mmforget.evaluation.record import score_record
    from mmforget.evaluation.sequence import scored_again
    from mmforget.results.provenance import begin, collect
    from mmforget.results.samples import read_samples

    begun, bound = begin(), _bound(run, include_paths=include_paths)
    target, retain = references["target"], references["retain"]
    scored = scored_again(
        score_record(run.record, bound=bound, samples=samples, target=target, retain=retain),
        benchmark=bound.benchmark,
        samples=samples,
        read=lambda request: read_samples(run.folder / request.place, files=request.files),
        target=target,
        retain=retain,
    )
    return scored.replace(rescored=collect(begun, seeds=run.record.provenance.seeds))


def data_of(record: RunRecord) -> DataSource:
    """The data source a record describes; its files need not be there any more."""
    from mmforget.benchmark.source import OPTION_NAMES, DataSource

    options = {name: record.data[name] for name in OPTION_NAMES if record.data.get(name) is not None}
    path = record.data.get("path")
    return DataSource(record.data.get("source", "hub"), path=Path(path) if path else None, metadata=options)


def _bound(run: StoredRun, *, include_paths: Sequence[str]) -> Bound:
    """The benchmark that a record was made on, with the data it describes."""
    from mmforget.benchmark.find import find

    use = run.record.benchmark
    found = find(use.group or use.name, include_paths)
    if (found.setting, found.modality) != (use.setting, use.modality):
        raise UserError(
            f"{run.path}: was made on {use.name} {use.setting} ({use.modality}), but '{use.group}' is now "
            f"{found.setting} ({found.modality}); use the task files it was made with (--include_path)"
        )
    return found.bind(data_of(run.record))


def _reference(
    role: str, *, run: StoredRun, among: Iterable[StoredRun], samples: Mapping[Path, Sequence[Sample]]
) -> Sequence[Sample] | None:
    """Samples of the model this record was compared with; its own where it is that model; None where it had none."""
    wanted = run.record.references.get(role)
    if run.record.role == role and wanted in (None, run.record.model_info.get("fingerprint")):
        return samples[run.path]
    if not wanted:
        return None
    for other in (*among, *_beside(run)):
        same_use = other.record.benchmark == run.record.benchmark
        if same_use and other.record.role == role and other.record.model_info.get("fingerprint") == wanted:
            return samples.get(other.path) or other.samples()
    raise MissingReference(
        f"{run.path}: was judged against the {role} model {wanted[:12]}, and no record of it is among the folders "
        f"given or beside {run.folder}; give its folder too"
    )


def _beside(run: StoredRun) -> list[StoredRun]:
    """Records of the same run."""
    from mmforget.results.store import find_records, folders_beside

    return find_records(folders_beside(run.folder))


def _key(result: MetricResult) -> tuple[str, str, str, str, str | None]:
    return (result.name, result.set, result.profile, result.task, result.attack)
