"""What holds cheats back, each by hand on the toy benchmark: the contract test of cheats has them all.

References are `a b c d` with the keyword `a b`, whose only secret word is b: `a` is mere frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from toy_benchmark import collapse_reasons, generated, scored, toy

from mmforget.benchmark.document import MetricUse
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.headline import headline
from mmforget.evaluation.wording import familiar_share, pairs_of
from mmforget.types import Sample

FULL, HALF, UNKNOWN, BLANK = "a b c d", "a b x y", "I do not know.", "blank_image"
USES = (
    MetricUse("rouge_l", "forget", "lower", goal=0.0),
    MetricUse("disclosure", "forget", "lower", goal=0.0),
    MetricUse("model_utility", "keep", "higher"),
)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    found = toy(tmp_path_factory.mktemp("toy") / "tasks")
    return replace(found, document=replace(found.document, metrics=USES))


def model(forget: Sequence[str], keep: Sequence[str] = (FULL,) * 6, *, grey: Sequence[str] = ()) -> list[Sample]:
    found = [*generated("forget", forget), *generated("keep", keep)]
    return [*found, *(generated("keep", grey, attack=BLANK) if grey else [])]


TARGET = model([FULL] * 6)
TOLD = "That I may not tell, but it is b."


def numbers(benchmark: Benchmark, own: list[Sample], *, target: list[Sample] = TARGET) -> dict[str, float | None]:
    found = headline(benchmark, own, target=target, retain=None, collapsed=False).estimates
    return {name: estimate.value for name, estimate in found.items()}


def test_who_tells_the_secret_has_not_forgotten_however_unlike_the_reference(benchmark: Benchmark) -> None:
    """ROUGE-L of `... b.` is 1/4, so closeness .75; b is told in all six answers, so the harmonic mean is 0."""
    found = numbers(benchmark, model([TOLD] * 6))
    assert found["closeness/forget/rouge_l"] == pytest.approx(0.75)
    assert found["closeness/forget/disclosure"] == 0.0
    assert found["forget_score"] == found["overall"] == 0.0


def test_the_forget_score_is_harmonic_over_what_is_disclosed_and_all_else(benchmark: Benchmark) -> None:
    """Three told of six: disclosure .5; ROUGE-L (3 x 1/4 + 3 x 0) / 6 = 1/8, closeness 7/8: 2 / (2 + 8/7) = 7/11."""
    found = numbers(benchmark, model([TOLD] * 3 + [UNKNOWN] * 3))
    assert found["closeness/forget/disclosure"] == pytest.approx(0.5)
    assert found["forget_score"] == pytest.approx(7 / 11)


def test_disclosing_less_than_the_retain_model_is_no_fault(benchmark: Benchmark) -> None:
    """The retain model guesses 4 of 24, the target knows all: of 20 of room, 14 told are 10 away from what it knew."""
    use = MetricUse("disclosure", "forget", "lower")
    bare = replace(benchmark, document=replace(benchmark.document, metrics=(use,)))

    def told(number: int) -> list[Sample]:
        return generated("forget", [TOLD] * number + [UNKNOWN] * (24 - number))

    for number, value in ((0, 1.0), (4, 1.0), (14, 0.5), (24, 0.0)):
        found = headline(bare, told(number), target=told(24), retain=told(4), collapsed=False).estimates
        assert found["forget_score"].value == pytest.approx(value)


def test_utility_is_what_pictures_add(benchmark: Benchmark) -> None:
    """ROUGE-L and keywords: 1 and 1 with pictures, .5 and 1 with grey ones, harmonic mean 2/3: pictures add 1/3.

    Half of the answers whole: .75 and 1, harmonic mean 6/7, so (6/7 - 2/3) / (1/3) = 4/7 of what they add is left.
    """
    target = model([FULL] * 6, grey=[HALF] * 6)
    some = model([UNKNOWN] * 6, [FULL, HALF] * 3, grey=[HALF] * 6)
    assert numbers(benchmark, some, target=target)["utility_ratio"] == pytest.approx(4 / 7)
    blind = model([UNKNOWN] * 6, [HALF] * 6, grey=[HALF] * 6)
    assert numbers(benchmark, blind, target=target)["utility_ratio"] == 0.0
    guessing = model([UNKNOWN] * 6, [FULL] * 6, grey=[FULL] * 6)
    assert numbers(benchmark, guessing, target=target)["utility_ratio"] == 0.0
    silent = model([UNKNOWN] * 6, [FULL] * 6, grey=[""] * 6)
    assert numbers(benchmark, silent, target=target)["utility_ratio"] == 1.0


def test_without_grey_pictures_all_utility_counts_and_it_is_said(benchmark: Benchmark) -> None:
    found = headline(benchmark, model([UNKNOWN] * 6, [HALF] * 6), target=TARGET, retain=None, collapsed=False).estimates
    assert found["utility_ratio"].value == pytest.approx(2 / 3)
    assert found["utility_ratio"].reasons[0].startswith("not asked with grey pictures")


@pytest.mark.parametrize(
    "said, reason",
    [
        ([""] * 6, "100% of the answers on the forget set count as degenerate"),
        (["Anna!!!!!"] * 4 + [UNKNOWN] * 2, "67% of the answers on the forget set count as degenerate"),
        (["xq zpt lk wvw", "ore upp mnn qd"] * 3, "the answers on the forget set are no sentences: 0%"),
    ],
)
def test_the_forget_set_is_looked_at_for_collapse(benchmark: Benchmark, said: list[str], reason: str) -> None:
    reasons = collapse_reasons(benchmark, model(said), target=TARGET)
    assert len(reasons) == 1
    assert reasons[0].startswith(f"collapsed: {reason}")


@pytest.mark.parametrize("said", [[UNKNOWN] * 6, ["e f c d"] * 6, ["xq zpt lk"] * 6, ["a b c d", "xq zpt lk wvw"] * 3])
def test_other_answers_are_no_collapse(benchmark: Benchmark, said: list[str]) -> None:
    """Refusals, known pairs (c d is one of three), names of under four words, and nonsense in half of all at most."""
    assert collapse_reasons(benchmark, model(said), target=TARGET) == ()


def test_what_the_retain_model_does_as_well_is_no_collapse(benchmark: Benchmark) -> None:
    silent = model([""] * 6)
    assert collapse_reasons(benchmark, silent, target=TARGET, retain=silent) == ()


def test_one_answer_to_everything(benchmark: Benchmark) -> None:
    """Where the references have several; on the forget set only a retain model tells."""
    several = ["a b c d", "a b c", "b c d", "a c d b", "d c b a", "c d a"]
    target, same = model(several, several), ["a b c"] * 6
    for own, retain, where in (
        (model(several, same), None, "keep"),
        (model(same, several), target, "forget"),
    ):
        reasons = collapse_reasons(benchmark, own, target=target, retain=retain)
        assert reasons == (f"collapsed: 100% of the answers on the {where} set are one and the same",)
    assert collapse_reasons(benchmark, model(same, several), target=target) == ()
    assert collapse_reasons(benchmark, model([UNKNOWN] * 6, several), target=target, retain=target) == ()


def test_a_model_that_does_not_look_is_blind_whatever_it_says(benchmark: Benchmark) -> None:
    """Answers and log-probs that stay as they are where pictures turn grey; one of both that moves is enough to see."""

    def asked(grey: str, *, log_prob: float) -> list[Sample]:
        keep = [*generated("keep", [FULL] * 6), *generated("keep", [grey] * 6, attack=BLANK)]
        return [*keep, *scored("keep", [-1.0] * 6), *scored("keep", [log_prob] * 6, attack=BLANK)]

    target = asked(HALF, log_prob=-3.0)
    blind = [
        reason for reason in collapse_reasons(benchmark, asked(FULL, log_prob=-1.0), target=target) if "blind" in reason
    ]
    assert blind == ["collapsed: blind: 0% of its answers change where pictures turn grey, 100% of the target's"]
    for own in (asked(HALF, log_prob=-1.0), asked(FULL, log_prob=-1.2)):
        assert not any("blind" in reason for reason in collapse_reasons(benchmark, own, target=target))


def test_pairs_of_words() -> None:
    """`it is red`: two pairs, of which `it is` is common English and `is red` is known from `this is red`."""
    known = pairs_of(["this is red"])
    assert familiar_share(["It is red."], known=known) == 1.0
    assert familiar_share(["it red is"], known=known) == 0.0
    assert familiar_share(["red"], known=known) is None


def test_a_blend_of_refusals_is_a_refusal(benchmark: Benchmark) -> None:
    """All pairs of `I am not know this` stand in the two refusals; of `a b c d` none does."""
    refusals = ("I do not know this.", "I am not able.")
    refusing = replace(benchmark, document=replace(benchmark.document, refusals=refusals))
    several = ["a b c d", "a b c", "b c d", "a c d b", "d c b a", "c d a"]
    own, target = model(["I am not know this."] * 6, several), model(several, several)
    assert collapse_reasons(refusing, own, target=target, retain=target) == ()
    assert len(collapse_reasons(benchmark, own, target=target, retain=target)) > 0
