"""Arguments of metrics: fields of a dataclass, checked by their types, wherever something names a metric."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metric_samples import gen, prob
from sklearn.metrics import roc_auc_score

from mmforget.benchmark.document import MetricName
from mmforget.errors import PluginError, UnknownName, UserError
from mmforget.metrics.arguments import arguments_of, identity, metric_of
from mmforget.metrics.base import METRICS, Component, profile_of, sources_of
from tests.plugin_packages import AT_MOST, installed, write_package


def rouge(**args: Any) -> Any:
    return metric_of(MetricName("rouge_l", args))


@pytest.mark.parametrize(("part", "value"), [("recall", 2 / 4), ("precision", 2 / 3), ("f1", 4 / 7)])
def test_parts_of_rouge_l_by_hand(part: str, value: float) -> None:
    """Of `a b c d` the response `a b x` has two words of four, and two of its own three."""
    found = rouge(part=part).score(gen("alpha beta other", answer="alpha beta gamma delta"))
    assert found.value == pytest.approx(value, abs=1e-12)


def test_without_arguments_it_is_the_registered_object() -> None:
    assert metric_of(MetricName("rouge_l")) is METRICS.get("rouge_l")
    assert metric_of(Component("key", "rouge_l", "forget")) is METRICS.get("rouge_l")
    assert arguments_of(METRICS.get("rouge_l")) == {"part": "recall"}
    assert arguments_of(METRICS.get("exact_match")) == {}
    assert identity(rouge(part="f1")) != identity(rouge(part="recall")) == identity(METRICS.get("rouge_l"))


@pytest.mark.parametrize("percent", [10, 20, 40, 100])
def test_min_k_of_another_share(percent: int) -> None:
    """Against scikit-learn, on the mean of the lowest tokens written out."""
    generator = np.random.default_rng(3)
    rows = [(-generator.exponential(size=4 + number)).tolist() for number in range(8)]
    inside = [prob(row, subject=f"in{i}", number=i) for i, row in enumerate(rows[::2])]
    outside = [prob(row, subject=f"out{i}", number=i) for i, row in enumerate(rows[1::2])]
    lowest = [sorted(row)[: max(1, int(len(row) * percent / 100 + 1e-9))] for row in rows]
    means = [sum(values) / len(values) for values in lowest]
    metric = metric_of(MetricName("mia_auc_min_k", {"percent": percent}))
    found = metric.compare(inside, outside)  # type: ignore[union-attr]
    assert found.value == pytest.approx(roc_auc_score([1] * 4 + [0] * 4, [*means[::2], *means[1::2]]))


@pytest.mark.parametrize(
    ("metric", "args", "said"),
    [
        ("rouge_l", {"prat": "f1"}, "unknown argument of metric 'rouge_l'{where} 'prat'; did you mean 'part'?"),
        ("rouge_l", {"name": "x"}, "unknown argument of metric 'rouge_l'{where} 'name'; known: part"),
        ("exact_match", {"part": "f1"}, "unknown argument of metric 'exact_match'{where} 'part'; there are none"),
        (
            "rouge_l",
            {"part": "f2"},
            "unknown value for part of metric 'rouge_l'{where} 'f2'; known: f1, precision, recall",
        ),
        (
            "mia_auc_min_k",
            {"percent": 1.5},
            "percent of metric 'mia_auc_min_k'{where}: 1.5 is not a whole number; give a whole number",
        ),
        (
            "mia_auc_min_k",
            {"percent": 0},
            "metric 'mia_auc_min_k'{where}: percent is 0; give a whole number from 1 to 100",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_document_metric_and_what_is_allowed(
    metric: str, args: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        metric_of(MetricName(metric, args), document="toy")
    assert str(caught.value) == said.format(where=" in the document of toy")
    with pytest.raises(UserError) as caught:
        metric_of(MetricName(metric, args))
    assert str(caught.value) == said.format(where="")


def test_a_metric_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fields are arguments in the same way, and it owns a profile that no other metric has."""
    write_package(tmp_path, "theirs", code=AT_MOST, points={"mmforget.metrics": "at_most = theirs"})
    with installed(tmp_path, monkeypatch=monkeypatch):
        metric = metric_of(MetricName("at_most", {"limit": "2", "unit": "signs"}), document="toy")
        assert arguments_of(metric) == {"limit": 2, "unit": "signs"}
        scores = [metric.score(gen(said)).value for said in ("ab", "a b")]  # type: ignore[union-attr]
        assert scores == [1.0, 0.0]
        assert sources_of(metric) == {"openunlearning": "open-unlearning, official code"}
        assert profile_of(metric, "clean") == "openunlearning"
        with pytest.raises(UnknownName, match="'at_most' in the document of toy 'lines'; known: signs, words"):
            metric_of(MetricName("at_most", {"unit": "lines"}), document="toy")
        with pytest.raises(
            PluginError, match=r"metric 'at_most' .*: its arguments \(theirs.py:21\): ZeroDivisionError"
        ):
            metric_of(MetricName("at_most", {"limit": 0}), document="toy")


def test_declarations_as_fields_are_no_arguments() -> None:
    """As metrics may have them that were written before there were arguments."""

    @dataclass(frozen=True)
    class Old:
        name: str = "old"
        kind: str = "gen"
        profiles: tuple[str, ...] = ("clean",)
        range: tuple[float, float] = (0.0, 1.0)
        higher_is_better: bool = True
        weight: float = 2.0

    assert arguments_of(Old()) == {"weight": 2.0}
    assert sources_of(Old()) == {"clean": ""}


def test_a_profile_that_only_others_have_stands_next_to_released() -> None:
    assert profile_of(METRICS.get("min_k"), "openunlearning") == "released"
    assert profile_of(METRICS.get("exact_match"), "openunlearning") == "clean"
    assert profile_of(METRICS.get("unique_words"), "openunlearning") == "paper"
