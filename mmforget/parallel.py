"""Several processes that run one program, started by `accelerate launch` or `torchrun`.

All of them call the same functions of this module in the same order. The first, the main process, decides whatever
depends on the disk, writes and prints. In one process nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mmforget.errors import RunFailed, UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a process waits for another: longer than anything that one does alone, such as merging a large model."""
FAILURE = "mmforget/failure"
FSDP_SETTINGS = {"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "false", "FSDP_ACTIVATION_CHECKPOINTING": "false"}
"""What the launcher may ask for beside FSDP itself; recomputed activations are the recipe's gradient_checkpointing."""
DEEPSPEED_SETTINGS = {
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "none",
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
    "ACCELERATE_DEEPSPEED_CONFIG_FILE": "none",
}
ZERO_STAGES = ("0", "1", "2", "3")
"""What DeepSpeed divides: nothing; optimiser states; gradients, too; weights, too."""
BUCKET_BYTES = 256 * 2**20
"""Gradients travel together up to here."""


class LostContact(RunFailed):
    """Another process has ended, or cannot be reached."""


@dataclass(frozen=True)
class Launch:
    """What the launcher asked of this process.

    Attributes:
        device: where its model belongs.
        is_sharded: whether a model that trains is divided among the processes (FSDP).
    """

    device: torch.device
    is_sharded: bool


_launch: Launch | None = None


def num_launched() -> int:
    """How many processes the launcher started; known before any library is loaded."""
    return _number("WORLD_SIZE", default=1)


def is_main_launched() -> bool:
    """Whether this is the first of them."""
    return num_launched() == 1 or _number("RANK", default=0) == 0


def start(*, cpu: bool = False) -> None:
    """Joins the processes that the launcher started with this one; does nothing where there is only one.

    Args:
        cpu: compute on the CPU although there is a GPU.

    Raises UserError for launcher settings that would change numbers unseen.
    """
    global _launch
    is_sharded = _launcher_settings()
    if num_launched() == 1 or _launch is not None:
        return
    import torch
    from accelerate import PartialState

    on_cpu = cpu or _is_set("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    state = PartialState(cpu=on_cpu, timeout=PATIENCE)
    # On the CPU accelerate numbers a device by its process, where there is but one.
    _launch = Launch(torch.device("cpu") if on_cpu else state.device, is_sharded)


def stop() -> None:
    """Parts from the others, at the end of a run that went well."""
    global _launch
    if _launch is not None:
        import torch

        torch.distributed.destroy_process_group()
        _launch = None


def world_size() -> int:
    """How many processes there are."""
    return _distributed().get_world_size() if _launch is not None else 1


def rank() -> int:
    """The number of this process, from 0."""
    return _distributed().get_rank() if _launch is not None else 0


def is_main() -> bool:
    """Whether this process is the one that decides, writes and prints."""
    return rank() == 0


def device() -> torch.device | None:
    """Where this process's model belongs; None in one process, which may choose."""
    return _launch.device if _launch is not None else None


def is_sharded() -> bool:
    """Whether a model that trains is divided among the processes."""
    return _launch is not None and _launch.is_sharded


def gather(value: T) -> list[T]:
    """The values of all processes, by number, in every process. They are pickled, so keep them small."""
    if _launch is None:
        return [value]
    found: list[Any] = [None] * world_size()
    with _contact():
        _distributed().all_gather_object(found, value)
    return found


def broadcast(value: T) -> T:
    """The main process's value, in every process."""
    if _launch is None:
        return value
    box: list[Any] = [value if is_main() else None]
    with _contact():
        _distributed().broadcast_object_list(box, src=0)
    return cast("T", box[0])


def on_main(compute: Callable[[], T]) -> T:
    """What the main process computes while the others wait. An error that is for people to read ends all of them."""
    if _launch is None:
        return compute()
    value: T | None = None
    error: UserError | RunFailed | None = None
    if is_main():
        try:
            value = compute()
        except (UserError, RunFailed) as raised:
            error = raised
    # Not the error itself: many kinds cannot be made again from their message alone.
    told = None if error is None else (UserError if isinstance(error, UserError) else RunFailed, str(error))
    found, told = broadcast((value, told))
    if error is not None:
        raise error
    if told is not None:
        kind, text = told
        raise kind(text)
    return cast("T", found)


def sum_gradients(weights: Iterable[Tensor]) -> None:
    """Makes every weight's gradient the sum over all processes.

    A weight that no process has a gradient for keeps none, so that an optimiser leaves it alone.
    """
    if _launch is None:
        return
    import torch

    with_grad = list(weights)
    counts = torch.tensor([float(weight.grad is not None) for weight in with_grad], device=_launch.device)
    with _contact():
        _distributed().all_reduce(counts)
    summed = [weight for weight, count in zip(with_grad, counts.tolist(), strict=True) if count]
    for weight in summed:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    for bucket in _buckets([weight.grad for weight in summed if weight.grad is not None]):
        flat = torch.cat([grad.reshape(-1) for grad in bucket])
        with _contact():
            _distributed().all_reduce(flat)
        parts = torch.split(flat, [grad.numel() for grad in bucket])
        for grad, part in zip(bucket, parts, strict=True):
            grad.copy_(part.view_as(grad))


def failed_before(status: int) -> int | None:
    """None where this process is the first to fail, and so the one to say why; else the exit status of the first.

    Args:
        status: the exit status that this process is about to end with.
    """
    if _launch is None:
        return None
    own = f"{rank()} {status}"
    try:
        first: bytes = _distributed().distributed_c10d._get_default_store().compare_set(FAILURE, "", own)
    except RuntimeError:
        # The store ends with the process that holds it, and that one has spoken.
        return status
    return None if first.decode() == own else int(first.decode().split()[1])


def _distributed() -> Any:
    import torch.distributed

    return torch.distributed


@contextmanager
def _contact() -> Iterator[None]:
    """Says what it means for this run that the others do not answer."""
    try:
        yield
    except RuntimeError as error:
        raise LostContact(
            "another process of this run has ended or cannot be reached; see what it said, then give the same command "
            f"again, which continues ({str(error).splitlines()[0]})"
        ) from error


def _buckets(grads: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients of one dtype, at most BUCKET_BYTES of them or a single one."""
    bucket: list[Tensor] = []
    for grad in grads:
        size = sum(one.nbytes for one in bucket) + grad.nbytes
        if bucket and (size > BUCKET_BYTES or grad.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(grad)
    if bucket:
        yield bucket


def _launcher_settings() -> bool:
    """Whether the launcher asks for a divided model, through FSDP or DeepSpeed.

    What it sets for other libraries and mmforget does itself is taken back.
    """
    if _is_set("ACCELERATE_USE_CPU") and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise UserError(
            "accelerate launch --cpu starts one process, or several that do not know of one another (mpirun); launch "
            "with configs/ddp_2cpu.yaml, or with torchrun --nproc-per-node 2 -m mmforget ... --device cpu"
        )
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision not in ("no", ""):
        raise UserError(
            f"accelerate was told mixed_precision: {precision}, but the recipe decides (bf16: true in its settings); "
            "launch with --mixed_precision no"
        )
    if _is_set("ACCELERATE_USE_DEEPSPEED", forget=True):
        return _zero()
    if not _is_set("ACCELERATE_USE_FSDP", forget=True):
        return False
    _require(FSDP_SETTINGS, see="configs/fsdp.yaml")
    # Transformers would load weights in the first process only, and leave all others with empty ones.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    return True


def _zero() -> bool:
    """Whether DeepSpeed was told to divide anything.

    mmforget divides what the ZeRO stage says by PyTorch's own means (FSDP2): DeepSpeed wants all weights in one dtype,
    which 4-bit weights with float32 adapters are not, and updates them before a gradient can be checked.
    """
    _require(DEEPSPEED_SETTINGS, see="configs/deepspeed.yaml")
    stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    if stage not in ZERO_STAGES:
        raise UserError(f"zero_stage is {stage}; give one of {', '.join(ZERO_STAGES)}; see configs/deepspeed.yaml")
    os.environ["FSDP_RESHARD_AFTER_FORWARD"] = str(stage == "3").lower()
    return stage != "0"


def _require(settings: Mapping[str, str], *, see: str) -> None:
    """Raises UserError for a setting of the launcher that has another value than the one that is supported."""
    for name, allowed in settings.items():
        given = os.environ.get(name, allowed)
        if given.lower() != allowed:
            shown = name.removeprefix("ACCELERATE_DEEPSPEED_").lower()
            raise UserError(f"{shown} is {given}, and mmforget allows {allowed} alone; see {see}")


def _is_set(name: str, *, forget: bool = False) -> bool:
    text = os.environ.pop(name, "") if forget else os.environ.get(name, "")
    return text.lower() in ("true", "1", "yes")


def _number(name: str, *, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else default
