"""The picture of a board: forget score against utility, with intervals. Up and to the right is better.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; every model also has its own marker.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmforget.leaderboard.board import Board, Row

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#6A51A3")
MARKERS = ("o", "s", "D", "^", "v", "P", "h", "p")
RINGS = (12, 22, 34, 48, 64, 82, 102)
ANGLES = (35, -35, 145, -145, 90, -90, 0, 180, 62, -62, 118, -118)
NUDGES = tuple(
    (round(ring * math.cos(math.radians(angle))), round(ring * math.sin(math.radians(angle))))
    for ring in RINGS
    for angle in ANGLES
)
NAME, MARKER, ARM = 20.0, 4.0, 1.0


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

    row: Row
    x: float
    y: float
    colour: str
    marker: str


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
        _frame(axes, board, theme)
        for mark in marks:
            _draw(axes, mark, theme)
        if not marks:
            axes.text(0.5, 0.5, "nothing measured yet", ha="center", color=theme.ink)
        _label(axes, marks, theme, renderer=canvas.get_renderer())
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


def _label(axes: Any, marks: Sequence[Mark], theme: Theme, *, renderer: Any) -> None:
    """Write every name where it covers the least of other names, markers and intervals, near its own marker."""
    frame = axes.get_window_extent(renderer)
    taken = [obstacle for mark in marks for obstacle in _obstacles(axes, mark)]
    for mark in marks:
        best: tuple[float, Any, Any] | None = None
        for order, nudge in enumerate(NUDGES):
            box = _name_box(axes, mark, nudge, theme, renderer=renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            cost = 4 * order + sum(weight * _overlap(box, other) for other, weight in taken)
            cost += 0 if inside else 1e6
            cost += sum(
                200 * weight for other, weight in taken if weight == NAME and _crosses(axes, mark, nudge, other)
            )
            if best is None or cost < best[0]:
                best = (cost, nudge, box)
        if best is not None:
            _annotate(axes, mark, best[1], theme)
            taken.append((best[2], NAME))


def _name_box(axes: Any, mark: Mark, nudge: tuple[int, int], theme: Theme, *, renderer: Any) -> Any:
    """Where a name would lie, in pixels, without the line to its marker."""
    from matplotlib.text import Text

    trial = _annotate(axes, mark, nudge, theme)
    trial.update_positions(renderer)
    box = Text.get_window_extent(trial, renderer).padded(3)
    trial.remove()
    return box


def _annotate(axes: Any, mark: Mark, nudge: tuple[int, int], theme: Theme) -> Any:
    name = mark.row.label + (" (collapsed)" if mark.row.collapsed else "")
    if mark.row.is_reference:
        name += " model"
    if mark.row.rank is None and not mark.row.is_reference:
        name += " (not ranked)"
    across = "left" if nudge[0] > 2 else "right" if nudge[0] < -2 else "center"
    far = math.hypot(*nudge) > 20
    from matplotlib.patheffects import withStroke

    return axes.annotate(
        name, (mark.x, mark.y), xytext=nudge, textcoords="offset points", ha=across, va="center", fontsize=9.5,
        parse_math=False, color=_towards(mark.colour, theme.ink, 0.35), fontweight="bold", zorder=6,
        path_effects=[withStroke(linewidth=3, foreground=theme.paper)],
        arrowprops={"arrowstyle": "-", "color": mark.colour, "linewidth": 0.7, "shrinkB": 5} if far else None,
    )  # fmt: skip


def _obstacles(axes: Any, mark: Mark) -> list[tuple[Any, float]]:
    """Boxes, in pixels, that a name should not cover, with weights: the marker and both arms of the interval."""
    from matplotlib.transforms import Bbox

    utility, forget = mark.row.headline("utility"), mark.row.headline("forget_score")
    place = axes.transData.transform
    x, y = place((mark.x, mark.y))
    left, _ = place((mark.x if utility.low is None else utility.low, mark.y))
    right, _ = place((mark.x if utility.high is None else utility.high, mark.y))
    _, down = place((mark.x, mark.y if forget.low is None else forget.low))
    _, up = place((mark.x, mark.y if forget.high is None else forget.high))
    return [
        (Bbox.from_extents(x - 14, y - 14, x + 14, y + 14), MARKER),
        (Bbox.from_extents(left, y - 3, right, y + 3), ARM),
        (Bbox.from_extents(x - 3, down, x + 3, up), ARM),
    ]


def _crosses(axes: Any, mark: Mark, nudge: tuple[int, int], box: Any) -> bool:
    """Whether the line from a marker to its name would run through a box."""
    x, y = axes.transData.transform((mark.x, mark.y))
    pixels = axes.figure.dpi / 72
    steps = [(x + nudge[0] * pixels * step / 8, y + nudge[1] * pixels * step / 8) for step in range(9)]
    return any(box.x0 <= across <= box.x1 and box.y0 <= up <= box.y1 for across, up in steps)


def _overlap(one: Any, other: Any) -> float:
    """Area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(0.0, width) * max(0.0, height))


def _arms(value: float | None, low: float | None, high: float | None) -> tuple[float, float]:
    """Lengths of an interval's arms, never negative: a bootstrap interval may lie beside its value."""
    if value is None:
        return (0.0, 0.0)
    return (max(0.0, value - low) if low is not None else 0.0, max(0.0, high - value) if high is not None else 0.0)


def _towards(colour: str, other: str, share: float) -> str:
    """A mixture of two `#rrggbb` colours, `share` in [0, 1] of the other."""
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(ours + (theirs - ours) * share):02x}" for ours, theirs in pairs)
