"""What wraps another method in the trainer: parts of a loss, whole updates, state that counts once, and its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.base import Compute
from mmforget.methods.build import build
from mmforget.methods.composite import Composite
from mmforget.methods.gradients import added, taken
from mmforget.methods.losses import npo, sequence_sum_logprob, token_mean_nll
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.scoring import score
from mmforget.training.batches import Batches
from mmforget.training.hf_trainer import UnlearningTrainer
from mmforget.training.log import read_log
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.unit.training.conftest import make_examples

SETTINGS = TrainSettings(
    lr=1e-2, max_steps=3, batch_size=3, grad_accumulation=2, lora=LoraSettings(r=2, alpha=4, dropout=0.2), seed=5
)
PLAIN = TrainSettings(
    lr=0.5, max_steps=1, batch_size=3, grad_accumulation=2, schedule="constant", optimizer="sgd", weight_decay=0.0,
    max_grad_norm=0.0, train_projector=False,
)  # fmt: skip
"""One update by the gradient itself."""


def trained(loaded: LoadedModel, examples: list[Example], folder: Path, name: Any, **more: Any) -> Path:
    """The folder of a training of a method by name and arguments, or of one that is made."""
    method = build(*name.split(":")) if isinstance(name, str) else name
    settings = more.pop("settings", SETTINGS)
    unlearn(
        loaded,
        Material(forget=examples[:8], retain=examples[8:], refusals=("i do not know.", "no idea.")),
        method=method, settings=replace(settings, **more), folder=folder, label="x",
    )  # fmt: skip
    return folder


def result(folder: Path) -> dict[str, Tensor]:
    (path,) = (folder / ("adapter" if (folder / "adapter").is_dir() else "model")).glob("*.safetensors")
    found: dict[str, Tensor] = load_file(path)
    return found


def without_time(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "wall_s"} for line in read_log(folder / "train_log.jsonl")]


@pytest.mark.parametrize(
    ("base", "wrapped"),
    [
        ("npo", "npo+sam:rho=0"),
        ("pdu", "pdu+sam:kind=smoothing,rho=0"),
        ("scrub", "scrub+sam:kind=curvature,penalty_weight=0"),
    ],
)
def test_with_nothing_to_add_it_trains_as_the_method_alone_bit_for_bit(
    base: str, wrapped: str, llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Dropout, accumulation, partners and state included."""
    one, two = (trained(llava, examples, tmp_path / name.partition(":")[0], name) for name in (base, wrapped))
    before, after = result(one), result(two)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    logs = [[(line["loss"], line["grad_norm"]) for line in without_time(folder)] for folder in (one, two)]
    assert logs[0] == logs[1]


def test_an_update_is_that_of_the_paper_worked_out_without_the_trainer(
    llama: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Both micro-batches share one perturbation, by the norm over all weights of their mean gradient to forget."""
    rows, rho = make_examples(with_images=False), 0.3
    material = Material(forget=rows[:8], retain=rows[8:])
    sources = make_sources(llama, material, method=build("npo"), name="npo", append_eos=False)
    batches = Batches(sources.subjects, settings=PLAIN, partners=sources.partners)
    encoded = {name: sources.rows[name].encoded for name in ("forget", "retain")}
    parts = [(batches[k].rows, batches[k].partners["retain"]) for k in range(2)]
    llama.model.requires_grad_(False)
    names = [name for name, _ in llama.model.named_parameters()]
    weights = dict(llama.model.named_parameters())
    start = {name: weight.detach().clone() for name, weight in weights.items()}
    with torch.no_grad():
        before = [score(llama, [encoded["forget"][k] for k in forget]) for forget, _ in parts]
    references = [sequence_sum_logprob(one.token_logprobs, one.mask) for one in before]
    llama.model.requires_grad_(True)

    def forget_loss() -> Tensor:
        found = []
        for (forget, _), reference in zip(parts, references, strict=True):
            now = score(llama, [encoded["forget"][k] for k in forget])
            found.append(npo(sequence_sum_logprob(now.token_logprobs, now.mask), reference=reference, beta=0.1).mean())
        return sum(found[1:], start=found[0]) / 2

    keep = sum(token_mean_nll(score(llama, [encoded["retain"][k] for k in retain])) for _, retain in parts) / 2
    kept = torch.autograd.grad(keep, list(weights.values()))  # type: ignore[arg-type]
    first = torch.autograd.grad(forget_loss(), list(weights.values()))
    size = torch.cat([one.flatten() for one in first]).norm()
    with torch.no_grad():
        for weight, one in zip(weights.values(), first, strict=True):
            weight += rho * one / size
    sharp = torch.autograd.grad(forget_loss(), list(weights.values()))
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(start[name])
    llama.model.requires_grad_(False)
    folder = trained(llama, rows, tmp_path, f"npo+sam:rho={rho}", settings=PLAIN)
    after = result(folder)
    for name, k, f in zip(names, kept, sharp, strict=True):
        if name in after:
            wanted = start[name] - 0.5 * (k + f)
            assert float((after[name] - wanted).norm() / (wanted - start[name]).norm()) < 1e-4, name


@dataclass(frozen=True)
class Parts:
    """Adds the gradients of both parts, the kept one twice and halved; `order` says which is first."""

    order: tuple[str, ...]

    def gradients(self, compute: Compute, *, weights: Mapping[str, Tensor]) -> Tensor:
        losses = [compute(part) for part in self.order]  # type: ignore[arg-type]
        assert all(torch.equal(one, losses[0]) for one in losses)
        return losses[0]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("pdu", ("keep", "forget")),
        ("dpo", ("forget", "keep")),
        pytest.param("npo:retain=kl", ("keep", "forget"), marks=pytest.mark.long),
        pytest.param("rmu:layer=-1", ("forget", "keep"), marks=pytest.mark.long),
        pytest.param("po", ("forget", "keep"), marks=pytest.mark.long),
    ],
)
def test_parts_add_up_to_the_gradient_of_the_whole(
    name: str, order: tuple[str, ...], llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    base = build(*name.split(":"))
    made = Composite(("x", "parts"), (base, Parts(order)))
    settings = replace(SETTINGS, max_steps=2, lora=LoraSettings(r=2, alpha=4))
    one = trained(llava, examples, tmp_path / "one", Composite(("x",), (base,)), settings=settings)
    two = trained(llava, examples, tmp_path / "two", made, settings=settings)
    for line, other in zip(without_time(one), without_time(two), strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-5)
        assert other["parts"] == pytest.approx(line["parts"], rel=1e-5, abs=1e-7)
        assert other["grad_norm"] == pytest.approx(line["grad_norm"], rel=1e-4)
        assert other.get("state", {}) == pytest.approx(line.get("state", {}), rel=1e-5)


@dataclass(frozen=True)
class Twice:
    """Computes one part twice, whose gradients it keeps, and then the other."""

    found: list[dict[str, Tensor]]

    def gradients(self, compute: Compute, *, weights: Mapping[str, Tensor]) -> Tensor:
        for _ in range(2):
            loss = compute("forget")
            gradients = taken(weights)
            self.found.append({name: one.clone() for name, one in gradients.items()})
        added(weights, gradients)
        compute("keep")
        return loss


def test_each_time_it_draws_the_same(llama: LoadedModel, tmp_path: Path) -> None:
    """Dropout, too, although what the first time finds beside its part is known to the second."""
    method = Twice([])
    made = Composite(("grad_diff", "twice"), (build("grad_diff"), method))
    trained(llama, make_examples(with_images=False), tmp_path, made, max_steps=1, grad_accumulation=1)
    one, two = method.found
    assert one
    torch.testing.assert_close(one, two)


def test_the_log_knows_the_norm_of_a_term_of_either_part(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Whichever comes first, they are those of the method alone."""
    settings = replace(SETTINGS, max_steps=1, lora=LoraSettings(r=2, alpha=4))
    logs = [
        read_log(trained(llava, examples, tmp_path / name, name, settings=settings) / "train_log.jsonl")
        for name in ("grad_diff", "grad_diff+sam", "dto")
    ]
    alone, wrapped, parted = (log[0]["grad_norms"] for log in logs)
    assert wrapped == pytest.approx({f"grad_diff.{name}": norm for name, norm in alone.items()}, rel=1e-4)
    assert min(wrapped.values()) > 0
    assert parted["forget"] > 0


def test_what_diverges_inside_of_somebodys_wrapper_has_diverged(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    made = Composite(("grad_diff", "parts"), (build("grad_diff"), Parts(("forget", "keep"))))
    trained(llava, examples, tmp_path, made, lr=1e30, max_steps=3)
    assert json.loads((tmp_path / "done.json").read_text())["stopped"] == "diverged"


@pytest.mark.parametrize(
    "name",
    ["pdu:warmup_epochs=0", *(pytest.param(one, marks=pytest.mark.long) for one in ("scrub", "kl:variant=offside"))],
)
def test_what_a_loss_counts_is_counted_once(
    name: str, llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """A rate of next to nothing, so that the state is that of the method alone."""
    base, _, args = name.partition(":")
    one, two = (
        trained(llava, examples, tmp_path / which, f"{which}:{args}", lr=1e-12) for which in (base, f"{base}+sam")
    )
    for line, other in zip(without_time(one), without_time(two), strict=True):
        own = {key.removeprefix(f"{base}."): value for key, value in other.get("state", {}).items()}
        assert own == pytest.approx(line["state"], rel=1e-4)


class Killed(BaseException):
    """Stands in for a kill."""


@pytest.mark.parametrize("kind", [pytest.param("sam", marks=pytest.mark.long), "averaging"])
def test_killed_and_resumed_it_ends_with_the_same_bits(
    kind: str, llava: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, more = f"npo+sam:kind={kind}", {"max_steps": 8, "save_steps": 2, "seed": 3}
    calm = trained(llava, examples, tmp_path / "calm", name, **more)
    original: Callable[..., str] = UnlearningTrainer.end_update

    def dies(self: Any) -> str:
        if self.state.global_step == 8:
            raise Killed
        return original(self)

    monkeypatch.setattr(UnlearningTrainer, "end_update", dies)
    with pytest.raises(Killed):
        trained(llava, examples, tmp_path / "killed", name, **more)
    monkeypatch.setattr(UnlearningTrainer, "end_update", original)
    killed = trained(llava, examples, tmp_path / "killed", name, **more)
    before, after = result(calm), result(killed)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert without_time(calm) == without_time(killed)


def test_averages_are_no_step_that_can_be_kept(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--keep best:balance keeps the weights of one step, and method 'x' puts others"
    ):
        trained(llava, examples, tmp_path, "ga+sam:kind=averaging", eval_steps=1, keep="best:balance")


def test_the_model_is_what_it_was(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    """A row scores the same bits before and after, whatever the wrapper moved."""
    row = encode(llava, examples[0].context, examples[0].answer, examples[0].images)
    with torch.no_grad():
        before = score(llava, [row]).token_logprobs
    trained(llava, examples, tmp_path, "grad_diff+sam:kind=smoothing,rho=0.1")
    with torch.no_grad():
        assert torch.equal(score(llava, [row]).token_logprobs, before)
