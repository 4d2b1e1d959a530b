"""Whether every row of a benchmark fits the model, looked at before the first second of work."""

from __future__ import annotations

from dataclasses import replace

from mmforget.benchmark.rows import candidates, undecoded
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.prompts import render
from mmforget.training.data import encode_all
from mmforget.types import Example


def check_rows_fit(loaded: LoadedModel, *, config: RunConfig, benchmark: Benchmark, data: DataSource) -> None:
    """Encodes every row of every set with the longest answer that it may be scored with.

    Raises BadData naming each row that is longer than the model takes, or whose placeholders do not match its images.
    """
    for name in benchmark.set_names:
        examples = _longest(name, benchmark=benchmark, data=data)
        if examples:
            shown = render(examples, loaded=loaded, benchmark=benchmark, config=config)
            encode_all(loaded, shown, append_eos=False, source=f"{benchmark.group}, set '{name}'")


def _longest(name: str, *, benchmark: Benchmark, data: DataSource) -> list[Example]:
    """The rows of a set as examples, each with the longest of its candidate answers."""
    examples = benchmark.examples(name, data=data)
    rows = undecoded(benchmark.rows(name, data=data))
    return [
        replace(example, answer=benchmark.target_delimiter + max(candidates(row), key=len))
        for example, row in zip(examples, rows, strict=True)
    ]
