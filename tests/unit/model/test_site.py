"""What a site tells of places, beside plain forward passes of transformers; its tower, and matrices replaced twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.site import ModelSite
from mmforget.types import Example, Matrix, Spot
from tests.tiny_models import tiny_gemma3, tiny_llava_next, tiny_qwen_vl
from tests.unit.training.test_editing import FORGET, questions


def plainly(loaded: LoadedModel, one: Example, *, name: str, inputs: bool) -> tuple[Tensor, Tensor]:
    """What a module puts out or takes in, [P, D], in transformers' forward of one question; and the token ids."""
    processor = loaded.processor or loaded.tokenizer
    text = one.context.replace("<image>", str(loaded.image_text)) + one.answer
    read = dict(processor(text=[text], images=list(one.images) or None, return_tensors="pt"))
    taken: list[Tensor] = []
    module = loaded.core.get_submodule(name)
    if inputs:
        hook = module.register_forward_pre_hook(lambda m, args: taken.append(args[0].flatten(0, -2)))
    else:
        hook = module.register_forward_hook(lambda m, args, output: taken.append(output.flatten(0, -2)))
    with torch.no_grad():
        loaded.core(**read)
    hook.remove()
    return taken[0], read["input_ids"][0]


def totals(site: ModelSite, examples: Sequence[Example], *, name: str, at: Spot, inputs: bool) -> tuple[Tensor, float]:
    """Sum of rows and of their squares in one vector, and how many there were."""
    found, num = torch.zeros(0), 0.0

    def take(told: str, values: Tensor, counts: Tensor) -> None:
        nonlocal found, num
        assert told == name
        both = (torch.cat([values, values.square()], dim=1) * counts[:, None]).sum(0)
        found, num = (both if not len(found) else found + both), num + float(counts.sum())

    site.visit(examples, names=[name], take=take, at=at, inputs=inputs)
    return found, num


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("at", ["all", "image", "context_end"])
@pytest.mark.parametrize("inputs", [True, False])
def test_places_are_those_of_plain_forwards(llava: LoadedModel, at: Spot, inputs: bool, packed: bool) -> None:
    """Two questions about each picture share its places, which count for both."""
    site = ModelSite(replace(llava, shares_prefixes=packed), append_eos=False)
    name = site.layers[1][-1]
    wanted = []
    for one in FORGET:
        found, ids = plainly(llava, one, name=name, inputs=inputs)
        is_image = ids == llava.image_token
        length = int(is_image.sum()) - 1 + len(llava.tokenizer(one.context)["input_ids"])
        wanted.append({"all": found, "image": found[is_image], "context_end": found[length - 1 : length]}[at])
    rows = torch.cat(wanted)
    found, num = totals(site, FORGET, name=name, at=at, inputs=inputs)
    assert num == len(rows)
    assert torch.allclose(found, torch.cat([rows, rows.square()], dim=1).sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["llava", "next", "qwen", "gemma"])
def test_a_towers_rows_are_those_of_its_images_each_for_every_question(
    kind: str, llava: LoadedModel, tmp_path: Path
) -> None:
    """Also of a model that has no family of its own and reads images in its own forward."""
    loaded = llava
    if kind != "llava":
        make = {"next": tiny_llava_next, "qwen": lambda place: tiny_qwen_vl(place, version="2.5"), "gemma": tiny_gemma3}
        loaded = load_model(ModelSpec(str(make[kind](tmp_path / kind)), device="cpu"))
    site = ModelSite(loaded, append_eos=False)
    name = site.tower[-1][-1]
    wanted = torch.cat([plainly(loaded, one, name=name, inputs=False)[0] for one in FORGET])
    found, num = totals(site, FORGET, name=name, at="all", inputs=False)
    assert num == len(wanted)
    assert torch.allclose(found, torch.cat([wanted, wanted.square()], dim=1).sum(0), rtol=1e-4, atol=1e-3)


def test_blocks_of_the_tower_that_nobody_reads_are_left_out(llava: LoadedModel) -> None:
    """The tiny tower has two blocks, and LLaVA reads the states before the last, as the published one does."""
    assert llava.core.config.vision_feature_layer == -2
    site = ModelSite(llava, append_eos=False)
    assert [layer[0].split(".")[-3] for layer in site.tower] == ["0"]
    assert [name.split(".")[-1] for name in site.tower[0]] == ["fc1", "fc2"]


def test_a_text_model_has_no_tower_and_pictures_no_rows(llama: LoadedModel, llava: LoadedModel) -> None:
    assert ModelSite(llama, append_eos=False).tower == ()
    site = ModelSite(llava, append_eos=False)
    texts = questions("i/p/s", with_images=False)
    assert totals(site, texts, name=site.tower[0][0], at="all", inputs=False)[1] == 0
    assert totals(site, texts, name=site.layers[0][0], at="image", inputs=False)[1] == 0


def test_a_matrix_that_is_replaced_twice_is_put_back_as_it_first_was(llava: LoadedModel) -> None:
    site = ModelSite(llava, append_eos=False)
    name = site.tower[0][0]
    before = Matrix(*(part.clone() for part in site.matrix(name) if part is not None))
    assert before.bias is not None
    site.replace(name, Matrix(before.weight + 1, None))
    site.replace(name, Matrix(before.weight + 2, before.bias + 3))
    assert torch.equal(site.matrix(name).weight, before.weight + 2)
    site.restore()
    after = site.matrix(name)
    assert torch.equal(after.weight, before.weight)
    assert after.bias is not None
    assert torch.equal(after.bias, before.bias)
