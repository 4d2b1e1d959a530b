"""Gradients by tokens, states and pixels against stock transformers, and what a shifted model writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from mmforget.errors import UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.whitebox import WhiteBox
from mmforget.model.encode import encode, encode_prompt
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.seen import sight_of
from mmforget.model.slopes import pixel_slopes, shift_slope, token_slopes, usual_length
from tests.helpers import tiny_image, tiny_llama, tiny_llava
from tests.tiny_models import tiny_qwen_vl

ROWS = (("what is his blood type?", " his blood type is o positive."), ("who pays?", " the green cross."))
SIZE = 64


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("models") / "llava")


def mean_logprob(logits: Tensor, ids: Tensor, num_context: int) -> Tensor:
    told = logits[0, num_context - 1 : -1].float().log_softmax(-1)
    return told.gather(-1, ids[0, num_context:, None]).mean()


def test_gradients_by_tokens_are_those_of_stock_autograd(text: Path) -> None:
    """Of two sequences of different lengths in one batch; and the rise to first order is the embeddings' difference."""
    lm = MMForgetLM(load_model(ModelSpec(str(text), device="cpu")), progress=False)
    encoded = [encode(lm.loaded, *row) for row in reversed(ROWS)]
    found = token_slopes(lm.loaded, encoded)
    stock = AutoModelForCausalLM.from_pretrained(text).eval()
    for one, slope in zip(encoded, found, strict=True):
        ids = torch.tensor([one.ids])
        embedded = stock.model.embed_tokens(ids).detach().requires_grad_()
        mean_logprob(stock(inputs_embeds=embedded).logits, ids, one.num_context).backward()
        assert torch.allclose(slope, embedded.grad[0], atol=1e-5)
    assert all(weight.grad is None for weight in lm.loaded.model.parameters())


def stock_shifted(model: Any, module: Any, ids: Tensor, num_context: int, vector: Tensor) -> float:
    def add(_module: Any, _inputs: Any, output: Any) -> Any:
        return (output[0] + vector, *output[1:]) if isinstance(output, tuple) else output + vector

    hook = module.register_forward_hook(add)
    with torch.no_grad():
        found = mean_logprob(model(ids).logits, ids, num_context)
    hook.remove()
    return float(found)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_shift_scores_and_slopes_as_stock_with_a_hook(text: Path, layer: int) -> None:
    loaded = load_model(ModelSpec(str(text), device="cpu"))
    stock = AutoModelForCausalLM.from_pretrained(text).eval()
    module = stock.model.embed_tokens if layer == 0 else stock.model.layers[layer - 1]
    vector, towards = torch.randn(2, SIZE, generator=torch.Generator().manual_seed(0)) * 0.05
    encoded = [encode(loaded, *row) for row in ROWS]
    means, slope = shift_slope(loaded, encoded, layer=layer, vector=vector)

    def told(of: Tensor) -> list[float]:
        return [stock_shifted(stock, module, torch.tensor([one.ids]), one.num_context, of) for one in encoded]

    assert means.tolist() == pytest.approx(told(vector), abs=1e-5)
    step = 0.02
    differences = (sum(told(vector + step * towards)) - sum(told(vector - step * towards))) / (2 * step)
    assert float(slope @ towards) == pytest.approx(differences, rel=0.02, abs=1e-4)


def test_a_shifted_model_writes_what_stock_writes_with_a_hook(text: Path) -> None:
    lm = MMForgetLM(load_model(ModelSpec(str(text), device="cpu")), progress=False)
    vector = torch.randn(SIZE, generator=torch.Generator().manual_seed(1)) * 2
    prompts = [encode_prompt(lm.loaded, question) for question, _ in ROWS]
    before = generate(lm.loaded, prompts, max_new_tokens=6)
    with WhiteBox(lm.engine).shifted(layer=1, vector=vector.tolist()) as shifted:
        found = generate(shifted, prompts, max_new_tokens=6)
        assert shifted.fingerprint != lm.loaded.fingerprint
    assert found != before == generate(lm.loaded, prompts, max_new_tokens=6)
    stock, tokenizer = AutoModelForCausalLM.from_pretrained(text).eval(), AutoTokenizer.from_pretrained(text)
    stock.model.layers[0].register_forward_hook(lambda _module, _inputs, output: output + vector)
    for (question, _), written in zip(ROWS, found, strict=True):
        ids = tokenizer(question, return_tensors="pt").input_ids
        new = stock.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :]
        assert written == tokenizer.decode(new, skip_special_tokens=True)


def test_gradients_by_pixels_are_those_of_stock_autograd_a_level(picture: Path) -> None:
    """Of a picture that is resized and cropped first; what is asked about is what the model sees of it."""
    loaded = load_model(ModelSpec(str(picture), device="cpu"))
    sight = sight_of(loaded, tiny_image(3, size=(90, 60)))
    assert sight.image.size == (48, 48)
    assert sight_of(loaded, sight.image).image.tobytes() == sight.image.tobytes()
    question, answer = ROWS[0]
    one = encode(loaded, f"<image>\n{question}", answer, (sight.image,))
    (slope,) = pixel_slopes(loaded, one)
    processor = AutoProcessor.from_pretrained(picture)
    pixels = processor.image_processor([tiny_image(3, size=(90, 60))], return_tensors="pt")["pixel_values"]
    pixels.requires_grad_()
    stock = AutoModelForImageTextToText.from_pretrained(picture).eval()
    ids = torch.tensor([one.ids])
    mean_logprob(stock(input_ids=ids, pixel_values=pixels).logits, ids, one.num_context).backward()
    by_level = pixels.grad[0].permute(1, 2, 0) / (255 * torch.tensor(processor.image_processor.image_std))
    assert torch.allclose(slope, by_level, atol=1e-6)
    assert float(slope.abs().max()) > 1e-6


def test_lengths_are_medians_without_pictures(picture: Path) -> None:
    loaded = load_model(ModelSpec(str(picture), device="cpu"))
    one = encode(loaded, f"<image>\n{ROWS[0][0]}", ROWS[0][1], (tiny_image(1),))
    words = torch.tensor([token for token in one.ids if token != loaded.image_token])
    wanted = loaded.core.get_input_embeddings().weight[words].norm(dim=-1).median()
    assert usual_length(loaded, [one], layer=0) == pytest.approx(float(wanted))


def test_pictures_in_patches_are_read_back(tmp_path: Path) -> None:
    """Qwen2-VL's processor lays patches out in an order of its own, each twice; a model that reads none has none."""
    loaded = load_model(ModelSpec(str(tiny_qwen_vl(tmp_path / "q")), device="cpu"))
    sight = sight_of(loaded, tiny_image(5, size=(40, 24)))
    assert torch.equal(sight_of(loaded, sight.image).pixels, sight.pixels)
    assert isinstance(sight.image, Image.Image)
    twice = sight.by_level(torch.ones_like(sight.pixels))
    assert torch.allclose(twice[..., 0], 2 / (255 * torch.tensor(loaded.processor.image_processor.image_std[0])))
    with pytest.raises(UserError, match="reads no pictures"):
        sight_of(_llama(tmp_path), tiny_image(1))


def _llama(folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llama(folder / "t")), device="cpu"))
