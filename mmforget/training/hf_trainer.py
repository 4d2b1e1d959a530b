"""The Hugging Face Trainer with our loss, data order, log and checkpoints; nothing else in mmforget overrides it.

Its loop, optimiser, clipping and accumulation are used as they are. What is relied on:

- `get_train_dataloader`, `create_optimizer`, `create_scheduler`, `compute_loss`, `training_step`, `save_model`,
  `floating_point_ops`: public, overridden with their signatures; `_created_lr_scheduler` says that a schedule is there;
- `_prepare_inputs` is all that touches a batch before `compute_loss`; ours are on the device already;
- `_wrap_model` gives the module that `compute_loss` gets, and `_move_model_to_device` is all that moves the model;
- `_clip_grad_norm` is called once an update, before the optimiser, and returns the norm of the gradients;
- `_save_checkpoint` writes a whole `checkpoint-N` under `output_dir` by `save_model`, `_save_optimizer_and_scheduler`
  and `_save_rng_state`; `_load_from_checkpoint` is what loads the weights of one, before optimiser and schedule;
- `accelerator.sync_gradients` says in `training_step` that a micro-batch is the last one of its update, and each loss
  is divided by how many these are, which it knows before the first;
- `_n_gpu` of its arguments, which `hf_arguments.py` sets, is how many GPUs it would spread a batch over;
- the callbacks: `on_pre_optimizer_step` with `optimizer`, `on_epoch_begin` with `train_dataloader`, and that
  `control.should_training_stop` ends the loop after an update; `PrinterCallback` prints.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from mmforget import parallel
from mmforget.errors import RunFailed, UserError
from mmforget.model.loaded import LoadedModel
from mmforget.results.files import writing
from mmforget.training import draws
from mmforget.training.batches import Batch, Batches
from mmforget.training.checking import Reach, checked_norms, term_norms
from mmforget.training.checkpoints import mark_complete, step_of
from mmforget.training.objective import Losses, ObjectiveModule
from mmforget.training.repeating import WRAPPED, Portion
from mmforget.training.schedule import make_scheduler
from mmforget.training.settings import DIVERGED
from mmforget.training.sharding import divided_like, save_whole_states, whole
from mmforget.training.watching import Watching

WEIGHTS, STATE = "trainable.safetensors", "method_state.safetensors"
# A method that never scores retain answers still has their NLL logged, at a tenth of the price.
RETAIN_PROBE_STEPS = 10


class Diverged(RunFailed):
    """A loss or a gradient is not finite; raised before the update, so that the weights stay as they are.

    It goes through a wrapper of another package, whose gradients it interrupts, as what it is.
    """


@dataclass
class _Update:
    """What the micro-batches of one update gave, until it is logged."""

    losses: list[Losses] = field(default_factory=list)
    held: list[Any] = field(default_factory=list)
    last_batch: Batch | None = None
    grad_norm: float | None = None
    term_norms: Mapping[str, float] = field(default_factory=dict)
    reach: Reach = field(default_factory=Reach)
    lr: float | None = None


class UnlearningTrainer(Trainer):  # type: ignore[misc]
    """Hugging Face's loop with our loss, data order, log and checkpoints of the trained parameters only."""

    lr_scheduler: Any

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        arguments: Any,
        module: ObjectiveModule,
        batches: Batches,
        watching: Watching,
        notify: Callable[[int], None],
    ) -> None:
        self.loaded, self.module = loaded, module
        self.batches, self.settings = batches, watching.settings
        self.watching, self.train_log, self.notify = watching, watching.log, notify
        self.update, self.stopped = _Update(), ""
        self.portion: Portion | None = None
        super().__init__(
            model=loaded.model, args=arguments, train_dataset=batches, data_collator=_only, callbacks=[_Hooks(self)]
        )
        self.remove_callback(PrinterCallback)

    def run(self, checkpoint: Path | None) -> str:
        """Trains to the end or to the reason that it returns; see TrainReport.stopped."""
        if checkpoint is not None and (self._ended_before() or step_of(checkpoint) >= self.args.max_steps):
            # The Trainer would do one update more before it looks at the step count.
            self._load_from_checkpoint(str(checkpoint))
            return self.stopped
        try:
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except Diverged:
            return DIVERGED
        return self.stopped

    def _ended_before(self) -> bool:
        """Whether the update that the checkpoint was written after was the last one, by a rule."""
        self.stopped = self._reason_to_stop(self.train_log.last)
        return bool(self.stopped)

    def _reason_to_stop(self, line: Mapping[str, Any]) -> str:
        """Why training ends after the update of this line of the log, as the main process sees it."""
        found: str = parallel.broadcast(
            self.settings.reason_to_stop(
                line.get("loss"), retain_nll=line.get("retain_nll"), curve=self.watching.curve(line)
            )
        )
        return found

    def get_train_dataloader(self) -> Any:
        """All micro-batches, in every process: what is divided are the rows of each."""
        return DataLoader(self.batches, batch_size=1, shuffle=False, collate_fn=_only)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = make_scheduler(
                optimizer or self.optimizer,
                schedule=self.settings.schedule,
                num_steps=num_training_steps,
                warmup_ratio=self.settings.warmup_ratio,
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Batch], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """The objective's loss of one micro-batch. Raises Diverged where it is not finite."""
        batch = inputs["batch"]
        draws.seed_update(
            self.settings.seed,
            update=self.state.global_step,
            micro_batch=len(self.update.losses),
            process=self.args.process_index,
        )
        losses: Losses = model(batch, update=self.state.global_step, portion=self.portion)
        if not math.isfinite(losses.total.item()):
            raise Diverged
        if self.state.global_step == 0 and not self.update.losses:
            self._look_at_terms(losses.terms)
        self.update.losses.append(losses._replace(total=losses.total.detach(), terms={}))
        self.update.last_batch = batch
        if not losses.total.requires_grad:
            # Of a portion without rows: the Trainer differentiates whatever it is given.
            return losses.total + torch.zeros_like(losses.total, requires_grad=True)
        return losses.total

    def _look_at_terms(self, terms: Mapping[str, Tensor]) -> None:
        """Of a loss that is differentiated in parts, each term's norm is that of the first part that it depends on."""
        part = None if self.portion is None else self.portion.part
        is_whole = part is None
        weights, masks = self.loaded.trainable(), self.module.objective.masks
        self.update.reach.see(terms, part=part)
        self.update.reach.require(num_weights=len(weights))
        self.update.term_norms = {
            **term_norms(terms, weights=weights, masks=masks, is_whole=is_whole), **self.update.term_norms
        }  # fmt: skip

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Gradients of one micro-batch; where the method has wrappers, of the whole update with its last one."""
        if not self.module.objective.wraps:
            return self._differentiated(model, inputs)
        self.update.held.append(inputs)
        if not self.accelerator.sync_gradients:
            return torch.zeros((), device=self.args.device)
        num, update = len(self.update.held), self.state.global_step
        loss = self.module.objective.gradients(partial(self._whole_update, model), num_batches=num, update=update)
        return loss.to(self.args.device)

    def _whole_update(self, model: Any, portions: Sequence[Portion]) -> Tensor:
        """Gradients of all micro-batches of an update; the losses that are kept are those of the first time."""
        update, first = self.update, self.update.losses
        update.losses, loss = [], torch.zeros((), device=self.args.device)
        for inputs, portion in zip(update.held, portions, strict=True):
            self.portion = portion
            loss = loss + self._differentiated(model, inputs)
        self.portion, update.losses = None, first or update.losses
        return loss

    def _differentiated(self, model: Any, inputs: Any) -> Tensor:
        loss: Tensor = super().training_step(model, inputs)
        return loss

    def end_update(self) -> str:
        """Logs one update; returns why training should stop after it, or ""."""
        update, self.update = self.update, _Update()
        losses, step = update.losses, self.state.global_step
        loss = _mean([item.total.item() for item in losses])
        retain_nll = self._retain_nll(update, step=step)
        line = {
            "step": step,
            "loss": loss,
            "parts": {name: _mean([item.parts[name] for item in losses]) for name in losses[0].parts},
            "forget_nll": _mean([item.nll["forget"] for item in losses if "forget" in item.nll]),
            "retain_nll": retain_nll,
            "lr": update.lr,
            "grad_norm": update.grad_norm,
        }
        if kept := {name: one.item() for name, one in self.module.objective.state.items() if one.dim() == 0}:
            line["state"] = kept
        if step == 1:
            line |= checked_norms(update.term_norms, whole=update.grad_norm, names=[*losses[0].parts])
        line |= self.watching.look(step)
        self.train_log.write(line)
        if "validation" in line:
            self.watching.keep()
        if self.args.report_to:
            flat = {**line, **{f"parts/{name}": value for name, value in line["parts"].items()}}
            self.log({name: value for name, value in flat.items() if isinstance(value, float)})
        self.notify(step)
        self.stopped = self._reason_to_stop(line)
        return self.stopped

    def _retain_nll(self, update: _Update, *, step: int) -> float | None:
        seen = [item.nll["retain"] for item in update.losses if "retain" in item.nll]
        if seen or update.last_batch is None:
            return _mean(seen)
        saves = bool(self.settings.save_steps) and step % int(self.settings.save_steps or 1) == 0
        if self.settings.stop_retain_nll is None and step % RETAIN_PROBE_STEPS != 1 and not saves:
            return None
        probed: float | None = self.module(update.last_batch, probe=True)
        return probed

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def _prepare_inputs(self, inputs: Any) -> Any:
        return inputs

    def _wrap_model(self, model: Any, training: bool = True, dataloader: Any = None) -> Any:
        """The loss is computed, and gradients are summed, by ourselves; no wrapper of accelerate's averages them."""
        return self.module

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = super().create_optimizer(*args, **kwargs)
        if parallel.is_sharded():
            save_whole_states(optimizer)
        if self.module.objective.masks:
            # What does not train would decay all the same.
            for group in optimizer.param_groups:
                group["weight_decay"] = 0.0
        return optimizer

    def _move_model_to_device(self, model: Any, device: Any) -> None:
        """It is where `load_model` has put it."""

    def _clip_grad_norm(self, model: Any) -> Any:
        if not parallel.is_sharded():
            parallel.sum_gradients(self.loaded.trainable().values())
        norm = whole(super()._clip_grad_norm(model))
        self.update.grad_norm = float(norm)
        if not math.isfinite(self.update.grad_norm):
            raise Diverged
        return norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Where it cannot be written, the checkpoint before it stays, to go on from."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            with writing(folder):
                super()._save_checkpoint(model, trial)
                if self.args.should_save:
                    mark_complete(folder)
        except UserError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The trained weights alone."""
        weights = {name: whole(weight.detach()).cpu().contiguous() for name, weight in self.loaded.trainable().items()}
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(weights, folder / WEIGHTS)
            if self.module.objective.state:
                state = {name: one.detach().cpu().contiguous() for name, one in self.module.objective.state.items()}
                save_file(state, folder / STATE)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if parallel.is_sharded() and not self.args.should_save:
            # The state is put together from all processes, of which one saves it.
            self.optimizer.state_dict()
        super()._save_optimizer_and_scheduler(output_dir)

    def _save_rng_state(self, output_dir: str) -> None:
        """There is none to save, see `draws.py`."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        state, kept = self.module.objective.state, Path(resume_from_checkpoint) / STATE
        if kept.is_file():
            saved_state = load_file(kept, device=str(self.loaded.device))
            state.update({name: one for name, one in saved_state.items() if name in state or name.startswith(WRAPPED)})
        saved, own = load_file(Path(resume_from_checkpoint) / WEIGHTS), self.loaded.trainable()
        if set(saved) != set(own):
            raise UserError(
                f"{resume_from_checkpoint} holds other parameters than are trained now; delete it to start again"
            )
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(divided_like(saved[name], like=weight))


class _Hooks(TrainerCallback):  # type: ignore[misc]
    """Tells our trainer where the loop is."""

    def __init__(self, trainer: UnlearningTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        steps = math.ceil(len(kwargs["train_dataloader"]) / args.gradient_accumulation_steps)
        self.trainer.batches.epoch = state.global_step // steps

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.trainer.update.lr = float(kwargs["optimizer"].param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        stopped = self.trainer.end_update()
        if stopped:
            control.should_training_stop = True
        if stopped == DIVERGED:
            # The checkpoint before this update is the last good one.
            control.should_save = False


def _only(items: list[Batch]) -> dict[str, Batch]:
    return {"batch": items[0]}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
