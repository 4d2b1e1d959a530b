"""Write a whole leaderboard into a folder: JSON rows, Markdown, picture, page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmforget.leaderboard import export, page, plots
from mmforget.leaderboard.board import Board
from mmforget.results.files import prepare_folder, write_bytes, write_pieces, write_text


@dataclass(frozen=True)
class Published:
    """Files of a leaderboard."""

    json: Path
    """`leaderboard.json`."""
    markdown: Path
    """`leaderboard.md`."""
    page: Path
    """`index.html`, which needs no other file."""
    pictures: tuple[Path, ...]
    """One PNG a board: `forget_vs_utility.png`, with the board's name where there are several."""


def publish(boards: Sequence[Board], *, folder: Path) -> Published:
    """Write all files. Raises UserError where the folder cannot be written."""
    prepare_folder(folder)
    names = [f"forget_vs_utility_{i}.png" for i in _suffixes(boards)] if len(boards) > 1 else ["forget_vs_utility.png"]
    drawn = [plots.pictures(board) for board in boards]
    return Published(
        json=write_pieces(folder / "leaderboard.json", map(_encoded, export.pieces(boards, folder=folder))),
        markdown=write_text(folder / "leaderboard.md", export.markdown(boards)),
        page=write_text(folder / "index.html", page.render(boards, pictures=drawn)),
        pictures=tuple(write_bytes(folder / name, one.light) for name, one in zip(names, drawn, strict=False)),
    )


def _encoded(text: str) -> bytes:
    """As `write_text` writes it."""
    return text.encode("utf-8", "backslashreplace")


def _suffixes(boards: Sequence[Board]) -> list[str]:
    """A file-name part for every board, numbered where two boards share a name."""
    from mmforget.results.store import safe_name

    names = [safe_name(board.name) for board in boards]
    num = Counter(names)
    return [name if num[name] == 1 else f"{name}_{index + 1}" for index, name in enumerate(names)]
