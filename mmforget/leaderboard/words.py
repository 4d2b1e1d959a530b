"""Numbers and verdicts in words: one place, so that console, page and Markdown say the same."""

from __future__ import annotations

import math
from collections.abc import Collection

from mmforget.errors import listed
from mmforget.leaderboard.board import Board, BoardRow
from mmforget.results.answer_states import StateCounts
from mmforget.results.cannot_tell import Untold
from mmforget.results.deciding import access_words, place_of
from mmforget.results.rules import CODES, HEADLINE, Finding, coverage, is_deterministic
from mmforget.results.schema import GateResult, Relation, VerdictStatus
from mmforget.statistics.jackknife import MIN_SUBJECTS, too_few
from mmforget.types import Estimate

STATUS: dict[VerdictStatus, str] = {
    "reference": "reference",
    "removed": "removed",
    "suppressed": "suppressed",
    "remembered": "still remembers",
    "collapsed": "COLLAPSED",
    "undecided": "undecided",
    "refused": "cannot be judged",
}
SAID: dict[VerdictStatus, str] = {
    **STATUS,
    "removed": "removed it",
    "suppressed": "only suppresses it",
    "remembered": "still remembers it",
    "undecided": "is undecided",
}
"""The same behind a model's name."""
GROUP = {
    "forget": "to be forgotten",
    "rephrase": "to be forgotten, asked anew",
    "benign": "harmless, to be answered",
    "benign_utility": "harmless, to be answered",
    "facts": "fact to be kept",
    "utility": "to be kept",
    "retain": "to be kept",
}
RELATION: dict[Relation, str] = {
    "inside": "to be forgotten",
    "ancestor": "in part to be forgotten",
    "sibling": "sibling, to be kept",
    "elsewhere": "elsewhere, to be kept",
}
ROLE = {
    "base": "base model",
    "target": "target model",
    "retain": "retain model",
    "unlearned": "unlearned model",
    "relearned": "relearned model",
}
NO_BASIS = {
    "target_unmeasured": "nobody knows whether the target model knew what it was to forget",
    "not_memorised": "the target model did not know what it was to forget",
    "room_unknown": "nobody knows what a model says that never saw what was to be forgotten",
    "no_room": "a model that never saw what was to be forgotten knows it nearly as well as the target model",
}
"""By code of the gate, why scores on a target do not count."""
DASH = "–"
MAX_RIVALS = 6
"""More names than this in one sentence nobody reads."""
WORKING_RATIO = 0.8
"""Less of the target's utility than this is told as a loss."""


def number(value: float | None) -> str:
    """Three decimals, or a power of ten where they would hide a small p value; a dash for what was not measured."""
    if value is None or math.isnan(value):
        return DASH
    if value != 0 and (abs(value) < 0.0005 or abs(value) >= 10000):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def interval(estimate: Estimate, *, short: bool = False) -> str:
    """The 95 % interval as `[low, high]`, or as `low-high` to two decimals.

    `no interval`, short `unsure`, where a value has none although subjects were counted; else empty.
    """
    if estimate.low is None or estimate.high is None:
        missing = estimate.value is not None and estimate.num_subjects is not None
        return ("unsure" if short else "no interval") if missing else ""
    if short:
        return f"{estimate.low:.2f}{DASH}{estimate.high:.2f}"
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def subjects(estimate: Estimate) -> str:
    """`4 subjects`: how many the interval rests on, or why there is none; empty where that is not known."""
    if estimate.num_subjects is None:
        return ""
    count = f"{estimate.num_subjects} {'subject' if estimate.num_subjects == 1 else 'subjects'}"
    is_bare = estimate.num_subjects < MIN_SUBJECTS and estimate.low is None
    return f"{count}, too few for an interval" if is_bare else count


def measured(estimate: Estimate) -> str:
    """Value, interval and the word `constant` where every score is the same."""
    parts = [number(estimate.value), interval(estimate), "constant" if estimate.constant else ""]
    return " ".join(part for part in parts if part)


def states(counts: StateCounts) -> str:
    """How many answers were of which kind, and how many there are none of."""
    text = f"{counts.right} right, {counts.wrong} wrong, {counts.refusal} refusals, {counts.gibberish} gibberish"
    return text + (f", {counts.unanswered} not answered" if counts.unanswered else "")


def direction(estimate: Estimate) -> str:
    if estimate.higher_is_better is None:
        return "nearest to the retain model is best"
    return "higher is better" if estimate.higher_is_better else "lower is better"


def untold(found: Untold) -> str:
    """That a number was found unable to tell who knows, and by how much."""
    bounds = f"[{number(found.low)}, {number(found.high)}]"
    return f"cannot tell who knows from who does not: AUC {number(found.auc)} {bounds} between micro models"


def scored(estimate: Estimate) -> str:
    """How many questions were scored, how many could not be, and how many rows have nothing to score against."""
    text = f"n={estimate.num_scored}"
    if estimate.num_unscored:
        share = coverage(estimate)
        text += f", {estimate.num_unscored} could not be scored" + (f" ({share:.0%} covered)" if share else "")
    if estimate.num_lacking:
        text += f", {estimate.num_lacking} rows have nothing to score against"
    return text


def seeds(row: BoardRow) -> str:
    """How many trainings a row stands for, and how much of its uncertainty they are; empty for references and edits."""
    if row.is_reference or is_deterministic(row.record):
        return ""
    share = row.seed_shares.get("overall")
    due = "" if share is None else f", {share:.0%} of the variance"
    return f"{len(row.seeds)} seeds{due}" if row.seeds else "1 seed"


def null_band_sentence(board: Board) -> str:
    """How far retain models of other seeds lie from the first, in every number of the table; empty where there is one.

    That is what chance alone makes of a perfect score.
    """
    rows = board.null_band
    if not rows:
        return ""
    found = []
    for name in HEADLINE:
        values = [value for row in rows if (value := row.headline(name).value) is not None]
        if values:
            low, high = number(min(values)), number(max(values))
            found.append(f"{name.replace('_', ' ')} {low}" + ("" if low == high else f" to {high}"))
    models = "a second retain model" if len(rows) == 1 else f"{len(rows)} more retain models"
    return f"Judged against the first, {models} of other seeds: {', '.join(found)}. Nothing nearer can be told from it."


def place(row: BoardRow) -> str:
    """`2`, or `2=` where the place is shared; a dash for rows without one."""
    if row.rank is None:
        return DASH
    return f"{row.rank}=" if row.tied else str(row.rank)


def place_range(row: BoardRow) -> str:
    """`1-3`: the places that the intervals allow; empty where the place is sure; `?` where nobody can tell."""
    if row.rank is None:
        return ""
    if row.rank_range is None:
        return "?"
    return "" if row.rank_range[0] == row.rank_range[1] else f"{row.rank_range[0]}{DASH}{row.rank_range[1]}"


def place_note(row: BoardRow) -> str:
    """Why nobody can tell between which places a ranked row lies; empty where its interval says."""
    if row.rank is None or row.rank_range is not None:
        return ""
    return f"its place cannot be told: {_missing_interval(row)}"


def intervals_sentence(board: Board) -> str:
    """On how many subjects the intervals of a board's columns rest; empty where no record says."""
    told = []
    for name in ("overall", "forget_score", "utility"):
        counts = sorted({found for row in board.rows if (found := row.headline(name).num_subjects) is not None})
        if counts:
            least, most = counts[0], counts[-1]
            told.append(f"{name.replace('_', ' ')} {least if least == most else f'{least} to {most}'}")
    return f"Subjects that the intervals rest on: {', '.join(told)}." if told else ""


def status(row: BoardRow) -> str:
    """The verdict in a word or two. A collapsed model is called that whatever else is true of it."""
    if row.is_reference:
        return ROLE[row.record.role]
    if row.collapsed:
        return STATUS["collapsed"]
    if not row.eligibility.eligible:
        return "not ranked"
    return STATUS[row.record.verdict.status] if row.record.verdict else DASH


def ruling(row: BoardRow) -> str:
    """The verdict with what the attacks looked at that it rests on: `removed (answers and weights)`."""
    verdict = row.record.verdict
    looked = access_words(verdict.evidence) if verdict is not None and row.eligibility.deciding else ""
    return f"{status(row)} ({looked})" if looked else status(row)


def decided(board: Board) -> list[str]:
    """What decided the verdicts of a board, or is missing for them, a line for all rows of which the same is true."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in (*board.ranked, *board.refused):
        said = "; ".join(one.text for one in row.eligibility.deciding)
        if said and row.record.verdict is not None:
            found.setdefault((STATUS[row.record.verdict.status], said), []).append(row.label)
    return [f"{', '.join(labels)}: {word}, since {said}." for (word, said), labels in found.items()]


def gate_sentence(gate: GateResult) -> str:
    """Whether the target knew what it is to forget, and the room between target and retain model."""
    metric = f"{gate.metric} on the {gate.set} set"
    knew = f"The target model reaches {number(gate.target)} ({metric}; at least {number(gate.minimum)} asked)"
    if gate.distance is not None:
        knew += f", the retain model {number(gate.retain)}: room to forget {number(gate.distance)}"
        knew += "" if gate.room is None else f" (at least {number(gate.room)} asked)"
    outcome = "Passed." if gate.passed else f"Not passed: {gate.reason or 'scores on this target do not count'}."
    return f"{knew}. {outcome}"


def standard(board: Board) -> str:
    """What a forget score of 1 is measured by: the retain model, or the benchmark's goals where there is none."""
    has_retain = not board.gates or any(gate.room is not None for gate in board.gates)
    return "the retain model, which never saw the forget set" if has_retain else "the benchmark's goal for each metric"


def row_sentence(row: BoardRow) -> str:
    """What a reader should take from one row."""
    name, ratio = row.label, row.headline("utility_ratio").value
    kept = "its utility is unknown" if ratio is None else f"keeps {ratio:.0%} of the target model's utility"
    if ratio is not None and ratio < WORKING_RATIO:
        kept = kept.replace("keeps", "but keeps only")
    else:
        kept = f"and {kept}"
    forget, worthless = number(row.headline("forget_score").value), _gibberish(row)
    told = f" {remarks(row)}" if row.eligibility.remarks else ""
    if row.collapsed and row.eligibility.eligible:
        return f"{name} collapsed{worthless}; its forget score of {forget} means nothing and it ranks last.{told}"
    if not row.eligibility.eligible:
        return f"{name} is not ranked: {'; '.join(row.eligibility.reasons)}.{told}"
    verdict = row.record.verdict.status if row.record.verdict else "refused"
    note = f" {place_note(row).capitalize()}." if place_note(row) else ""
    return f"{name} {SAID[verdict]} (forget score {forget}) {kept}.{told}{note}"


def board_sentence(board: Board) -> str:
    """The outcome of a board in one or two sentences."""
    working = [row for row in board.ranked if not row.collapsed]
    if not board.ranked and not board.refused:
        return "Only reference models so far: run a method to fill this board."
    weak = [gate.code for gate in board.gates if not gate.passed]
    if weak and not board.ranked:
        return f"Nothing can be judged here: {NO_BASIS.get(weak[0], NO_BASIS['not_memorised'])}."
    if not board.ranked:
        return "No row may be ranked; every row below says why."
    if not working:
        return "Every method destroyed the model."
    best = working[0]
    ratio = best.headline("utility_ratio").value
    kept = "" if ratio is None else f" while keeping {ratio:.0%} of the target model's utility"
    word = f", {status(best)}" if best.eligibility.deciding else ""
    text = (
        f"{best.label} comes first{word}: overall {number(best.headline('overall').value)}, "
        f"forget score {number(best.headline('forget_score').value)}{kept}."
    )
    if best.rank_range is None:
        return f"{text} But {place_note(best)}."
    rivals = [row.label for row in working[1:] if _is_level(row, best) and (row.rank_range or (1,))[0] == 1]
    if len(rivals) > MAX_RIVALS:
        rivals = [*rivals[: MAX_RIVALS - 1], f"{len(rivals) - MAX_RIVALS + 1} more"]
    if rivals:
        text += f" The intervals do not tell it apart from {listed(rivals)}."
    return text


def _is_level(row: BoardRow, best: BoardRow) -> bool:
    """Whether a row has the verdict of the best one, so that its interval may put it in that one's place."""
    return place_of(row.record.verdict) == place_of(best.record.verdict)


def notes_sentence(board: Board, *, beside: Collection[str] = ()) -> str:
    """What refuses no row but matters to a reader, for all rows together, `beside` some codes; empty for nothing."""
    found = [one for row in board.rows for one in row.eligibility.findings if CODES.get(one.code) == "note"]
    notes = sorted({one.text for one in found if one.code not in beside})
    return f"Note: {'; '.join(notes)}." if notes else ""


def remarks(row: BoardRow) -> str:
    """Signs of collapse and what else is to be said of a model, in sentences; empty for nothing."""
    return " ".join(map(_sentence, row.eligibility.remarks))


def _sentence(remark: Finding) -> str:
    lead = "It " if remark.code == "beyond_retain" else ""
    text = remark.text if lead else f"{remark.text[:1].upper()}{remark.text[1:]}"
    return f"{lead}{text}."


def _missing_interval(row: BoardRow) -> str:
    """Why an interval is not there, of `overall` or what that is made of."""
    bare = [one for one in map(row.headline, HEADLINE) if one.value is not None and one.low is None]
    counts = [one.num_subjects for one in bare if one.num_subjects is not None and one.num_subjects < MIN_SUBJECTS]
    if counts:
        return too_few(counts[0])
    told = ["; ".join(one.reasons) for one in bare if one.reasons]
    return told[0] if told else "no interval"


def _gibberish(row: BoardRow) -> str:
    estimate = row.record.metric("degenerate", set=row.forget_set)
    if estimate is None or estimate.value is None:
        return ""
    return f" ({estimate.value:.0%} of its answers on the {row.forget_set} set are degenerate)"
