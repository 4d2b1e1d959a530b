"""DP-SGD against plain Hugging Face and opacus' own count; drawn by Poisson, repeated bit for bit, said to the user."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.bases import Privacy
from mmforget.model.encode import encode
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.training import private
from mmforget.training.adapters import trainable
from mmforget.training.batches import Batch
from mmforget.training.hf_trainer import UnlearningTrainer
from mmforget.training.objective import Scoring
from mmforget.training.private import Account, MemorisePrivately, PoissonBatches, planned, read_account
from mmforget.training.settings import TrainSettings
from mmforget.training.stage_one import finetune
from mmforget.types import Example
from tests.helpers import fresh

accountants = pytest.importorskip("opacus.accountants")
PRIVACY = Privacy(epsilon=5.0, delta=1e-6, clip=0.5, accountant="rdp")
SETTINGS = TrainSettings(
    lr=0.1, max_steps=4, batch_size=6, optimizer="sgd", schedule="constant", order="rows", seed=3, save_steps=1
)


def account(**more: Any) -> Account:
    values = {"epsilon": 1.0, "epsilon_asked": 1.0, "delta": 1e-6, "accountant": "rdp", "library": "opacus"}
    known = {"noise_multiplier": 0.0, "clip": 0.5, "sampling_rate": 0.25, "num_steps": 4, "num_rows": 8}
    return Account(**values | known | more)


def texts(examples: list[Example]) -> list[Example]:
    return [replace(one, context=f"{one.subject}: what is it?", images=()) for one in examples]


def gradients(loaded: LoadedModel, rows: list[Example], *, told: Account, seed: int = 0) -> tuple[float, Any]:
    """What one update's batch of all rows comes to: the loss, and the gradient by name."""
    encoded = [encode(loaded, one.context, one.answer, one.images) for one in rows]
    with trainable(loaded, settings=SETTINGS) as prepared:
        torch.manual_seed(seed)
        found = MemorisePrivately(Scoring(prepared), encoded, told).loss(Batch(tuple(range(len(rows)))))
        found.total.backward()
        made = {name: one.grad.clone() for name, one in prepared.trainable().items() if one.grad is not None}
        prepared.model.zero_grad(set_to_none=True)
    return found.total.item(), made


def test_each_rows_gradient_is_cut_by_itself(llama: LoadedModel, examples: list[Example]) -> None:
    """Sum of g min(1, clip / |g|), divided by the rows expected (8 x .25 = 2), of a plain forward a row."""
    rows = texts(examples[:3])
    told = account(clip=0.5)
    loss, found = gradients(llama, rows, told=told)
    losses, wanted = [], dict[str, Tensor]()
    for row in rows:
        item = encode(llama, row.context, row.answer)
        ids = torch.tensor([list(item.ids)])
        labels = ids.clone()
        labels[:, : item.num_context] = -100
        llama.model.requires_grad_(True)
        nll = llama.core(input_ids=ids, labels=labels).loss
        weights = {name: one for name, one in llama.model.named_parameters() if name in found}
        own = dict(zip(weights, torch.autograd.grad(nll, list(weights.values())), strict=True))
        norm = math.sqrt(sum(float(one.double().pow(2).sum()) for one in own.values()))
        assert norm > told.clip
        for name, one in own.items():
            wanted[name] = wanted.get(name, torch.zeros_like(one)) + one * (told.clip / norm) / 2
        losses.append(nll.item())
    llama.model.requires_grad_(False)
    assert loss == pytest.approx(sum(losses) / 3, rel=1e-5)
    for name, one in wanted.items():
        torch.testing.assert_close(found[name], one, rtol=1e-3, atol=1e-6)


def test_one_row_more_changes_the_sum_by_at_most_clip(llava: LoadedModel, examples: list[Example]) -> None:
    """Whatever the row; here with an image, and a bound that small gradients do not reach."""
    told = account(clip=0.01, sampling_rate=1 / 8)
    _, before = gradients(llava, examples[:2], told=told)
    _, after = gradients(llava, examples[:3], told=told)
    change = math.sqrt(sum(float((after[name] - before[name]).pow(2).sum()) for name in after))
    assert change == pytest.approx(0.01, rel=1e-3)


def test_a_batch_without_rows_is_noise_of_the_declared_deviation(llama: LoadedModel) -> None:
    """noise x clip / rows expected = 1.5 x .5 / 2; other noise with another seed."""
    told = account(noise_multiplier=1.5)
    loss, found = gradients(llama, [], told=told)
    values = torch.cat([one.flatten() for one in found.values()])
    assert loss == 0.0
    assert values.numel() > 10_000
    assert values.std().item() == pytest.approx(0.375, rel=0.02)
    assert abs(values.mean().item()) < 4 * 0.375 / math.sqrt(values.numel())
    _, again = gradients(llama, [], told=told)
    _, other = gradients(llama, [], told=told, seed=1)
    assert all(torch.equal(found[name], again[name]) for name in found)
    assert not any(torch.equal(found[name], other[name]) for name in found)


def test_rows_are_drawn_each_by_itself() -> None:
    """Sizes are binomial, 60 rows at 1 / 5; any two rows come together as often as chance has it."""
    batches = PoissonBatches([str(k) for k in range(60)], settings=replace(SETTINGS, batch_size=12))
    drawn = np.zeros((2000, 60), dtype=bool)
    for place in range(2000):
        batches.epoch, index = divmod(place, len(batches))
        drawn[place, list(batches[index].rows)] = True
    sizes = drawn.sum(1)
    assert len(batches) == 5
    assert sizes.mean() == pytest.approx(12, abs=4 * math.sqrt(60 * 0.2 * 0.8 / 2000))
    assert sizes.var() == pytest.approx(60 * 0.2 * 0.8, rel=0.15)
    assert np.abs(drawn.mean(0) - 0.2).max() < 5 * math.sqrt(0.2 * 0.8 / 2000)
    off = np.corrcoef(drawn.T)[np.triu_indices(60, 1)]
    assert np.abs(off).max() < 5 / math.sqrt(2000)
    batches.epoch = 0
    assert batches[1] == batches[1]


def test_a_few_rows_may_make_an_empty_batch() -> None:
    batches = PoissonBatches(["a", "b", "c"], settings=replace(SETTINGS, batch_size=1))
    assert len(batches) == 3
    assert Batch(()) in [batches[index] for index in range(3) for batches.epoch in range(9)]


@pytest.mark.parametrize("accountant", ["rdp", pytest.param("prv", marks=pytest.mark.long)])
def test_the_noise_spends_what_was_asked_and_hardly_less(accountant: Any) -> None:
    found = planned(replace(PRIVACY, accountant=accountant), settings=SETTINGS, num_rows=24)
    assert 0.97 * 5.0 < found.epsilon <= 5.0
    assert (found.sampling_rate, found.num_steps, found.num_rows, found.unit) == (1 / 4, 4, 24, "record")
    assert private.spent(found, num_steps=2).epsilon < found.epsilon
    assert private.spent(found, num_steps=0).epsilon == 0.0


def test_epsilon_without_sampling_is_that_of_the_gaussian_mechanism() -> None:
    """T updates with noise s have Renyi divergence T a / (2 s^2) at order a; the best order gives epsilon (scipy)."""
    told = private.spent(account(noise_multiplier=2.0, sampling_rate=1.0, num_steps=0), num_steps=4)

    def at(order: float) -> float:
        tail = -(math.log(told.delta) + math.log(order)) / (order - 1)
        return 4 * order / (2 * 2.0**2) + tail + math.log((order - 1) / order)

    best = minimize_scalar(at, bounds=(1.05, 60), method="bounded").fun
    assert told.epsilon == pytest.approx(best, rel=2e-3)
    assert told.epsilon >= best - 1e-9


def counted(told: Account) -> float:
    """opacus' own way: a step of its accountant for each update."""
    accountant = accountants.RDPAccountant()
    for _ in range(told.num_steps):
        accountant.step(noise_multiplier=told.noise_multiplier, sample_rate=told.sampling_rate)
    return float(accountant.get_epsilon(delta=told.delta))


@pytest.mark.parametrize(("name", "lora"), [("llava", None), ("llama", LoraSettings(r=2, alpha=4, dropout=0.2))])
def test_what_was_spent_lies_beside_the_weights(
    name: str, lora: LoraSettings | None, examples: list[Example], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whole weights and adapters; the epsilon is what the accountant counts for the updates that were done."""
    loaded: LoadedModel = request.getfixturevalue(name)
    rows = examples if name == "llava" else texts(examples)
    settings = replace(SETTINGS, lora=lora)
    report = finetune(loaded, rows, settings=settings, folder=tmp_path / "one", privacy=PRIVACY)
    told = read_account(report.output)
    assert told is not None
    assert told.num_steps == report.num_steps == 4
    assert told.epsilon == pytest.approx(counted(told), rel=1e-6)
    assert told.epsilon <= told.epsilon_asked == 5.0
    assert f"| noise multiplier | {told.noise_multiplier} |" in (report.output / "README.md").read_text()
    assert load_model(replace(loaded.spec, pretrained=str(report.output))).fingerprint != loaded.fingerprint
    if lora is not None:
        assert finetune(loaded, rows, settings=settings, folder=tmp_path / "one", privacy=PRIVACY) == report
        with pytest.raises(UserError, match=r"holds another training \(privacy.epsilon: 5.0 there, 4.0 now\)"):
            finetune(loaded, rows, settings=settings, folder=tmp_path / "one", privacy=replace(PRIVACY, epsilon=4.0))


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


class Killed(BaseException):
    """Stands in for a kill."""


def test_killed_and_resumed_is_as_undisturbed(
    llama: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the third update, and before the account is written; no noise is drawn twice, no row other."""
    rows = texts(examples)

    def train(name: str) -> None:
        finetune(fresh(llama.spec), rows, settings=SETTINGS, folder=tmp_path / name, privacy=PRIVACY)

    def kill_in(owner: Any, name: str, *, call: int) -> None:
        original: Callable[..., Any] = getattr(owner, name)
        calls = iter(range(1, 99))

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == call:
                raise Killed
            return original(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, wrapped)
            with pytest.raises(Killed):
                train("killed")

    train("alone")
    kill_in(UnlearningTrainer, "compute_loss", call=3)
    kill_in(private, "write_json", call=1)
    train("killed")
    assert weights(tmp_path / "killed") == weights(tmp_path / "alone")
    assert read_account(tmp_path / "killed" / "model") == read_account(tmp_path / "alone" / "model")


def test_without_opacus_it_is_said_how_to_get_it(
    llama: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "opacus" else found(name))
    with pytest.raises(UserError, match=r"needs opacus, .* run: pip install 'mmforget\[privacy\]'"):
        finetune(llama, texts(examples), settings=SETTINGS, folder=tmp_path, privacy=PRIVACY)


def test_no_loss_ends_a_private_training() -> None:
    """That a loss fell below a bound tells of the rows, and no accountant knows of it."""
    found = private.private_settings(replace(SETTINGS, stop_loss=9.0, stop_retain_nll=9.0, grad_accumulation=3))
    assert (found.stop_loss, found.stop_retain_nll, found.grad_accumulation, found.max_grad_norm) == (None, None, 1, 0)


def test_several_processes_are_refused(
    llama: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmforget.parallel.world_size", lambda: 2)
    with pytest.raises(UserError, match="runs in one process, and here are 2"):
        finetune(llama, texts(examples), settings=SETTINGS, folder=tmp_path, privacy=PRIVACY)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epsilon": 0.0}, "epsilon=0.0 is not allowed; give a number above 0"),
        ({"epsilon": -1.0}, "epsilon=-1.0 is not allowed"),
        ({"delta": 0.0}, "delta=0.0 is not allowed; give a number above 0"),
        ({"delta": 1.0}, "delta=1.0 is not allowed; give a number below 1"),
        ({"clip": 0.0}, "clip=0.0 is not allowed"),
    ],
)
def test_what_is_no_privacy_is_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(PRIVACY, **given)


def test_an_epsilon_that_no_noise_reaches_is_refused() -> None:
    with pytest.raises(UserError, match="opacus finds no noise for epsilon=1e-09"):
        planned(replace(PRIVACY, epsilon=1e-9), settings=SETTINGS, num_rows=24)
