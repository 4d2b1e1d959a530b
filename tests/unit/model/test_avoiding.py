"""Words that a text is kept from, by hand and against what `generate` does with words it is told to leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from mmforget.asking import Ask, Avoid, Decoding
from mmforget.lm.engine import ModelEngine
from mmforget.model.avoiding import Avoiding, avoiding, held_down
from mmforget.model.encode import encode_prompt
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from tests.helpers import tiny_image, tiny_llama, tiny_llava


def test_a_sequence_is_not_completed_and_what_is_like_it_is_held_down() -> None:
    """Token 2 never comes, token 1 not behind 0; 0.5 is taken from token 0."""
    own = Avoiding(((2,), (0, 1)), torch.tensor([0.5, 0.0, 0.0]))
    logits = torch.tensor([1.0, 2.0, 3.0])
    low = -torch.inf
    assert own.applied(logits, []).tolist() == [0.5, 2.0, low]
    assert own.applied(logits, [1, 0]).tolist() == [0.5, low, low]
    assert own.applied(logits, [0, 2]).tolist() == [0.5, 2.0, low]
    assert logits.tolist() == [1.0, 2.0, 3.0]
    both = held_down(torch.stack([logits, logits]), [own, None], [[], []])
    assert both.tolist() == [[0.5, 2.0, low], [1.0, 2.0, 3.0]]
    assert held_down(both, [None, None], [[], []]) is both


def inputs_of(loaded: LoadedModel, context: str, *, images: Sequence[Any]) -> dict[str, Any]:
    if images:
        return dict(loaded.processor(text=context, images=list(images), return_tensors="pt"))  # type: ignore[misc]
    return {"input_ids": loaded.tokenizer(context, return_tensors="pt").input_ids}


def text_of(loaded: LoadedModel, inputs: dict[str, Any], **settings: Any) -> tuple[str, list[int]]:
    out = loaded.model.generate(**inputs, max_new_tokens=6, do_sample=False, pad_token_id=0, **settings)
    ids: list[int] = out[0, inputs["input_ids"].shape[1] :].tolist()
    return loaded.tokenizer.decode(ids, skip_special_tokens=True), ids


@pytest.mark.parametrize("kind", ["llama", "llava"])
def test_texts_equal_those_of_generate_with_bad_words(kind: str, tmp_path: Path) -> None:
    """Token after token of what the model would write is left out, packed or not; a neighbour's text stays."""
    loaded = load_model(ModelSpec(str((tiny_llama if kind == "llama" else tiny_llava)(tmp_path)), device="cpu"))
    for number in range(20):
        images = [tiny_image(number)] if kind == "llava" else []
        context = f"{'<image>' if images else ''}\nwhat is the name of number {number}?"
        inputs = inputs_of(loaded, context, images=images)
        free, ids = text_of(loaded, inputs)
        texts = {token: loaded.tokenizer.decode([token]).strip() for token in ids}
        words = [text for token, text in texts.items() if text.isalpha() and loaded.token_ids(text) == (token,)]
        if words:
            break
    plain = Ask("generate", "", context, None, (), (), Decoding(6)).showing(images)
    kept = replace(plain, decoding=Decoding(6, avoid=Avoid(tuple(words), 0.0, 0.0)))
    forms = {blank + one for w in words for one in (w, w.lower(), w[:1].upper() + w[1:]) for blank in ("", " ")}
    bad = [loaded.tokenizer.encode(form, add_special_tokens=False) for form in forms]
    wanted, _ = text_of(loaded, inputs, bad_words_ids=bad)
    for packed in (True, False):
        engine = ModelEngine(loaded, batch_size=4, packed=packed)
        assert engine.generate([kept, plain]) == [wanted, free]
    assert wanted != free
    assert kept.key("m") != plain.key("m")


def test_the_penalty_is_that_of_the_nearest_word(tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(tiny_llama(tmp_path)), device="cpu"))
    prompt = encode_prompt(loaded, "who?").avoiding(Avoid(("town", "blood"), 2.0, 0.3))
    (own,) = avoiding(loaded, [prompt])
    assert own is not None
    table = loaded.core.get_input_embeddings().weight
    vectors = [table[list(loaded.token_ids(f" {word}"))].mean(0) for word in ("town", "blood")]
    for token in (5, 40, 300):
        nearest = max(float(functional.cosine_similarity(table[token], vector, dim=0)) for vector in vectors)
        assert own.penalty[token].item() == pytest.approx(2 * max(0.0, nearest - 0.3), abs=1e-5)
