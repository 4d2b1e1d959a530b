"""The word that a verdict ends in: removed, suppressed, remembered, collapsed or undecided, and what decided it.

An attack counts by what it finds in the unlearned model *above* the retain model, which never knew: see
`docs/verdict.md` for the rule and its reasons.

Source: the adjustment for many attacks is Holm's (Scand. J. Stat. 6, 1979); that all of them have to be ruled out, each
at its own level, is an intersection-union test (Berger, Technometrics 24, 1982) of equivalence (Schuirmann, J.
Pharmacokinet. Biopharm. 15, 1987). The rule is the harness's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from mmforget.errors import listed
from mmforget.results import rules
from mmforget.results.evidence import Evidence
from mmforget.results.rules import CODES, COLLAPSED, Finding, finding
from mmforget.results.schema import RunRecord, Verdict, VerdictStatus
from mmforget.statistics.excess import holm, p_value
from mmforget.statistics.jackknife import MIN_SUBJECTS

LEVEL = 0.05
"""Chance that any attack is called successful which finds no more than in the retain model, and that of calling removed
what some attack finds a quarter of."""
NEGLIGIBLE = 0.05
"""Of an attack's room (target less retain model): what another retain model may well give, too."""
MAX_LEFT = 1.0 - rules.FORGOTTEN_FROM
"""Of an attack's room: what has to be ruled out where something counts as removed."""
MIN_KEPT = 0.8
"""Of the target's utility: with less nobody can tell removal from damage."""
MAX_NAMED = 3
"""More attacks than this in one sentence nobody reads."""
BOUNDS = (-1.0, 1.0)
"""Between which a difference of two rates lies."""
ACCESS = {
    "black_box": "answers",
    "logits": "logits",
    "hidden": "hidden states",
    "gradients": "gradients",
    "weights": "weights",
}
"""What an attack looks at, by its access, from least to most."""
ORDER = ("removed", "undecided", "suppressed", "not tried", "remembered", "refused", "collapsed")
"""Verdicts from best to worst, as boards rank them. What is undecided because nobody attacked it comes behind what was
attacked and only suppresses, or not to be attacked would pay."""


class Decision(NamedTuple):
    """What evidence comes to.

    Attributes:
        status: `removed`, `suppressed`, `remembered` or `undecided`.
        evidence: with outcomes and adjusted p values.
        findings: what decided, or is missing.
    """

    status: VerdictStatus
    evidence: tuple[Evidence, ...]
    findings: tuple[Finding, ...]


def verdict(
    record: RunRecord,
    *,
    collapse: Sequence[Finding],
    beyond: Sequence[Finding],
    evidence: Sequence[Evidence],
    data_notes: Sequence[str],
    lacks_retain: bool,
) -> Verdict:
    """The verdict on one model, from its record's role, sets, gate and headline, and what only samples can tell.

    `reference` for target, retain and base models; else `refused` where the gate was not passed or there is no forget
    score, `collapsed`, or what the evidence comes to. A collapsed model stays eligible: it is ranked last.

    Args:
        collapse: signs that it no longer answers anything.
        beyond: where it forgets more than the retain model ever knew.
        evidence: what plain questions and attacks find, without outcomes.
        data_notes: what keeps the data from being the official ones.
        lacks_retain: whether the protocol has a retain model, and none was there.
    """
    refusals = rules.against(record, data_notes=data_notes, lacks_retain=lacks_retain, collapsed=bool(collapse))
    decision = decide(evidence, kept=_value(record, "utility_ratio"))
    status = _status(record, decision=decision, collapsed=bool(collapse))
    remarks = [*rules.lacking(record), *(() if collapse else beyond)] if record.role == "unlearned" else []
    deciding = decision.findings if status == decision.status and record.role == "unlearned" else ()
    found = [*collapse, *refusals, *deciding, *remarks]
    return Verdict(
        status,
        collapsed=bool(collapse),
        eligible=not refusals,
        reasons=tuple(COLLAPSED + one.text if CODES[one.code] == "collapse" else one.text for one in found),
        codes=tuple(one.code for one in found),
        evidence=decision.evidence if record.role == "unlearned" else (),
    )


def _status(record: RunRecord, *, decision: Decision, collapsed: bool) -> VerdictStatus:
    if record.role != "unlearned":
        return "reference"
    if record.gate is None or not record.gate.passed:
        return "refused"
    if collapsed:
        return "collapsed"
    return "refused" if _value(record, "forget_score") is None else decision.status


def _value(record: RunRecord, name: str) -> float | None:
    return record.headline[name].value if name in record.headline else None


def decide(evidence: Iterable[Evidence], *, kept: float | None) -> Decision:
    """The word for what plain questions and attacks find.

    Args:
        kept: the share of the target's utility that is left.
    """
    told = judged(evidence)
    found = [one for one in told if one.outcome == "found"]
    missing = _missing(told)
    if missing:
        return Decision("undecided", told, tuple(missing))
    if found:
        return _came_back(told, found=found)
    unsure = [*_too_wide(told), *_utility_short(kept)]
    if unsure:
        return Decision("undecided", told, tuple(unsure))
    return Decision("removed", told, (_withstood(told),))


def weighed(line: Evidence, *, parts: Sequence[tuple[float, float]]) -> Evidence:
    """A line that can tell something, with p values of its excess being negligible, and of too much being left.

    None with too few subjects.

    Args:
        parts: the independent parts of the variance of its excess, each with its degrees of freedom.
    """
    if line.excess is None or line.num_subjects < MIN_SUBJECTS:
        return replace(line, p_value=None, p_left=None, outcome="open")
    above, left = (
        p_value(line.excess, null=share * line.room, parts=parts, bounds=BOUNDS) for share in (NEGLIGIBLE, MAX_LEFT)
    )
    is_below = line.excess < MAX_LEFT * line.room
    return replace(line, p_value=above, p_left=left / 2 if is_below else 1.0 - left / 2, outcome="open")


def judged(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Each line with its outcome, and with the p value adjusted for all lines that can tell anything."""
    lines = list(evidence)
    telling = [one for one in lines if one.outcome != "blind" and one.p_value is not None]
    values = [one.p_value for one in telling if one.p_value is not None]
    adjusted = dict(zip((one.key for one in telling), holm(values), strict=True))
    known = [replace(one, adjusted=adjusted.get(one.key)) for one in lines]
    return tuple(one if one.outcome == "blind" else replace(one, outcome=_outcome(one)) for one in known)


def _outcome(line: Evidence) -> Literal["found", "ruled_out", "open"]:
    is_above = line.excess is not None and line.excess > NEGLIGIBLE * line.room
    if is_above and line.adjusted is not None and line.adjusted <= LEVEL:
        return "found"
    asked = line.num_scored + line.num_unscored
    is_whole = line.num_scored >= rules.MIN_COVERAGE * asked
    return "ruled_out" if is_whole and line.p_left is not None and line.p_left <= LEVEL else "open"


def _missing(told: Sequence[Evidence]) -> list[Finding]:
    """Why nothing can be said at all."""
    found = []
    attacks = [one for one in told if one.attack is not None]
    if not attacks:
        text = "no attack was made on what was to be forgotten; --attacks quick makes a few that are cheap"
        found.append(finding("not_attacked", text))
    if any(one.retain is None for one in told):
        text = "no retain model, so nobody knows what is found in a model that never knew"
        found.append(finding("no_base_rate", text))
    elif attacks and all(one.outcome == "blind" for one in attacks):
        text = "no attack finds surely more in the target than in the retain model, so none tells anything"
        found.append(finding("attacks_blind", text))
    return found


def _came_back(told: Sequence[Evidence], *, found: Sequence[Evidence]) -> Decision:
    """`remembered` where plain questions bring it back already, or look as if they did; else `suppressed`."""
    plain = [one for one in told if one.attack is None and one.outcome != "blind"]
    unforgotten = [one for one in plain if one.outcome == "found" or _left(one) > MAX_LEFT]
    shown = [one for one in found if one.attack is not None]
    findings = [finding("still_answers", _told(unforgotten))] if unforgotten else []
    findings += [finding("came_back", _told(shown))] if shown else []
    return Decision("remembered" if unforgotten else "suppressed", tuple(told), tuple(findings))


def _left(line: Evidence) -> float:
    return line.excess / line.room if line.excess is not None and line.room > 0 else 0.0


def _told(lines: Sequence[Evidence]) -> str:
    """`cloze finds 83% of the answers, 2% in the retain model and 100% in the target`, the strongest first."""
    ordered = sorted(lines, key=_left, reverse=True)
    first, others = ordered[0], [one.name for one in ordered[1:]]
    verb = "find" if first.attack is None else "finds"
    text = f"{first.name} {verb} {first.unlearned:.0%} of the answers, {first.retain:.0%} in the retain model and "
    text += f"{first.target:.0%} in the target"
    return f"{text}; so {'does' if len(others) == 1 else 'do'} {_names(others)}" if others else text


def _names(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    if len(shown) > MAX_NAMED:
        shown = [*shown[: MAX_NAMED - 1], f"{len(shown) - MAX_NAMED + 1} more"]
    return listed(shown)


def _too_wide(told: Sequence[Evidence]) -> list[Finding]:
    unsure = [one for one in told if one.outcome == "open"]
    if not unsure:
        return []
    ordered = sorted(unsure, key=lambda one: -1.0 if one.high is None else -one.high)
    first = ordered[0]
    much = "" if first.high is None else f" (up to {first.high:.2f} above the retain model)"
    text = f"it may be that more than {MAX_LEFT:.0%} comes back by {_names([one.name for one in ordered])}{much}: "
    return [finding("too_wide", f"{text}the intervals of {first.num_subjects} subjects are too wide to tell")]


def _utility_short(kept: float | None) -> list[Finding]:
    if kept is not None and kept >= MIN_KEPT:
        return []
    much = "nobody knows how much" if kept is None else f"only {kept:.0%}"
    text = f"{much} of the target's utility is left, so removal cannot be told from damage"
    return [finding("utility_short", text)]


def _withstood(told: Sequence[Evidence]) -> Finding:
    telling = [one for one in told if one.outcome == "ruled_out"]
    num = sum(one.attack is not None for one in telling)
    what = f"{num} attack{'' if num == 1 else 's'} on its {access_words(telling)}"
    text = f"{what}, and the plain questions: surely less than {MAX_LEFT:.0%} of what each finds in the target is left"
    return finding("withstood", text)


def place_of(verdict: Verdict | None) -> int:
    """Where a verdict stands in `ORDER`; last for a collapsed model, whatever else it is called."""
    if verdict is None or verdict.collapsed or verdict.status not in ORDER:
        return len(ORDER) - 1
    is_tried = any(one.attack is not None for one in verdict.evidence)
    return ORDER.index("not tried" if verdict.status == "undecided" and not is_tried else verdict.status)


def access_words(evidence: Iterable[Evidence]) -> str:
    """What the attacks looked at that tell anything, in words: `answers and weights`; empty for nothing."""
    found = {one.access for one in evidence if one.attack is not None and one.outcome != "blind"}
    named = [text for access, text in ACCESS.items() if access in found]
    return listed(named) if named else ""


def joint_verdict(
    verdicts: Mapping[int, Verdict], *, evidence: Sequence[Evidence], kept: float | None, forget_score: float | None
) -> Verdict:
    """What several trainings come to, by seed: what the evidence over all of them does.

    Findings say which seeds they are true of, where that is not all. Collapsed only where every seed has, and removed
    only where no seed has collapsed or gives something back by itself.

    Args:
        evidence: over the seeds, without outcomes.
    """
    decision = decide(evidence, kept=kept)
    status = _joint_status({one.status for one in verdicts.values()}, decision=decision, forget_score=forget_score)
    deciding = decision.findings if status == decision.status else ()
    if status != decision.status and status == "undecided":
        differing = [f"seed {seed}: {one.status}" for seed, one in verdicts.items() if one.status in WORSE]
        deciding = (finding("seeds_differ", f"removed over all seeds, and not by each ({', '.join(differing)})"),)
    seeds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for seed, one in verdicts.items():
        for said in rules.coded(one):
            if CODES.get(said[0]) not in ("evidence", "missing"):
                seeds[said].append(seed)
    held = [(code, _of_seeds(text, of, num=len(verdicts))) for (code, text), of in seeds.items()]
    held += [(one.code, one.text) for one in deciding]
    return Verdict(
        status=status,
        collapsed=all(one.collapsed for one in verdicts.values()),
        eligible=all(one.eligible for one in verdicts.values()),
        reasons=tuple(text for _, text in held),
        codes=tuple(code for code, _ in held),
        evidence=decision.evidence,
    )


WORSE: Sequence[VerdictStatus] = ("suppressed", "remembered", "collapsed")
"""Verdicts on one seed that keep a method from counting as one that removes."""


def _joint_status(statuses: set[VerdictStatus], *, decision: Decision, forget_score: float | None) -> VerdictStatus:
    if statuses == {"collapsed"}:
        return "collapsed"
    if "refused" in statuses or forget_score is None:
        return "refused"
    if decision.status == "removed" and statuses.intersection(WORSE):
        return "undecided"
    return decision.status


def _of_seeds(text: str, seeds: Sequence[int], *, num: int) -> str:
    return text if len(seeds) == num else f"{text} (seed {', '.join(map(str, seeds))})"
