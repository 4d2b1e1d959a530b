"""DP-SGD: what a row can change of a model is bounded, and what was spent of its privacy is accounted for.

Each update draws every row by itself with the same probability (Poisson sampling), cuts the gradient of each row drawn
to a norm, adds up, adds noise, and divides by the number of rows expected. A row is computed alone, so that its
gradient is its own. opacus (extra `privacy`) says how much noise it takes and what epsilon that comes to.

The noise comes of the training's seed, which a record tells, so that a training can be repeated: whoever gives a model
away keeps the seed to himself. Losses in the log are no part of what is protected.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mmforget import parallel
from mmforget.errors import UserError, one_line
from mmforget.methods.bases import Privacy
from mmforget.methods.losses import token_mean_nll
from mmforget.model.encode import Encoded
from mmforget.results.codec import from_json, to_jsonable
from mmforget.results.files import read_json, write_json, write_text
from mmforget.training import draws
from mmforget.training.batches import Batch, Batches
from mmforget.training.hf_arguments import num_updates
from mmforget.training.objective import Losses, Scoring
from mmforget.training.repeating import Once, Portion
from mmforget.training.settings import TrainSettings

FILE = "privacy.json"
"""Beside the weights: what was spent."""
UNIT = "record"
SMALL = 1e-6
"""Added to a norm that is divided by, as in opacus."""
CARD = """A model that mmforget trained with differential privacy (DP-SGD).

| | |
|:--|--:|
{rows}

What is protected is one {unit}, a row of the training data; of a group of k rows the privacy is k epsilon.
"""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a training spent of the privacy of each of its rows.

    Attributes:
        epsilon: spent, by the accountant, for `num_steps` updates; at most what was asked.
        epsilon_asked: the most that it might be.
        unit: what is protected.
        accountant: its name in opacus.
        library: opacus and its version.
        noise_multiplier: standard deviation of the noise in multiples of `clip`.
        clip: norm that the gradient of a row is cut to.
        sampling_rate: probability that a row is drawn for an update, each by itself.
        num_steps: updates done.
        num_rows: rows that there are.
    """

    epsilon: float
    epsilon_asked: float
    delta: float
    unit: str = UNIT
    accountant: str
    library: str
    noise_multiplier: float
    clip: float
    sampling: str = "poisson"
    sampling_rate: float
    num_steps: int
    num_rows: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, for records."""
        return asdict(self)


def require_accountant() -> None:
    """Raises UserError where opacus is not installed."""
    if util.find_spec("opacus") is None:
        raise UserError(
            "training with differential privacy needs opacus, which accounts for it and is not installed; run: pip "
            "install 'mmforget[privacy]'"
        )


def require_alone() -> None:
    """Raises UserError among several processes, which would have to add up the gradients of a row before it is cut."""
    if parallel.world_size() > 1:
        raise UserError(
            f"training with differential privacy runs in one process, and here are {parallel.world_size()}; train the "
            "base by itself first (mmforget target --method NAME), without torchrun or accelerate"
        )


def private_settings(settings: TrainSettings) -> TrainSettings:
    """The same, each update one batch whose rows' gradients are cut, and not their sum, and no loss ends it before.

    When a loss falls below a bound tells of the rows, and no account has that.
    """
    return replace(settings, grad_accumulation=1, max_grad_norm=0.0, stop_loss=None, stop_retain_nll=None)


def planned(privacy: Privacy, *, settings: TrainSettings, num_rows: int) -> Account:
    """The noise that a whole training takes, and what it then spends.

    Raises UserError where opacus is not installed, or no noise is enough.
    """
    require_accountant()
    rate, steps = _rate(settings, num_rows=num_rows)
    noise = _noise(privacy, rate=rate, steps=steps)
    unspent = Account(
        epsilon=0.0, epsilon_asked=privacy.epsilon, delta=privacy.delta, accountant=privacy.accountant,
        library=_library(), noise_multiplier=noise, clip=privacy.clip, sampling_rate=rate, num_steps=0,
        num_rows=num_rows,
    )  # fmt: skip
    return spent(unspent, num_steps=steps)


@cache
def _noise(privacy: Privacy, *, rate: float, steps: int) -> float:
    """The noise multiplier; looked for in seconds, up to a minute where epsilon is large."""
    with _quietly():
        from opacus.accountants.utils import get_noise_multiplier

        try:
            return float(
                get_noise_multiplier(
                    target_epsilon=privacy.epsilon, target_delta=privacy.delta, sample_rate=rate, steps=steps,
                    accountant=privacy.accountant,
                )
            )  # fmt: skip
        # The accountant says in many ways that it cannot compute it.
        except Exception as error:
            raise UserError(
                f"opacus finds no noise for epsilon={privacy.epsilon} and delta={privacy.delta} in {steps} updates "
                f"({one_line(error)[:200]}); give a larger epsilon, fewer updates or accountant=rdp"
            ) from error


def spent(account: Account, *, num_steps: int) -> Account:
    """What so many updates of this training spend."""
    if num_steps == account.num_steps:
        return account
    with _quietly():
        from opacus.accountants import create_accountant

        counted = create_accountant(account.accountant)
        counted.history = [(account.noise_multiplier, account.sampling_rate, num_steps)] if num_steps else []
        epsilon = float(counted.get_epsilon(delta=account.delta)) if num_steps else 0.0
    return replace(account, epsilon=epsilon, num_steps=num_steps)


def write_account(folder: Path, account: Account) -> None:
    """Leaves the account beside a model's weights, for programs and for people."""
    values = account.as_dict()
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in values.items())
    write_text(folder / "README.md", CARD.format(rows=rows, unit=account.unit))
    write_json(folder / FILE, to_jsonable(values).value)


def read_account(folder: Path) -> Account | None:
    """What the model in a folder spent; None for one that was not trained so. Raises UserError for a damaged file."""
    if not (folder / FILE).is_file():
        return None
    return from_json(Account, read_json(folder / FILE), source=str(folder / FILE))


class PoissonBatches(Batches):
    """Batches into which every row comes by itself, with the same probability; a batch may be empty.

    As many an epoch as make one pass in the mean. Item k is a pure function of (seed, epoch, k).
    """

    def __getitem__(self, index: int) -> Batch:
        num = len(self.subjects)
        drawn = draws.generator(self.settings.seed, draws.POISSON, self.epoch, index).random(num) < 1 / len(self)
        return Batch(tuple(int(row) for row in np.flatnonzero(drawn)))


@dataclass(frozen=True)
class MemorisePrivately:
    """NLL of each row's answer, token-mean, whose gradients are cut row by row, summed up, and made noisy."""

    score: Scoring
    encoded: Sequence[Encoded]
    account: Account
    state: dict[str, Tensor] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)

    wraps: ClassVar[bool] = False

    def loss(self, batch: Batch, *, update: int = 0, portion: Portion | None = None) -> Losses:
        """The mean NLL of the rows; its gradient is the noisy one."""
        weights = self.score.loaded.trainable()
        total = {name: torch.zeros_like(one, dtype=torch.float32) for name, one in weights.items()}
        seen = [self._add(total, self.encoded[row], weights=weights) for row in batch.rows]
        deviation = self.account.noise_multiplier * self.account.clip
        num = self.account.num_rows * self.account.sampling_rate
        noisy = {name: (one + deviation * torch.randn_like(one)) / num for name, one in total.items()}
        carrier = sum(((noisy[name] * one).sum() for name, one in weights.items()), start=torch.zeros(()))
        mean = sum(seen) / len(seen) if seen else 0.0
        # Its value is the loss, and going back through it leaves in each weight just what was made of the rows.
        return Losses(carrier - carrier.detach() + mean, {"nll": mean} if seen else {}, {})

    def _add(self, total: Mapping[str, Tensor], row: Encoded, *, weights: Mapping[str, Tensor]) -> float:
        """Adds one row's gradient, cut, to `total`; returns its NLL."""
        nll = token_mean_nll(self.score([row]))
        found = torch.autograd.grad(nll, list(weights.values()), allow_unused=True)
        gradients = {name: one.float() for name, one in zip(weights, found, strict=True) if one is not None}
        norm = torch.stack([one.norm() for one in gradients.values()]).norm()
        scale = (self.account.clip / (norm + SMALL)).clamp(max=1.0)
        for name, one in gradients.items():
            total[name].add_(one * scale)
        return nll.item()

    def retain_nll(self, batch: Batch) -> float | None:
        return None

    def gradients(self, once: Once, *, num_batches: int, update: int) -> Tensor:
        return once([Portion(None, {})] * num_batches)

    def finish(self, *, update: int) -> None:
        """Nothing."""


def _rate(settings: TrainSettings, *, num_rows: int) -> tuple[float, int]:
    """The probability of a row in an update, and the number of updates."""
    num_batches = -(-num_rows // settings.batch_size)
    return 1 / num_batches, num_updates(settings, num_batches=num_batches)


def _library() -> str:
    from importlib.metadata import version

    return f"opacus {version('opacus')}"


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside, nothing is said of orders at the end of a range, which only makes what is found larger."""
    level = logging.getLogger("opacus").level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("opacus").setLevel(logging.ERROR)
        try:
            yield
        finally:
            logging.getLogger("opacus").setLevel(level)
