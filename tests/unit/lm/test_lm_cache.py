"""The response cache: exact floats, batches that survive a kill, damaged files, folders that cannot be written."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmforget.errors import UserError
from mmforget.lm.cache import ResponseCache


def test_values_come_back_to_the_last_bit(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "deep" / "cache.db")
    values = {
        "a": [[-0.1, -1e-300, 0.30000000000000004], True],
        "b": 'text é \u2028 "quoted"',
        "c": [[math.nan], False],
    }
    cache.put_many(values)
    found = ResponseCache(tmp_path / "deep" / "cache.db").get_many(["a", "b", "c", "d", "a"])
    assert found["a"] == values["a"]
    assert found["b"] == values["b"]
    assert math.isnan(found["c"][0][0])
    assert "d" not in found
    assert len(cache) == 3


def test_many_keys_at_once(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "cache.db")
    cache.put_many({f"k{i}": str(i) for i in range(2500)})
    assert len(cache.get_many(f"k{i}" for i in range(2500))) == 2500


def test_a_batch_is_there_after_a_kill(tmp_path: Path) -> None:
    """The child commits batches until it is killed; every batch it reported is complete."""
    code = (
        "import sys; from mmforget.lm.cache import ResponseCache\n"
        "cache, n = ResponseCache(sys.argv[1]), 0\n"
        "while True:\n"
        "    cache.put_many({f'{n}-{i}': 'x' * 2000 for i in range(20)}); n += 1; print(n, flush=True)\n"
    )
    path = tmp_path / "cache.db"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    reported = [int(child.stdout.readline()) for _ in range(30)][-1]
    child.send_signal(signal.SIGKILL)
    child.wait()
    cache = ResponseCache(path)
    assert cache.set_aside is None
    assert len(cache.get_many(f"{n}-{i}" for n in range(reported) for i in range(20))) == 20 * reported
    assert len(cache) % 20 == 0


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be one" * 100, b"SQLite format 3\x00" + b"\xff" * 4096]
)
def test_a_damaged_file_is_set_aside_and_named(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache.db"
    path.write_bytes(content)
    cache = ResponseCache(path)
    cache.put_many({"a": "b"})
    assert cache.get_many(["a"]) == {"a": "b"}
    assert cache.set_aside == tmp_path / "cache.db.damaged-1"
    assert cache.set_aside.read_bytes() == content
    assert "cache.db.damaged-1" in caplog.text


def test_a_damaged_page_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    cache = ResponseCache(path)
    cache.put_many({f"k{i}": "v" * 500 for i in range(200)})
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096:20000] = b"\x07" * (20000 - 4096)
    path.write_bytes(bytes(content))
    again = ResponseCache(path)
    assert again.set_aside is not None
    assert len(again) == 0


def test_a_place_that_cannot_hold_it_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="folder"):
        ResponseCache(tmp_path / "file" / "cache.db")
    (tmp_path / "dir.db").mkdir()
    with pytest.raises(UserError, match="--use_cache"):
        ResponseCache(tmp_path / "dir.db")
