"""Rows that have nothing to score against are not answers that could not be scored: toy rows, and FIUBench's own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_benchmark import generated, ruled, scored, toy

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.samples import sample_of
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.gate import memorisation_gate
from mmforget.evaluation.headline import headline
from mmforget.metrics import keyword_em, ks_distance, mia_auc, model_utility
from mmforget.results.schema import SetUse, Verdict
from mmforget.types import Estimate, Sample

REAL = Path(os.environ.get("MMFORGET_REAL_DATA") or Path(__file__).resolve().parents[3].parent / "shared" / "real")


NUM_ROWS = 100
"""Questions of each set, of five people."""


def ruling(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample],
    retain: Sequence[Sample],
    data: DataSource,
) -> tuple[Verdict, Mapping[str, Estimate]]:
    numbers = headline(benchmark, samples, target=target, retain=retain, collapsed=False).estimates
    asked = dict.fromkeys(sample.set for sample in samples)
    sets = {name: SetUse(one := len({s.id for s in samples if s.set == name}), one) for name in asked}
    gate = memorisation_gate(benchmark, target=target, retain=retain)
    found = ruled(
        benchmark.bind(data), samples, role="unlearned", target=target, retain=retain, headline=numbers, gate=gate,
        sets=sets,
    )  # fmt: skip
    return found, numbers


def toy_model(forget: Sequence[str | None], *, logprob: float) -> list[Sample]:
    """Of the six questions to forget, the last two have an answer without words."""
    said = generated("forget", [text or "" for text in forget])
    said = [replace(one, response=text) for one, text in zip(said, forget, strict=True)]
    said[4:] = [replace(one, answer="...") for one in said[4:]]
    return [
        *said,
        *scored("forget", [logprob] * 6),
        *generated("keep", ["a b c d"] * 6),
        *scored("keep", [-0.1] * 6),
        *scored("others", [-3.0] * 6),
    ]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return toy(tmp_path_factory.mktemp("toy") / "tasks")


TARGET = toy_model(["a b c d"] * 6, logprob=-0.1)
RETAIN = toy_model(["x y z w"] * 6, logprob=-2.0)


def test_lacking_rows_neither_count_nor_refuse(benchmark: Benchmark) -> None:
    """ROUGE-L of four rows and probability of six: 10 answers, and 2 rows that take no part."""
    verdict, numbers = ruling(benchmark, RETAIN, target=TARGET, retain=RETAIN, data=DataSource("synthetic"))
    found = numbers["forget_score"]
    assert (found.value, found.num_scored, found.num_unscored, found.num_lacking) == (1.0, 10, 0, 2)
    assert verdict.eligible
    assert verdict.status == "undecided"
    assert any("2 of 12 rows have nothing to score against" in reason for reason in verdict.reasons)


def test_answers_that_a_model_did_not_give_still_refuse(benchmark: Benchmark) -> None:
    silent = toy_model(["x y z w", None, None, None, "x", "x"], logprob=-2.0)
    verdict, numbers = ruling(benchmark, silent, target=TARGET, retain=RETAIN, data=DataSource("synthetic"))
    found = numbers["forget_score"]
    assert (found.num_scored, found.num_unscored, found.num_lacking) == (7, 3, 2)
    assert not verdict.eligible
    assert "forget score: only 7 of 10 answers could be scored" in verdict.reasons


def test_every_metric_counts_lacking_rows_apart() -> None:
    """No keywords; no rephrased answer; no answer tokens for the attack. The reasons say which it is."""
    rows = toy_model(["a b c d"] * 6, logprob=-0.1)
    said = [replace(one, keywords=()) for one in rows[:3]] + [replace(rows[3], response=None)] + rows[4:6]
    found = keyword_em.METRIC.aggregate([keyword_em.METRIC.score(one) for one in said])
    assert (found.num_scored, found.num_unscored, found.num_lacking) == (2, 1, 3)
    assert found.reasons[:2] == ("3 of 6 rows take no part: no keywords", "1 of 6 unscored: no response")
    bare = [replace(one, token_logprobs={"answer": (-1.0, -1.0)}) for one in rows[6:8]]
    compared = ks_distance.METRIC.compare([*bare, *rows[8:12]], [*bare, *rows[8:12]])
    assert (compared.num_scored, compared.num_unscored, compared.num_lacking) == (4, 0, 2)
    nothing = ks_distance.METRIC.compare(bare, bare)
    assert (nothing.value, nothing.num_unscored, nothing.num_lacking) == (None, 0, 2)
    broken = [replace(rows[6], token_logprobs={"answer": (math.nan,)}), *rows[7:12]]
    attacked = mia_auc.METRIC.compare(broken, rows[-6:])
    assert (attacked.num_scored, attacked.num_unscored, attacked.num_lacking) == (11, 1, 0)


def test_a_composite_adds_them_up_and_names_them() -> None:
    parts = {key: Estimate(0.5, num_scored=6) for key in ("rouge", "probability", "truth")}
    found = model_utility.METRIC.combine({**parts, "keywords": Estimate(0.5, num_scored=4, num_lacking=2)})
    assert (found.num_scored, found.num_unscored, found.num_lacking) == (22, 0, 2)
    assert "keywords: 2 of 6 rows take no part" in found.reasons
    left_out = model_utility.METRIC.combine({**parts, "keywords": Estimate(None, num_lacking=6)})
    assert left_out.value == 0.5
    assert "keywords: not measured, left out" in left_out.reasons


def official(benchmark: Benchmark, data: DataSource, *, knows: Callable[[str], bool]) -> Iterator[Sample]:
    """A model that answers real text questions of each set: in full where it knows the set, else the answer's frame."""
    for task in benchmark.tasks:
        if task.set not in ("forget", "retain5"):
            continue
        for doc in benchmark.bind(data).rows(task.set).select(range(NUM_ROWS)):
            words = doc["answer"].split()
            said = doc["answer"] if knows(task.set) else " ".join(words[: len(words) // 2]) + "."
            value = -0.05 if knows(task.set) else -1.5
            answers: dict[str, Any] = (
                {"response": said}
                if task.kind == "gen"
                else {"token_logprobs": {"answer": (value,) * (len(words) + 1)}}
            )
            yield replace(sample_of(doc, kind=task.kind, **answers), task=task.name, set=task.set)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real rows: set MMFORGET_REAL_DATA to their folder")
def test_official_text_rows_can_be_ranked() -> None:
    """No row has keywords or perturbed answers: what compares with these takes no part, and refuses nothing.

    A few answers disclose nothing that the question does not say, and lack what disclosure looks for.
    """
    benchmark, data = find("fiubench_text"), DataSource.parse(str(REAL / "fiubench"))
    target = list(official(benchmark, data, knows=lambda name: True))
    retain = list(official(benchmark, data, knows=lambda name: name != "forget"))
    verdict, numbers = ruling(benchmark, retain, target=target, retain=retain, data=data)
    found = numbers["forget_score"]
    assert found.num_unscored == 0
    assert found.num_lacking >= NUM_ROWS
    assert found.num_scored > 2 * NUM_ROWS
    assert (verdict.status, verdict.eligible) == ("undecided", True)
    by_name = {(one.name, one.set, one.profile): one.estimate for one in aggregate(benchmark, retain, retain=retain)}
    assert by_name["keyword_em", "forget", "clean"].num_lacking == NUM_ROWS
    assert by_name["truth_ratio", "forget", "clean"].num_lacking == NUM_ROWS
    assert by_name["ks_distance", "forget", "clean"].num_lacking == NUM_ROWS
