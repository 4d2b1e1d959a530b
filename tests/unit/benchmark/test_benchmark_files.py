"""Official files: JSON that may be lines, images that may lie elsewhere, a pinned revision from the hub."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.files import find_image, folders_of, read_id_lists, read_records, read_refusals
from mmforget.benchmark.hub import fetch, unpack
from mmforget.errors import BadData, UserError
from tests.unit.protocols.official_files import identity, write_official

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_list_or_lines(tmp_path: Path) -> None:
    file = tmp_path / "full.json"
    for text, wanted in [
        ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}\n\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}', [{"a": 1}]),
        ('\ufeff{"a": "é"}\n{"a": 2}', [{"a": "é"}, {"a": 2}]),
    ]:
        file.write_text(text, encoding="utf-8")
        assert read_records(file) == wanted


def test_what_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "full.json"
    with pytest.raises(UserError, match=r"full.json: cannot be read \(No such file or directory\)"):
        read_records(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="full.json: cannot be read: .*codec"):
        read_records(file)
    file.write_text('{"a": 1}\n{"a":\n{"b"}')
    with pytest.raises(BadData) as caught:
        read_records(file)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["line 2, column 6", "line 3, column 5"]


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085"])
def test_a_line_end_of_unicode_inside_a_text_ends_no_record(end: str, tmp_path: Path) -> None:
    """`str.splitlines` cuts there; JSON lines end at a line feed alone."""
    file = tmp_path / "full.json"
    for newline in ("\n", "\r\n"):
        file.write_bytes(f'{{"a": "in oslo,{end}house 4"}}{newline}{{"a": 2}}{newline}'.encode())
        assert read_records(file) == [{"a": f"in oslo,{end}house 4"}, {"a": 2}]
    file.write_text('{"a": 1}\n{"a": "\x1c"}', encoding="utf-8")
    with pytest.raises(BadData, match="line 2, column 8: not valid JSON: Invalid control character"):
        read_records(file)


def test_what_no_reader_would_come_back_from_is_said(tmp_path: Path) -> None:
    """A pipe waits for a writer for ever; nesting deeper than Python's stack is no list of records."""
    pipe, deep = tmp_path / "full.json", tmp_path / "split.json"
    os.mkfifo(pipe)
    deep.write_text("[" * 5000 + "]" * 5000)
    with pytest.raises(UserError, match=r"full.json: not a regular file"):
        read_records(pipe)
    with pytest.raises(BadData, match="line 1, column 1: not valid JSON: nested too deeply"):
        read_records(deep)
    with pytest.raises(UserError, match=r"split.json:1:1: not valid JSON: nested too deeply"):
        read_id_lists(deep, names=("a",), faults=[])


def test_an_image_lies_where_it_should_or_anywhere_below(tmp_path: Path) -> None:
    reference = "./dataset/SFHQ/a.jpg"
    expected = tmp_path / "one" / "SFHQ" / "a.jpg"
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    deep = tmp_path / "two" / "pictures" / "part1"
    deep.mkdir(parents=True)
    (deep / "b.jpg").write_bytes(b"b")
    assert find_image(reference, folders=folders) == expected
    assert find_image("./dataset/SFHQ/b.jpg", folders=folders) == deep / "b.jpg"
    for place in (tmp_path / "two" / "dataset" / "SFHQ" / "a.jpg", expected):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"a")
        assert find_image(reference, folders=folders) == place
    assert find_image("c.jpg", folders=folders) == tmp_path / "one" / "c.jpg"
    (tmp_path / "private.jpg").write_bytes(b"p")
    assert find_image("../private.jpg", folders=folders) == tmp_path / "one" / "private.jpg", "nothing outside"


def test_files_may_lie_in_a_clone_and_one_of_them_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "full.json").write_text("[]")
    places = [tmp_path, tmp_path / "dataset", tmp_path / "data"]
    assert folders_of(str(tmp_path)) == folders_of(str(tmp_path / "full.json")) == places


def test_id_lists_and_refusals(tmp_path: Path) -> None:
    faults: list[str] = []
    file = tmp_path / "split.json"
    file.write_text('{"train": {"a": [1, "2"], "b": []}}')
    assert read_id_lists(file, names=("a", "b", "c"), faults=faults) == {"a": ("1", "2"), "b": (), "c": ()}
    assert faults == ["split.json: list 'b' is missing or empty", "split.json: list 'c' is missing or empty"]
    file.write_text("[1]")
    with pytest.raises(UserError, match=r"must hold an object of id lists \(a\)"):
        read_id_lists(file, names=("a",), faults=faults)
    file.write_text("{")
    with pytest.raises(UserError, match=r"split.json:1:2: not valid JSON"):
        read_id_lists(file, names=("a",), faults=faults)
    for text in ('["No.", "Never."]', '{"idk": ["No.", "Never."]}', '"No."\n"Never."'):
        file.write_text(text)
        assert read_refusals(file) == ("No.", "Never.")
    for text in ("", "[]", "{}", '{"idk": []}'):
        file.write_text(text)
        with pytest.raises(UserError, match="a list of texts, one at least"):
            read_refusals(file)
    file.write_text('{"idk": [1]}')
    with pytest.raises(UserError, match="refusals must be a list of texts"):
        read_refusals(file)


@pytest.mark.parametrize(
    ("revision", "said"), [(None, "no revision is named"), ("main", "'main' is not a full commit")]
)
def test_a_revision_has_to_be_a_commit(revision: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        fetch("gray311/FIUBench", revision=revision, patterns=["*"])
    assert "--data FOLDER or --data synthetic" in str(caught.value)


def test_no_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> str:
        raise LocalEntryNotFoundError("nothing cached and no network\nsecond line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError) as caught:
        find("fiubench").bind(DataSource.parse("hub", metadata={"revision": COMMIT})).rows("forget")
    assert str(caught.value).splitlines() == [
        f"--data hub: gray311/FIUBench at {COMMIT} cannot be fetched: nothing cached and no network",
        "without a network: download it elsewhere and give --data FOLDER, or use --data synthetic",
    ]


def test_the_hubs_files_and_the_commit_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_official(tmp_path / "snapshots" / COMMIT, num=400)
    with zipfile.ZipFile(folder / "SFHQ.zip", "w") as archive:
        for picture in (folder / "SFHQ").iterdir():
            archive.write(picture, f"SFHQ/{picture.name}")
            picture.unlink()
    asked: dict[str, object] = {}

    def download(repo: str, **kwargs: object) -> str:
        asked.update(kwargs, repo=repo)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setenv("MMFORGET_CACHE", str(tmp_path / "cache"))
    data = DataSource.parse("hub", metadata={"revision": COMMIT})
    row = find("fiubench").bind(data).rows("forget")[0]
    assert (asked["repo"], asked["revision"], asked["repo_type"]) == ("gray311/FIUBench", COMMIT, "dataset")
    assert (row["subject"], row["images"][0].getpixel((0, 0))) == (identity(6), (6, 0, 7))
    assert find("fiubench").bind(data).describe()["data"]["commit"] == COMMIT


def test_an_archive_is_unpacked_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFORGET_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="broken.zip: cannot be unpacked"):
        unpack(broken, commit=COMMIT)
    assert list((tmp_path / "cache").rglob("broken*")) == []
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.txt", "a")
    first = unpack(whole, commit=COMMIT)
    whole.unlink()
    assert unpack(whole, commit=COMMIT) == first
    assert (first / "a.txt").read_text() == "a"
