"""Aggregation, gate, closeness, headline and verdict on samples made by hand, every value worked out here.

Four models of the toy benchmark, six questions each on two sets. ROUGE-L recall of `a b c d` in `a b x y` is 2/4.
The target recalls everything; the retain model half of the forget set's words; a good unlearned model does as the
retain model; a collapsed one says `x` everywhere.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from toy_benchmark import collapse_reasons, generated, ruled, scored, toy

from mmforget.benchmark.document import Gate
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.gate import memorisation_gate
from mmforget.evaluation.headline import Number, closenesses, headline, overall
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.base import METRICS, CompositeMetric
from mmforget.results.schema import GateResult, SetUse, Verdict
from mmforget.statistics.nearness import nearness
from mmforget.types import Estimate, Replicates, Sample

FULL, HALF, QUARTER, NONE = "a b c d", "a b x y", "a x y z", "x y z w"
DATA = DataSource("synthetic")
SETS = {"forget": SetUse(6, 6), "keep": SetUse(6, 6)}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return toy(tmp_path_factory.mktemp("toy") / "tasks")


def model(forget: list[str], keep: list[str], *, forget_logprob: float, keep_logprob: float = -0.1) -> list[Sample]:
    """Six questions a set; log-probs differ a little between questions so that nothing is constant."""
    spread = [0.01 * number for number in range(6)]
    return [
        *generated("forget", forget),
        *scored("forget", [forget_logprob - value for value in spread]),
        *generated("keep", keep),
        *scored("keep", [keep_logprob - value for value in spread]),
        *scored("others", [-3.0 - value for value in spread]),
    ]


TARGET = model([FULL] * 6, [FULL] * 6, forget_logprob=-0.1)
RETAIN = model([QUARTER] * 6, [FULL] * 6, forget_logprob=-2.0)
GOOD = model([QUARTER] * 5 + [FULL], [FULL] * 6, forget_logprob=-1.9)
UNCHANGED = TARGET
DESTROYED = model([""] * 6, [""] * 6, forget_logprob=-30.0, keep_logprob=-30.0)


def value(
    results: list, name: str, set_name: str, *, profile: str = "clean", attack: str | None = None
) -> float | None:  # type: ignore[type-arg]
    found = [r for r in results if (r.name, r.set, r.profile, r.attack) == (name, set_name, profile, attack)]
    assert len(found) == 1
    estimate: Estimate = found[0].estimate
    return estimate.value


def test_every_metric_in_every_profile_with_its_direction(benchmark: Benchmark) -> None:
    results = aggregate(benchmark, TARGET, retain=RETAIN)
    assert [(r.name, r.set, r.profile) for r in results] == [
        ("rouge_l", "forget", "released"),
        ("rouge_l", "forget", "clean"),
        ("degenerate", "forget", "clean"),
        ("probability", "forget", "clean"),
        ("ks_forget_quality", "forget", "released"),
        ("ks_forget_quality", "forget", "clean"),
        ("mia_auc", "forget", "clean"),
        ("rouge_l", "keep", "released"),
        ("rouge_l", "keep", "clean"),
        ("model_utility", "keep", "released"),
        ("model_utility", "keep", "clean"),
    ]
    assert value(results, "rouge_l", "forget") == 1.0
    assert [r.estimate.higher_is_better for r in results if r.name == "rouge_l"] == [False, False, True, True]
    assert [r.estimate.higher_is_better for r in results if r.name == "mia_auc"] == [None]
    # All forget log-probs, about -.1, lie above those of people never seen, about -3.
    assert value(results, "mia_auc", "forget") == 1.0
    assert value(results, "probability", "forget") == pytest.approx(
        np.mean([math.exp(-0.1 - 0.01 * number) for number in range(6)])
    )


def test_controls_stand_beside_and_do_not_mix_in(benchmark: Benchmark) -> None:
    grey = generated("forget", [HALF] * 3 + [NONE] * 3, attack="blank_image")
    results = aggregate(benchmark, [*TARGET, *grey], retain=RETAIN)
    assert value(results, "rouge_l", "forget") == 1.0
    assert value(results, "rouge_l", "forget", attack="blank_image") == 0.25


def test_without_a_retain_model_the_reason_is_said(benchmark: Benchmark) -> None:
    (ks, _) = [r.estimate for r in aggregate(benchmark, TARGET) if r.name == "ks_forget_quality"]
    assert ks.value is None
    assert ks.reasons == ("no retain model to compare with",)


def test_a_set_that_was_not_asked_gives_nothing(benchmark: Benchmark) -> None:
    assert [(r.name, r.profile) for r in aggregate(benchmark, generated("forget", [FULL] * 6))] == [
        ("rouge_l", "released"),
        ("rouge_l", "clean"),
        ("degenerate", "clean"),
    ]


def test_closeness_by_hand() -> None:
    """Target .9, retain .3, so .6 of room: .3 is 1, .45 is .75, .15 (beyond) is .75, .9 and -.3 are 0."""
    alone = [Replicates(own, 1) for own in (0.3, 0.45, 0.15, 0.9, -0.3, -5.0)]
    found = [nearness(own, target=Replicates(0.9, 1), standard=0.3).value for own in alone]
    assert found == pytest.approx([1.0, 0.75, 0.75, 0.0, 0.0, 0.0])


def test_the_headline_by_hand(benchmark: Benchmark) -> None:
    """Headline forget metrics: rouge_l and probability (degenerate counts failures).

    rouge_l: target 1, retain .25, unlearned (5 x .25 + 1) / 6 = .375; closeness 1 - .125 / .75 = .83333.
    """
    found = headline(benchmark, GOOD, target=TARGET, retain=RETAIN, collapsed=False).estimates
    assert [name for name in found if name.startswith("closeness/")] == [
        "closeness/forget/rouge_l",
        "closeness/forget/probability",
    ]
    assert found["closeness/forget/rouge_l"].value == pytest.approx(5 / 6)
    means = [np.mean([math.exp(base - 0.01 * n) for n in range(6)]) for base in (-1.9, -0.1, -2.0)]
    probability = 1 - abs(means[0] - means[2]) / abs(means[1] - means[2])
    assert found["closeness/forget/probability"].value == pytest.approx(probability)
    forget = (5 / 6 + probability) / 2
    assert found["forget_score"].value == pytest.approx(forget)
    assert found["utility_ratio"].value == 1.0
    assert found["overall"].value == pytest.approx(2 * forget / (forget + 1))
    for name in ("overall", "forget_score", "utility_ratio"):
        estimate = found[name]
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert (found["forget_score"].num_scored, found["forget_score"].num_unscored) == (12, 0)


def test_the_references_score_zero_and_one(benchmark: Benchmark) -> None:
    target = headline(benchmark, TARGET, target=TARGET, retain=RETAIN, collapsed=False).estimates
    retain = headline(benchmark, RETAIN, target=TARGET, retain=RETAIN, collapsed=False).estimates
    assert (target["forget_score"].value, target["overall"].value) == (0.0, 0.0)
    assert (retain["forget_score"].value, retain["overall"].value) == (1.0, 1.0)


def test_a_composite_is_combined_anew_without_each_subject(benchmark: Benchmark) -> None:
    """Harmonic mean of recall and probability, written out with all answers of one subject taken away."""
    keep = [FULL, HALF, FULL, NONE, FULL, FULL]
    model_ = [*generated("keep", keep), *scored("keep", [-0.1 * (number + 1) for number in range(6)])]
    metric = METRICS.get("model_utility")
    assert isinstance(metric, CompositeMetric)
    estimate, found = Measurements(benchmark, model_).composed(metric, profile="clean")
    assert found is not None

    def without(subject: str) -> float | None:
        rest = [sample for sample in model_ if sample.subject != subject]
        return Measurements(benchmark, rest).composite(metric, profile="clean").value

    assert (estimate.num_subjects, sorted(found.shifts)) == (4, ["keep0", "keep1", "keep2", "keep3"])
    for subject, shift in found.shifts.items():
        # Scaling each part's shift and not the whole differs in the second order.
        wanted = ((without(subject) or 0.0) - found.value) * math.sqrt(3 / 4)
        assert shift == pytest.approx(wanted, abs=0.02)
    assert estimate.low is not None
    assert estimate.high is not None
    assert 0.0 <= estimate.low < found.value < estimate.high <= 1.0


def test_a_record_keeps_what_seeds_are_put_together_from(benchmark: Benchmark) -> None:
    found = headline(benchmark, GOOD, target=TARGET, retain=RETAIN, collapsed=False).numbers
    assert list(found) == list(headline(benchmark, GOOD, target=TARGET, retain=RETAIN, collapsed=False).estimates)
    for name, number in found.items():
        assert number.replicates is not None, name
        assert number.replicates.value == pytest.approx(number.estimate.value)
    overall_ = found["overall"].replicates
    assert overall_ is not None
    assert {name[:-1] for name in overall_.shifts} == {"forget", "keep"}
    gone = headline(benchmark, DESTROYED, target=TARGET, retain=RETAIN, collapsed=True).numbers["overall"]
    assert gone.replicates == Replicates(0.0, 4)


def test_a_room_within_noise_leaves_no_closeness(benchmark: Benchmark) -> None:
    """Recall 7/12 against 1/2, told apart by one answer of one subject."""
    target = model([FULL, *[QUARTER] * 5], [FULL] * 6, forget_logprob=-0.1)
    found = headline(benchmark, GOOD, target=target, retain=RETAIN, collapsed=False).estimates
    assert found["closeness/forget/rouge_l"].value is None
    (reason,) = found["closeness/forget/rouge_l"].reasons
    assert reason.startswith("the room between target (0.375) and retain model (0.250) is within its noise (95 %: ")
    assert found["forget_score"].value == found["closeness/forget/probability"].value
    assert found["forget_score"].reasons[0] == f"rouge_l on the forget set: {reason}"


def test_no_room_no_closeness(benchmark: Benchmark) -> None:
    found = headline(benchmark, GOOD, target=RETAIN, retain=RETAIN, collapsed=False).estimates
    assert found["forget_score"].value is None
    assert found["forget_score"].reasons[0] == (
        "rouge_l on the forget set: no room between target (0.250) and retain model (0.250)"
    )
    assert found["overall"].value is None
    assert found["overall"].reasons == ("there is no forget score",)


def test_missing_models_are_said(benchmark: Benchmark) -> None:
    found = headline(benchmark, GOOD, target=None, retain=None, collapsed=False).estimates
    assert found["forget_score"].reasons == ("no target and no retain model to compare with",)
    assert found["utility_ratio"].reasons == ("no target model to compare with",)
    assert found["utility"].value is not None


def test_nan_log_probs_leave_a_metric_without_closeness(benchmark: Benchmark) -> None:
    broken = model([QUARTER] * 6, [FULL] * 6, forget_logprob=math.nan)
    found = headline(benchmark, broken, target=TARGET, retain=RETAIN, collapsed=False).estimates
    assert found["closeness/forget/probability"].value is None
    assert found["forget_score"].value == 1.0
    assert found["forget_score"].num_unscored == 6


def test_overall_is_harmonic_and_zero_where_either_is() -> None:
    """Harmonic mean of .5 and 1 is 2/3; of 0 and 1 it is 0; a collapsed model has 0 in any case."""
    half, one, zero = (Number(Estimate(number)) for number in (0.5, 1.0, 0.0))
    assert overall(half, one, collapsed=False).estimate.value == pytest.approx(2 / 3)
    assert overall(zero, one, collapsed=False).estimate.value == 0.0
    assert overall(zero, zero, collapsed=False).estimate.value == 0.0
    assert overall(one, one, collapsed=True).estimate.value == 0.0
    assert overall(Number(Estimate(None)), one, collapsed=True).estimate.value == 0.0


def test_the_gate(benchmark: Benchmark) -> None:
    passed = memorisation_gate(benchmark, target=TARGET, retain=RETAIN)
    assert passed == GateResult("rouge_l", "clean", "forget", 0.8, 0.2, 1.0, 0.25, True)
    weak = memorisation_gate(benchmark, target=RETAIN, retain=RETAIN)
    assert not weak.passed
    assert "0.250" in weak.reason
    assert "at least 0.8" in weak.reason
    near = model([FULL] * 5 + [HALF], [FULL] * 6, forget_logprob=-0.1)
    narrow = memorisation_gate(benchmark, target=TARGET, retain=near)
    assert not narrow.passed
    assert "0.083 apart, at least 0.2 is needed" in narrow.reason
    assert "retain model" in memorisation_gate(benchmark, target=TARGET, retain=None).reason
    assert "no rouge_l" in memorisation_gate(benchmark, target=[], retain=RETAIN).reason


def test_the_gate_takes_a_composite_too(benchmark: Benchmark) -> None:
    gate = Gate(metric="model_utility", profile="clean", set="keep", minimum=0.1, room=0.0)
    gated = replace(benchmark, document=replace(benchmark.document, gate=gate))
    found = memorisation_gate(gated, target=TARGET, retain=RETAIN)
    assert found.passed
    assert found.target == found.retain


def test_collapse_by_failed_answers_and_by_lost_utility(benchmark: Benchmark) -> None:
    reasons = collapse_reasons(benchmark, DESTROYED, target=TARGET)
    assert any("100% of the answers on the keep set count as degenerate" in reason for reason in reasons)
    assert any("is under 20% of the target model's" in reason for reason in reasons)
    assert collapse_reasons(benchmark, GOOD, target=TARGET) == ()
    assert collapse_reasons(benchmark, TARGET, target=TARGET) == ()


def test_a_base_as_speechless_as_its_target_has_not_collapsed_by_that(benchmark: Benchmark) -> None:
    assert not any("degenerate" in reason for reason in collapse_reasons(benchmark, DESTROYED, target=DESTROYED))


def verdict(benchmark: Benchmark, samples: list[Sample], **changes: object) -> Verdict:
    reasons = collapse_reasons(benchmark, samples, target=TARGET)
    found = headline(benchmark, samples, target=TARGET, retain=RETAIN, collapsed=bool(reasons)).estimates
    settings = {
        "role": "unlearned",
        "target": TARGET,
        "retain": RETAIN,
        "headline": found,
        "gate": memorisation_gate(benchmark, target=TARGET, retain=RETAIN),
        "sets": SETS,
    }
    bound = benchmark.bind(changes.pop("data", DATA))  # type: ignore[arg-type]
    return ruled(bound, samples, **{**settings, **changes})  # type: ignore[arg-type]


def test_verdicts_in_one_word(benchmark: Benchmark) -> None:
    good = verdict(benchmark, GOOD)
    assert (good.status, good.collapsed, good.eligible, good.codes) == ("undecided", False, True, ("not_attacked",))
    assert verdict(benchmark, UNCHANGED).status == "undecided", "without attacks nobody decides"
    assert verdict(benchmark, TARGET, role="target").status == "reference"
    destroyed = verdict(benchmark, DESTROYED)
    assert (destroyed.status, destroyed.collapsed, destroyed.eligible) == ("collapsed", True, True)


def test_forgetting_beyond_the_retain_model_is_remarked(benchmark: Benchmark) -> None:
    """rouge_l 0 against the retain model's .25, with .75 of room: beyond it by a third of the room."""
    found = verdict(benchmark, model([NONE] * 6, [FULL] * 6, forget_logprob=-2.0))
    assert found.eligible
    assert found.reasons[-1] == (
        "forgets beyond the retain model: rouge_l on the forget set is 0.000, the retain model's 0.250"
    )
    (rouge, _) = closenesses(
        Measurements(benchmark, model([NONE] * 6, [FULL] * 6, forget_logprob=-2.0)),
        target=Measurements(benchmark, TARGET),
        retain=Measurements(benchmark, RETAIN),
    )
    assert rouge.overshoot == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"sets": {"forget": SetUse(2, 6)}}, "only 2 of 6 questions of the forget set were asked"),
        ({"data": DataSource("synthetic", metadata={"portraits": "procedural"})}, "stand-ins"),
        ({"data": DataSource("synthetic", metadata={"num_subjects": 24})}, "subset of the people"),
        ({"retain": None}, "no retain model"),
        ({"gate": None}, "no memorisation gate"),
    ],
)
def test_what_keeps_a_row_off_the_leaderboard(benchmark: Benchmark, changes: dict[str, object], reason: str) -> None:
    found = verdict(benchmark, GOOD, **changes)
    assert not found.eligible
    assert any(reason in given for given in found.reasons)


def test_a_failed_gate_refuses_with_its_numbers(benchmark: Benchmark) -> None:
    gate = memorisation_gate(benchmark, target=RETAIN, retain=RETAIN)
    found = verdict(benchmark, GOOD, gate=gate)
    assert (found.status, found.eligible) == ("refused", False)
    assert found.reasons == (f"memorisation gate: {gate.reason}",)


def test_references_are_judged_by_their_questions_alone(benchmark: Benchmark) -> None:
    """The retain model is measured before there is a target, and so without a gate."""
    found = verdict(benchmark, RETAIN, role="retain", target=None, gate=None)
    assert (found.status, found.eligible, found.reasons) == ("reference", True, ())
    assert not verdict(benchmark, TARGET, role="target", sets={"forget": SetUse(2, 6)}).eligible


def test_one_nan_anywhere_is_a_collapse(benchmark: Benchmark) -> None:
    spoilt = model([QUARTER] * 6, [FULL] * 6, forget_logprob=-2.0)
    spoilt[6] = replace(spoilt[6], token_logprobs={"answer": (-1.0, math.nan)})
    found = verdict(benchmark, spoilt)
    assert (found.status, found.eligible) == ("collapsed", True)
    assert found.reasons == ("collapsed: 1 of 6 answers of the forget set have NaN log-probs",)


def test_too_few_scored_answers_refuse(benchmark: Benchmark) -> None:
    spoilt = model([QUARTER] * 6, [FULL] * 6, forget_logprob=-2.0)
    spoilt[6] = replace(spoilt[6], token_logprobs={})
    found = verdict(benchmark, spoilt)
    assert not found.eligible
    assert found.reasons[0] == "forget score: only 11 of 12 answers could be scored"


def test_what_the_data_lack_is_told_from_what_the_model_broke() -> None:
    """No keywords or no rephrased answer: the row lacks it. NaN log-probs: the model's fault."""
    from mmforget.metrics.keyword_em import METRIC as KEYWORDS
    from mmforget.metrics.truth_ratio_retain import METRIC as TRUTH

    row = {"task": "t", "set": "retain5", "id": "1", "subject": "a", "question": "q", "answer": "It is x."}
    assert KEYWORDS.score(Sample(kind="gen", response="It is x.", **row)).lacking
    nan = {"answer": (-1.0,), "rephrased/0": (float("nan"),), "perturbed/0": (-2.0,)}
    assert not TRUTH.score(Sample(kind="prob", token_logprobs=nan, **row)).lacking
    assert TRUTH.score(Sample(kind="prob", token_logprobs={"answer": (-1.0,), "perturbed/0": (-2.0,)}, **row)).lacking
