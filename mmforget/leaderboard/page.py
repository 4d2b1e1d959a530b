"""One self-contained HTML page for a leaderboard: no request leaves it, and it reads without JavaScript.

Everything that comes from a record is escaped, and a content security policy lets only this file's own style and
script run, since a leaderboard collects records of strangers.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources

from mmforget import __version__
from mmforget.leaderboard import (
    answers,
    curves,
    details,
    evidence,
    levels,
    plots,
    sequences,
    states,
    table,
    tuning,
    words,
)
from mmforget.leaderboard.board import Board
from mmforget.types import Estimate

NUM_SHOWN = 3
ABOUT_DATA = ("synthetic_data", "data_note")
"""Codes of the notes that head a board."""


@dataclass(frozen=True)
class Section:
    """Everything the template shows of one board."""

    board: Board
    """The board."""
    title: str
    """Heading."""
    sentence: str
    """The outcome in words."""
    light: str
    """Picture for light pages, a `data:` URI."""
    dark: str
    """Picture for dark pages, a `data:` URI."""
    shown: tuple[answers.Subject, ...]
    """Sample answers of the first subjects to be forgotten, and of one of every other kind."""
    more: tuple[answers.Subject, ...]
    """Those of the others."""
    decided: tuple[str, ...]
    """What decided the verdicts, in sentences."""
    evidence: evidence.EvidenceTable
    """What attacks find in every model."""
    states: tuple[states.StateLine, ...]
    """How many answers were right, wrong, refusals and gibberish."""
    not_shown: tuple[str, ...]
    """What nothing here shows, in words."""
    metrics: tuple[details.MetricTable, ...]
    """All metrics."""
    closeness: details.MetricTable
    """What the forget score is made of."""
    tree: levels.Tree | None
    """What is remembered by part of the hierarchy, where rows have one."""
    gaps: details.MetricTable
    """How far what was kept lies above what was forgotten, by level."""
    sequences: tuple[sequences.SequenceTable, ...]
    """Requests one after another, a table a model."""
    curves: tuple[curves.Curve, ...]
    """What methods came to while they were trained."""
    tunings: tuple[tuning.Tuning, ...]
    """The settings that were tried of methods before one was taken."""
    blurred: bool
    """Whether pictures are shown only when asked for."""
    judges: tuple[str, ...]
    """Who gave the labels that metrics read."""
    reproductions: tuple[details.Reproduction, ...]
    """How to run it again."""
    facts: tuple[tuple[str, str], ...]
    """The data."""
    labels: tuple[str, ...]
    """Synthetic, stand-in, subset."""
    notes: str
    """What else matters to a reader of the ranking; empty for nothing."""


def render(
    boards: Sequence[Board], *, pictures: Sequence[plots.Pictures] | None = None, generated: str | None = None
) -> str:
    """The page as HTML text.

    Args:
        pictures: one of each board, where they are drawn already.
        generated: the time shown, ISO 8601; now unless given.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmforget.leaderboard", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = own_file("page.css"), own_file("page.js")
    drawn_of_all = pictures if pictures is not None else [plots.pictures(board) for board in boards]
    environment.globals.update(
        words=words,
        details=details,
        outcome=evidence.OUTCOME,
        levels=levels,
        shares=states.shares,
        curves=curves,
        table=table,
        span=span,
        scale=scale,
        best_of=tuning.best_of,
    )
    return environment.get_template("page.html.j2").render(
        sections=[_section(board, drawn) for board, drawn in zip(boards, drawn_of_all, strict=True)],
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
        generated=generated or datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
    )


def span(estimate: Estimate) -> dict[str, float] | None:
    """Where a rate and its interval lie on a bar 100 wide; None for what is no rate or was not measured."""
    if estimate.value is None or estimate.range != (0.0, 1.0):
        return None
    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return {"x": scale(estimate.value), "low": scale(low), "high": scale(high)}


def scale(value: float | None) -> float:
    """A rate on an axis from 0 to 100, kept inside it."""
    return round(100 * min(1.0, max(0.0, value or 0.0)), 2)


def _section(board: Board, drawn: plots.Pictures) -> Section:
    findings = [one for row in board.rows for one in row.eligibility.findings]
    subjects = answers.subjects(board)
    shown = _shown(subjects)
    return Section(
        board=board,
        title=table.title(board),
        sentence=words.board_sentence(board),
        light=_uri(drawn.light),
        dark=_uri(drawn.dark),
        shown=tuple(subjects[place] for place in shown),
        more=tuple(subjects[place] for place in range(len(subjects)) if place not in shown),
        decided=tuple(words.decided(board)),
        evidence=evidence.evidence_table(board),
        states=tuple(states.state_lines(board)),
        not_shown=tuple(evidence.not_shown((*board.ranked, *board.refused), has_null_band=bool(board.null_band))),
        metrics=tuple(details.metric_tables(board)),
        closeness=details.closeness_table(board),
        tree=levels.tree(board),
        gaps=details.gap_table(board),
        sequences=tuple(sequences.sequence_tables(board)),
        curves=tuple(curves.curves(board)),
        tunings=tuple(tuning.tunings(board)),
        blurred=any(row.record.benchmark.blur_images for row in board.rows),
        judges=tuple(dict.fromkeys(details.text(row.record.judge) for row in board.rows if row.record.judge)),
        reproductions=tuple(details.reproductions(board)),
        facts=tuple(details.data_facts(board)),
        labels=tuple(dict.fromkeys(one.text for one in findings if one.code in ABOUT_DATA)),
        notes=words.notes_sentence(board, beside=ABOUT_DATA),
    )


def _shown(subjects: Sequence[answers.Subject]) -> dict[int, None]:
    """Places of the first subjects to be forgotten of each kind, and of one of every other kind, in order of kinds."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, subject in enumerate(subjects):
        groups[subject.group].append(place)
    firsts = (places[: NUM_SHOWN if subjects[places[0]].to_forget else 1] for places in groups.values())
    return dict.fromkeys(place for several in firsts for place in several)


def own_file(name: str) -> str:
    """A file of the templates folder, as it goes between its tags."""
    return resources.files("mmforget.leaderboard").joinpath("templates", name).read_text(encoding="utf-8").strip()


def digest(text: str) -> str:
    """Hash of an inline style or script as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
