"""What a record says of requests that were carried out one after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Between = Literal["merged", "stacked", "weights"]

FOLDER = "requests"


def request_folder(number: int) -> str:
    """Where what a request leaves lies, below the folder of the record."""
    return f"{FOLDER}/{number:02d}"


@dataclass(frozen=True)
class RequestResult:
    """One request, and what became of it."""

    number: int
    """From 1."""
    subjects: tuple[str, ...]
    """What it forgot."""
    num_rows: int
    """Rows that it forgot."""
    rebound: float | None
    """How much of it came back after later requests, at the worst (`statistics.sequences.rebound`); None for the last
    one, and where it is not known."""
    damage: float | None
    """Utility that it cost; negative where utility rose."""
    cumulative_damage: float | None
    """Utility that it and all requests before it have cost."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """`wall_s`, `num_steps`, `stopped`, ... of its training."""
    files: Mapping[str, str] = field(default_factory=dict)
    """sha256 of the sample files of what was answered after it, by name in `place`; empty for the last one, whose
    samples are the record's own."""

    @property
    def place(self) -> str:
        """Its folder below that of the record."""
        return request_folder(self.number)


@dataclass(frozen=True)
class SequenceCell:
    """How some rows were answered after a request."""

    after: int
    """The request; 0 for the target model, before any."""
    set: str
    """Set of the rows."""
    request: int | None
    """The request that the rows belong to; None for rows of a set that no request is about."""
    num: int
    """Questions asked, of the task that asked most."""
    values: Mapping[str, float | None] = field(default_factory=dict)
    """Mean scores by metric, clean profile, without attacks; None where nothing could be scored."""


@dataclass(frozen=True)
class SequenceResult:
    """Requests one after another, each from the model after the one before."""

    between: Between
    """What became of each request's adapter before the next one: `merged` into the weights, or `stacked`, kept beside
    them under the next; `weights` where methods change the weights themselves."""
    metric: str
    """What `recall` means: the gate's metric, in its clean profile."""
    set: str
    """Set that `recall` is measured on."""
    requests: tuple[RequestResult, ...]
    """In their order."""
    cells: tuple[SequenceCell, ...]
    """After each request, the rows of every request and of every other set."""
    recall: tuple[tuple[float | None, ...], ...]
    """By model (the target, then after each request) and request: the mean score of its rows; None where none was
    asked."""
    utility: tuple[float | None, ...]
    """By model, the target first: the benchmark's composite on its utility set."""
    rebound: float | None
    """Mean over the requests that have one."""
    damage: float | None
    """Utility that all requests have cost together."""
