"""Open a benchmark for real: task files, data, every set, every template; all faults at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmforget.benchmark.find import find_all, read_index
from mmforget.benchmark.rows import PLACEHOLDER
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.benchmark.task_files import TaskFileError
from mmforget.errors import BadData, UserError
from mmforget.types import Example


@dataclass
class Report:
    """What a validation found: faults have to be mended, notes are worth knowing, counts are rows a set."""

    name: str
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def merge(self, other: Report) -> None:
        """Add what another report found, each fault and note once."""
        self.faults += [fault for fault in other.faults if fault not in self.faults]
        self.notes += [note for note in other.notes if note not in self.notes]
        self.counts.update(other.counts)


def validate(
    name_or_path: str | Path, data: DataSource | None = None, *, include_paths: Iterable[str | Path] = ()
) -> Report:
    """Everything that is wrong with a benchmark, a task or a task file, and with the data it is given.

    Opens every set, decodes every image and renders every row. Never raises for what is wrong with them: it is all in
    the report. `data` None: the synthetic twin.
    """
    report = Report(str(name_or_path))
    try:
        benchmarks = select(name_or_path, include_paths=include_paths)
    except UserError as error:
        report.faults += faults_of(error)
        return report
    for bound in bind_all(benchmarks, data=data or DataSource("synthetic"), report=report):
        report.merge(check_benchmark(bound))
    return report


def select(name_or_path: str | Path, *, include_paths: Iterable[str | Path] = ()) -> list[Benchmark]:
    """The benchmarks that a name means, or that a task file or a folder of them holds.

    A folder of a benchmark's name does not hide it: that of its own package lies beside the package's tests.

    Raises UserError with every fault of the files concerned.
    """
    path = Path(name_or_path)
    if not path.exists() or _is_known(str(name_or_path), include_paths=include_paths):
        return find_all(str(name_or_path), include_paths)
    folder = (path if path.is_dir() else path.parent).resolve()
    index = read_index([*include_paths, folder])
    if index.faults:
        raise TaskFileError("\n".join(index.faults))
    files = [
        file for file in (*index.groups.values(), *index.tasks.values()) if file.path.is_relative_to(path.resolve())
    ]
    names = [file.name for file in files if file.label is not None]
    if not names:
        raise UserError(f"{path}: holds no task of an unlearning benchmark (a *.yaml with metadata.unlearning)")
    return find_all(names, [*include_paths, folder])


def _is_known(name: str, *, include_paths: Iterable[str | Path]) -> bool:
    index = read_index(include_paths)
    return name in index.groups or name in index.tasks


def bind_all(benchmarks: Iterable[Benchmark], *, data: DataSource, report: Report) -> list[Bound]:
    """The benchmarks with their data; one whose setting the data contradict becomes a fault."""
    found = []
    for benchmark in benchmarks:
        try:
            found.append(benchmark.bind(data))
        except UserError as error:
            report.faults += faults_of(error)
    return found


def check_benchmark(bound: Bound) -> Report:
    """Faults, notes and row counts of every set of one benchmark."""
    benchmark = bound.benchmark
    report = Report(benchmark.group)
    _check_tasks(benchmark, report=report)
    for name in benchmark.set_names:
        try:
            examples = bound.examples(name)
        except UserError as error:
            report.faults += [fault for fault in faults_of(error) if fault not in report.faults]
            continue
        report.counts[name] = len(examples)
        if not examples:
            _report_empty(benchmark, name, report=report)
        report.faults += _placeholder_faults(examples, at=name)
    try:
        report.notes += bound.notes
    except UserError as error:
        report.faults += [fault for fault in faults_of(error) if fault not in report.faults]
    return report


def faults_of(error: UserError) -> list[str]:
    """The single faults in an error that collects several."""
    if isinstance(error, BadData):
        return [f"{error.source}: {fault}" for fault in error.faults]
    return str(error).split("\n") if isinstance(error, TaskFileError) else [str(error)]


def _report_empty(benchmark: Benchmark, name: str, *, report: Report) -> None:
    """Without its forget, retain or stage-one rows there is no benchmark; of other sets just the tasks are left out."""
    needed = {*benchmark.stage_one.values(), *benchmark.trained_sets.values(), benchmark.forget_set}
    needed |= {benchmark.retain_set, benchmark.utility_set, *filter(None, (benchmark.relearn_set,))}
    left_out = [task.name for task in benchmark.tasks if task.set == name]
    if name in needed:
        report.faults.append(
            f"{benchmark.group}: the set '{name}' is empty with this data, and nothing runs without it"
        )
    elif left_out:
        report.notes.append(f"the set '{name}' is empty with this data; left out: {', '.join(left_out)}")


def _check_tasks(benchmark: Benchmark, *, report: Report) -> None:
    for known in _differing(benchmark):
        report.faults.append(
            f"{benchmark.group}: its tasks differ in doc_to_text, description or gen_prefix, but training shows one: "
            f"{known}"
        )
    sets = {benchmark.gate.set, *(use.set for use in benchmark.metrics)}
    unknown = sets - {*benchmark.document.sets.values(), *(task.set for task in benchmark.tasks)}
    report.faults += [
        f"{benchmark.group}: metrics name the set '{name}', which 'sets' does not list and no task asks"
        for name in sorted(unknown)
    ]


def _differing(benchmark: Benchmark) -> Iterator[dict[str, str]]:
    """Tasks that ask about the same rows in different ways: those of one set, and where a set that models train on has
    no task of its own, those of all sets.
    """
    trained = {*benchmark.stage_one.values(), *benchmark.trained_sets.values()}
    asking = [prompt for prompt in benchmark.prompts if prompt.kind != "roll"]
    for fit in dict.fromkeys((prompt.kind == "mc", prompt.modality) for prompt in asking):
        alike = [prompt for prompt in asking if (prompt.kind == "mc", prompt.modality) == fit]
        sets = dict.fromkeys(prompt.set for prompt in alike)
        groups = [alike] if trained - set(sets) else [[one for one in alike if one.set == name] for name in sets]
        for group in groups:
            if len({prompt.shown for prompt in group}) > 1:
                yield {prompt.task: prompt.shown for prompt in group}


def _placeholder_faults(examples: Sequence[Example], *, at: str) -> list[str]:
    """One fault for each row whose context holds another number of <image> than it has images, or whose answer has one.

    Where the template itself is wrong all rows are: then the first stands for them.
    """
    faults = []
    for example in examples:
        found, wanted = example.context.count(PLACEHOLDER), len(example.images)
        if found != wanted:
            faults.append(
                f"set '{at}', row {example.id}: the context holds <image> {found} times for {wanted} images: "
                f"{example.context!r:.200}"
            )
        if PLACEHOLDER in example.answer:
            faults.append(f"set '{at}', row {example.id}: the answer holds <image>: {example.answer!r:.200}")
    if len(faults) > 1 and len(faults) >= len(examples):
        return [f"{faults[0]} (and all {len(examples)} rows)"]
    return faults
