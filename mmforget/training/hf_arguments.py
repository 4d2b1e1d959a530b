"""Our settings as the Hugging Face Trainer's arguments, with what it would refuse said first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.optim import Optimizer
from transformers import Trainer, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.model.loaded import LoadedModel
from mmforget.training.settings import TrainSettings


def training_arguments(
    settings: TrainSettings, *, loaded: LoadedModel, folder: Path, num_batches: int
) -> TrainingArguments:
    """Arguments for `num_batches` micro-batches an epoch; `max_steps` is the number of updates.

    Raises UserError for an optimiser or tracker that does not exist or is not installed, for a model on another device
    than the one that the Trainer computes on, and for several processes that were not introduced to one another.
    """
    _check_device(loaded)
    trackers = trackers_of(settings)
    try:
        arguments = TrainingArguments(
            output_dir=str(folder / "checkpoints"),
            per_device_train_batch_size=1,
            gradient_accumulation_steps=settings.grad_accumulation,
            learning_rate=settings.lr,
            weight_decay=settings.weight_decay,
            adam_beta2=settings.adam_beta2,
            max_grad_norm=settings.max_grad_norm or math.inf,
            optim=settings.optimizer,
            seed=settings.seed,
            max_steps=1,
            save_strategy="steps" if settings.save_steps else "no",
            save_steps=settings.save_steps or 500,
            logging_strategy="no",
            logging_nan_inf_filter=False,
            report_to=trackers or "none",
            remove_unused_columns=False,
            disable_tqdm=True,
            dataloader_pin_memory=False,
            bf16=settings.bf16,
            use_cpu=loaded.device.type == "cpu",
        )
    except ValueError as error:
        raise UserError(f"the Hugging Face Trainer refuses these settings: {error}") from error
    if arguments.world_size != parallel.world_size():
        # Each would train a model of its own, and all of them write to one folder.
        raise UserError(
            f"training was started in {arguments.world_size} processes that do not know of one another; call "
            "mmforget.parallel.start() first, or use the command line (torchrun -m mmforget ...)"
        )
    if arguments.n_gpu > 1:
        # Otherwise the Trainer expects to spread each batch over all GPUs, which our scoring does not do.
        arguments._n_gpu = 1
    arguments.max_steps = num_updates(settings, num_batches=num_batches)
    return arguments


def make_optimizer(arguments: TrainingArguments, weights: Sequence[Tensor]) -> Optimizer:
    """The optimiser that the Trainer would make for these weights, all of which decay, as those of adapters do."""
    kind, given = Trainer.get_optimizer_cls_and_kwargs(arguments, None)
    made: Optimizer = kind([{"params": list(weights), "weight_decay": arguments.weight_decay}], **given)
    return made


def num_updates(settings: TrainSettings, *, num_batches: int) -> int:
    """Weight updates of a training with `num_batches` micro-batches an epoch; at least 1."""
    if settings.max_steps is not None:
        return settings.max_steps
    return math.ceil(settings.epochs * updates_per_epoch(settings, num_batches=num_batches))


def updates_per_epoch(settings: TrainSettings, *, num_batches: int) -> int:
    """Weight updates of one epoch of `num_batches` micro-batches."""
    return math.ceil(num_batches / settings.grad_accumulation)


def trackers_of(settings: TrainSettings) -> list[str]:
    """The trackers by name. Raises UserError for one that does not exist or whose package is not installed."""
    names = [name.strip() for name in settings.report_to.split(",") if name.strip() not in ("", "none")]
    try:
        for callback in get_reporting_integration_callbacks(names):
            callback()
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"report_to={settings.report_to}: {error}; install its package, or give none") from error
    return names


def _check_device(loaded: LoadedModel) -> None:
    own = parallel.device()
    if own is not None and loaded.device != own:
        raise UserError(f"the model is on {loaded.device}, but this process trains on {own}; leave --device out")
    if own is not None or loaded.device.type != "cuda" or getattr(loaded.core, "hf_device_map", None):
        return
    if loaded.device.index:
        raise UserError(
            f"the model is on {loaded.device}, but training runs on cuda:0; choose the GPU with "
            f"CUDA_VISIBLE_DEVICES={loaded.device.index} and --device cuda"
        )
