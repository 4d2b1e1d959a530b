"""Rows that a model cannot take are named, all of them, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark.rows import make_dataset
from mmforget.errors import BadData
from mmforget.model.load import ModelSpec, load_model
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.fitting import check_rows_fit
from mmforget.types import Example
from tests.helpers import tiny_llama

CONFIG = RunConfig(model="hf", tasks=("toy",))


@dataclass
class Toy:
    """What the check reads of a benchmark and of its rows."""

    docs: list[dict[str, Any]]
    group: str = "toy"
    target_delimiter: str = " "
    set_names: tuple[str, ...] = ("forget",)

    @property
    def benchmark(self) -> Toy:
        return self

    def rows(self, name: str) -> Any:
        return make_dataset(self.docs)

    def examples(self, name: str) -> list[Example]:
        return [Example(doc["id"], doc["subject"], doc["question"], " " + doc["answer"]) for doc in self.docs]


def doc(name: str, answer: str, *, perturbed: str = "no") -> dict[str, Any]:
    return {
        "id": name, "subject": "anna", "images": [], "question": "who?", "answer": answer, "question_rephrased": [],
        "answer_rephrased": [], "answer_perturbed": [perturbed], "keywords": [], "choices": [], "path": ["anna"],
        "extra": {},
    }  # fmt: skip


def test_every_row_that_is_too_long_is_named(tmp_path: Path) -> None:
    """The tiny model takes 512 tokens; of its words none is longer than one a letter."""
    loaded = load_model(ModelSpec(str(tiny_llama(tmp_path)), device="cpu"))
    long = "zq" * 600
    fine: Any = Toy([doc("a/0", "Anna.")])
    check_rows_fit(loaded, config=CONFIG, bound=fine)
    bad: Any = Toy([doc("a/0", "Anna."), doc("a/1", long), doc("a/2", "no", perturbed=long)])
    with pytest.raises(BadData) as caught:
        check_rows_fit(loaded, config=CONFIG, bound=bad)
    assert caught.value.source == "toy, set 'forget'"
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["row 'a/1'", "row 'a/2'"]
    assert all("takes 512" in fault for fault in caught.value.faults)
