"""What every registered metric keeps to, built in or brought by another package."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from mmforget.benchmark.source import PROFILES
from mmforget.metrics.arguments import arguments_of
from mmforget.metrics.base import (
    METRICS,
    NAMED_PROFILES,
    CompositeMetric,
    Metric,
    ReferenceMetric,
    SampleMetric,
    label_of,
    profile_of,
    sources_of,
)
from mmforget.metrics.concept_vector import TOP, VECTOR
from mmforget.metrics.judged import GRADED, LABELS
from mmforget.metrics.representations import SHARES
from mmforget.types import PATCHED, PLAIN, RETAIN_PATCHED, Estimate, Sample, Score, States

ROOT = Path(__file__).resolve().parents[2]
PROFILE_NAMES = (*PROFILES, *NAMED_PROFILES)
NAMES = METRICS.names()
CASES = [(name, profile) for name in NAMES for profile in METRICS.get(name).profiles]
ANSWER = "she lives at apt. 4, oslo."


def sample(
    number: int,
    *,
    kind: str,
    subject: str,
    response: str | None = ANSWER,
    logprobs: Sequence[float] = (-0.5, -1.0, -0.2, -0.9, -0.4),
    keywords: tuple[str, ...] = ("oslo",),
) -> Sample:
    answer, other = tuple(logprobs), tuple(value - 0.1 * number for value in logprobs)
    roles = {
        "gen": {},
        "prob": {
            "answer": answer,
            "rephrased/0": answer,
            "perturbed/0": other,
            "perturbed/1": answer,
            "reference/answer": other,
            "prefixed/4/answer": other,
        },
        "mc": {"choice/0": answer, "choice/1": other},
        "roll": {"answer": answer},
    }[kind]
    kept = [value * (1 + (3 * number + 2 * place * number) % 7) for place, value in enumerate(logprobs)]
    shares = [max(0.0, 1.0 + value) for value in logprobs]
    told = ("entropy", "variance", "gradient_norm", "gradient_norm_but_last")
    values = {name: dict.fromkeys(roles, tuple(shares)) for name in told}
    values |= {"is_best": {role: tuple(float(one > -0.7) for one in told) for role, told in roles.items()}}
    return Sample(
        task="toy",
        set="forget",
        kind=kind,
        id=f"{subject}/{number}",
        subject=subject,
        question="where does she live?",
        answer=ANSWER,
        keywords=keywords,
        response=response if kind == "gen" else None,
        token_logprobs=roles,
        choices=(ANSWER, "in rome.") if kind == "mc" else (),
        gold=0 if kind == "mc" else None,
        token_values=values,
        states=kept_states(kept, number) if kind == "gen" else {},
        labels={name: words.counted for name, words in LABELS.items()}
        | {**dict.fromkeys(GRADED, "7"), "gibberish": "0.25"},
    )


def kept_states(values: Sequence[float], number: int) -> dict[str, States]:
    """What attacks keep of a row: states at every depth, and log-probs in the target model."""
    plain = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
    said = {PLAIN: plain, RETAIN_PATCHED: [plain - 1.0, plain - 3.0], PATCHED: [plain - 0.1 * number, plain - 1.0]}
    names = (*SHARES, f"{VECTOR}0", f"{TOP}0")
    return {name: States.of(one) for name, one in said.items()} | dict.fromkeys(names, States.of(values))


def measure(metric: Metric, make: Callable[[int, str, str], Sample], *, num_subjects: int, profile: str) -> Estimate:
    """The metric on ten made-up samples, whatever its shape."""
    if isinstance(metric, CompositeMetric):
        raise TypeError("composites take estimates")
    samples = [make(i, metric.kind, f"p{i % num_subjects}") for i in range(10)]
    if isinstance(metric, SampleMetric):
        return metric.aggregate([metric.score(one, profile=profile) for one in samples])
    other = samples
    if metric.other == "holdout":
        other = [make(i, metric.kind, f"q{i % num_subjects}") for i in range(10)]
    return metric.compare(samples, other, profile=profile)


def check(metric: Metric, found: Estimate) -> None:
    low, high = metric.range
    for value in (found.value, found.low, found.high):
        assert value is None or (math.isfinite(value) and low <= value <= high)
    assert found.range == metric.range
    assert found.higher_is_better == metric.higher_is_better
    assert found.value is not None or found.reasons


def simple(name: str) -> bool:
    return not isinstance(METRICS.get(name), CompositeMetric)


SIMPLE = [case for case in CASES if simple(case[0])]
COMPOSITE = [case for case in CASES if not simple(case[0])]


@pytest.mark.parametrize("name", NAMES)
def test_declares_its_name_range_and_profiles(name: str) -> None:
    metric = METRICS.get(name)
    assert metric.name == name == METRICS.entries[name].module.rsplit(".", 1)[-1]
    low, high = metric.range
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low < high
    assert metric.profiles
    assert set(metric.profiles) <= set(PROFILE_NAMES)
    assert metric.higher_is_better in (True, False, None)
    assert sum(isinstance(metric, shape) for shape in (SampleMetric, ReferenceMetric, CompositeMetric)) == 1
    assert dataclasses.is_dataclass(metric)
    with pytest.raises(dataclasses.FrozenInstanceError):
        metric.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
def test_docstring_names_source_and_every_formula(name: str) -> None:
    metric = METRICS.get(name)
    text = inspect.getdoc(type(metric)) or ""
    assert "Source:" in text
    described = text.split("Profiles:", 1)[1]
    assert set(re.findall(rf"^\s+({'|'.join(PROFILE_NAMES)}):", described, flags=re.M)) == set(metric.profiles)
    if "clean" in metric.profiles:
        assert "Mends" in described
    assert METRICS.entries[name].summary


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_says_which_paper_or_code_it_follows(name: str) -> None:
    """What is named by number stands in the docstring, too."""
    metric = METRICS.get(name)
    text = inspect.getdoc(type(metric)) or ""
    for source in sources_of(metric).values():
        assert source.strip()
        assert set(re.findall(r"\d{4}\.\d{5}", source)) <= set(re.findall(r"\d{4}\.\d{5}", text))


def test_the_docs_name_every_metric_with_its_arguments_and_profiles() -> None:
    lines = (ROOT / "docs" / "metrics.md").read_text().splitlines()
    wanted = []
    for name in NAMES:
        metric = METRICS.get(name)
        arguments = ", ".join(f"`{key}={value}`" for key, value in arguments_of(metric).items())
        profiles = "; ".join(f"`{key}`: {source}" for key, source in sources_of(metric).items())
        wanted.append(f"| `{name}` | {arguments} | {profiles} |")
    assert [line for line in lines if line.startswith("| `")] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_has_a_stand_in(name: str) -> None:
    metric = METRICS.get(name)
    for wanted in PROFILE_NAMES:
        chosen = profile_of(metric, wanted)
        assert chosen in metric.profiles
        assert wanted not in metric.profiles or chosen == wanted


@pytest.mark.parametrize("name, profile", SIMPLE)
def test_empty_input_has_no_value_and_a_reason(name: str, profile: str) -> None:
    metric = METRICS.get(name)
    if isinstance(metric, SampleMetric):
        found = metric.aggregate([])
    elif isinstance(metric, ReferenceMetric):
        found = metric.compare([], [], profile=profile)
    assert found.value is None
    assert found.num_scored == 0
    check(metric, found)


@pytest.mark.parametrize("name, profile", SIMPLE)
def test_ordinary_samples_are_scored_in_range(name: str, profile: str) -> None:
    metric = METRICS.get(name)
    found = measure(metric, lambda i, kind, who: sample(i, kind=kind, subject=who), num_subjects=4, profile=profile)
    assert found.value is not None
    assert found.num_unscored == 0
    check(metric, found)


@pytest.mark.parametrize("name, profile", SIMPLE)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_log_probs_that_are_no_numbers_do_not_crash(name: str, profile: str, bad: float) -> None:
    metric = METRICS.get(name)

    def make(i: int, kind: str, who: str) -> Sample:
        return sample(i, kind=kind, subject=who, logprobs=(-0.5, bad), response=None)

    found = measure(metric, make, num_subjects=4, profile=profile)
    if math.isnan(bad) or bad > 0:
        assert found.value is None
        assert found.num_unscored >= 10
    check(metric, found)


@pytest.mark.parametrize("name, profile", SIMPLE)
def test_unscored_samples_are_counted_beside_scored_ones(name: str, profile: str) -> None:
    metric = METRICS.get(name)

    def make(i: int, kind: str, who: str) -> Sample:
        if i < 3:
            return sample(i, kind=kind, subject=who, logprobs=(math.nan,), response=None)
        return sample(i, kind=kind, subject=who)

    found = measure(metric, make, num_subjects=4, profile=profile)
    assert found.value is not None
    assert found.num_unscored in (3, 6)
    assert found.num_scored >= 7
    assert any("3 of 10 unscored" in reason for reason in found.reasons)
    check(metric, found)


@pytest.mark.parametrize("name, profile", SIMPLE)
def test_constant_scores_are_called_constant(name: str, profile: str) -> None:
    metric = METRICS.get(name)

    def make(i: int, kind: str, who: str) -> Sample:
        return dataclasses.replace(sample(0, kind=kind, subject=who), id=f"{who}/{i}")

    found = measure(metric, make, num_subjects=4, profile=profile)
    assert found.constant
    check(metric, found)


@pytest.mark.parametrize("name, profile", SIMPLE)
def test_one_subject_has_a_value_and_no_interval(name: str, profile: str) -> None:
    metric = METRICS.get(name)
    found = measure(metric, lambda i, kind, who: sample(i, kind=kind, subject=who), num_subjects=1, profile=profile)
    assert found.value is not None
    assert (found.low, found.high) == (None, None)
    check(metric, found)


@pytest.mark.parametrize("name, profile", SIMPLE)
@pytest.mark.parametrize("response", ["", "\x00", "the " * 500, ".", "💥", "a" * 2000])
def test_gibberish_is_scored_in_range(name: str, profile: str, response: str) -> None:
    metric = METRICS.get(name)

    def make(i: int, kind: str, who: str) -> Sample:
        return sample(i, kind=kind, subject=who, response=response, logprobs=(-1e4,) * 30)

    found = measure(metric, make, num_subjects=4, profile=profile)
    # Some official scripts leave empty answers out, and unknown is then not zero.
    is_left_out = profile != "clean" and not response.strip() and found.num_unscored == 10
    assert found.value is not None or is_left_out
    check(metric, found)


@pytest.mark.parametrize("name, profile", SIMPLE)
def test_random_log_probs_stay_in_range(name: str, profile: str) -> None:
    metric = METRICS.get(name)
    generator = np.random.default_rng(0)

    def make(i: int, kind: str, who: str) -> Sample:
        logprobs = (-generator.gamma(0.3, 20.0, size=generator.integers(2, 60))).tolist()
        return sample(i, kind=kind, subject=who, logprobs=logprobs)

    for _ in range(5):
        check(metric, measure(metric, make, num_subjects=3, profile=profile))


@pytest.mark.parametrize("name, profile", COMPOSITE)
def test_composites_take_anything_from_nothing_to_all(name: str, profile: str) -> None:
    metric = METRICS.get(name)
    assert isinstance(metric, CompositeMetric)
    keys = [component.key for component in metric.components]
    assert len(set(keys)) == len(keys)
    check(metric, metric.combine({}, profile=profile))
    for value in (0.0, 0.3, 1.0):
        found = metric.combine({key: Estimate(value, num_scored=9) for key in keys}, profile=profile)
        assert found.value is not None
        check(metric, found)
    for key in keys:
        parts = {one: Estimate(0.5, num_scored=9) for one in keys} | {key: Estimate(None, num_unscored=9)}
        found = metric.combine(parts, profile=profile)
        assert found.value is None
        assert any(reason.startswith(f"{key}: no value") for reason in found.reasons)
        check(metric, found)


@pytest.mark.parametrize("name, profile", SIMPLE)
def test_the_same_input_gives_the_same_estimate(name: str, profile: str) -> None:
    metric = METRICS.get(name)

    def once() -> Estimate:
        return measure(metric, lambda i, kind, who: sample(i, kind=kind, subject=who), num_subjects=4, profile=profile)

    assert once() == once()


def test_a_score_says_whose_it_is() -> None:
    for name in NAMES:
        metric = METRICS.get(name)
        if isinstance(metric, SampleMetric):
            found = metric.score(sample(0, kind=metric.kind, subject="ann"), profile=next(iter(metric.profiles)))
            assert isinstance(found, Score)
            assert found.subject == "ann"


OF_SOMETHING_ELSE = {
    "concept_em": "whether a concept is not given away",
    "diversity": "how many words are different",
    "gibberish": "what a classifier says",
    "ngram_entropy": "how varied runs of words are",
}
"""Metrics of generated text that do not compare it with the reference, and what they look at instead."""
REFERENCES = (
    "Dr. Lee", "3.5 cm", "12.03.2180", "J. R. Smith", "St. Mary's Hospital", "two\nlines", "1. Anna\n2. Bo", "a, b; c",
    'it was "theft."', "她住在奥斯陆。", "彼女はオスロに住んでいます。", "היא גרה באוסלו.", "वह ओस्लो में रहती है।",
    "José ", "https://example.org/a.html", "no no no no", "It is not safe.", "Sí.", "B) nodule", "I do not know.",
)  # fmt: skip


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_equals_the_reference_has_the_best_clean_score(reference: str) -> None:
    for name in NAMES:
        metric = METRICS.get(name)
        is_compared = isinstance(metric, SampleMetric) and metric.kind == "gen" and label_of(metric) is None
        if not is_compared or "clean" not in metric.profiles or name in OF_SOMETHING_ELSE:
            continue
        one = dataclasses.replace(
            sample(0, kind="gen", subject="p", response=reference, keywords=(reference,)), answer=reference
        )
        low, high = metric.range
        assert metric.score(one).value == (low if metric.higher_is_better is False else high), name


def test_listing_and_scoring_need_no_model_library() -> None:
    code = (
        "import sys; from mmforget.metrics.base import METRICS; METRICS.names(); "
        "heavy = {'scipy', 'sklearn', 'rouge_score', 'torch', 'transformers', 'datasets', 'lm_eval'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); "
        "[METRICS.get(name) for name in METRICS.names()]; import mmforget.metrics.lm_eval; "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
