"""How long, how fast and on what a model trains: one frozen record, checked, from a recipe and the flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from mmforget.arguments import MAX_SEED, argument_types, coerce
from mmforget.errors import UnknownName, UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.training.stopping import LAST, Point, Rule, check_keep, parse_rules, reason

if TYPE_CHECKING:
    from mmforget.model.lora import LoraSettings

Schedule = Literal["cosine", "linear", "onecycle", "constant"]
Order = Literal["file", "rows", "subjects"]
LORA_KEYS = {"lora_r": "r", "lora_alpha": "alpha", "lora_dropout": "dropout", "lora_target_modules": "target_modules"}
DIVERGED = "diverged"
"""Why a training ended whose loss, gradients or answers to keep are out of bounds."""
FLAG_NAMES = {"train_batch_size": "batch_size"}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Hyper-parameters of one training.

    Attributes:
        lr: peak learning rate.
        epochs: passes over the forget set (or, in stage one, over everything); ignored where `max_steps` is given.
        max_steps: number of weight updates.
        batch_size: questions a forward pass; the last batch of an epoch may be smaller.
        retain_batch_size: retain rows beside a full batch of `batch_size`, and fewer beside a smaller one; None: as
            many as rows.
        grad_accumulation: forward passes an update.
        schedule: `cosine` or `linear` to 0, `onecycle` (cosine up from lr/25, cosine down to 0), `constant`; all after
            warm-up.
        warmup_ratio: share of the updates in which the rate rises; for `onecycle` usually 0.3.
        max_grad_norm: the gradient's norm is cut to this; 0 does not cut.
        order: `file` (as given, no shuffle), `rows` (questions shuffled every epoch), `subjects` (neighbouring rows
            about one subject stay together, so that they share one image's row, and these runs are shuffled every
            epoch; so are the retain partners).
        append_eos: teach the model to stop after the answer.
        lora: train adapters only; None trains the language model itself.
        train_projector: train what maps image features into the language model, too. The vision tower never trains.
        save_steps: updates between checkpoints; None writes none, and a killed run starts again.
        stop_loss: end training when an update's loss falls below this (FIUBench's authors stop GA at about -10).
        stop_retain_nll: end training when the retain answers' NLL rises above this, in nats a token.
        diverged_retain_nll: above this the training has diverged: it ends, and the model counts as collapsed. No text
            has 50 nats a token under a model that still says anything: a guess among 128,000 words has 12.
        packed: questions about one image share its tokens; off computes each question alone, with equal results.
        report_to: trackers of the Hugging Face Trainer, comma-separated, or `none`.
        eval_steps: updates between two looks at the validation part; None: there are none.
        stop: rules that end the training by these, see `stopping.py`; empty for none.
        keep: which of the looked at steps is kept: `last`, or `best:forget`, `best:utility` or `best:balance`.
    """

    lr: float = 1e-4
    epochs: float = 5.0
    max_steps: int | None = None
    batch_size: int = 4
    retain_batch_size: int | None = None
    grad_accumulation: int = 1
    schedule: Schedule = "cosine"
    warmup_ratio: float = 0.0
    weight_decay: float = 0.01
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    optimizer: str = "adamw_torch_fused"
    seed: int = 0
    order: Order = "subjects"
    append_eos: bool = False
    lora: LoraSettings | None = None
    train_projector: bool = True
    gradient_checkpointing: bool = False
    bf16: bool = False
    save_steps: int | None = None
    stop_loss: float | None = None
    stop_retain_nll: float | None = None
    diverged_retain_nll: float = 50.0
    packed: bool = True
    report_to: str = "none"
    eval_steps: int | None = None
    stop: str = ""
    keep: str = "last"

    def __post_init__(self) -> None:
        require_positive(lr=self.lr, batch_size=self.batch_size, grad_accumulation=self.grad_accumulation)
        require_positive(max_steps=self.max_steps or 1, save_steps=self.save_steps or 1)
        require_positive(diverged_retain_nll=self.diverged_retain_nll)
        require_positive(eval_steps=1 if self.eval_steps is None else self.eval_steps)
        check_keep(self.keep, rules=self.rules)
        if self.eval_steps is None and (self.stop or self.keep != LAST):
            flag = f"--stop {self.stop}" if self.stop else f"--keep {self.keep}"
            raise UserError(f"{flag} reads the validation part, which is never looked at; add --eval_steps N")
        require_positive(retain_batch_size=self.retain_batch_size or 1)
        if self.max_steps is None:
            require_positive(epochs=self.epochs)
        require_not_negative(weight_decay=self.weight_decay, max_grad_norm=self.max_grad_norm, seed=self.seed)
        if self.seed > MAX_SEED:
            raise UserError(f"seed={self.seed} is not allowed; give at most {MAX_SEED}")
        for name, value in (("warmup_ratio", self.warmup_ratio), ("adam_beta2", self.adam_beta2)):
            if not 0 <= value < 1:
                raise UserError(f"{name}={value} is not allowed; give a number from 0 to below 1")

    def num_retain(self, num_rows: int) -> int:
        """Retain rows beside a micro-batch of `num_rows`: their share of a full one, rounded up."""
        if self.retain_batch_size is None:
            return num_rows
        return -(-num_rows * self.retain_batch_size // self.batch_size)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What `stop` says."""
        return parse_rules(self.stop)

    def reason_to_stop(self, loss: float | None, *, retain_nll: float | None, curve: Sequence[Point] = ()) -> str:
        """Why training ends after an update with this loss, as `TrainReport.stopped` has it; "" where it goes on.

        Args:
            curve: the points of the validation part, where the last one was made after this very update.
        """
        if retain_nll is not None and retain_nll > self.diverged_retain_nll:
            return DIVERGED
        if self.stop_loss is not None and loss is not None and loss < self.stop_loss:
            return "stop_loss"
        if self.stop_retain_nll is not None and retain_nll is not None and retain_nll > self.stop_retain_nll:
            return "stop_retain_nll"
        return reason(curve, rules=self.rules, keep=self.keep)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for run.yaml and for telling one training from another."""
        return asdict(self)


def settings_from(recipe: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> TrainSettings:
    """Settings from a benchmark's recipe, with the flags a user gave on top.

    Keys are the fields of TrainSettings, with `lora_r`, `lora_alpha`, `lora_dropout` and `lora_target_modules` (or a
    mapping `lora`) for the adapter; `lora_r: 0` or `lora: null` trains the whole language model. An override that is
    None counts as not given. Raises UnknownName for a key and UserError for a value that does not exist.
    """
    given = {k: v for k, v in (overrides or {}).items() if v is not None}
    merged = _flat_lora(recipe) | _flat_lora(given)
    types = argument_types_without_lora()
    values: dict[str, Any] = {}
    for key, value in merged.items():
        name = FLAG_NAMES.get(key, key)
        if name in LORA_KEYS:
            continue
        if name not in types:
            raise UnknownName("training setting", name=key, known=[*types, *LORA_KEYS])
        values[name] = coerce(value, types[name], name=f"training setting {name}")
    values["lora"] = _lora(merged)
    return TrainSettings(**values)


def argument_types_without_lora() -> dict[str, Any]:
    """Names and types of the settings that are one value each."""
    from mmforget.model import lora

    types = argument_types(TrainSettings, names={"LoraSettings": lora.LoraSettings})
    return {name: kind for name, kind in types.items() if name != "lora"}


def _flat_lora(values: Mapping[str, Any]) -> dict[str, Any]:
    """`lora: {r: 8}` as `lora_r: 8`, and `lora: null` as `lora_r: 0`."""
    flat = dict(values)
    if "lora" not in flat:
        return flat
    nested = flat.pop("lora")
    if nested is None:
        return flat | {"lora_r": 0}
    if not isinstance(nested, Mapping):
        raise UserError(f"training setting lora: {nested!r} is not a mapping; write it as lora: {{r: 8, alpha: 16}}")
    return flat | {f"lora_{key}": value for key, value in nested.items()}


def _lora(merged: Mapping[str, Any]) -> LoraSettings | None:
    from mmforget.model.lora import LoraSettings

    given = {LORA_KEYS[key]: value for key, value in merged.items() if key in LORA_KEYS and value is not None}
    if "r" not in given or str(given["r"]) == "0":
        return None
    types = argument_types(LoraSettings)
    return LoraSettings(
        **{name: coerce(value, types[name], name=f"training setting lora_{name}") for name, value in given.items()}
    )
