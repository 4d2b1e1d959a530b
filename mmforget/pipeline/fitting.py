"""Whether every row of a benchmark fits the model, looked at before the first second of work."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from mmforget.benchmark.rows import scored_texts, undecoded
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.model.examples import encode_all, joined
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.prompts import render
from mmforget.types import Example


def check_rows_fit(loaded: LoadedModel, *, config: RunConfig, bound: Bound) -> None:
    """Encodes every row of every set with the longest answer that it may be scored with.

    Raises BadData naming each row that is longer than the model takes, or whose placeholders do not match its images.
    """
    benchmark = bound.benchmark
    for name in benchmark.set_names:
        examples = _longest(name, bound=bound)
        if examples:
            shown = render(examples, loaded=loaded, config=config)
            encode_all(loaded, shown, append_eos=False, source=f"{benchmark.group}, set '{name}'")


def borders(loaded: LoadedModel, *, config: RunConfig, bound: Bound) -> dict[str, Any]:
    """What a record says of the answers that the tokenizer leaves without their beginning.

    `joined_answers`, by set that tasks ask how many of its rows, the others left out; nothing where there are none,
    and of benchmarks with images, whose rows are slow to read again. A set with rows that do not fit is left out, too:
    which of them are asked is not known here.
    """
    if bound.benchmark.modality != "text":
        return {}
    found = {}
    for name in dict.fromkeys(task.set for task in bound.benchmark.tasks if task.kind != "roll"):
        shown = render(bound.examples(name), loaded=loaded, config=config)
        source = f"{bound.benchmark.group}, set '{name}'"
        with contextlib.suppress(UserError):
            found[name] = len(joined(shown, encode_all(loaded, shown, append_eos=False, source=source)))
    counts = {name: count for name, count in found.items() if count}
    return {"joined_answers": counts} if counts else {}


def _longest(name: str, *, bound: Bound) -> list[Example]:
    """The rows of a set as examples, each with the longest of its candidate answers."""
    found = []
    for example, row in zip(bound.examples(name), undecoded(bound.rows(name)), strict=True):
        texts = [*scored_texts(row, kind="prob").values(), *row["choices"]]
        found.append(replace(example, answer=example.delimiter + max(texts, key=len)))
    return found
