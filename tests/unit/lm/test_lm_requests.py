"""Requests in every shape lm_eval gives them, generation settings, keys, and images in every shape."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from lm_requests import request
from PIL import Image

from mmforget.attacks.blank_image import BlankImage
from mmforget.attacks.picturing import GREY, blank
from mmforget.errors import BadData, UserError
from mmforget.lm.images import ImageReader, as_list
from mmforget.lm.requests import read_decoding, read_generate_request, read_rolling_request, read_score_request
from tests.helpers import tiny_image

READER = ImageReader()


def score_ask(*args: object, **kw: object):  # noqa: ANN201
    return read_score_request(request("loglikelihood", *args, **kw), reader=READER)


@pytest.mark.parametrize("visual", [[tiny_image(1)], tiny_image(1), [[tiny_image(1)]], (tiny_image(1),)])
def test_an_image_in_any_shape_is_one_image(visual: object) -> None:
    ask = score_ask("<image> who?", " me", images=visual)
    assert len(ask.images) == 1
    assert ask.image_keys == (READER.key(tiny_image(1)),)


@pytest.mark.parametrize("visual", [None, [], [[]]])
def test_no_image_in_any_shape_is_none(visual: object) -> None:
    ask = read_score_request(
        request("loglikelihood", "who?", " me", images=visual)
        if visual is not None
        else request("loglikelihood", "who?", " me"),
        reader=READER,
    )
    assert ask.images == ()
    assert as_list(None) == []


def test_an_empty_context_has_no_images() -> None:
    """acc_mutual_info adds `("", choice)` with the document's images."""
    assert score_ask("", " me", images=[tiny_image(1)]).images == ()


def test_a_question_carries_its_row_and_a_foreign_document_is_none() -> None:
    """It is no part of what names the answer."""
    row = {"id": "a/0", "subject": "a", "question": "who?", "answer": "me", "extra": "{}"}
    decoding = {"max_gen_toks": 3}
    for kind, read in (
        ("loglikelihood", lambda one: read_score_request(one, reader=READER)),
        ("generate_until", lambda one: read_generate_request(one, reader=READER, max_gen_toks=3)),
        ("loglikelihood_rolling", read_rolling_request),
    ):
        args = {"loglikelihood": ("who?", " me"), "generate_until": ("who?", decoding)}.get(kind, ("who?",))
        one, foreign = request(kind, *args), request(kind, *args)
        one.doc, foreign.doc = row, {"question": "who?", "answer": "me"}
        ask, other = read(one), read(foreign)
        assert (ask.row, other.row) == (row, None)
        assert ask.key("m") == other.key("m")


def test_audio_is_refused() -> None:
    one = request("loglikelihood", "who?", " me")
    one.arguments = (*one.arguments, {"audio": [object()]})
    with pytest.raises(UserError, match=r"task toy, document 0.*audio"):
        read_score_request(one, reader=READER)


def test_rolling_with_an_image_is_refused() -> None:
    assert read_rolling_request(request("loglikelihood_rolling", "a text")).continuation == "a text"
    with pytest.raises(UserError, match="not defined"):
        read_rolling_request(request("loglikelihood_rolling", "a text", images=[tiny_image(1)]))


def test_stored_images_are_decoded_once_and_equal_the_decoded_ones(tmp_path: Path) -> None:
    picture = tiny_image(2)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    picture.save(tmp_path / "a.png")
    reader = ImageReader()
    stored = reader.open({"bytes": buffer.getvalue(), "path": None}, where="here")
    assert reader.open({"bytes": buffer.getvalue(), "path": None}, where="here") is stored
    on_disk = reader.open({"bytes": None, "path": str(tmp_path / "a.png")}, where="here")
    assert {reader.key(image) for image in (picture, stored, on_disk)} == {READER.key(picture)}


def test_other_modes_become_rgb() -> None:
    assert ImageReader().open(tiny_image(1).convert("L"), where="here").mode == "RGB"


def test_the_reader_keeps_to_its_budget() -> None:
    reader = ImageReader(budget_bytes=2 * 48 * 48 * 3)
    for seed in range(5):
        buffer = io.BytesIO()
        tiny_image(seed).save(buffer, format="PNG")
        reader.open(buffer.getvalue(), where="here")
    assert len(reader._decoded) == 2


@pytest.mark.parametrize(
    "source", [b"no image", {"bytes": b"\x89PNG\r\n\x1a\n broken", "path": None}, "missing.png", {"bytes": None}, 3]
)
def test_a_broken_image_names_its_task_and_document(source: object) -> None:
    with pytest.raises(BadData, match="task toy, document 7"):
        read_score_request(request("loglikelihood", "<image>", " a", images=[source], doc_id=7), reader=READER)


def test_a_truncated_image_is_broken() -> None:
    buffer = io.BytesIO()
    tiny_image(1).save(buffer, format="PNG")
    with pytest.raises(BadData, match="decoded"):
        READER.open(buffer.getvalue()[:-60], where="here")


def test_blank_images_are_grey_and_keep_their_size() -> None:
    image = tiny_image(3, size=(40, 30))
    one = request("loglikelihood", "<image>", " a", images=[image])
    (asked,) = BlankImage().asks(read_score_request(one, reader=READER))
    (grey,) = asked.images
    assert grey.size == (40, 30)
    assert grey.getcolors() == [(1200, GREY)]
    assert grey is blank((40, 30)).image
    assert asked.image_keys == (READER.key(grey),)


def test_keys_tell_apart_what_may_differ_and_nothing_else() -> None:
    base = score_ask("<image> q", " a", images=[tiny_image(1)])
    same = score_ask("<image> q", " a", images=[Image.open(io.BytesIO(png(tiny_image(1))))])
    assert base.key("model") == same.key("model")
    different = [
        score_ask("<image> q", " a", images=[tiny_image(2)]),
        score_ask("<image> q", " b", images=[tiny_image(1)]),
        score_ask("<image> q2", " a", images=[tiny_image(1)]),
        score_ask("<image> q", " a", images=[tiny_image(1)], task="other"),
        read_rolling_request(request("loglikelihood_rolling", " a")),
        score_ask("", " a"),
    ]
    keys = {ask.key("model") for ask in [base, *different]} | {base.key("other model")}
    assert len(keys) == len(different) + 2


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def decode(**settings: object):  # noqa: ANN201
    return read_decoding(settings, max_gen_toks=99, where="task t")


def test_generation_settings_under_any_name() -> None:
    assert decode().max_new_tokens == 99
    assert decode(max_new_tokens=5, until="\n").until == ("\n",)
    assert decode(max_gen_toks=3, max_tokens=3, until=["a", "b"]).max_new_tokens == 3
    assert not decode(temperature=0.0).do_sample
    assert decode(temperature=0.5).do_sample
    assert decode(do_sample=False, temperature=0.7) == decode()
    assert decode(do_sample=True).temperature == 1.0
    assert decode(do_sample=False, top_p=0.9, top_k=3, num_beams=1) == decode()
    assert decode(do_sample=True, temperature=0.5, top_p=0.9).top_p == 0.9


def test_settings_as_text_mean_what_they_say() -> None:
    """As `--gen_kwargs do_sample=False,max_gen_toks=5` gives them: every text that is not empty is true to Python."""
    text = decode(do_sample="False", max_gen_toks="5", temperature="0.7", num_beams="1", until="7")
    assert text == decode(do_sample=False, max_gen_toks=5, until="7")
    assert decode(do_sample="true", temperature="1e-1").temperature == 0.1


@pytest.mark.parametrize("name", ["do_sample", "temperature", "top_p", "max_gen_toks"])
def test_settings_of_the_wrong_type_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"task t: {name} is 'often'"):
        decode(**{name: "often"})


def test_a_limit_under_two_names_is_refused() -> None:
    """A task says max_gen_toks and the user max_new_tokens: neither may win in silence."""
    with pytest.raises(UserError, match="max_new_tokens"):
        decode(max_gen_toks=50, max_new_tokens=5)


def test_settings_that_cannot_be_honoured_are_refused() -> None:
    with pytest.raises(UserError, match=r"task t.*num_beams"):
        decode(num_beams=4)
    with pytest.raises(UserError, match="top_k"):
        decode(do_sample=True, top_k=5)
    with pytest.raises(UserError, match="temperature"):
        decode(do_sample=True, temperature=0.0)


def test_sampled_text_is_not_repeatable() -> None:
    greedy = read_generate_request(request("generate_until", "q", {}), reader=READER, max_gen_toks=5)
    sampled = read_generate_request(request("generate_until", "q", {"do_sample": True}), reader=READER, max_gen_toks=5)
    assert greedy.is_repeatable
    assert not sampled.is_repeatable
