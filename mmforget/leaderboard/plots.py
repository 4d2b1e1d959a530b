"""The picture of a board: forget score against utility, with intervals. Up and to the right is better.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; every model also has its own marker.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmforget.leaderboard import labels
from mmforget.leaderboard.board import Board, BoardRow

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#6A51A3")
MARKERS = ("o", "s", "D", "^", "v", "P", "h", "p")
MAX_NAMES = 20
"""More names than this cannot be read in one picture: what comes after them on the board is a small dot."""


class Theme(NamedTuple):
    """Colours of one appearance.

    Attributes:
        paper: background.
        ink: text and reference marks.
        faint: grid and frame.
        lift: blend of a series colour towards white, in [0, 1], so that it reads on the background.
    """

    paper: str
    ink: str
    faint: str
    lift: float


LIGHT = Theme("#ffffff", "#1c1e26", "#d9dce3", 0.0)
DARK = Theme("#171a21", "#e7e9ee", "#3a3f4b", 0.3)


class Mark(NamedTuple):
    """One model in the picture.

    Attributes:
        row: the row it stands for.
        x: utility, in [0, 1].
        y: forget score, in [0, 1].
        colour: of marker and interval.
        marker: matplotlib marker; `X` for a collapsed model, a star and a ring for the references.
    """

    row: BoardRow
    x: float
    y: float
    colour: str
    marker: str


class Pictures(NamedTuple):
    """One picture in two appearances, as PNG bytes."""

    light: bytes
    dark: bytes


def pictures(board: Board) -> Pictures:
    """The picture for light and for dark surroundings."""
    return Pictures(forget_vs_utility(board, theme=LIGHT), forget_vs_utility(board, theme=DARK))


def forget_vs_utility(board: Board, *, theme: Theme = LIGHT, dpi: int = 160) -> bytes:
    """The picture as PNG bytes. A board on which nothing was measured gives an empty frame that says so."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.family": "sans-serif", "font.size": 10}):
        figure = Figure(figsize=(7.2, 5.4), dpi=dpi, facecolor=theme.paper)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.095, 0.115, 0.88, 0.78))
        marks = _marks(board, theme)
        named, others = marks[:MAX_NAMES], marks[MAX_NAMES:]
        _frame(axes, board, theme)
        for mark in named:
            _draw(axes, mark, theme)
        _draw_dots(axes, others, theme)
        if not marks:
            axes.text(0.5, 0.5, "nothing measured yet", ha="center", color=theme.ink)
        _label(axes, named, theme, renderer=canvas.get_renderer())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", facecolor=theme.paper, metadata={"Software": "mmforget"})
    return buffer.getvalue()


def _marks(board: Board, theme: Theme) -> list[Mark]:
    marks = []
    methods = 0
    for row in board.rows:
        utility, forget = row.headline("utility").value, row.headline("forget_score").value
        colour, marker = theme.ink, {"target": "o", "retain": "*"}.get(row.record.role, "d")
        if not row.is_reference:
            colour = _towards(PALETTE[methods % len(PALETTE)], "#ffffff", theme.lift)
            marker = "X" if row.collapsed else MARKERS[methods % len(MARKERS)]
            methods += 1
        if utility is not None and forget is not None:
            marks.append(Mark(row, utility, forget, colour, marker))
    return marks


def _frame(axes: Any, board: Board, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.set(xlim=(-0.04, 1.06), ylim=(-0.06, 1.08))
    axes.set_xlabel("utility: how much of the rest it still knows", color=theme.ink, labelpad=8)
    axes.set_ylabel("forget score: as if it had never seen them", color=theme.ink, labelpad=8)
    title = f"{board.benchmark.title or board.benchmark.name}, {board.benchmark.setting}"
    axes.set_title(title, color=theme.ink, loc="left", fontweight="bold", fontsize=12, pad=14, parse_math=False)
    axes.text(
        1.0,
        1.02,
        "better ↗",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        color=theme.ink,
        fontsize=9,
        alpha=0.75,
    )
    axes.grid(color=theme.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.ink, length=0)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)


def _draw(axes: Any, mark: Mark, theme: Theme) -> None:
    estimates = (mark.row.headline("utility"), mark.row.headline("forget_score"))
    (left, right), (down, up) = (_arms(value.value, value.low, value.high) for value in estimates)
    faded = 0.45 if mark.row.rank is None and not mark.row.is_reference else 1.0
    axes.errorbar(
        mark.x, mark.y, xerr=[[left], [right]], yerr=[[down], [up]], fmt="none", ecolor=mark.colour,
        elinewidth=1.4, capsize=2.5, alpha=0.55 * faded, zorder=3,
    )  # fmt: skip
    hollow = mark.row.record.role in ("target", "base")
    size = 230 if mark.marker == "*" else 105 if mark.marker == "X" else 75
    axes.scatter(
        [mark.x], [mark.y], s=size, marker=mark.marker, facecolors=theme.paper if hollow else mark.colour,
        edgecolors=mark.colour if hollow else theme.paper, linewidths=1.8 if hollow else 1.0, alpha=faded, zorder=4,
    )  # fmt: skip


def _draw_dots(axes: Any, marks: Sequence[Mark], theme: Theme) -> None:
    """Models beyond those that are named: where they lie, and how many they are."""
    if not marks:
        return
    axes.scatter(
        [mark.x for mark in marks], [mark.y for mark in marks], s=9, color=[mark.colour for mark in marks],
        linewidths=0, alpha=0.5, zorder=2,
    )  # fmt: skip
    axes.text(
        0.01, 0.012, f"{len(marks)} more models: small dots, without names and intervals", transform=axes.transAxes,
        va="bottom", color=theme.ink, fontsize=9, alpha=0.75,
    )  # fmt: skip


def _label(axes: Any, marks: Sequence[Mark], theme: Theme, *, renderer: Any) -> None:
    """Write every name where it covers the least of other names, markers and intervals, near its own marker."""
    frame = axes.get_window_extent(renderer).extents
    obstacles = [obstacle for mark in marks for obstacle in _obstacles(axes, mark)]
    names = [_name(axes, mark, theme, renderer=renderer) for mark in marks]
    nudges = labels.place(names, obstacles, frame=frame, pixels=axes.figure.dpi / 72)
    for mark, nudge in zip(marks, nudges, strict=True):
        _annotate(axes, mark, nudge, theme)


def _name(axes: Any, mark: Mark, theme: Theme, *, renderer: Any) -> labels.Name:
    """The size of a name and where its marker lies, in pixels."""
    from matplotlib.text import Text

    x, y = axes.transData.transform((mark.x, mark.y))
    trial = _annotate(axes, mark, (3, 0), theme)
    trial.update_positions(renderer)
    box = Text.get_window_extent(trial, renderer).translated(-x - 3 * axes.figure.dpi / 72, -y)
    trial.remove()
    return labels.Name(float(x), float(y), (box.x0, box.y0, box.x1, box.y1))


def _annotate(axes: Any, mark: Mark, nudge: tuple[int, int], theme: Theme) -> Any:
    name = mark.row.label + (" (collapsed)" if mark.row.collapsed else "")
    if mark.row.is_reference:
        name += " model"
    if mark.row.rank is None and not mark.row.is_reference:
        name += " (not ranked)"
    far = math.hypot(*nudge) > 20
    from matplotlib.patheffects import withStroke

    return axes.annotate(
        name, (mark.x, mark.y), xytext=nudge, textcoords="offset points", ha=labels.alignment(nudge), va="center",
        fontsize=9.5, parse_math=False, color=_towards(mark.colour, theme.ink, 0.35), fontweight="bold", zorder=6,
        path_effects=[withStroke(linewidth=3, foreground=theme.paper)],
        arrowprops={"arrowstyle": "-", "color": mark.colour, "linewidth": 0.7, "shrinkB": 5} if far else None,
    )  # fmt: skip


def _obstacles(axes: Any, mark: Mark) -> list[labels.Obstacle]:
    """What a name should not cover: the marker and both arms of the interval."""
    utility, forget = mark.row.headline("utility"), mark.row.headline("forget_score")
    place = axes.transData.transform
    x, y = place((mark.x, mark.y))
    left, _ = place((mark.x if utility.low is None else utility.low, mark.y))
    right, _ = place((mark.x if utility.high is None else utility.high, mark.y))
    _, down = place((mark.x, mark.y if forget.low is None else forget.low))
    _, up = place((mark.x, mark.y if forget.high is None else forget.high))
    return [
        labels.Obstacle((x - 14, y - 14, x + 14, y + 14), labels.MARKER),
        labels.Obstacle((left, y - 3, right, y + 3), labels.ARM),
        labels.Obstacle((x - 3, down, x + 3, up), labels.ARM),
    ]


def _arms(value: float | None, low: float | None, high: float | None) -> tuple[float, float]:
    """Lengths of an interval's arms, never negative."""
    if value is None:
        return (0.0, 0.0)
    return (max(0.0, value - low) if low is not None else 0.0, max(0.0, high - value) if high is not None else 0.0)


def _towards(colour: str, other: str, share: float) -> str:
    """A mixture of two `#rrggbb` colours, `share` in [0, 1] of the other."""
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(ours + (theirs - ours) * share):02x}" for ours, theirs in pairs)
