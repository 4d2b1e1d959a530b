"""Encoding follows the stock processor and lm_eval's split between context and answer."""

from __future__ import annotations

import pytest
from lm_eval.api.model import TemplateLM
from model_questions import PICTURES, chat, encode_all, one_image, several_images
from PIL import Image

from mmforget.errors import UserError
from mmforget.model.encode import encode, encode_prompt
from mmforget.model.generation import generate
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from tests.helpers import NUM_IMAGE_TOKENS


@pytest.mark.parametrize("with_chat", [False, True])
def test_ids_are_those_of_the_processor(llava: LoadedModel, with_chat: bool) -> None:
    questions = one_image() + several_images()
    for question in chat(llava, questions) if with_chat else questions:
        found = encode(llava, question.context, question.answer, question.images)
        wanted = llava.processor(text=question.context + question.answer, images=list(question.images))
        assert list(found.ids) == wanted["input_ids"][0]
        assert found.ids.count(llava.image_token) == NUM_IMAGE_TOKENS * len(question.images)
        assert [found.ids[at] for at in found.image_at] == [llava.image_token] * len(found.image_at)


@pytest.mark.parametrize(
    ("context", "answer"),
    [("who is it?", " Anna"), ("who is it? ", "Anna"), ("who is it?\n\n", "Anna"), ("who", "is"), ("a  ", " b")],
)
def test_the_split_is_that_of_lm_eval(llama: LoadedModel, context: str, answer: str) -> None:
    class Stock:
        backend = "causal"

        def tok_encode(self, text: str) -> list[int]:
            ids: list[int] = llama.tokenizer.encode(text)
            return ids

    wanted_context, wanted_answer = TemplateLM._encode_pair(Stock(), context, answer)
    found = encode(llama, context, answer)
    assert list(found.ids[: found.num_context]) == wanted_context
    assert list(found.ids[found.num_context :]) == wanted_answer


def test_an_empty_context_is_bos_and_ignores_images(llava: LoadedModel) -> None:
    found = encode(llava, "", " Anna", PICTURES[:1])
    assert found.ids[: found.num_context] == (llava.tokenizer.bos_token_id,)
    assert found.images == ()
    assert encode_prompt(llava, "", PICTURES[:1]).ids == (llava.tokenizer.bos_token_id,)


def test_bos_in_the_text_is_not_doubled(llava: LoadedModel) -> None:
    assert encode(llava, "<s>who?", " Anna").ids == encode(llava, "who?", " Anna").ids


def test_eos_is_appended_once(llava: LoadedModel) -> None:
    eos = llava.tokenizer.eos_token_id
    plain, ended = encode(llava, "who?", " Anna"), encode(llava, "who?", " Anna", append_eos=True)
    assert ended.ids == (*plain.ids, eos)
    assert ended.num_context == plain.num_context
    assert encode(llava, "who?", " Anna</s>", append_eos=True).ids == ended.ids


def test_equal_pixels_have_equal_keys(llava: LoadedModel) -> None:
    first, again, other = (
        encode(llava, "<image>\nwho?", " Anna", [p]) for p in (PICTURES[0], PICTURES[0].copy(), PICTURES[1])
    )
    assert first.image_keys == again.image_keys != other.image_keys
    assert encode(llava, "<image>\nwho?", " Anna", [PICTURES[0]], image_keys=["known"]).image_keys == ("known",)


@pytest.mark.parametrize(
    ("context", "num_images", "message"),
    [
        ("who?", 1, "0 <image> placeholder.* 1 image"),
        ("<image>\nwho?", 0, "1 <image> placeholder.* 0 image"),
        ("<image><image>\nwho?", 1, "2 <image> placeholder.* 1 image"),
    ],
)
def test_placeholders_must_match_images(llava: LoadedModel, context: str, num_images: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        encode(llava, context, " Anna", PICTURES[:num_images])
    with pytest.raises(UserError, match=message):
        encode_prompt(llava, context, PICTURES[:num_images])


def test_an_image_in_the_answer(llava: LoadedModel) -> None:
    with pytest.raises(UserError, match="cannot hold an image"):
        encode(llava, "who?", " <image>", PICTURES[:1])


def test_an_image_for_a_text_only_model(llama: LoadedModel) -> None:
    with pytest.raises(UserError, match="reads text only.*_text"):
        encode(llama, "<image>\nwho?", " Anna", PICTURES[:1])


@pytest.mark.parametrize("answer", ["", "  "])
def test_an_empty_answer(llava: LoadedModel, answer: str) -> None:
    if answer:
        assert encode(llava, "who?", answer).num_answer > 0
        return
    with pytest.raises(UserError, match="no tokens"):
        encode(llava, "who?", answer)


def test_too_long(llava: LoadedModel) -> None:
    with pytest.raises(UserError, match="takes 512") as caught:
        encode(llava, "<image>\n" + "where does she live? " * 200, " here", PICTURES[:1])
    assert "16 of them image tokens" in str(caught.value)


def test_lengths(llava: LoadedModel) -> None:
    for one in encode_all(llava, one_image()):
        assert len(one) == len(one.ids) == one.num_context + one.num_answer


def test_messages_take_one_line(llava: LoadedModel) -> None:
    faults = [("<image>\nwho\n\nis\nit?", " Anna", 0), ("where\n" * 600, " here", 0), ("a\nb", " <image>", 1)]
    for context, answer, num_images in faults:
        with pytest.raises(UserError) as caught:
            encode(llava, context, answer, PICTURES[:num_images])
        assert "\n" not in str(caught.value)


def test_images_of_mixed_sizes_and_modes(llava: LoadedModel) -> None:
    """One pixel, a line, and a palette: the processor brings all to the tower's size."""
    images = [Image.new("RGB", (1, 1)), Image.new("L", (300, 2)), Image.new("P", (7, 7))]
    found = encode(llava, "<image><image><image>who?", " Anna", images)
    assert found.image_sizes == (NUM_IMAGE_TOKENS,) * 3
    assert score(llava, [found]).token_logprobs.isfinite().all()


def test_zero_questions(llava: LoadedModel) -> None:
    with pytest.raises(UserError, match="no question was given"):
        score(llava, [])
    assert generate(llava, [], max_new_tokens=3) == []
