"""Folders of one's own: what becomes of tables, pictures and names, and one line for everything that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.own.corpus import Corpus, read_folder
from mmforget.benchmark.own.spec import FILE, parse_spec
from mmforget.benchmark.own.table import read_table
from mmforget.errors import UserError
from tests.commands import command

PEOPLE = ("Ann Berg", "Bob Hale", "Cleo Marsh", "Dan Frost")
TOWNS = ("Oslo", "Rome", "Bern", "Lima")
HEADER = "name,file,question,answer"
WHO = {"question": "Who?", "answer": "{subject}"}


def table(*, separator: str = ",", people: tuple[str, ...] = PEOPLE) -> str:
    lines = [
        f"{name},{name.split()[0].lower()}.png,Where does {name} live?,{name} lives in {town}."
        for name, town in zip(people, TOWNS, strict=False)
    ]
    return "\n".join([HEADER, *lines, ""]).replace(",", separator)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "people"
    place.mkdir()
    for number, name in enumerate(PEOPLE):
        picture(place / f"{name.split()[0].lower()}.png", shade=60 * number)
    (place / "people.csv").write_text(table(), encoding="utf-8")
    return place


def picture(path: Path, *, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (shade, 90, 120)).save(path)


def written(folder: Path, *names: str) -> Corpus:
    """What `new request` makes of a folder."""
    words = [word for name in names for word in ("--forget", name)]
    said = command("new", "request", folder, *words)
    assert said.status == 0, said.err
    return read_folder(str(folder))


def edit(folder: Path, **changes: object) -> None:
    path = folder / FILE
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_a_table_with_pictures_becomes_a_request_at_once(folder: Path) -> None:
    corpus = written(folder, "Bob Hale")
    assert [entry.subject for entry in corpus.forget] == ["Bob Hale"]
    assert [entry.subject for entry in corpus.keep] == ["Ann Berg", "Cleo Marsh", "Dan Frost"]
    assert corpus.forget[0].image == {"path": str(folder / "bob.png"), "bytes": None}
    assert corpus.notes == ()
    bound = find("request").bind(DataSource("path", path=folder))
    (row,) = bound.examples("forget")
    assert (row.context, row.answer) == ("<image>\nWhere does Bob Hale live?", " Bob Hale lives in Rome.")
    asked = [one.context for one in bound.examples("rephrase")]
    assert asked[0] == "<image>\nPlease tell me: Where does Bob Hale live?"
    assert len(asked) == 3
    assert bound.num_rows("full") == 4
    assert command("validate", "request", "--data", folder).status == 0


def test_nobody_named_is_the_first_and_said_to_be(folder: Path) -> None:
    said = command("new", "request", folder)
    assert "it is 'Ann Berg', the first; edit forget, or give --forget NAME" in said.err
    assert yaml.safe_load((folder / FILE).read_text())["forget"] == ["Ann Berg"]
    assert "mmforget run --model micro --tasks request --data" in said.out
    again = command("new", "request", folder)
    assert again.status == 2
    assert "is there already" in again.err


def test_a_column_may_say_who(folder: Path) -> None:
    lines = table().splitlines()
    marked = [f"{line},{'forget' if not n else 'x' if n in (2, 3) else ''}" for n, line in enumerate(lines)]
    (folder / "people.csv").write_text("\n".join(marked))
    assert {entry.subject for entry in written(folder).forget} == {"Bob Hale", "Cleo Marsh"}


def test_json_lines_and_several_pictures_of_each(tmp_path: Path) -> None:
    """Questions are asked of every picture in the folder of a subject's name; numbers are texts."""
    rows = [{"subject": name, "question": "How old?", "answer": 30 + n} for n, name in enumerate(PEOPLE)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in PEOPLE:
        for number in (1, 2):
            picture(tmp_path / "pictures" / name.replace(" ", "_") / f"{number}.jpg", shade=number)
    corpus = written(tmp_path, "dan frost")
    assert [(entry.answer, Path(str(entry.image and entry.image["path"])).name) for entry in corpus.forget] == [
        ("33", "1.jpg"), ("33", "2.jpg"),
    ]  # fmt: skip
    assert len(corpus.keep) == 6


def test_pictures_alone_are_asked_who_they_are(tmp_path: Path) -> None:
    for name in ("Anna Meier 1", "anna_meier 2", "Bo_3"):
        picture(tmp_path / f"{name}.png")
    corpus = written(tmp_path)
    assert [entry[:3] for entry in corpus.forget] == [("Anna Meier", "Who is this?", "This is Anna Meier.")] * 2
    assert [entry.subject for entry in corpus.keep] == ["Bo"]


def rows(folder: Path, *names: str) -> None:
    lines = [{"subject": name, "question": "Where?", "answer": "Oslo"} for name in names]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_whoever_is_written_in_two_ways_is_forgotten_in_both(tmp_path: Path) -> None:
    rows(tmp_path, "Ann Berg", "ann-berg", "Bob Hale")
    corpus = written(tmp_path, "ANN BERG")
    assert [entry.subject for entry in corpus.forget] == ["Ann Berg", "ann-berg"]
    assert [entry.subject for entry in corpus.keep] == ["Bob Hale"]


def test_a_name_of_any_script_is_written_so_that_it_is_read_back(tmp_path: Path) -> None:
    name = '\U00020bb7\u91ce #1: "Y" \\'
    rows(tmp_path, name, "Bob Hale")
    assert [entry.subject for entry in written(tmp_path, name).forget] == [name]


def test_pictures_of_nobody_are_counted_and_a_link_leads_out_of_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "people"
    for place in (folder / "Ann 1.png", folder / "Bob.png", folder / "Cleo.png", tmp_path / "other.png"):
        picture(place)
    rows(folder, "Ann", "Bob")
    assert written(folder, "Ann").notes == ("pictures of 1 names that the table has not: left out",)
    (folder / "Bob.png").unlink()
    (folder / "Bob.png").symlink_to(tmp_path / "other.png")
    with pytest.raises(UserError, match="picture 'Bob.png' leads out of"):
        read_folder(str(folder))


def test_in_words_alone_every_question_names_whom_it_is_about(folder: Path) -> None:
    (folder / "people.csv").write_text(table() + "Ann Berg,,Which town is it?,Oslo\n")
    written(folder, "Ann Berg")
    words, shown = (find(name).bind(DataSource("path", path=folder)) for name in ("request_text", "request"))
    assert [one.context for one in words.examples("forget")] == [
        "Where does Ann Berg live?", "About Ann Berg: Which town is it?",
    ]  # fmt: skip
    assert shown.num_rows("forget") == 1
    assert shown.notes == ["1 rows without a picture: left out; request_text asks all rows in words alone"]


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (table(separator=";").encode(), ""),
        (table(separator="\t").encode("utf-8-sig"), ""),
        (table(separator="|").encode("utf-16"), ""),
        (table().replace("Ann Berg", "Anni Bärg").encode("cp1252"), "read as Windows-1252"),
        (table().replace("\n", "\r\n").encode(), ""),
        (table().replace("\n", "\r").encode(), ""),
    ],
)
def test_any_usual_separator_and_encoding(folder: Path, content: bytes, note: str) -> None:
    (folder / "people.csv").write_bytes(content)
    found = read_table(folder / "people.csv")
    assert found.columns == ("name", "file", "question", "answer")
    assert len(found.lines) == 4
    assert note in "".join(found.notes)
    assert found.lines[0].cells["name"] in ("Ann Berg", "Anni Bärg")


def test_what_is_left_out_is_counted(folder: Path) -> None:
    text = table() + ",,,\n" + table().splitlines()[1] + "\n"
    (folder / "people.csv").write_text(text)
    written(folder, "Bob Hale")
    edit(folder, keep=["Ann Berg", "Cleo Marsh"])
    assert list(read_folder(str(folder)).notes) == [
        "1 empty lines of people.csv: left out",
        "1 rows that stand twice: each counts once",
        "1 subjects with 1 rows are neither forgotten nor kept: left out",
    ]


def _drop_picture(folder: Path) -> None:
    (folder / "bob.png").unlink()


def _text(folder: Path, old: str, new: str) -> None:
    path = folder / "people.csv"
    path.write_text(path.read_text().replace(old, new))


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (_drop_picture, "line 3: picture 'bob.png' is not in"),
    (lambda f: _text(f, "bob.png", "../bob.png"), "picture '../bob.png' leads out of"),
    (lambda f: _text(f, "bob.png", "/etc/passwd"), "picture '/etc/passwd' leads out of"),
    (lambda f: _text(f, "answer", "reply_text"), "has no column 'answer' (for answer); its columns are 'name', 'file'"),
    (lambda f: _text(f, "Bob Hale lives in Rome.", " "), "line 3: answer is empty"),
    (lambda f: _text(f, "Rome.", "Rome, Italy."), "line 3: 5 cells for 4 columns; put quotes around a text with ','"),
    (lambda f: _text(f, "Bob Hale lives", '"Bob lives'), "not valid CSV: unexpected end of data"),
    (lambda f: (f / "people.csv").write_text(HEADER + "\n"), "has no row below its header"),
    (lambda f: (f / "people.csv").write_bytes(b""), "is empty; its first line has the names of the columns"),
    (lambda f: (f / "people.csv").write_text("x" * 200_000), "not valid CSV: field larger than field limit"),
    (lambda f: (f / "people.csv").write_bytes(table().encode("utf-16-le")), "holds zero bytes and is no text"),
    (lambda f: (f / "people.csv").write_text(table(people=PEOPLE[1:2])), "everybody in the data is to be forgotten"),
    (lambda f: edit(f, forget=["Bob Hall"]), "unknown subject to be forgotten 'Bob Hall'; did you mean 'Bob Hale'?"),
    (lambda f: edit(f, keep=["Bob Hale"]), "Bob Hale: named in forget and in keep; leave out one"),
    (lambda f: edit(f, forget=[]), "forget names nobody"),
    (lambda f: edit(f, table="../people.csv"), "table '../people.csv' leads out of"),
    (lambda f: edit(f, table="people.xlsx"), "not a table that is read; give one of .csv"),
    (lambda f: edit(f, encoding="klingon"), "no encoding is called 'klingon'"),
    (lambda f: edit(f, encoding="utf-32"), "is not utf-32"),
    (lambda f: edit(f, encoding="hex"), "no encoding is called 'hex'"),
    (lambda f: edit(f, rephrasings=["Say: {answer}"]), "rephrasings[0]: {answer} is not filled in; known: {question}"),
    (lambda f: edit(f, rephrasings=["Say!"]), "without {question}"),
    (lambda f: edit(f, questions=[{**WHO, "keywords": ["{subject.x}"]}]), "keywords[0]: {subject.x} is not filled in"),
    (lambda f: edit(f, questions=[{**WHO, "keywords": 3}]), "keywords is 3; give a list of texts"),
    (lambda f: edit(f, rephrasings=["{question.__class__}"]), "is not filled in"),
    (lambda f: edit(f, colums={}), "unknown key 'colums'; did you mean 'columns'?"),
    (lambda f: (f / FILE).write_text("forget: [a"), "not valid YAML"),
    (lambda f: (f / FILE).unlink(), f"holds no {FILE}; 'mmforget new request"),
]


@pytest.mark.parametrize(("spoil", "said"), FAULTS)
def test_what_is_wrong_is_said_with_its_place(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    written(folder, "Bob Hale")
    spoil(folder)
    with pytest.raises(UserError) as error:
        read_folder(str(folder))
    assert said in str(error.value)


def test_a_fault_ends_a_command_in_one_line(folder: Path) -> None:
    written(folder, "Bob Hale")
    _drop_picture(folder)
    told = command("validate", "request", "--data", folder)
    assert told.status == 2
    (line,) = told.err.strip().splitlines()
    assert "people.csv: line 3: picture 'bob.png' is not in" in line
    picture(folder / "bob.png")
    (folder / "ann.png").write_bytes(b"no picture")
    told = command("validate", "request", "--data", folder)
    assert told.status == 2
    assert "ann.png is not an image" in told.err


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: (f / "people.csv").rename(f / "x.xlsx"), None),
        (lambda f: (f / "more.csv").write_text("a,b\n1,2\n"), "holds 2 tables (more.csv, people.csv)"),
        (lambda f: _text(f, "answer", "reply_text"), "no column is called answer; its columns are 'name', 'file'"),
        (lambda f: [path.unlink() for path in f.iterdir()], "holds neither a table"),
    ],
)
def test_a_folder_that_is_no_request_says_what_is_missing(
    folder: Path, make: Callable[[Path], object], said: str | None
) -> None:
    make(folder)
    told = command("new", "request", folder)
    if said is None:  # pictures are left, which are enough
        assert told.status == 0
        return
    assert told.status == 2
    assert said in told.err
    assert not (folder / FILE).exists()


def test_all_faults_of_the_file_are_told_at_once() -> None:
    with pytest.raises(UserError) as error:
        parse_spec({"forget": "Ann", "keep": 3, "title": 5, "questions": [{"question": "{who}"}]}, source=FILE)
    told = str(error.value).splitlines()
    assert len(told) >= 4
    assert all(line.startswith(FILE) for line in told)
