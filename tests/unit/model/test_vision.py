"""Every image goes through a frozen tower once; nothing is kept while the tower changes."""

from __future__ import annotations

import pytest
import torch
from model_questions import PICTURES, encode_all, one_image, several_images

from mmforget.model.encode import encode
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, adapters_off, attach, set_trainable
from mmforget.model.scoring import score
from mmforget.model.vision import FeatureCache, image_features
from tests.helpers import tiny_image


class Counter:
    """Counts the images that go through the tower."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.count = 0
        tower = loaded.family.tower(loaded.core)
        assert tower is not None
        tower.register_forward_pre_hook(self)

    def __call__(self, module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        self.count += len(inputs[0])


@torch.no_grad()
def test_each_image_is_encoded_once(fresh_llava: LoadedModel) -> None:
    """Three pictures in 12 + 5 questions, scored twice and generated from: three encodes in all."""
    counter, cache = Counter(fresh_llava), FeatureCache()
    encoded = encode_all(fresh_llava, one_image() + several_images())
    for packed in (True, False):
        score(fresh_llava, encoded, packed=packed, features=cache)
    generate(fresh_llava, encoded[:2], max_new_tokens=2, features=cache)
    assert counter.count == cache.num_encoded == 3
    assert cache.num_hits == 3 + 1


@torch.no_grad()
def test_without_a_cache_once_a_call(fresh_llava: LoadedModel) -> None:
    counter = Counter(fresh_llava)
    score(fresh_llava, encode_all(fresh_llava, one_image()))
    assert counter.count == 3


def test_features_are_those_of_transformers(llava: LoadedModel) -> None:
    found = image_features(llava, {str(k): picture for k, picture in enumerate(PICTURES)}, cache=None)
    pixels = llava.processor.image_processor(list(PICTURES), return_tensors="pt")["pixel_values"]
    wanted = llava.model.get_image_features(pixels).pooler_output
    for mine, theirs in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


@torch.no_grad()
def test_the_budget_drops_what_was_used_longest_ago(llava: LoadedModel) -> None:
    """One image is 16 tokens x 32 float32 = 2,048 bytes; a budget of two keeps the last two used."""
    cache = FeatureCache(budget_bytes=2 * 16 * 32 * 4)
    images = {str(k): tiny_image(k) for k in range(3)}
    image_features(llava, {"0": images["0"], "1": images["1"]}, cache=cache)
    image_features(llava, {"0": images["0"]}, cache=cache)
    image_features(llava, {"2": images["2"]}, cache=cache)
    assert len(cache) == 2
    assert cache.size_bytes == 2 * 2048
    assert cache.get("1") is None
    assert cache.get("0") is not None


def test_features_from_inference_mode_can_be_trained_on(fresh_llava: LoadedModel) -> None:
    cache, encoded = FeatureCache(), encode_all(fresh_llava, one_image()[:2])
    with torch.inference_mode():
        score(fresh_llava, encoded, features=cache)
    score(set_trainable(fresh_llava, projector=True), encoded, features=cache).token_logprobs.sum().backward()
    assert cache.num_encoded == 1


@torch.no_grad()
def test_features_do_not_depend_on_the_other_images(llava: LoadedModel) -> None:
    alone, together = FeatureCache(), FeatureCache()
    images = {str(k): tiny_image(k) for k in range(5)}
    image_features(llava, images, cache=together)
    image_features(llava, {"3": images["3"]}, cache=alone)
    first, second = alone.get("3"), together.get("3")
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


@torch.no_grad()
def test_another_tower_starts_empty(llava: LoadedModel, fresh_llava: LoadedModel) -> None:
    cache, images = FeatureCache(), {"a": tiny_image(1)}
    image_features(llava, images, cache=cache)
    image_features(fresh_llava, images, cache=cache)
    assert cache.num_encoded == 2
    assert cache.num_hits == 0


def test_nothing_is_kept_while_the_tower_trains(fresh_llava: LoadedModel) -> None:
    cache = FeatureCache()
    loaded = set_trainable(fresh_llava, projector=True, tower=True)
    encoded = encode_all(loaded, one_image()[:4])
    for _ in range(2):
        score(loaded, encoded, features=cache).token_logprobs.sum().backward()
    assert cache.num_encoded == 2
    assert len(cache) == 0
    tower = loaded.family.tower(loaded.core)
    assert tower is not None
    trained = [weight for weight in tower.parameters() if weight.grad is not None and weight.grad.any()]
    assert trained


@torch.no_grad()
def test_nothing_is_kept_where_an_adapter_sits_in_the_tower(fresh_llava: LoadedModel) -> None:
    cache = FeatureCache()
    loaded = attach(fresh_llava, LoraSettings(target_modules=r".*vision_tower.*\.q_proj"))
    encoded = encode_all(loaded, one_image()[:4])
    for weight in loaded.trainable().values():
        weight.add_(0.3)
    loaded.model.requires_grad_(False)
    on = score(loaded, encoded, features=cache).token_logprobs
    with adapters_off(loaded):
        off = score(loaded, encoded, features=cache).token_logprobs
    assert len(cache) == 0
    assert float((on - off).abs().max()) > 1e-3


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
@torch.no_grad()
def test_images_of_other_modes(llava: LoadedModel, mode: str) -> None:
    encoded = encode(llava, "<image>\nwho?", " Anna", [PICTURES[0].convert(mode)])
    assert score(llava, [encoded]).token_logprobs.isfinite().all()


@torch.no_grad()
def test_a_tower_that_takes_all_features_of_two_layers(llava_folder: object) -> None:
    """`full` keeps the class token, so an image is 17 tokens; two layers double the features."""
    loaded = load_model(ModelSpec(str(llava_folder)))
    config = loaded.model.config
    config.vision_feature_select_strategy = "full"
    assert loaded.family.num_image_tokens(config, size=(48, 48)) == 17
    config.vision_feature_layer = [-1, -2]
    pixels = loaded.family.preprocess(loaded.processor, [tiny_image(0)])
    assert loaded.family.tower_features(loaded.core, pixels).shape == (1, 17, 64)
