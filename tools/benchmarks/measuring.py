"""Clocks and counters that know nothing of mmforget: hooks on a model's own modules, repeats in turn, peak memory."""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

MATMUL_SIZE = 2048
ENOUGH_S = 5.0
"""What was timed for as long in all is not timed again: what takes long varies little."""
_STARTED = time.perf_counter()


class Seconds(NamedTuple):
    """What passed on the clock on the wall, and what all threads of this process computed, added up."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        synchronise()
        return cls(time.perf_counter(), time.process_time())

    def passed(self) -> Seconds:
        """Since this was `now`."""
        end = Seconds.now()
        return Seconds(end.wall - self.wall, end.cpu - self.cpu)


class Timing(NamedTuple):
    """Times of all repeats, in order. Where other programs take turns on the cores, only `cpu` can be relied on."""

    repeats: list[Seconds]

    @property
    def best(self) -> float:
        return min(one.wall for one in self.repeats)

    @property
    def best_cpu(self) -> float:
        return min(one.cpu for one in self.repeats)

    def as_dict(self) -> dict[str, Any]:
        return {
            "best_s": self.best,
            "median_s": statistics.median(one.wall for one in self.repeats),
            "best_cpu_s": self.best_cpu,
            "repeats_s": [round(one.wall, 6) for one in self.repeats],
        }


def ratios(slower: Timing, faster: Timing, *, name: str = "ratio") -> dict[str, float]:
    """How many times longer, by the best wall times and by the best processor times."""
    return {name: slower.best / faster.best, f"{name}_cpu": slower.best_cpu / faster.best_cpu}


class Watch:
    """Inside, counts what passes through LLaVA models, or language models alone, and how long they compute.

    Tokens are counted where the first decoder layer of the language model takes them, batch times length, padding
    included; images where the vision tower takes them. Time is that inside language model, tower, projector and head,
    and inside `computing()`; nested ones count once.

    Attributes:
        num_tokens, num_images: what was computed.
        inside_s: seconds.
    """

    def __init__(self, *cores: Any) -> None:
        self.cores = cores
        self.num_tokens = self.num_images = 0
        self.inside_s = 0.0
        self._depth, self._since = 0, 0.0
        self._stack = ExitStack()

    def __enter__(self) -> Watch:
        for core in self.cores:
            inner = core.model
            language, parts = inner, [inner]
            if hasattr(inner, "vision_tower"):
                language = inner.language_model
                parts = [language, inner.vision_tower, inner.multi_modal_projector]
                self._add(inner.vision_tower.register_forward_pre_hook(self._count_images, with_kwargs=True))
            self._add(language.layers[0].register_forward_pre_hook(self._count_tokens, with_kwargs=True))
            for module in (*parts, core.lm_head):
                self._add(module.register_forward_pre_hook(lambda *_: self._begin()))
                self._add(module.register_forward_hook(lambda *_: self._end(), always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Counts what happens inside as the model's own time: the backward pass."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def _add(self, handle: Any) -> None:
        self._stack.callback(handle.remove)

    def _count_tokens(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        states = args[0] if args else kwargs["hidden_states"]
        self.num_tokens += math.prod(states.shape[:2])

    def _count_images(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        pixels = args[0] if args else kwargs["pixel_values"]
        self.num_images += len(pixels)

    def _begin(self) -> None:
        if self._depth == 0:
            synchronise()
            self._since = time.perf_counter()
        self._depth += 1

    def _end(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            synchronise()
            self.inside_s += time.perf_counter() - self._since


def synchronise() -> None:
    """Waits for the GPU, where there is one in use."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def clock(work: Callable[[], object]) -> Seconds:
    """What `work` takes, garbage collected before."""
    gc.collect()
    start = Seconds.now()
    work()
    return start.passed()


def is_enough(taken: Sequence[Seconds], *, repeats: int) -> bool:
    """Whether a variant was timed as often as wanted, or for long."""
    return len(taken) >= repeats or sum(one.wall for one in taken) >= ENOUGH_S


def alternate(
    variants: Mapping[str, Callable[[], object]], *, repeats: int, before: Mapping[str, Seconds] | None = None
) -> dict[str, Timing]:
    """Times of each variant, one after the other in turn, so that whatever else the machine does hits them alike.

    Whoever compares takes the best of each. Every variant should have run once before.

    Args:
        before: times of variants that were taken already and count as a repeat.
    """
    taken = {name: [before[name]] if before and name in before else [] for name in variants}
    for _ in range(repeats):
        for name, work in variants.items():
            if not is_enough(taken[name], repeats=repeats):
                taken[name].append(clock(work))
    return {name: Timing(found) for name, found in taken.items()}


def attainable_flops(*, device: str = "cpu", dtype: torch.dtype = torch.float32, size: int = MATMUL_SIZE) -> float:
    """FLOP/s of the best of several products of two square matrices."""
    one, other = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    with torch.no_grad():
        best = min(clock(lambda: one @ other).wall for _ in range(12))
    return 2 * size**3 / best


class Memory(NamedTuple):
    """Bytes of main memory of this process, or those allocated on the GPU."""

    now: int
    peak: int


def reset_peak() -> None:
    """Lets the peak begin again at what is in use. Raises OSError where the system does not allow that."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def memory() -> Memory:
    """What is in use, and the most that was since `reset_peak`."""
    if torch.cuda.is_available():
        return Memory(torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated())
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines if line.startswith("Vm"))
    return Memory(*(int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")))


def num_parameters_alive() -> int:
    """Elements of all parameters that exist in this process, each storage once: a second model would double it."""
    gc.collect()
    found = {one.data_ptr(): one.numel() for one in gc.get_objects() if isinstance(one, nn.Parameter)}
    return sum(found.values())


def relative_difference(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> float:
    """L2 norm of the difference over that of `wanted`, over all tensors together, in float64."""
    pairs = [(one.double().cpu(), other.double().cpu()) for one, other in zip(found, wanted, strict=True)]
    difference = sum(float((one - other).square().sum()) for one, other in pairs)
    return math.sqrt(difference / sum(float(other.square().sum()) for _, other in pairs))


def say(text: str) -> None:
    """A line of progress on stderr, behind the seconds since the first one."""
    passed = time.perf_counter() - _STARTED
    print(f"{passed:6.1f} s  {text}", file=sys.stderr, flush=True)
