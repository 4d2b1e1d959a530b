"""Messages: short whatever is in the data, and nothing in them steers the terminal."""

from __future__ import annotations

import pytest

from mmforget.cli.main import main
from mmforget.errors import BadData, cut, printable, shortened


def test_nothing_steers_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\td\x07\u202e\ud800\u2028é") == "a\ufffd[2Jb\nc\td" + "\ufffd" * 4 + "é"


def test_messages_are_cut() -> None:
    assert shortened("x" * 100, limit=10) == "'xxxxxx..."
    assert cut("x" * 12, limit=10) == "xxxxxxxxxx... (2 characters more)"
    assert len(str(BadData("rows", faults=["x" * 100_000] * 30))) < 25_000


def test_a_name_without_end_is_one_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "x" * 100_000]) == 2
    assert main(["leaderboard", "y" * 100_000]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert len(shown) < 10_000
