"""What a method may bring: a source of rows, statistics of distributions, state, and a wrapper around the gradient."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmforget.errors import PluginError, UserError
from mmforget.methods.base import Beginning, Reference, Request, Scores, Source, Step, TokenStats
from mmforget.methods.build import build
from mmforget.methods.composite import Composite
from mmforget.methods.losses import token_mean, token_mean_nll
from mmforget.methods.material import Material
from mmforget.model.examples import encode_all
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.scoring import Wanted, look
from mmforget.model.token_stats import KINDS
from mmforget.training.batches import Batch
from mmforget.training.log import read_log
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example

SETTINGS = TrainSettings(
    lr=1e-2, max_steps=4, batch_size=4, save_steps=1, lora=LoraSettings(r=2, alpha=4), schedule="constant"
)
TOWNS = Scores("towns")


@dataclass(frozen=True)
class Towns:
    """Teaches that everybody lives in Rome, and remembers how often it was asked."""

    draw: str = "random"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (TOWNS, Reference("towns"))

    @property
    def sources(self) -> tuple[Source, ...]:
        return (Source(name="towns", draw=self.draw, rows=self.rows),)  # type: ignore[arg-type]

    def rows(self, material: Material) -> Sequence[Example]:
        return [replace(row, answer=" Rome.", extra={"pair": row.id}) for row in material.forget[:4]]

    def start(self, beginning: Beginning) -> dict[str, Tensor]:
        return {"weight": torch.ones(1), "planned": torch.tensor([beginning.num_updates])}

    def loss(self, step: Step) -> dict[str, Tensor]:
        step.state["weight"] = step.state["weight"] * 0.5
        return {"towns": step.state["weight"][0] * token_mean_nll(step[TOWNS])}


def material(examples: Sequence[Example]) -> Material:
    return Material(forget=[replace(row, extra={"pair": row.id}) for row in examples[:8]], retain=examples[8:])


def test_rows_of_ones_own_are_drawn_and_trained_on(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    """The weight halves with every update, so the log's losses are the NLL of " Rome." halved once, twice, ..."""
    report = unlearn(llava, material(examples), method=Towns(), settings=SETTINGS, folder=tmp_path, label="towns")
    lines = read_log(tmp_path / "train_log.jsonl")
    assert report.num_steps == len(lines) == 4
    encoded = encode_all(llava, Towns().rows(material(examples)), append_eos=False, source="towns")
    with torch.no_grad():
        each = [-look(llava, [one], wanted=Wanted()).scored.token_logprobs.mean().item() for one in encoded]
    assert 0.5 * min(each) <= lines[0]["loss"] <= 0.5 * max(each)
    assert lines[3]["loss"] < lines[0]["loss"] / 4


def test_state_is_kept_in_checkpoints_and_found_again(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Ended by force behind the second update and continued, the weights are those of a training that was not."""

    def stop(done: int, total: int, label: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlearn(
            llava, material(examples), method=Towns(), settings=SETTINGS, folder=tmp_path / "a", label="t",
            progress=stop,
        )  # fmt: skip
    (kept,) = (tmp_path / "a" / "checkpoints").glob("checkpoint-2/method_state.safetensors")
    state = load_file(kept)
    assert (state["weight"].item(), state["planned"].item()) == (0.25, 4)
    found = [
        unlearn(llava, material(examples), method=Towns(), settings=SETTINGS, folder=tmp_path / name, label="t")
        for name in ("a", "b")
    ]
    one, other = ((report.output / "adapter_model.safetensors").read_bytes() for report in found)
    assert one == other
    assert found[0].resumed_from == 2


@pytest.mark.parametrize("draw", ["paired", "random"])
def test_partners_of_ones_own_rows(draw: str, llava: LoadedModel, examples: list[Example]) -> None:
    """Only four of eight rows to forget have a partner, so pairing names the other four."""
    method = Towns(draw)
    if draw == "paired":
        with pytest.raises(UserError, match=r"(?s)4 faults.*no towns row has the same `pair`"):
            make_sources(llava, material(examples), method=method, name="towns", append_eos=False)
        return
    sources = make_sources(llava, material(examples), method=method, name="towns", append_eos=False)
    assert len(sources.rows["towns"].encoded) == 4
    assert sources.subjects == [row.subject for row in examples[:8]]


def test_a_source_that_nobody_brings_is_named(llava: LoadedModel, examples: list[Example]) -> None:
    class Lost(Towns):
        @property
        def sources(self) -> tuple[Source, ...]:
            return ()

    class Mixed(Towns):
        @property
        def requests(self) -> tuple[Request, ...]:
            return (TOWNS, Scores("forget"))

    with pytest.raises(PluginError, match="method 'lost' asks about 'towns', and none of its `sources`"):
        make_sources(llava, material(examples), method=Lost(), name="lost", append_eos=False)
    with pytest.raises(PluginError, match="epochs run over 'towns'"):
        make_sources(llava, material(examples), method=Mixed("epoch"), name="mixed", append_eos=False)


@dataclass(frozen=True)
class Twice:
    """Computes every gradient twice, and halves the sum; remembers the losses."""

    seen: list[float]

    def gradients(self, compute: Callable[[], Tensor], *, weights: Mapping[str, Tensor]) -> Tensor:
        assert all(weight.grad is None for weight in weights.values())
        first, second = compute(), compute()
        self.seen.append((first - second).abs().item())
        for weight in weights.values():
            assert weight.grad is not None
            weight.grad /= 2
        return first


def test_a_wrapper_sees_the_gradient_and_the_same_draws_each_time(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """With dropout, two accumulated micro-batches an update: twice its gradient, halved, trains as once."""
    lora = LoraSettings(r=2, alpha=4, dropout=0.3)
    settings = replace(SETTINGS, lora=lora, grad_accumulation=2)
    seen: list[float] = []
    wrapped = Composite(("npo", "twice"), (build("npo"), Twice(seen)))
    names = {name: Composite(("npo",), (build("npo"),)) for name in ("plain",)} | {"wrapped": wrapped}
    found = {
        name: unlearn(llava, material(examples), method=method, settings=settings, folder=tmp_path / name, label="x")
        for name, method in names.items()
    }
    plain, twice = (load_file(found[name].output / "adapter_model.safetensors") for name in ("plain", "wrapped"))
    for name, weight in plain.items():
        torch.testing.assert_close(twice[name], weight, rtol=1e-4, atol=1e-6)
    assert seen == [0.0] * 4
    logs = [[line["loss"] for line in read_log(tmp_path / name / "train_log.jsonl")] for name in found]
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)


def test_what_only_wraps_does_not_train_alone(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"only changes how another one trains; join it with that, e\.g\. npo\+twice"):
        unlearn(llava, material(examples), method=Twice([]), settings=SETTINGS, folder=tmp_path, label="twice")


def plain_distributions(loaded: LoadedModel, item: Any) -> Tensor:
    """Log-softmax that predicts each answer token, by the model's own forward: float32 [T, V]."""
    ids = torch.tensor([item.ids])
    pixels = loaded.processor.image_processor(list(item.images), return_tensors="pt").pixel_values
    logits = loaded.core(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels).logits[0]
    found: Tensor = logits[item.num_context - 1 : -1].float().log_softmax(-1)
    return found


@pytest.mark.parametrize("kind", [*KINDS, "own"])
def test_statistics_and_their_gradients_are_those_of_plain_forwards(
    kind: str, adapted: LoadedModel, examples: list[Example]
) -> None:
    """Entropy in nats; the mean of squares less the squared mean; the best of the others; the mass of the ten best."""
    wanted = TokenStats("forget", (lambda logprobs, target: logprobs[:, 7]) if kind == "own" else kind)

    @dataclass(frozen=True)
    class Mean:
        requests: tuple[Request, ...] = (Scores("forget"), wanted)

        def loss(self, step: Step) -> dict[str, Tensor]:
            return {"mean": token_mean(step[wanted], step[Scores("forget")].mask)}

    rows = make_sources(adapted, material(examples), method=Mean(), name="mean", append_eos=False).rows
    made = Unlearn(Scoring(adapted), Mean(), rows, has_adapters=True)
    batch = Batch((0, 1, 5))
    total = made.loss(batch).total
    values = []
    for item in rows["forget"].of(batch):
        logprobs, target = plain_distributions(adapted, item), torch.tensor(item.ids[item.num_context :])
        probs = logprobs.exp()
        others = [row[torch.arange(len(row)) != token].max() for row, token in zip(logprobs, target, strict=True)]
        expected = {
            "entropy": torch.stack([torch.distributions.Categorical(logits=row).entropy() for row in logprobs]),
            "variance": (probs * logprobs.square()).sum(-1) - (probs * logprobs).sum(-1).square(),
            "runner_up": torch.stack(others),
            "top_k": torch.stack([row.sort(descending=True).values[:10].exp().sum().log() for row in logprobs]),
            "own": logprobs[:, 7],
        }
        values.append(expected[kind])
    reference = torch.cat(values).mean()
    assert total.item() == pytest.approx(reference.item(), abs=1e-5)
    weights = list(adapted.trainable().values())
    ours, theirs = (torch.autograd.grad(one, weights) for one in (total, reference))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_a_statistic_that_does_not_exist_is_named(adapted: LoadedModel, examples: list[Example]) -> None:
    from mmforget.errors import UnknownName
    from mmforget.model.token_stats import statistic

    with pytest.raises(UnknownName, match="did you mean 'entropy'"):
        statistic("entrop")


def test_the_plan_of_a_training_names_its_rows(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    unlearn(llava, material(examples), method=Towns(), settings=SETTINGS, folder=tmp_path, label="towns")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert {"forget", "retain", "towns"} <= set(plan)
    with pytest.raises(UserError, match="towns"):
        unlearn(
            llava, replace(material(examples), forget=material(examples).forget[1:]), method=Towns(),
            settings=SETTINGS, folder=tmp_path, label="towns",
        )  # fmt: skip


def test_log_probs_before_training_may_be_asked_for_alone(adapted: LoadedModel, examples: list[Example]) -> None:
    """Of answers of different length, padded with 0, on the model's device; those of the model with adapters off."""
    before = Reference("forget")

    @dataclass(frozen=True)
    class Anchor:
        requests: tuple[Request, ...] = (before,)

        def loss(self, step: Step) -> dict[str, Tensor]:
            return {"none": step[before].sum() * 0}

    rows = make_sources(adapted, material(examples), method=Anchor(), name="anchor", append_eos=False).rows
    made = Unlearn(Scoring(adapted), Anchor(), rows, has_adapters=True)
    made.prepare(batch_size=4)
    found = made.step(Batch((0, 5)))[before]
    assert found.device == adapted.device
    with torch.no_grad(), adapted.model.disable_adapter():
        for row, item in zip(found, rows["forget"].of(Batch((0, 5))), strict=True):
            target = torch.tensor(item.ids[item.num_context :])
            wanted = plain_distributions(adapted, item).gather(-1, target[:, None])[:, 0]
            torch.testing.assert_close(row[: len(wanted)], wanted, atol=1e-5, rtol=0)
            assert not row[len(wanted) :].any()
