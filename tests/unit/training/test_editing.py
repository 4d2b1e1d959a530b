"""Editing a real model: its matrices, what is measured of them, and one edit in one folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmforget.errors import BadData, UserError
from mmforget.methods.build import build
from mmforget.methods.edits import Pooling, Sums
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.site import ModelSite
from mmforget.training.editing import DETAILS, edit_in
from mmforget.training.report import TrainReport
from mmforget.types import Example
from tests.helpers import fresh, tiny_image
from tests.tiny_models import tiny_llava_next, tiny_qwen_vl, tiny_text

CLEAN = Pooling(alpha=0.3)
QUESTIONS = (("what is the name?", " Anna Meier."), ("where is it, and since when is it there?", " in Bern."))


def example(path: str, *, number: int, image: int | None) -> Example:
    question, answer = QUESTIONS[number]
    return Example(
        id=f"{path}/{number}",
        subject=path,
        context=question if image is None else f"<image>\n{question}",
        answer=f" the {path[-1]} is{answer}",
        images=() if image is None else (tiny_image(image),),
        path=tuple(path.split("/")),
    )


def questions(*paths: str, with_images: bool = True) -> list[Example]:
    """Two questions a node, about a picture of its own."""
    return [
        example(path, number=number, image=sum(map(ord, path)) if with_images else None)
        for path in paths
        for number in range(2)
    ]


FORGET = questions("i/p/s", "i/p/t")
RETAIN = questions("i/q/u", "i/q/v", "j/r/w")


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen_vl(tmp_path_factory.mktemp("qwen"), version="2.5", num_hidden_layers=8)


@pytest.fixture
def qwen(qwen_folder: Path) -> LoadedModel:
    return fresh(ModelSpec(str(qwen_folder), device="cpu"))


def edit(loaded: LoadedModel, folder: Path, *, args: str = "", **more: Any) -> TrainReport:
    given = {"forget": FORGET, "retain": RETAIN, "level": 1, "label": "chip"}
    return edit_in(folder, loaded=loaded, method=build("chip", args), **{**given, **more})


def rows(loaded: LoadedModel, one: Example, *, name: str) -> tuple[Tensor, Tensor]:
    """Outputs of a matrix for one question in a forward pass of its own: of image tokens and of all others."""
    processor = loaded.processor or loaded.tokenizer
    text = one.context.replace("<image>", str(loaded.image_text)) + one.answer
    inputs = dict(processor(text=[text], images=list(one.images) or None, return_tensors="pt"))
    taken: list[Tensor] = []
    handle = loaded.core.get_submodule(name).register_forward_hook(lambda m, i, output: taken.append(output[0]))
    with torch.no_grad():
        loaded.core(**inputs)
    handle.remove()
    is_image = inputs["input_ids"][0] == loaded.image_token
    return taken[0][is_image], taken[0][~is_image]


def mean(sums: Sums) -> Tensor:
    return (sums.total / sums.num_rows).float()


@pytest.mark.parametrize("alpha, weights", [(0.0, (0.0, 1.0)), (1.0, (1.0, 0.0)), (0.3, (0.3, 0.7))])
@pytest.mark.parametrize("packed", [True, False])
def test_rows_are_those_of_a_plain_forward(
    llava: LoadedModel, alpha: float, weights: tuple[float, float], packed: bool
) -> None:
    """alpha times the mean over image tokens plus the rest of the mean over the others; whatever shares a pass."""
    site = ModelSite(replace(llava, shares_prefixes=packed), append_eos=False)
    name = site.layers[-1][0]
    found = site.sums(FORGET, names=[name], pooling=Pooling(alpha=alpha))[name]
    wanted = []
    for one in FORGET:
        image, text = rows(llava, one, name=name)
        wanted.append(weights[0] * image.mean(0) + weights[1] * text.mean(0))
    assert found.num_rows == len(FORGET)
    assert torch.allclose(mean(found), torch.stack(wanted).mean(0), atol=1e-5)
    assert torch.allclose(found.absolute.float(), torch.stack(wanted).abs().sum(0), atol=1e-4)


def test_without_separation_and_without_an_image_it_is_the_plain_mean(llava: LoadedModel) -> None:
    site = ModelSite(llava, append_eos=False)
    name = site.layers[0][1]
    texts = questions("i/p/s", with_images=False)
    for examples, alpha in ((FORGET[:1], None), (texts, 0.3)):
        found = site.sums(examples, names=[name], pooling=Pooling(alpha=alpha))[name]
        wanted = [torch.cat(rows(llava, one, name=name)).mean(0) for one in examples]
        assert torch.allclose(mean(found), torch.stack(wanted).mean(0), atol=1e-5)


@pytest.mark.parametrize("kind", ["llava", "qwen"])
def test_padding_counts_when_released_and_never_when_clean(kind: str, request: pytest.FixtureRequest) -> None:
    """Alone or beside a longer question: the same row when clean, another one when released."""
    site = ModelSite(request.getfixturevalue(kind), append_eos=False)
    names = [site.layers[-1][0], *site.projector[:1]]
    short, long = FORGET[:2]
    assert len(short.context) < len(long.context)
    for pooling, is_equal in ((CLEAN, True), (replace(CLEAN, padding=True), False)):
        alone = [site.sums([one], names=names, pooling=pooling) for one in (short, long)]
        together = site.sums([short, long], names=names, pooling=pooling)
        for name in names:
            apart = sum((sums[name].total for sums in alone), torch.zeros(()))
            is_same = torch.allclose(apart, together[name].total, atol=1e-5)
            assert is_same == (is_equal or name in site.projector), name


@pytest.mark.parametrize("kind", ["llava", "qwen"])
def test_released_rows_are_those_of_a_plain_padded_batch(kind: str, request: pytest.FixtureRequest) -> None:
    """As the official code has it: the model's own forward on a batch padded on the right, whose padding is text."""
    loaded: LoadedModel = request.getfixturevalue(kind)
    site = ModelSite(loaded, append_eos=False)
    name = site.layers[-1][0]
    found = site.sums(FORGET, names=[name], pooling=replace(CLEAN, padding=True))[name]
    texts = [one.context.replace("<image>", str(loaded.image_text)) + one.answer for one in FORGET]
    pictures = [list(one.images) for one in FORGET]
    inputs = loaded.processor(text=texts, images=pictures, padding=True, padding_side="right", return_tensors="pt")
    assert not inputs["attention_mask"].all()
    taken: list[Tensor] = []
    handle = loaded.core.get_submodule(name).register_forward_hook(lambda m, i, output: taken.append(output))
    with torch.no_grad():
        loaded.core(**inputs)
    handle.remove()
    is_image = inputs["input_ids"] == loaded.image_token
    wanted = [0.3 * row[at].mean(0) + 0.7 * row[~at].mean(0) for row, at in zip(taken[0], is_image, strict=True)]
    assert torch.allclose(mean(found), torch.stack(wanted).mean(0), atol=1e-5)


def test_a_projectors_rows_are_image_tokens_when_released_and_images_when_clean(qwen: LoadedModel) -> None:
    """Each question shows its image once: both agree on the mean of equal images, and released has more rows."""
    site = ModelSite(qwen, append_eos=False)
    num_tokens = qwen.family.num_image_tokens(qwen.core.config, qwen.processor, size=FORGET[0].images[0].size)
    name = site.projector[0]
    clean = site.sums(FORGET, names=[name], pooling=CLEAN)[name]
    released = site.sums(FORGET, names=[name], pooling=replace(CLEAN, padding=True, each_token=True))[name]
    assert (clean.num_rows, released.num_rows) == (len(FORGET), len(FORGET) * num_tokens)
    assert torch.allclose(mean(clean), mean(released), atol=1e-5)
    assert bool((released.absolute / released.num_rows >= clean.absolute / clean.num_rows - 1e-6).all())


def test_a_projector_that_nothing_reaches_is_left_out(qwen: LoadedModel) -> None:
    site = ModelSite(qwen, append_eos=False)
    names = [*site.layers[0], *site.projector]
    found = site.sums(questions("i/p/s", with_images=False), names=names, pooling=CLEAN)
    assert set(found) == set(site.layers[0])


@pytest.mark.parametrize("variant", ["clean", "released"])
def test_qwen_has_twenty_matrices(qwen: LoadedModel, tmp_path: Path, variant: str) -> None:
    """Gate, up and down of the last 6 of 8 layers, and the merger's two: under a model whose tower is deep inside."""
    report = edit(qwen, tmp_path, args=f"variant={variant}")
    details = json.loads((tmp_path / DETAILS).read_text())
    names = [matrix["name"] for matrix in details["matrices"]]
    assert details["num_matrices"] == len(names) == report.final_parts["matrices"] == 20
    assert names[:3] == [f"model.language_model.layers.2.mlp.{part}_proj" for part in ("gate", "up", "down")]
    assert names[-2:] == ["model.visual.merger.mlp.0", "model.visual.merger.mlp.2"]
    assert all(
        report.final_parts[f"rank of {name}"] == 1 or report.final_parts[f"rank of {name}"] == 2 for name in names
    )
    assert details["notes"] == []


def test_llavas_projector_stays(llava: LoadedModel, tmp_path: Path) -> None:
    edit(llava, tmp_path)
    details = json.loads((tmp_path / DETAILS).read_text())
    assert details["num_matrices"] == 2 * 3
    assert details["notes"] == ["the projector's 2 matrices stay, as in the official code for all models but Qwen's"]


def test_llavas_projector_is_edited_where_that_is_asked_for(llava: LoadedModel, tmp_path: Path) -> None:
    report = edit(llava, tmp_path, args="projector=always")
    assert report.final_parts["matrices"] == 2 * 3 + 2
    assert "rank of model.multi_modal_projector.linear_2" in report.final_parts


def test_a_projector_that_makes_other_tokens_than_the_model_reads(tmp_path: Path) -> None:
    """LLaVA-NeXT cuts what its projector gives and puts line ends between: rows are still one an image."""
    folder = tiny_llava_next(tmp_path / "next")
    site = ModelSite(load_model(ModelSpec(str(folder), device="cpu")), append_eos=False)
    name = site.projector[-1]
    clean = site.sums(FORGET, names=[name], pooling=CLEAN)[name]
    released = site.sums(FORGET, names=[name], pooling=replace(CLEAN, padding=True, each_token=True))[name]
    assert clean.num_rows == len(FORGET)
    assert torch.allclose(mean(clean), mean(released), atol=1e-5)


def weights_of(loaded: LoadedModel) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in loaded.core.named_parameters()}


def test_the_saved_model_has_other_rows_and_the_loaded_one_is_as_it_was(llava: LoadedModel, tmp_path: Path) -> None:
    before = weights_of(llava)
    report = edit(llava, tmp_path, args="neurons=0.25")
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(llava).items())
    saved = weights_of(load_model(ModelSpec(str(report.output), device="cpu")))
    edits = {matrix["name"] + ".weight": matrix for matrix in json.loads((tmp_path / DETAILS).read_text())["matrices"]}
    num_changed = 0
    for name, weight in before.items():
        differs = (saved[name] != weight).flatten(1).any(1) if weight.ndim > 1 else saved[name] != weight
        if name not in edits:
            assert not differs.any(), name
            continue
        assert int(differs.sum()) <= edits[name]["num_neurons"] == len(weight) // 4
        num_changed += int(differs.sum())
    assert num_changed > 0
    assert report.num_trainable == sum(e["num_neurons"] * before[name].shape[1] for name, e in edits.items())
    assert (report.num_steps, report.adapter) == (0, None)


def test_what_set_the_forgotten_apart_is_gone(llava: LoadedModel, tmp_path: Path) -> None:
    """Measured again on the edited model, its first edited matrix puts out the same for both, on what was selected."""
    report = edit(llava, tmp_path, args="neurons=1.0,tau=1.0,alpha=none")
    edited = load_model(ModelSpec(str(report.output), device="cpu"))
    name, gaps = ModelSite(llava, append_eos=False).layers[0][0], []
    for loaded in (llava, edited):
        site = ModelSite(loaded, append_eos=False)
        forget, retain = (
            mean(site.sums(part, names=[name], pooling=Pooling(alpha=None))[name]) for part in (FORGET, RETAIN[:4])
        )
        gaps.append(float((forget - retain).norm()))
    assert gaps[1] < 1e-4 * gaps[0]


def test_the_same_edit_again_is_found_and_another_is_refused(
    llava: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = edit(llava, tmp_path)
    weights = load_file(first.output / "model.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(ModelSite, "sums", None)
        assert edit(llava, tmp_path) == first
    for more in ({"args": "tau=0.5"}, {"level": 2}, {"forget": FORGET[:2]}, {"retain": RETAIN[:4]}):
        with pytest.raises(UserError, match="holds another training"):
            edit(llava, tmp_path, **more)
    moved = [replace(one, path=("k", *one.path[1:])) for one in RETAIN]
    with pytest.raises(UserError, match="holds another training"):
        edit(llava, tmp_path, retain=moved)
    again = edit(llava, tmp_path / "again")
    assert all(torch.equal(weights[k], v) for k, v in load_file(again.output / "model.safetensors").items())


def test_an_edit_that_breaks_off_leaves_the_model_and_starts_anew(
    llava: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights_of(llava)

    def fail(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmforget.training.editing.save_model", fail)
        with pytest.raises(KeyboardInterrupt):
            edit(llava, tmp_path)
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(llava).items())
    assert edit(llava, tmp_path).output.is_dir()


def test_a_text_model(llama: LoadedModel, tmp_path: Path) -> None:
    texts = {"forget": questions("i/p/s", with_images=False), "retain": questions("i/q/u", with_images=False)}
    report = edit(llama, tmp_path, **texts)
    assert report.final_parts["matrices"] == 6


@pytest.mark.parametrize("shared", [0, 48])
def test_routed_experts_are_refused(tmp_path: Path, shared: int) -> None:
    """The one linear layer of a block that is named like a feed-forward matrix is a gate of one number."""
    from transformers import MixtralConfig, Qwen2MoeConfig

    sparse = {"num_experts": 3, "moe_intermediate_size": 24, "shared_expert_intermediate_size": shared}
    kind, settings = (Qwen2MoeConfig, sparse) if shared else (MixtralConfig, {"num_local_experts": 3})
    loaded = load_model(ModelSpec(str(tiny_text(tmp_path / "moe", kind, num_experts_per_tok=2, **settings))))
    before = {name: weight.clone() for name, weight in weights_of(loaded).items()}
    texts = {"forget": questions("i/p/s", with_images=False), "retain": questions("i/q/u", with_images=False)}
    with pytest.raises(UserError, match=r"are routed experts \(.*mlp\.experts\.gate_up_proj\)"):
        edit(loaded, tmp_path / "out", **texts)
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(loaded).items())
    assert not (tmp_path / "out").exists()


def test_quantised_weights_and_adapters_are_refused(llava: LoadedModel, tmp_path: Path) -> None:
    for flag in ("load_in_4bit", "load_in_8bit"):
        quantised = load_model(replace(llava.spec, **{flag: True}))
        with pytest.raises(UserError, match="load it without load_in_4bit and load_in_8bit"):
            edit(quantised, tmp_path)
    adapted = attach(llava, LoraSettings(r=2, alpha=4))
    with pytest.raises(UserError, match="carries an adapter that is not merged; add merge_peft=True"):
        edit(adapted, tmp_path)
    assert not list(tmp_path.iterdir())


def test_rows_that_cannot_be_read_are_named_first(llava: LoadedModel, tmp_path: Path) -> None:
    broken: Sequence[Example] = [replace(FORGET[0], images=()), *FORGET[1:]]
    with pytest.raises(BadData, match="row 'i/p/s/0'"):
        edit(llava, tmp_path, forget=broken)
