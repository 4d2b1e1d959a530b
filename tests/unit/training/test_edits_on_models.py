"""Every method that edits without a hierarchy, on tiny real models: saved, loaded, restored, refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.scoring import score
from mmforget.model.site import ModelSite
from mmforget.training.edited import edited
from mmforget.training.editing import DETAILS, edit_in
from mmforget.training.settings import TrainSettings
from mmforget.types import Example
from tests.unit.training.test_editing import FORGET, RETAIN, questions, rows, weights_of

PARTS = ("gate_proj", "up_proj", "down_proj", "fc1", "fc2")
TOUCHED = {
    "manu": tuple(f"mlp.{part}.{kind}" for part in PARTS for kind in ("weight", "bias")),
    "needle": ("mlp.down_proj.weight",),
}
"""How the names end of what each method may change."""
EVERY = pytest.mark.parametrize("name", TOUCHED)
TEXTS = {"forget": questions("i/p/s", with_images=False), "retain": questions("i/q/u", with_images=False)}


def logprobs(loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
    with torch.no_grad():
        return score(loaded, [encode(loaded, e.context, e.answer, e.images) for e in examples]).token_logprobs


@EVERY
def test_a_saved_edit_is_loaded_with_the_same_numbers_as_in_memory(
    llava: LoadedModel, tmp_path: Path, name: str
) -> None:
    """Saved and loaded, or by `edited`: the same log-probs, others than before; and the base is back afterwards."""
    asked = [*FORGET, *TEXTS["forget"]]
    before, old = logprobs(llava, asked), {key: weight.clone() for key, weight in weights_of(llava).items()}
    report = edit_in(tmp_path, loaded=llava, method=build(name), forget=FORGET, retain=RETAIN, level=None, label=name)
    with edited(
        llava, Material(forget=FORGET, retain=RETAIN), method=build(name), settings=TrainSettings()
    ) as forgetful:
        inside = logprobs(forgetful, asked)
        assert forgetful.fingerprint != llava.fingerprint
    assert not torch.equal(inside, before)
    assert torch.equal(logprobs(llava, asked), before)
    assert all(torch.equal(weight, old[key]) for key, weight in weights_of(llava).items())
    loaded = load_model(ModelSpec(str(report.output), device="cpu"))
    assert torch.allclose(logprobs(loaded, asked), inside, atol=1e-6)
    saved = weights_of(loaded)
    changed = {key for key, weight in old.items() if not torch.equal(saved[key], weight)}
    assert changed
    assert all(key.endswith(TOUCHED[name]) for key in changed)
    said = {matrix["name"] for matrix in json.loads((tmp_path / DETAILS).read_text())["matrices"]}
    assert {key.rpartition(".")[0] for key in changed} == said


@EVERY
def test_rows_of_text_on_a_text_model_and_on_one_that_sees(
    llama: LoadedModel, llava: LoadedModel, tmp_path: Path, name: str
) -> None:
    for loaded in (llama, llava):
        place = tmp_path / loaded.family.NAME
        report = edit_in(place, loaded=loaded, method=build(name), level=None, label=name, **TEXTS)
        changed = load_model(ModelSpec(str(report.output), device="cpu"))
        assert not torch.equal(logprobs(changed, TEXTS["forget"]), logprobs(loaded, TEXTS["forget"]))


@EVERY
def test_packed_weights_and_adapters_are_refused_in_a_line(llava: LoadedModel, tmp_path: Path, name: str) -> None:
    given = {"method": build(name), "forget": FORGET, "retain": RETAIN, "level": None, "label": name}
    for flag in ("load_in_4bit", "load_in_8bit"):
        with pytest.raises(UserError, match="load it without load_in_4bit and load_in_8bit"):
            edit_in(tmp_path, loaded=load_model(replace(llava.spec, **{flag: True})), **given)
    with pytest.raises(UserError, match="carries an adapter that is not merged; add merge_peft=True"):
        edit_in(tmp_path, loaded=attach(llava, LoraSettings(r=2, alpha=4)), **given)


@pytest.mark.parametrize("joined", ["needle+chip", "chip+npo", "needle+whp_logit"])
def test_nothing_is_joined_with_an_edit(joined: str) -> None:
    with pytest.raises(UserError, match="edits weights and trains nothing, so nothing can be added to it"):
        build(joined)


def column_found_plainly(loaded: LoadedModel) -> tuple[int, int]:
    """Needle's column for all rows to forget together, by transformers' own forward passes and numpy."""
    best, place = -np.inf, (0, 0)
    for number, layer in enumerate(ModelSite(loaded, append_eos=False).layers):
        module, means = loaded.core.get_submodule(layer[2]), []
        for part in (FORGET, RETAIN):
            taken: list[np.ndarray] = []
            hook = module.register_forward_pre_hook(lambda m, args, kept=taken: kept.append(args[0][0].numpy()))
            for one in part:
                rows(loaded, one, name=layer[2])
            hook.remove()
            means.append(np.abs(np.concatenate(taken)).mean(0))
        more = (means[0] - means[1]) * np.linalg.norm(module.weight.detach().numpy(), axis=0)
        if more.max() > best:
            best, place = float(more.max()), (number, int(more.argmax()))
    return place


def test_needle_finds_the_column_that_plain_forwards_find_and_changes_no_other(
    llava: LoadedModel, tmp_path: Path
) -> None:
    layer, column = column_found_plainly(llava)
    before = weights_of(llava)
    forget = [replace(one, subject="one") for one in FORGET]
    report = edit_in(
        tmp_path, loaded=llava, method=build("needle"), forget=forget, retain=RETAIN, level=None, label="needle"
    )
    saved = weights_of(load_model(ModelSpec(str(report.output), device="cpu")))
    changed = {name: (saved[name] != weight).nonzero() for name, weight in before.items()}
    (name,) = [name for name, where in changed.items() if len(where)]
    assert name == f"model.language_model.layers.{layer}.mlp.down_proj.weight"
    assert set(changed[name][:, 1].tolist()) == {column}
    assert len(changed[name]) == report.num_trainable == 64


def busier(loaded: LoadedModel, names: Sequence[str], *, images: bool) -> np.ndarray:
    """MANU's scores of all outputs of these matrices, one behind the other, by plain forward passes and numpy."""
    sides = []
    for part in (FORGET, RETAIN[:4]):
        taken: dict[str, list[np.ndarray]] = {name: [] for name in names}
        hooks = [
            loaded.core.get_submodule(name).register_forward_hook(
                lambda m, args, output, to=taken[name]: to.append(output.flatten(0, -2).numpy())
            )
            for name in names
        ]
        for one in part:
            shown = one if images else replace(one, images=(), context=one.context.removeprefix("<image>\n"))
            rows(loaded, shown, name=ModelSite(loaded, append_eos=False).layers[0][0])
        for hook in hooks:
            hook.remove()
        every = [np.concatenate(taken[name]).astype(np.float64) for name in names]
        measures = (lambda z: np.abs(z).mean(0), lambda z: z.std(0), lambda z: np.sqrt((z**2).mean(0)))
        sides.append([np.concatenate([measure(z) for z in every]) for measure in measures])
    ratios = (one / (other + 1e-5) - 1 for one, other in zip(*sides, strict=True))
    return np.asarray(sum(2 * one for one in ratios))


def test_manu_prunes_what_plain_forwards_find_and_changes_no_other(llava: LoadedModel, tmp_path: Path) -> None:
    """As many rows to keep as to forget: all four. Outputs of both modalities, each in its own order."""
    site = ModelSite(llava, append_eos=False)
    before = weights_of(llava)
    report = edit_in(
        tmp_path, loaded=llava, method=build("manu", "share=0.05"), forget=FORGET, retain=RETAIN[:4], level=None,
        label="manu",
    )  # fmt: skip
    saved = weights_of(load_model(ModelSpec(str(report.output), device="cpu")))
    for layers, images in ((site.layers, False), (site.tower, True)):
        names = [name for layer in layers for name in layer]
        scores = busier(llava, names, images=images)
        wanted = set(np.argsort(-scores)[: int(0.05 * len(scores))].tolist())
        gone = torch.cat([(saved[f"{name}.weight"] == 0).all(1) for name in names]).nonzero()[:, 0].tolist()
        assert set(gone) == wanted
        kept = [at for at in range(len(scores)) if at not in wanted]
        old, new = (
            torch.cat([weights[f"{name}.weight"].sum(1) for name in names])[kept] for weights in (before, saved)
        )
        assert torch.equal(old, new)
