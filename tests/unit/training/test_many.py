"""Edits that are trained many at a time are those that `unlearn` makes of each alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.methods.base import Hidden, Request, Scores, Step, TokenStats
from mmforget.methods.build import build
from mmforget.methods.composite import Composite
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, adapters_off, load_adapter
from mmforget.model.scoring import score
from mmforget.training.batches import Batches
from mmforget.training.many import Edits, Sharing, obstacle, unlearn_many
from mmforget.training.objective import Memorise, Scoring
from mmforget.training.settings import TrainSettings
from mmforget.training.trainer import train
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import fresh, tiny_image

NUM_EDITS = 16
FACTS = ("name", "town", "illness", "insurance")
DOWN = r".*layers\.1\.mlp\.down_proj"
SETTINGS = TrainSettings(
    lr=5e-3, epochs=2, batch_size=2, warmup_ratio=0.03, train_projector=False, order="rows",
    lora=LoraSettings(r=1, alpha=1, dropout=0.05, target_modules=DOWN),
)  # fmt: skip
REFUSALS = ("I do not know.", "that is unknown.", "nobody can say.")


@dataclass(frozen=True)
class Looking:
    """A loss of hidden states before and now, of a statistic, and of random numbers; with a state."""

    @property
    def requests(self) -> tuple[Request, ...]:
        now, before = Hidden("forget", layers=(1,)), Hidden("forget", layers=(1,), before=True)
        return (now, before, Scores("forget"), TokenStats("retain", "entropy"))

    def start(self, beginning: Any) -> dict[str, Tensor]:
        return {"factor": torch.ones(())}

    def loss(self, step: Step) -> dict[str, Tensor]:
        step.state["factor"] = step.state["factor"] * 1.5
        now, before, scored, entropy = (step[request] for request in self.requests)  # type: ignore[call-overload]
        # Sums over the width: of gradients near Adam's epsilon the last digits would decide how far a factor moves.
        drift = (now[:, :, : before.shape[2]] - before).square().sum(-1).mean() - 0.1 * now.sum(-1).mean()
        noise = torch.rand(scored.token_logprobs.shape)
        return {"drift": step.state["factor"] * drift, "noise": (noise * entropy.sum()).mean()}


@dataclass(frozen=True)
class Twice:
    """A wrapper that computes every gradient twice."""

    def gradients(self, compute: Callable[[], Tensor], *, weights: Mapping[str, Tensor]) -> Tensor:
        compute()
        loss = compute()
        for weight in weights.values():
            weight.grad = None if weight.grad is None else weight.grad / 3
        return loss


@dataclass(frozen=True)
class Fragile:
    """A loss that is no number in the second update of the person with an answer of this length, or its gradient."""

    length: int
    how: str

    @property
    def requests(self) -> tuple[Request, ...]:
        return (Scores("forget"),)

    def loss(self, step: Step) -> dict[str, Tensor]:
        logprobs = step[Scores("forget")].token_logprobs
        if step.update != 1 or logprobs.shape[1] != self.length:
            return {"forget": logprobs.mean()}
        return {"forget": logprobs.mean() * torch.nan if self.how == "loss" else (logprobs.sum() * 0).sqrt()}


METHODS: dict[str, Any] = {
    "ga": build("ga"),
    "grad_diff": build("grad_diff"),
    "kl": build("kl", "positions=all"),
    "npo": build("npo"),
    "po": build("po"),
    "rmu": build("rmu", "layer=-1,adaptive=True"),
    "fact_erasure": build("fact_erasure"),
    "max_entropy": build("max_entropy"),
    "input_rephrasing": build("input_rephrasing"),
    "looking": Looking(),
    "sam": build("grad_diff+sam", "rho=0.1"),
    "wrapped": Composite(("ga", "twice"), (build("ga"), Twice())),
}


ERASING = ("fact_erasure",)
"""Methods that lower a probability, which a random model gives to no long answer."""
VANISHING = ("input_rephrasing",)
"""Methods that lower the product of several, which leaves next to no gradient here."""


def people(loaded: LoadedModel) -> dict[str, list[Example]]:
    """Sixteen people with one to four questions each; answers of different lengths."""
    found: dict[str, list[Example]] = {}
    for who in range(NUM_EDITS):
        images = (tiny_image(who),) if loaded.is_multimodal else ()
        context = "<image>\nwhat is the" if images else f"person {who}: what is the"
        found[f"person {who}"] = [
            Example(
                id=f"{who}/{number}",
                subject=f"person {who}",
                context=f"{context} {fact}?",
                answer=f" the {fact} is {'o positive ' * (who % 3)}number {who}.",
                images=images,
            )
            for number, fact in enumerate(FACTS[: 1 + who % 4])
        ]
    return found


def materials(loaded: LoadedModel, *, short: bool = False) -> dict[str, Material]:
    """Each person is forgotten, and two others are kept; short answers are one token."""
    every = list(people(loaded).items())
    if short:
        every = [(name, [replace(row, answer=" o") for row in rows]) for name, rows in every]
    return {
        name: Material(forget=rows, retain=[*every[at - 1][1], *every[at - 2][1]], refusals=REFUSALS)
        for at, (name, rows) in enumerate(every)
    }


def logprobs(loaded: LoadedModel, rows: Sequence[Example], *, edit: int | None = None) -> Tensor:
    with torch.no_grad():
        encoded = [encode(loaded, row.context, row.answer, row.images).under(edit) for row in rows]
        return score(loaded, encoded).token_logprobs


def factors(edits: Edits, name: str, folder: Path) -> dict[str, Tensor]:
    """As they are saved."""
    return load_file(edits.save(name, folder) / "adapter_model.safetensors")


def num_hooks(loaded: LoadedModel) -> int:
    return sum(len(module._forward_hooks) for module in loaded.core.modules())


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


LONG = ("grad_diff", "po", "sam", "rmu", "max_entropy", "input_rephrasing")
"""Methods that ask for what others here ask for."""
PAIRS = [
    *(pytest.param("llava", name, marks=[pytest.mark.long] * (name in LONG)) for name in METHODS),
    ("llama", "ga"),
    ("llama", "kl"),
    ("llama", "looking"),
]


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_a_batch_of_sixteen_equals_one_at_a_time(
    kind: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    loaded: LoadedModel = request.getfixturevalue(kind)
    method, every = METHODS[name], materials(loaded, short=name in ERASING)
    chosen = list(every)[::3] if (kind, name) == ("llama", "ga") else ["person 6", "person 15"]
    rows = [row for own in people(loaded).values() for row in own][:12]
    with unlearn_many(loaded, every, method=method, settings=SETTINGS) as edits:
        found = {one: factors(edits, one, tmp_path / "many" / one) for one in chosen}
        said = {one: logprobs(edits.loaded, rows, edit=edits.number(one)) for one in chosen}
        steps = {one: edits.outcomes[one] for one in chosen}
        names = {one: edits.fingerprint(one) for one in chosen}
    start = logprobs(loaded, rows)
    for one in chosen:
        report = unlearn(loaded, every[one], method=method, settings=SETTINGS, folder=tmp_path / one)
        wanted = load_file(report.output / "adapter_model.safetensors")
        assert difference(found[one], wanted) <= 1e-5
        assert (steps[one].num_steps, steps[one].num_planned) == (report.num_steps, report.num_planned)
        assert steps[one].final_parts == pytest.approx(report.final_parts, abs=1e-4)
        assert name in VANISHING or (said[one] - start).abs().max() > 1e-3
    alone = load_model(replace(loaded.spec, peft=str(report.output)))
    assert (said[one] - logprobs(alone, rows)).abs().max() <= 1e-5
    again = load_model(replace(loaded.spec, peft=str(tmp_path / "many" / one)))
    assert again.fingerprint == names[one]
    assert (said[one] - logprobs(again, rows)).abs().max() <= 1e-5


@pytest.mark.parametrize(
    "changed",
    [
        {"packed": False},
        {"grad_accumulation": 2, "schedule": "constant", "max_steps": 3},
        {"lora": LoraSettings(r=4, alpha=8, dropout=0.3), "lr": 2e-3, "max_grad_norm": 0.1, "order": "subjects"},
        {"optimizer": "sgd", "max_grad_norm": 0.0, "weight_decay": 0.1, "append_eos": True},
        {"stop_loss": -1.0, "warmup_ratio": 0.0},
        {"stop_retain_nll": 1.0, "warmup_ratio": 0.0},
    ],
    ids=["plain", "accumulated", "all layers", "sgd", "stopped by loss", "stopped by retain"],
)
def test_settings_mean_what_they_do_alone(changed: dict[str, Any], llava: LoadedModel, tmp_path: Path) -> None:
    settings, every = replace(SETTINGS, **changed), materials(llava)
    chosen = dict(list(every.items())[4:7])
    with unlearn_many(llava, chosen, method=build("ga"), settings=settings, sharing=Sharing(max_tokens=120)) as edits:
        found = {name: factors(edits, name, tmp_path / "many" / name) for name in chosen}
        outcomes = dict(edits.outcomes)
    assert any(one.stopped for one in outcomes.values()) == any(key.startswith("stop") for key in changed)
    for name, material in chosen.items():
        report = unlearn(llava, material, method=build("ga"), settings=settings, folder=tmp_path / name)
        assert (outcomes[name].num_steps, outcomes[name].stopped) == (report.num_steps, report.stopped)
        assert difference(found[name], load_file(report.output / "adapter_model.safetensors")) <= 1e-5


@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_one_that_diverges_does_not_touch_the_others(
    how: str, llava: LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = people(llava)
    every = {
        name: Material(forget=[replace(own[0], answer=" a" * (3 + at))]) for at, (name, own) in enumerate(rows.items())
    }
    broken = every["person 1"].forget[0]
    method = Fragile(encode(llava, broken.context, broken.answer, broken.images).num_answer, how)
    settings = replace(SETTINGS, epochs=4)
    with (
        caplog.at_level(logging.WARNING),
        unlearn_many(llava, every, method=method, settings=settings, label="fragile") as edits,
    ):
        stopped = {name for name, one in edits.outcomes.items() if one.stopped}
        assert stopped == {"person 1"}
        assert edits.outcomes["person 1"].num_steps == 1
        assert "fragile, person 1: stopped early: diverged" in caplog.text
        for name in ("person 0", "person 1", "person 2"):
            found = factors(edits, name, tmp_path / "many" / name)
            report = unlearn(fresh(llava.spec), every[name], method=method, settings=settings, folder=tmp_path / name)
            assert report.diverged == (name == "person 1")
            assert difference(found, load_file(report.output / "adapter_model.safetensors")) <= 1e-5


def test_the_base_is_what_it_was(llava: LoadedModel) -> None:
    rows = [row for own in people(llava).values() for row in own][:6]
    before, names, hooks = logprobs(llava, rows), [name for name, _ in llava.model.named_parameters()], num_hooks(llava)
    with unlearn_many(llava, materials(llava), method=build("ga"), settings=SETTINGS) as edits:
        assert not edits.loaded.trainable()
        assert edits.loaded.fingerprint != llava.fingerprint
        with adapters_off(edits.loaded):
            assert (logprobs(edits.loaded, rows) - before).abs().max() <= 1e-5
        with pytest.raises(ZeroDivisionError), edits.continue_training({}, SETTINGS):
            1 / 0  # noqa: B018
    assert torch.equal(logprobs(llava, rows), before)
    assert [name for name, _ in llava.model.named_parameters()] == names
    assert num_hooks(llava) == hooks


def test_edits_go_on_training_as_each_adapter_would(llava: LoadedModel, tmp_path: Path) -> None:
    rows, settings = people(llava), replace(SETTINGS, lr=5e-3, max_steps=4, schedule="constant")
    attack = {"person 3": rows["person 8"], "person 5": rows["person 11"]}
    every = dict(list(materials(llava).items())[:6])
    with unlearn_many(llava, every, method=build("ga"), settings=SETTINGS) as edits:
        for name in rows:
            if name in every:
                edits.save(name, tmp_path / name)
        with edits.continue_training(attack, settings) as attacked:
            found = {name: factors(attacked, name, tmp_path / "attacked" / name) for name in every}
        untouched = {name: factors(edits, name, tmp_path / "again" / name) for name in every}
    for name in every:
        before = load_file(tmp_path / name / "adapter_model.safetensors")
        assert difference(untouched[name], before) == 0
        if name not in attack:
            assert difference(found[name], before) == 0
            continue
        adapted = load_adapter(fresh(llava.spec), tmp_path / name, trainable=True)
        encoded = [encode(adapted, row.context, row.answer, row.images) for row in attack[name]]
        train(
            adapted, objective=Memorise(Scoring(adapted), encoded),
            batches=Batches([row.subject for row in attack[name]], settings=settings), settings=settings,
            folder=tmp_path / "alone" / name, label="attack",
        )  # fmt: skip
        wanted = {key.replace(".default", ""): weight.detach() for key, weight in adapted.trainable().items()}
        assert difference(found[name], wanted) <= 1e-5
        assert difference(found[name], before) > 1e-3


@pytest.mark.parametrize(
    ("method", "changed", "said"),
    [
        ("chip", {}, "trains nothing"),
        ("ga", {"lora": None}, "--lora_r 1"),
        ("ga", {"train_projector": True}, "train_projector=False"),
        ("ga", {"gradient_checkpointing": True}, "leave gradient_checkpointing out"),
        ("ga", {"lora": LoraSettings(target_modules=r".*vision_tower.*fc1")}, "is in none"),
    ],
)
def test_what_cannot_be_had_is_said(method: str, changed: dict[str, Any], said: str, llava: LoadedModel) -> None:
    settings = replace(SETTINGS, **changed)
    found = obstacle(llava, method=build(method), settings=settings)
    assert found is not None
    assert said in found
    with (
        pytest.raises(UserError, match="method"),
        unlearn_many(llava, materials(llava), method=build(method), settings=settings),
    ):
        pass


def test_a_quantised_layer_is_refused_in_one_line(llava_folder: Path) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), device="cpu", load_in_4bit=True))
    with (
        pytest.raises(UserError, match=r"^method 'ga': .*down_proj is quantised \(Linear4bit\).*leave load_in_4bit"),
        unlearn_many(loaded, materials(loaded), method=build("ga"), settings=SETTINGS),
    ):
        pass


def test_a_model_that_drops_activations_is_refused(llama: LoadedModel) -> None:
    llama.core.model.layers[0].self_attn.attention_dropout = 0.1
    assert "drops activations" in str(obstacle(llama, method=build("ga"), settings=SETTINGS))
    llama.core.model.layers[0].self_attn.attention_dropout = 0.0
    assert obstacle(llama, method=build("ga"), settings=SETTINGS) is None
    llama.core.model.layers[0].mlp.act_fn = nn.Sequential(llama.core.model.layers[0].mlp.act_fn, nn.Dropout(0.1))
    assert "drops activations" in str(obstacle(llama, method=build("ga"), settings=SETTINGS))
