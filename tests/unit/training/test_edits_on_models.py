"""Every method that edits without a hierarchy, on tiny real models: saved, loaded, restored, refused."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.methods.rocr import Editing
from mmforget.methods.rocr_targets import OPENINGS, targets_of
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
from tests.tiny_models import tiny_gemma3, tiny_qwen_vl
from tests.unit.training.test_editing import FORGET, RETAIN, questions, rows, weights_of

PARTS = ("gate_proj", "up_proj", "down_proj", "fc1", "fc2")
TOUCHED = {
    "manu": tuple(f"mlp.{part}.{kind}" for part in PARTS for kind in ("weight", "bias")),
    "needle": ("mlp.down_proj.weight",),
    "rocr": ("mlp.down_proj.weight",),
}
"""How the names end of what each method may change."""
ARGUMENTS = {"rocr": "names=name,first_layer=0,last_layer=1,ridge=0.01,threshold=3.0"}
"""Where the defaults do not fit random models of two layers and rows that name nobody."""
EVERY = pytest.mark.parametrize("name", TOUCHED)
TEXTS = {"forget": questions("i/p/s", with_images=False), "retain": questions("i/q/u", with_images=False)}


def made(name: str) -> Any:
    return build(name, ARGUMENTS.get(name, ""))


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
    report = edit_in(tmp_path, loaded=llava, method=made(name), forget=FORGET, retain=RETAIN, level=None, label=name)
    with edited(
        llava, Material(forget=FORGET, retain=RETAIN), method=made(name), settings=TrainSettings()
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
        report = edit_in(place, loaded=loaded, method=made(name), level=None, label=name, **TEXTS)
        changed = load_model(ModelSpec(str(report.output), device="cpu"))
        assert not torch.equal(logprobs(changed, TEXTS["forget"]), logprobs(loaded, TEXTS["forget"]))


@EVERY
def test_packed_weights_and_adapters_are_refused_in_a_line(llava: LoadedModel, tmp_path: Path, name: str) -> None:
    given = {"method": made(name), "forget": FORGET, "retain": RETAIN, "level": None, "label": name}
    for flag in ("load_in_4bit", "load_in_8bit"):
        with pytest.raises(UserError, match="load it without load_in_4bit and load_in_8bit"):
            edit_in(tmp_path, loaded=load_model(replace(llava.spec, **{flag: True})), **given)
    with pytest.raises(UserError, match="carries an adapter that is not merged; add merge_peft=True"):
        edit_in(tmp_path, loaded=attach(llava, LoraSettings(r=2, alpha=4)), **given)


@pytest.mark.parametrize(
    ("joined", "said"),
    [
        ("needle+chip", "edits weights and trains nothing, so nothing can be added to it"),
        ("chip+npo", "edits weights and trains nothing, so nothing can be added to it"),
        ("needle+whp_logit", "'needle' edits weights and 'whp_logit' is a guard, .* make a guard of the edited model"),
    ],
)
def test_nothing_is_joined_with_an_edit(joined: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
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


NAMED = [replace(one, context=one.context.replace("the name?", "the town of Anna Meier?")) for one in TEXTS["forget"]]


def states_of(folder: Path, texts: Sequence[str], *, module: str, inputs: bool) -> np.ndarray:
    """What a module puts out or takes in at the last token of texts, by transformers alone: [texts, D]."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    part, found = model.get_submodule(module), list[np.ndarray]()

    def keep(states: Any) -> None:
        found.append((states[0] if isinstance(states, tuple) else states)[0, -1].numpy())

    if inputs:
        part.register_forward_pre_hook(lambda m, args: keep(args))
    else:
        part.register_forward_hook(lambda m, args, output: keep(output))
    with torch.no_grad():
        for text in texts:
            model(**tokenizer(text, return_tensors="pt"))
    return np.stack(found).astype(np.float64)


def test_rocr_is_what_numpy_makes_of_plain_forwards(llama: LoadedModel, tmp_path: Path) -> None:
    """One layer, so that nothing is divided: the whole system solved, with the covariance of all tokens to keep."""
    folder, name, block = Path(llama.spec.pretrained), "model.layers.1.mlp.down_proj", "model.layers.1"
    arguments = "names=Anna Meier,unrelated=nobody,first_layer=1,last_layer=1,ridge=0.5,threshold=3.0"
    report = edit_in(
        tmp_path, loaded=llama, method=build("rocr", arguments), forget=NAMED, retain=TEXTS["retain"], level=None,
        label="rocr",
    )  # fmt: skip
    taken: list[np.ndarray] = []
    hook = llama.core.get_submodule(name).register_forward_pre_hook(lambda m, args: taken.append(args[0][0].numpy()))
    for one in TEXTS["retain"]:
        rows(llama, one, name=name)
    hook.remove()
    tokens = np.concatenate(taken).astype(np.float64)
    values, vectors = np.linalg.eigh(tokens.T @ tokens / len(tokens))
    kept = vectors[:, values >= 3.0]
    project = np.eye(len(values)) - kept @ kept.T
    assert 0 < kept.shape[1] < len(values)
    contexts = [*OPENINGS, "what is the town of "]
    key = states_of(folder, [f"{text}Anna Meier" for text in contexts], module=name, inputs=True).mean(0)[:, None]
    now, wanted = (
        states_of(folder, [text + who for text in contexts], module=block, inputs=False).mean(0)
        for who in ("Anna Meier", "nobody")
    )
    added = np.linalg.solve(project @ key @ key.T + 0.5 * np.eye(len(key)), project @ key @ (wanted - now)[None]).T
    before = weights_of(llama)[f"{name}.weight"].numpy()
    after = weights_of(load_model(ModelSpec(str(report.output), device="cpu")))[f"{name}.weight"].numpy()
    assert np.abs(added).max() > 1e-3
    assert np.allclose(after - before, added, atol=1e-5)
    assert np.allclose((after - before) @ kept, 0, atol=1e-5)


@pytest.mark.parametrize("target", ["unrelated", "reject", "noise"])
def test_rocr_turns_names_and_faces_and_leaves_what_is_kept(llava: LoadedModel, tmp_path: Path, target: str) -> None:
    """Measured again on the edited model: the state of each side is nearer to what was wanted, by far."""
    # In the last layer nothing looks at image tokens any more, so that no refusal could be found there.
    last = 0 if target == "reject" else 1
    arguments = f"target={target},first_layer=0,last_layer={last},ridge=1e-4,threshold=3.0"
    forget = [*FORGET[:2], *(replace(one, subject="i/p/s") for one in NAMED[:1])]
    method = build("rocr", f"names=Anna Meier,{arguments}")
    targets = targets_of(forget, names=("Anna Meier",), unrelated=method.unrelated)
    sides = [side for one in targets for side in one.sides]
    assert [side.kind for side in sides] == ["name", "image"]
    site = ModelSite(llava, append_eos=False)
    before = Editing(site, (), site.blocks[last], {})
    wanted = [method._wanted(before, side, number=number) for number, side in enumerate(sides)]
    old = [before.mean(side, site.blocks[last]) for side in sides]
    report = edit_in(tmp_path, loaded=llava, method=method, forget=forget, retain=RETAIN, level=None, label="rocr")
    changed = ModelSite(load_model(ModelSpec(str(report.output), device="cpu")), append_eos=False)
    after = Editing(changed, (), changed.blocks[last], {})
    for side, aim, was in zip(sides, wanted, old, strict=True):
        assert float((after.mean(side, changed.blocks[last]) - aim).norm()) < 0.5 * float((was - aim).norm()), side.kind


def test_rocr_refuses_layers_that_are_not_there_and_rows_that_name_nobody(llama: LoadedModel, tmp_path: Path) -> None:
    rng = random.Random(0)
    (tmp_path / "all.txt").write_text(" ".join("".join(rng.choices("abcdefgh", k=5)) for _ in range(150)))
    given: dict[str, Any] = {"forget": NAMED, "retain": TEXTS["retain"], "level": None, "label": "rocr"}
    for arguments, said in (
        ("names=Anna Meier,last_layer=7", "last_layer=7 does not exist: the model has 2 layers, 0 to 1"),
        ("names=Anna Meier,first_layer=1,last_layer=0", "first_layer=1 lies behind last_layer=0"),
        (f"names=Anna Meier,corpus={tmp_path / 'all.txt'},threshold=1e-9", "rows to keep use all directions"),
        ("names=Nobody Here", "ha(s|ve) none in the questions"),
    ):
        with pytest.raises(UserError, match=said):
            edit_in(tmp_path / "out", loaded=llama, method=build("rocr", arguments), **given)


@pytest.mark.parametrize("arguments", ["target=reject,first_layer=0,last_layer=1", "first_layer=1,last_layer=1"])
def test_rocr_redirects_no_image_where_nothing_reads_it(llava: LoadedModel, tmp_path: Path, arguments: str) -> None:
    """A refusal would not be found, and of the last layer alone nothing would change, both without a word."""
    method = build("rocr", f"{arguments},threshold=3.0")
    with pytest.raises(UserError, match="last_layer=1 is the model's last, and nothing reads .* give last_layer=0 or"):
        edit_in(tmp_path, loaded=llava, method=method, forget=FORGET, retain=RETAIN, level=None, label="rocr")


@pytest.mark.parametrize("kind", ["llava", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("qwen", "gemma"))])
def test_a_steered_answer_is_that_of_a_plain_forward(kind: str, llava: LoadedModel, tmp_path: Path) -> None:
    """A shift of a layer's states at image tokens, added by a hook of ours to transformers' own forward."""
    make = {"qwen": lambda place: tiny_qwen_vl(place, version="2.5"), "gemma": tiny_gemma3}
    loaded = llava if kind == "llava" else load_model(ModelSpec(str(make[kind](tmp_path / kind)), device="cpu"))
    site, one = ModelSite(loaded, append_eos=False), FORGET[0]
    shift = torch.linspace(-1, 1, loaded.core.config.get_text_config().hidden_size, requires_grad=True)
    found = site.steered(one, name=site.blocks[0], shift=shift, at="image")
    processor = loaded.processor
    assert processor is not None
    text = one.context.replace("<image>", str(loaded.image_text))
    read = dict(processor(text=[text + one.answer], images=list(one.images), return_tensors="pt"))
    length = processor(text=[text], images=list(one.images), return_tensors="pt")["input_ids"].shape[1]
    at = (read["input_ids"][0] == loaded.image_token)[None, :, None]

    def shifted(_module: Any, _inputs: Any, output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        new = first + at * shift.detach()
        return (new, *output[1:]) if isinstance(output, tuple) else new

    hook = loaded.core.get_submodule(site.blocks[0]).register_forward_hook(shifted)
    with torch.no_grad():
        logprobs = loaded.core(**read).logits[0].log_softmax(-1)
    hook.remove()
    wanted = logprobs[length - 1 : -1].gather(-1, read["input_ids"][0, length:, None])[:, 0]
    assert torch.allclose(found.token_logprobs, wanted, atol=1e-4)
    assert torch.allclose(found.first, logprobs[length - 1], atol=1e-4)
    found.token_logprobs.sum().backward()
    assert shift.grad is not None
    assert bool(shift.grad.abs().sum() > 0)
