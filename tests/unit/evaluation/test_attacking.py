"""Models under attack: one whose answer can be read at a middle layer alone, one that never knew, one trained again."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_benchmark import write_toy
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.asking import Engine, Guard, GuardEngine
from mmforget.benchmark.find import find
from mmforget.benchmark.source import DataSource
from mmforget.errors import PluginError, UserError
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.run import Evaluation, Settings, evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.methods.build import build as build_method
from mmforget.methods.material import Material
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel, guarded
from mmforget.model.lora import LoraSettings, attach
from mmforget.results.samples import read_samples, write_samples
from mmforget.training.edited import edited
from mmforget.training.many import unlearn_many
from mmforget.training.settings import TrainSettings
from mmforget.types import Estimate
from tests.helpers import tiny_llama, tiny_llava
from tests.plugin_packages import installed, write_package

DATA = DataSource("synthetic")
TASK = "toy_forget_gen"
ALL = ("logit_lens", "probability_delta", "second_difference", "question_rephrase(level=easy,max_new_tokens=3)")
NUM_LAYERS, MIDDLE = 6, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked_in_words(tmp_path_factory.mktemp("toy") / "tasks", answer="blood")


def asked_in_words(folder: Path, *, answer: str) -> Path:
    """The toy benchmark without pictures, with a paraphrase for every other person and the same answer to all."""
    changes = {
        "modality: image": "modality: text",
        "<image>\\n": "",
        "doc_to_image: images\n": "",
        'f"fact {fact} is number {person}."': f'"{answer}"',
        '"keywords": [f"number {person}"],': '"question_rephrased": ["and now?"] * (person % 2),',
    }
    for path in write_toy(folder).iterdir():
        text = path.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        path.write_text(text)
    return folder


def made(folder: Path, lm: MMForgetLM, *attacks: str, tasks: tuple[str, ...] = (TASK,)) -> Evaluation:
    settings = Settings(attacks=attacks)
    return evaluate(lm, tasks, include_paths=[folder], data=DATA, blank_image=False, progress=False, settings=settings)


def adapter(model: Path) -> MMForgetLM:
    return MMForgetLM(load_model(ModelSpec(str(model), device="cpu")), progress=False)


def success(folder: Path, done: Evaluation, attack: str | None, name: str = "attack_success") -> Estimate:
    found = aggregate(find("toy", [folder]), done.samples)
    (one,) = [r for r in found if (r.name, r.attack, r.profile, r.task) == (name, attack, "clean", TASK)]
    return one.estimate


def secretive(folder: Path, *, knows: bool = True) -> Path:
    """A model that always says `hair`, and in whose third layer of six `blood` is the likeliest next token.

    Nothing but two feed-forward parts does anything: one writes the direction of `blood`, the other that of `hair` and
    against `blood`. Every embedding has the same first number, which both read.
    """
    tiny_llama(folder, num_layers=NUM_LAYERS)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (said,), (hidden,) = (tokenizer.encode(f" {word}", add_special_tokens=False) for word in ("hair", "blood"))
    with torch.no_grad():
        for layer in model.model.layers:
            for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                weight.zero_()
        embedded, head = model.model.embed_tokens.weight, model.lm_head.weight
        embedded[:, 0], embedded[:, 1:3] = 3.0, 0.0
        head[:, :3] = 0.0
        head[:, 3:] *= 0.1
        head[hidden, 1], head[said, 2] = 5.0, 5.0
        writes = {MIDDLE - 1: ((1, 0.08 * knows),), NUM_LAYERS - 2: ((1, -0.4 * knows), (2, 0.4))}
        for number, outputs in writes.items():
            part = model.model.layers[number].mlp
            part.gate_proj.weight[0], part.up_proj.weight[0] = 0.0, 0.0
            part.gate_proj.weight[0, 0] = part.up_proj.weight[0, 0] = 4.0
            for direction, amount in outputs:
                part.down_proj.weight[direction, 0] = amount
    model.save_pretrained(folder)
    return folder


def test_an_answer_in_the_middle_is_found_by_the_lens_and_by_no_question(folder: Path, tmp_path: Path) -> None:
    lm = adapter(secretive(tmp_path / "m"))
    lens = f"logit_lens(layers=[{MIDDLE},{NUM_LAYERS}])"
    last = f"logit_lens(layers=[{NUM_LAYERS}])"
    done = made(
        folder,
        lm,
        lens,
        last,
        "probability_delta(layers=[2,3,6])",
        *ALL,
        "question_rephrase(level=medium,max_new_tokens=3)",
    )
    plain = {sample.response for sample in done.samples if sample.response is not None}
    assert {text.split()[0] for text in plain} == {"hair"}
    lens = "logit_lens(layers=[3, 6])"
    assert success(folder, done, lens).value == 1.0
    assert success(folder, done, lens, "attack_success_area").value == pytest.approx(19 / 20)
    assert success(folder, done, "probability_delta(layers=[2, 3, 6])").value == 1.0
    for attack in (
        None,
        "logit_lens(layers=[6])",
        "question_rephrase(level=easy,max_new_tokens=3)",
        "question_rephrase(level=medium,max_new_tokens=3)",
    ):
        assert success(folder, done, attack).value == 0.0
    ranks = {sample.ranks for sample in done.samples if sample.attack == lens}
    assert {(first, second > 300) for first, second in ranks} == {(0, True)}


def test_a_model_that_never_knew_gives_the_base_rate(folder: Path, tmp_path: Path) -> None:
    """The same model without the part that knows: what is found of it is chance, and much less."""
    ignorant = made(folder, adapter(secretive(tmp_path / "m", knows=False)), f"logit_lens(layers=[{MIDDLE}])", *ALL)
    for attack in ("logit_lens(layers=[3])", *ALL):
        assert success(folder, ignorant, attack).value == 0.0
    random = made(folder, adapter(tiny_llama(tmp_path / "r", num_layers=NUM_LAYERS)), "logit_lens(layers=[3])")
    ranks = [sample.ranks[0] for sample in random.samples if sample.ranks]
    assert success(folder, random, "logit_lens(layers=[3])").value == sum(rank < 20 for rank in ranks) / 6


def test_attacks_are_made_on_what_is_forgotten_and_stored(folder: Path, tmp_path: Path) -> None:
    lm = adapter(tiny_llava(tmp_path / "m", num_layers=3))
    done = made(folder, lm, *ALL, tasks=("toy",))
    found = Counter((sample.task, sample.attack) for sample in done.samples if sample.attack)
    assert found == {(TASK, name): 20 * 6 if "question" in name else 6 for name in ALL}
    for sample in done.samples:
        assert bool(sample.ranks) == (sample.attack in ALL[:3])
        assert not sample.ranks or (sample.response, sample.attempt) == (None, 0)
    files = write_samples(tmp_path, done.samples, model="m")
    assert sorted(map(repr, read_samples(tmp_path, files=files))) == sorted(map(repr, done.samples))


def test_attacks_on_hidden_states_look_once_and_together(folder: Path, tmp_path: Path) -> None:
    """Three of them compute no more tokens than one, and find what each finds alone."""
    model = tiny_llama(tmp_path / "m", num_layers=4)
    counts, found = [], []
    for names in (ALL[:3], ALL[:1], ALL[1:2], ALL[2:3]):
        lm = adapter(model)
        done = made(folder, lm, *names)
        counts.append(lm.engine.num_tokens)
        found.append({(s.attack, s.id): s.ranks for s in done.samples if s.ranks})
    assert counts[0] == counts[1] == counts[2] == counts[3]
    assert found[0] == found[1] | found[2] | found[3]


def test_ranks_are_those_of_a_stock_model(tmp_path: Path) -> None:
    """The worst of all tokens of an answer, or that of the first."""
    folder = asked_in_words(tmp_path / "tasks", answer="a river in Bern.")
    model = tiny_llama(tmp_path / "m", num_layers=4)
    done = made(folder, adapter(model), "logit_lens(layers=[2,3])", "logit_lens(layers=[2,3],variant=faithful)")
    stock, tokenizer = AutoModelForCausalLM.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    for sample in (one for one in done.samples if one.ranks):
        front = tokenizer(sample.question).input_ids
        whole = tokenizer(f"{sample.question} {sample.answer}").input_ids
        with torch.no_grad():
            states = stock(torch.tensor([whole]), output_hidden_states=True).hidden_states
            logits = [stock.lm_head(stock.model.norm(states[layer]))[0, len(front) - 1 : -1] for layer in (2, 3)]
        by_layer = [
            [int((at > at[token]).sum()) for at, token in zip(layer, whole[len(front) :], strict=True)]
            for layer in logits
        ]
        is_first = "faithful" in str(sample.attack)
        assert sample.ranks == tuple(ranks[0] if is_first else max(ranks) for ranks in by_layer)


def test_what_rows_lack_is_left_out_and_counted(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    done = made(
        folder,
        adapter(tiny_llama(tmp_path / "m")),
        "question_rephrase(level=medium,max_new_tokens=3)",
        "image_rephrase",
    )
    assert [": ".join(item) for item in done.left_out] == [
        "attack image_rephrase: applies to none of the tasks that run"
    ]
    assert "3 rows left out (no paraphrase)" in caplog.text
    attack = "question_rephrase(level=medium,max_new_tokens=3)"
    estimate = success(folder, done, attack)
    assert (estimate.num_scored, estimate.num_unscored, estimate.num_lacking) == (3, 0, 3)
    assert estimate.reasons[0] == "3 of 6 rows take no part: no paraphrase"
    lacking = [sample for sample in done.samples if sample.lacking]
    assert {(sample.subject, sample.attack, sample.attempt, sample.response) for sample in lacking} == {
        ("person0", attack, 0, None)
    }
    files = write_samples(tmp_path, done.samples, model="m")
    assert sorted(map(repr, read_samples(tmp_path, files=files))) == sorted(map(repr, done.samples))


def test_every_budget_has_its_own_lines(folder: Path, tmp_path: Path) -> None:
    lm = adapter(tiny_llama(tmp_path / "m", num_layers=3))
    done = made(
        folder,
        lm,
        "logit_lens(budget=40)",
        "question_rephrase(level=easy,budget=2,max_new_tokens=3)",
        "probability_delta",
    )
    found = {
        (one.name, one.attack)
        for one in aggregate(find("toy", [folder]), done.samples)
        if one.name.startswith("attack_")
    }
    named = {
        "attack_success(budget=40)": "logit_lens(budget=40)",
        "attack_success(budget=2)": "question_rephrase(budget=2,level=easy,max_new_tokens=3)",
        "attack_success": "probability_delta",
    }
    for name, attack in named.items():
        assert {key for metric, key in found if metric == name} == {None, attack}
        area = name.replace("success", "success_area")
        assert {key for metric, key in found if metric == area} == {None, attack}


# -- attacks that train ------------------------------------------------------------------------------------------------


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("carries_adapter", [False, True])
def test_training_for_a_moment_is_undone_bit_by_bit(folder: Path, tmp_path: Path, carries_adapter: bool) -> None:
    lm = adapter(tiny_llama(tmp_path / "m", num_layers=3))
    if carries_adapter:
        torch.manual_seed(0)
        loaded = attach(lm.loaded, LoraSettings(r=2))
        with torch.no_grad():
            for name, weight in loaded.model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0.0, 0.1)
        loaded.model.requires_grad_(False)
        lm = MMForgetLM(loaded, progress=False)
    before, fingerprint = weights(lm.loaded.model), lm.loaded.fingerprint
    lens = made(folder, lm, "logit_lens", "finetuning(lr=0.01)", "finetuning(lr=1e-9)")
    after = weights(lm.loaded.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert (lm.loaded.fingerprint, any(w.requires_grad for w in lm.loaded.model.parameters())) == (fingerprint, False)
    ranks = {key: [s.ranks for s in lens.samples if s.attack == key] for key in (
        "logit_lens", "finetuning(lr=0.01)", "finetuning(lr=1e-09)"
    )}  # fmt: skip
    assert ranks["finetuning(lr=1e-09)"] == ranks["logit_lens"]
    assert ranks["finetuning(lr=0.01)"] != ranks["logit_lens"]
    assert all(map(all, ranks.values()))


def test_what_was_learned_beside_the_answer_brings_it_back(folder: Path, tmp_path: Path) -> None:
    """Rows to keep have the same answer here, so training on them is enough."""
    lm = adapter(tiny_llama(tmp_path / "m", num_layers=3))
    done = made(folder, lm, "logit_lens", "finetuning(steps=30,lr=0.02)")
    assert success(folder, done, "finetuning(lr=0.02,steps=30)").value == 1.0
    assert success(folder, done, "logit_lens").value == 0.0


@pytest.mark.long
def test_many_edits_are_attacked_as_each_alone(folder: Path, tmp_path: Path) -> None:
    """Looked into, trained for a moment and asked in other words: by subject, the ranks and texts of one edit alone."""
    loaded = load_model(ModelSpec(str(tiny_llama(tmp_path / "m", num_layers=3)), device="cpu"))
    rows = find("toy", [folder]).bind(DATA).examples("forget")
    names = list(dict.fromkeys(row.subject for row in rows))
    materials = {name: Material(forget=[row for row in rows if row.subject == name]) for name in names}
    settings = TrainSettings(lr=0.02, max_steps=3, lora=LoraSettings(r=1), train_projector=False)
    wanted = ("logit_lens", "finetuning(lr=0.01,steps=3)", ALL[3])
    method = build_method("ga")

    def told(model: LoadedModel, **chosen: Any) -> dict[tuple[str, str | None, int | None], Any]:
        asked = Settings(attacks=wanted, **chosen)
        lm = MMForgetLM(model, progress=False)
        done = evaluate(lm, [TASK], include_paths=[folder], data=DATA, progress=False, settings=asked)
        return {(one.id, one.attack, one.attempt): one.ranks or one.response for one in done.samples}

    alone: dict[tuple[str, str | None, int | None], Any] = {}
    for name, material in materials.items():
        places = [place for place, row in enumerate(rows) if row.subject == name]
        with edited(loaded, material, method=method, settings=settings) as forgetful:
            alone |= told(forgetful, samples={TASK: places})
    with unlearn_many(loaded, materials, method=method, settings=settings) as edits:
        together = told(edits.loaded)
        assert told(edits.loaded) == together
    assert together == alone
    before = told(loaded)
    assert all(any(before[key] != together[key] for key in together if key[0] == row.id) for row in rows)


# -- what cannot be ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Closed:
    def guard(self, engine: Engine) -> Engine:
        return GuardEngine(engine)


@pytest.mark.parametrize(
    "attack, message",
    [
        (
            "logit_lens",
            "attack 'logit_lens': the guard gives no hidden states; look at the model itself, without guard=",
        ),
        ("finetuning", r"attack 'finetuning': changes the model, and a guard \(closed\) stands before it"),
    ],
)
def test_a_guard_that_shows_nothing_is_named(folder: Path, tmp_path: Path, attack: str, message: str) -> None:
    bare = load_model(ModelSpec(str(tiny_llama(tmp_path / "m", num_layers=3)), device="cpu"))
    loaded = guarded(bare, Guard("closed", Closed(), {}, None, before=bare.fingerprint))
    with pytest.raises(UserError, match=message):
        made(folder, MMForgetLM(loaded, progress=False), attack)


@pytest.mark.parametrize(
    "attack, message",
    [
        ("logit_lens(layers=[4])", "attack 'logit_lens': layer 4 is asked about, and the model has 1 to 2"),
        ("second_difference", "'second_difference': compares 3 layers, and 2 are given of the model's 2"),
        ("finetuning(look=second_difference)", "'second_difference': compares 3 layers"),
        (
            "logit_lens(budget=1)",
            r"attack 'logit_lens\(budget=1\)': its 1 lists share a budget of 1|attack 'logit_lens' finds 1",
        ),
        ("probability_delta(budget=1)", "its 2 lists share a budget of 1, so that none has a candidate; give more"),
    ],
)
def test_what_a_model_has_not_is_said_before_it_is_asked(
    folder: Path, tmp_path: Path, attack: str, message: str
) -> None:
    lm = adapter(tiny_llama(tmp_path / "m", num_layers=2))
    if attack == "logit_lens(budget=1)":
        assert made(folder, lm, attack).samples
        return
    with pytest.raises(UserError, match=message):
        made(folder, lm, attack)
    assert lm.engine.num_tokens == 0


LOOK = """
from dataclasses import dataclass
from typing import ClassVar
from mmforget.asking import Depth

@dataclass(frozen=True)
class Look:
    access: ClassVar = "logits"
    modality: ClassVar = "any"
    label: ClassVar = "a look"
    is_whole: ClassVar = True
    def depths(self, num_layers):
        return (Depth(num_layers - 1),)
    def ranks(self, logits, token):
        return (int((logits[0] > logits[0, token]).sum()),)

ATTACK = Look
"""


def test_an_attack_of_another_package_looks_at_logits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On every task that writes or scores an answer, since it says nothing else; and what it does wrong is named."""
    caplog.set_level(logging.ERROR)
    lm = adapter(tiny_llama(tmp_path / "m", num_layers=3))
    write_package(tmp_path / "a", "theirs", code=LOOK, points={"mmforget.attacks": "look = theirs"})
    with installed(tmp_path / "a", monkeypatch=monkeypatch):
        done = made(folder, lm, "look", "logit_lens(layers=[3])")
    ranks = {key: [s.ranks for s in done.samples if s.attack == key] for key in ("look", "logit_lens(layers=[3])")}
    assert ranks["look"] == ranks["logit_lens(layers=[3])"]
    for number, (old, new, message) in enumerate((
        ("num_layers - 1", "0", "access 'logits' allows a look at the last layer alone; say 'hidden'"),
        ("return (int(", "return (-int(", "ranks has to give a place in the vocabulary for each list"),
        ("return (int(", "return (1 / 0, int(", r"attack 'look': ranks \(theirs.py:15\): ZeroDivisionError"),
    )):  # fmt: skip
        site = tmp_path / str(number)
        write_package(site, "theirs", code=LOOK.replace(old, new), points={"mmforget.attacks": "look = theirs"})
        with installed(site, monkeypatch=monkeypatch), pytest.raises(PluginError, match=message):
            made(folder, lm, "look")
