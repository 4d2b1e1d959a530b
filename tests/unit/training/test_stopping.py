"""Rules that end a training by its validation part, and which step is kept: every outcome worked out by hand."""

from __future__ import annotations

import pytest

from mmforget.errors import UserError
from mmforget.training.stopping import Point, balance, check_keep, kept, parse_rules, point_from, reason

START = Point(0, 0.8, 0.9, 0.0)
CURVE = (START, Point(2, 0.5, 0.9, 0.5), Point(4, 0.25, 0.75, 0.75), Point(6, 0.2, 0.6, 0.7), Point(8, 0.1, 0.3, 0.45))


def ended(rules: str, *, keep: str = "last") -> tuple[int, str]:
    """After which update the first rule holds, and which it is."""
    found = parse_rules(rules)
    for size in range(1, len(CURVE) + 1):
        if why := reason(CURVE[:size], rules=found, keep=keep):
            return CURVE[size - 1].step, why
    return 0, ""


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("forget<0.3", (4, "forget<0.3")),
        ("utility<0.8*start", (6, "utility<0.8*start")),
        ("utility < 0.8 * start , forget<0.15", (6, "utility < 0.8 * start")),
        ("balance>0.7", (4, "balance>0.7")),
        ("forget<0.01", (0, "")),
        ("forget<2", (2, "forget<2")),
        ("", (0, "")),
    ],
)
def test_the_first_rule_that_holds_ends_it(rules: str, expected: tuple[int, str]) -> None:
    """.8 times the utility of .9 at the start is .72: .75 lies above, .6 below. Nothing ends before an update."""
    assert ended(rules) == expected


def test_patience_counts_points_without_a_better_one() -> None:
    """Balance is best after update 4; two points later the second is the first that was waited for."""
    assert ended("patience=1", keep="best:balance") == (6, "patience=1")
    assert ended("patience=2", keep="best:balance") == (8, "patience=2")
    assert ended("patience=3", keep="best:balance") == (0, "")
    assert ended("patience=1", keep="best:forget") == (0, "")
    assert ended("patience=1", keep="best:utility") == (2, "patience=1")


def test_the_best_of_equal_points_is_the_first() -> None:
    assert [kept(CURVE, keep=f"best:{name}") for name in ("forget", "utility", "balance")] == [
        CURVE[4],
        START,
        CURVE[2],
    ]
    assert kept(CURVE, keep="last") == CURVE[-1]
    assert kept((), keep="last") is None
    assert kept((Point(0, None, 0.5),), keep="best:forget") is None


@pytest.mark.parametrize(
    ("forget", "utility", "expected"),
    [(0.4, 0.9, 2 / 3), (0.0, 0.45, 2 / 3), (0.8, 0.9, 0.0), (0.9, 1.0, 0.0), (0.0, 1.5, 1.0), (0.0, 0.0, 0.0)],
)
def test_balance_is_the_harmonic_mean_of_two_shares(forget: float, utility: float, expected: float) -> None:
    """From forget .8 and utility .9: half forgotten and all kept is 2 * .5 * 1 / 1.5."""
    assert balance(forget, utility, start=START) == pytest.approx(expected)


def test_what_is_not_known_decides_nothing() -> None:
    assert balance(None, 0.9, start=START) is None
    assert balance(0.1, 0.9, start=Point(0, 0.0, 0.9)) is None
    assert balance(0.8, 0.9, start=None) == 0.0
    assert balance(0.0, 0.9, start=None) is None, "with nothing to forget there is nothing to balance"
    unknown = (Point(0, None, None), Point(2, None, 0.1))
    assert reason(unknown, rules=parse_rules("forget<0.3,utility<0.8*start"), keep="last") == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "forget=0.3",
            "--stop: 'forget=0.3' is no rule; give rules such as forget<0.3, utility<0.8*start or patience=3",
        ),
        ("forgot<0.3", "of forget, utility, balance"),
        ("patience=0", "'patience=0' is no rule"),
        ("forget<0.3*target", "is no rule"),
        ("forget<1e", "has no number (1e)"),
        ("forget<0.3 utility<0.8", "is no rule"),
    ],
)
def test_what_is_no_rule_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_rules(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_kept_is_checked() -> None:
    check_keep("best:balance", rules=parse_rules("patience=3"))
    with pytest.raises(UserError, match="give last, best:forget or best:utility or best:balance"):
        check_keep("best:rouge", rules=())
    with pytest.raises(UserError, match="--stop patience=3 waits for something to get better"):
        check_keep("last", rules=parse_rules("patience=3"))


def test_a_point_is_read_as_the_log_has_it() -> None:
    assert point_from({"step": 4, "forget": 0.25, "utility": None, "balance": 1}) == Point(4, 0.25, None, 1)
