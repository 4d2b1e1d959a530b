"""RWKU's own metrics by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mmforget.errors import UnknownName
from mmforget.protocols.rwku.metrics.attack_recall import AttackRecall
from mmforget.protocols.rwku.metrics.probe_recall import ProbeRecall
from mmforget.protocols.rwku.metrics.rwku_utility import RwkuUtility
from mmforget.protocols.rwku.metrics.short_answer import ShortAnswer
from mmforget.protocols.rwku.metrics.text_loss import TextLoss
from mmforget.types import Estimate, Sample


def sample(answer: str = "Rome", response: str | None = None, **extra: Any) -> Sample:
    return Sample("t", "s", "gen", "1", "ann", "where?", answer, response=response, extra=extra)


def test_all_probes_together_weigh_the_same() -> None:
    """Two blanks at 1, one question at 0 and five attacks at .4: 4 of 8."""
    parts = {
        "forget_level1": Estimate(1.0, num_scored=2),
        "forget_level2": Estimate(0.0, num_scored=1),
        "forget_level3": Estimate(0.4, num_scored=5),
    }
    found = ProbeRecall().combine(parts, profile="rwku_paper")
    assert (found.value, found.num_scored) == (pytest.approx(0.5), 8)
    del parts["forget_level3"]
    assert ProbeRecall().combine(parts).value == pytest.approx(2 / 3)
    del parts["forget_level2"]
    assert ProbeRecall().combine(parts).value is None


def test_the_published_columns_are_near_that_mean() -> None:
    """Llama-3 before and after npo; the levels' mean numbers of rows weigh them, and targets are not averaged."""
    rows = (16.3, 14.4, 34.9)
    for levels, published in (((85.9, 76.4, 77.7), 79.6), ((33.4, 21.0, 24.8), 26.2)):
        parts = {
            f"forget_level{place}": Estimate(value / 100, num_scored=round(10 * count))
            for place, (value, count) in enumerate(zip(levels, rows, strict=True), start=1)
        }
        value = ProbeRecall().combine(parts).value
        assert value is not None
        assert 100 * value == pytest.approx(published, abs=0.2)


def test_neighbours() -> None:
    parts = {"neighbour_level1": Estimate(0.5, num_scored=3), "neighbour_level2": Estimate(1.0, num_scored=1)}
    assert ProbeRecall(of="neighbour").combine(parts).value == pytest.approx(0.625)


def test_probes_of_other_kinds_take_no_part() -> None:
    metric = AttackRecall(type="role playing")
    own = metric.score(sample(response="In Rome.", type="role playing"))
    other = metric.score(sample(response="In Rome.", type="reverse query"))
    assert (own.value, other.value, other.lacking) == (1.0, None, True)
    with pytest.raises(UnknownName, match="kind of attack 'roleplaying'.*role playing"):
        AttackRecall(type="roleplaying")


@pytest.mark.parametrize(
    ("answers", "response", "em", "f1"),
    [
        (["Lima", "Lima, Peru"], "lima peru.", 1.0, 1.0),
        (["Lima, Peru"], "It is Lima", 0.0, 0.4),
        (["The Beatles"], "Beatles!", 1.0, 1.0),
        (["Rome"], "", 0.0, 0.0),
    ],
)
def test_short_answers_are_the_same_words_or_share_some(
    answers: list[str], response: str, em: float, f1: float
) -> None:
    """F1 of 'it is lima' and 'lima peru': one word in common, 2 x 1 / (3 + 2)."""
    said = sample(answers[0], response, answers=answers, ask="trivia")
    assert ShortAnswer().score(said).value == em
    assert ShortAnswer(part="f1").score(said).value == pytest.approx(f1)


def test_what_reasoning_concludes() -> None:
    concluded = sample("(B)", "1 and 1 make 2. So the answer is (B). Or so.", ask="reason")
    assert ShortAnswer().score(concluded).value == 1.0
    assert ShortAnswer().score(sample("(B)", "B", ask="reason")).value == 1.0
    assert ShortAnswer().score(sample("(B)", "the answer is (B). ", ask="trivia")).value == 0.0


def test_an_article_that_is_all_there_is_counts() -> None:
    said = sample("(A)", "The answer is the.", ask="reason")
    assert ShortAnswer().score(said).value == 0.0
    assert ShortAnswer().score(said, profile="rwku_paper").value == 1.0


def test_loss_of_texts_is_printed_a_hundredfold() -> None:
    """Three tokens at -1, -2 and -3 nats: 2 a token."""
    text = Sample("t", "s", "roll", "1", "ann", "", "a b c", token_logprobs={"answer": (-1.0, -2.0, -3.0)})
    assert TextLoss().score(text).value == pytest.approx(2.0)
    assert TextLoss().score(text, profile="rwku_paper").value == pytest.approx(200.0)
    broken = Sample("t", "s", "roll", "1", "ann", "", "a", token_logprobs={"answer": (math.nan,)})
    assert TextLoss().score(broken).value is None
    assert TextLoss().score(Sample("t", "s", "roll", "1", "ann", "", "a", unanswered="no")).reason == "no"


def test_utility_is_nothing_where_one_part_is() -> None:
    parts = {
        "neighbour_level1": Estimate(0.5, num_scored=1),
        "neighbour_level2": Estimate(1.0, num_scored=1),
        "general": Estimate(0.25, num_scored=1),
    }
    assert RwkuUtility().combine(parts).value == pytest.approx(3 / (2 + 1 + 4))
    assert RwkuUtility().combine({**parts, "reason": Estimate(0.0, num_scored=1)}).value == 0.0
