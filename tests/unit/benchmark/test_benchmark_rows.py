"""Rows as a data set and back, what may not be in them, and images that cannot be read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from mmforget.benchmark.images import drawn, from_file, from_picture, image_fault, open_image
from mmforget.benchmark.rows import (
    AS_RELEASED,
    COLUMNS,
    candidate_roles,
    candidates,
    check_rows,
    conversation,
    differing_columns,
    make_dataset,
    row_features,
    row_from_doc,
)
from mmforget.errors import BadData, UserError
from mmforget.types import Row

PICTURE = Image.new("RGB", (3, 2), (10, 20, 30))
DOC: dict[str, Any] = {
    "id": "p/0",
    "subject": "p",
    "images": [from_picture(PICTURE)],
    "question": "Who?",
    "answer": "P.",
    "answer_rephrased": ["It is P."],
    "answer_perturbed": ["Q.", "R."],
    "keywords": ["p"],
    "path": ["town", "p"],
    "extra": {"name": "Pé"},
}


def test_a_row_comes_back_as_it_was() -> None:
    data = make_dataset([DOC])
    assert data.features == row_features()
    assert tuple(data.features) == COLUMNS
    row = row_from_doc(data[0])
    assert np.array_equal(np.asarray(row.images[0]), np.asarray(PICTURE))
    assert row == Row(
        id="p/0",
        subject="p",
        question="Who?",
        answer="P.",
        images=row.images,
        answer_rephrased=("It is P.",),
        answer_perturbed=("Q.", "R."),
        keywords=("p",),
        path=("town", "p"),
        extra={"name": "Pé"},
    )


def test_images_are_decoded_on_access_as_rgb(tmp_path: Path) -> None:
    Image.new("LA", (3, 2), (40, 128)).save(tmp_path / "grey.png")
    data = make_dataset([{**DOC, "images": [from_file(tmp_path / "grey.png")]}])
    assert data[0]["images"][0].mode == "RGB"
    assert data[0]["images"][0].getpixel((0, 0)) == (40, 40, 40)


def test_no_rows_at_all() -> None:
    data = make_dataset([])
    assert (len(data), data.features) == (0, row_features())


def test_an_unknown_column_is_an_error() -> None:
    with pytest.raises(UserError, match="rows have unknown columns anwser; known: id, subject"):
        make_dataset([{**DOC, "anwser": "x"}])


def test_candidates_and_their_roles_go_together() -> None:
    doc = make_dataset([DOC])[0]
    assert dict(zip(candidate_roles(doc), candidates(doc), strict=True)) == {
        "answer": "P.",
        "rephrased/0": "It is P.",
        "perturbed/0": "Q.",
        "perturbed/1": "R.",
    }


def test_a_candidate_that_the_official_code_words_otherwise_is_scored_too() -> None:
    doc = make_dataset([{**DOC, "extra": {AS_RELEASED: {"perturbed/1": "r."}}}])[0]
    assert list(zip(candidate_roles(doc), candidates(doc), strict=True))[3:] == [
        ("perturbed/1", "R."),
        ("released/perturbed/1", "r."),
    ]


def test_all_faults_of_all_rows(tmp_path: Path) -> None:
    absent = from_file(tmp_path / "absent.png")
    docs = [
        {**DOC, "answer": ""},
        {**DOC, "id": "p/1", "images": [absent]},
        {"subject": "p", "question": 7, "answer": "x"},
        {**DOC, "id": "p/1", "images": [absent]},
    ]
    with pytest.raises(BadData) as caught:
        check_rows(docs, source="toy")
    assert caught.value.faults == (
        "row p/0: answer is empty",
        "row number 3: field 'id' is missing",
        "row number 3: 'question' is not a text",
        "row id 'p/1' occurs 2 times",
        f"row p/1: image {tmp_path}/absent.png does not exist (and 1 more row)",
    )


def test_a_text_in_place_of_a_list_is_not_its_letters() -> None:
    doc = {**DOC, "keywords": "Anna", "answer_perturbed": ["x", 7], "images": {"path": "a.png", "bytes": None}}
    with pytest.raises(BadData) as caught:
        make_dataset([DOC, doc])
    assert caught.value.faults == (
        "row p/0: keywords is not a list: 'Anna'; write it as a list of one",
        "row p/0: images is not a list: {'path': 'a.png', 'bytes': None}; write it as a list of one",
        "row p/0: answer_perturbed holds what is not a text",
    )
    with pytest.raises(BadData, match="keywords is not a list"):
        check_rows([{**DOC, "keywords": "Anna"}], source="toy")


def test_good_rows_pass() -> None:
    check_rows([DOC, {**DOC, "id": "p/1"}], source="toy")


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def test_choices_turns_and_documents_come_back_with_question_and_answer() -> None:
    """Of one row set, which then has all three columns; without them it has none, as ever."""
    said = turns("<image>\nWho is this?", "Ann.", "Where does she live?", "In Oslo.")
    docs = [
        {"id": "a", "subject": "s", "question": "Where?", "choices": ["Rome", "Oslo"], "gold": 1},
        {"id": "b", "subject": "s", "images": [from_picture(PICTURE)], "turns": said},
        {"id": "c", "subject": "s", "text": "Ann lives in Oslo."},
    ]
    check_rows(docs, source="toy")
    data = make_dataset(docs)
    assert tuple(data.features) == (*COLUMNS, "gold", "turns", "text")
    assert differing_columns(data) == []
    choice, talk, document = map(row_from_doc, data)
    assert (choice.choices, choice.gold, choice.answer) == (("Rome", "Oslo"), 1, "Oslo")
    assert (talk.turns, talk.question, talk.answer) == (tuple(said), "Where does she live?", "In Oslo.")
    assert (document.text, document.question, document.answer) == ("Ann lives in Oslo.", "", "Ann lives in Oslo.")
    assert (document.gold, document.turns, choice.text) == (None, (), "")
    assert conversation(data[1]) == "<image>\nWho is this? Ann.\nWhere does she live?"
    assert differing_columns(data.cast_column("gold", datasets.Value("string"))) == ["gold"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"question": "q", "choices": ["x", "y"]},
            "has 2 choices and no gold; give the place of the right one, from 0",
        ),
        ({"question": "q", "answer": "x", "gold": 0}, "gold is 0, and there are 0 choices, counted from 0"),
        ({"question": "q", "choices": ["x", "y"], "gold": 2}, "gold is 2, and there are 2 choices, counted from 0"),
        ({"question": "q", "choices": ["x", "y"], "gold": -1}, "gold is -1, and there are 2 choices, counted from 0"),
        (
            {"question": "q", "choices": ["x", "y"], "gold": "B"},
            "gold is 'B'; give the place of the right choice, from 0",
        ),
        ({"question": "q", "choices": ["x", " "], "gold": 0}, "a choice is empty"),
        (
            {"turns": turns("<image> and <image>?", "x"), "images": [from_picture(PICTURE)]},
            "turns hold <image> 2 times for 1 images; write one for each",
        ),
        (
            {"turns": turns("q", "x", "r")},
            "turns are those of user, assistant, user; the last is the assistant's, the answer, behind a user's",
        ),
        (
            {"turns": [{"role": "human", "content": "q"}]},
            "turns are [{'role': 'human', 'content': 'q'}]; "
            "give a list of {role: system|user|assistant, content: TEXT}",
        ),
        ({"turns": turns("q", "x"), "answer": "y"}, "has turns and another answer than the last of them"),
        ({}, "has neither question nor turns nor text"),
        ({"question": " ", "answer": "x"}, "has neither question nor turns nor text"),
        (
            {"text": "t", "question": "q"},
            "text is a whole document, and does not go with question; make them rows of their own",
        ),
        ({"text": "t", "answer": "a"}, "has a text and another answer; a document is its own answer"),
    ],
)
def test_parts_that_do_not_go_together(parts: dict[str, Any], said: str) -> None:
    """Named with row and source by `check_rows`, and refused by `make_dataset` whoever did not check."""
    doc = {"id": "p/0", "subject": "p", **parts}
    with pytest.raises(BadData) as caught:
        check_rows([DOC | {"id": "sound"}, doc], source="toy.json")
    assert (caught.value.source, caught.value.faults) == ("toy.json", (f"row p/0: {said}",))
    with pytest.raises(BadData, match="row p/0"):
        make_dataset([doc])


def test_what_is_wrong_with_an_image(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(whole, format="JPEG")
    path = tmp_path / "picture.jpg"
    path.write_bytes(whole.getvalue())
    assert image_fault(from_file(path)) is None
    path.write_bytes(whole.getvalue()[:-300])
    assert "cannot be decoded: image file is truncated" in str(image_fault(from_file(path)))
    path.write_text("text")
    assert image_fault(from_file(path)) == f"image {path} is not an image"
    path.write_bytes(b"")
    assert image_fault(from_file(path)) == f"image {path} is empty"
    path.unlink()
    assert image_fault(from_file(path)) == f"image {path} does not exist"
    assert image_fault({"path": None, "bytes": b"text"}) == "embedded image is not an image"
    assert image_fault(from_picture(PICTURE)) is None


def test_a_drawing_is_made_once_for_its_parameters() -> None:
    made: list[tuple[str, int]] = []

    def draw(colour: str, *, side: int) -> Image.Image:
        made.append((colour, side))
        return Image.new("RGB", (side, side), colour)

    first, again, other = drawn(draw, "red", side=2), drawn(draw, "red", side=2), drawn(draw, "red", side=3)
    assert first is again
    assert made == [("red", 2), ("red", 3)]
    assert open_image(other).size == (3, 3)
    assert open_image(first).getpixel((1, 1)) == (255, 0, 0)


def test_pictures_for_attacks_have_a_column_of_their_own_which_no_other_rows_have(tmp_path: Path) -> None:
    """They are decoded when they are looked at, and a broken one is named as a row's own is."""
    picture = from_picture(Image.new("RGB", (4, 4), (9, 9, 9)))
    doc = {"id": "a", "subject": "s", "question": "q", "answer": "x", "images": [], "attack_images": [picture]}
    rows = make_dataset([doc, {**doc, "id": "b", "attack_images": []}])
    assert [picture.getpixel((0, 0)) for picture in rows[0]["attack_images"]] == [(9, 9, 9)]
    assert rows[1]["attack_images"] == []
    assert "attack_images" not in make_dataset([{**doc, "attack_images": []}]).column_names
    with pytest.raises(BadData, match="row a: image .* does not exist"):
        check_rows([{**doc, "attack_images": [from_file(tmp_path / "none.png")]}], source="rows")
