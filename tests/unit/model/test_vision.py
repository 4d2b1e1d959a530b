"""Every image goes through a frozen tower once; nothing is kept while the tower changes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_questions import PICTURES, encode_all, one_image, several_images

from mmforget.errors import UserError
from mmforget.model.encode import encode
from mmforget.model.feature_cache import tower_fingerprint
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
        (tower,) = loaded.family.tower_parts(loaded.core)
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
    image_features(llava, {"0": images["0"], "2": images["2"]}, cache=cache)
    assert cache.num_encoded == 3
    image_features(llava, {"1": images["1"]}, cache=cache)
    assert cache.num_encoded == 4


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
    (tower,) = llava.family.tower_parts(llava.core)
    fingerprint = tower_fingerprint(llava, [tower])
    first, second = (cache.get("3", tower=fingerprint) for cache in (alone, together))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


@torch.no_grad()
def test_a_tower_is_known_by_its_content(llava: LoadedModel, llava_folder: Path) -> None:
    """A model loaded again, with another language model or an adapter there, finds what is kept."""
    cache, images = FeatureCache(), {"a": tiny_image(1)}
    found = image_features(llava, images, cache=cache)
    again = load_model(ModelSpec(str(llava_folder)))
    again.core.lm_head.weight.add_(1)
    again.core.model.multi_modal_projector.linear_2.bias.add_(1)
    moved = image_features(attach(again, LoraSettings(r=2)), images, cache=cache)
    assert (cache.num_encoded, cache.num_hits) == (1, 1)
    torch.testing.assert_close(moved["a"], found["a"] + 1)


def _changed_weight(loaded: LoadedModel) -> None:
    loaded.core.model.vision_tower.embeddings.patch_embedding.weight.add_(0.1)


def _replaced_weight(loaded: LoadedModel) -> None:
    weight = loaded.core.model.vision_tower.embeddings.patch_embedding.weight
    weight.data = weight.data + 0.1


def _other_layer(loaded: LoadedModel) -> None:
    loaded.core.config.vision_feature_layer = -1


def _other_pictures(loaded: LoadedModel) -> None:
    loaded.processor.image_processor.image_mean = [0.1, 0.2, 0.3]


@pytest.mark.parametrize("change", [_changed_weight, _replaced_weight, _other_layer, _other_pictures])
@pytest.mark.parametrize("fresh", [True, False])
@torch.no_grad()
def test_another_tower_has_features_of_its_own(
    llava: LoadedModel, llava_folder: Path, change: Callable[[LoadedModel], None], fresh: bool
) -> None:
    """Whether it is another model or the same one, changed since; and the first one's features stay."""
    cache, images = FeatureCache(), {"a": tiny_image(1)}
    other = load_model(ModelSpec(str(llava_folder)))
    image_features(llava if fresh else other, images, cache=cache)
    change(other)
    if change in (_other_layer, _other_pictures) and not fresh:
        # Settings are read when a tower is first asked; nothing changes them later.
        other = replace(other, model=deepcopy(other.model))
    image_features(other, images, cache=cache)
    assert (cache.num_encoded, cache.num_hits) == (2, 0)
    image_features(llava, images, cache=cache)
    assert (cache.num_encoded, cache.num_hits) == (2, 1)


def test_nothing_is_kept_while_the_tower_trains(fresh_llava: LoadedModel) -> None:
    cache = FeatureCache()
    loaded = set_trainable(fresh_llava, projector=True, tower=True)
    encoded = encode_all(loaded, one_image()[:4])
    for _ in range(2):
        score(loaded, encoded, features=cache).token_logprobs.sum().backward()
    assert cache.num_encoded == 2
    assert len(cache) == 0
    (tower,) = loaded.family.tower_parts(loaded.core)
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
def test_a_tower_that_takes_all_features_of_two_layers(llava_folder: Path) -> None:
    """`full` keeps the class token, so an image is 17 tokens; two layers double the features."""
    loaded = load_model(ModelSpec(str(llava_folder)))
    config = loaded.model.config
    config.vision_feature_select_strategy = "full"
    assert loaded.family.num_image_tokens(config, loaded.processor, size=(48, 48)) == 17
    config.vision_feature_layer = [-1, -2]
    pixels = loaded.family.preprocess(loaded.processor, tiny_image(0))
    assert loaded.family.tower_features(loaded.core, pixels).shape == (17, 64)


@torch.no_grad()
def test_a_tower_left_in_training_mode_drops_nothing_out(fresh_llava: LoadedModel) -> None:
    (tower,) = fresh_llava.family.tower_parts(fresh_llava.core)
    for module in tower.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.5
    images = {"a": tiny_image(1)}
    wanted = image_features(fresh_llava, images, cache=None)["a"]
    fresh_llava.model.train()
    assert torch.equal(image_features(fresh_llava, images, cache=None)["a"], wanted)
    assert tower.training


def test_an_image_that_the_processor_refuses(llava: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise ValueError("height and width\n must be > 0")

    monkeypatch.setattr(type(llava.processor.image_processor), "__call__", refuse)
    with pytest.raises(UserError, match="cannot read an image of 20 x 30 pixels: height and width must be > 0$"):
        image_features(llava, {"a": tiny_image(1, size=(20, 30))}, cache=None)
