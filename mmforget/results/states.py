"""Hidden states that attacks keep, on disk: one safetensors file beside the samples of a record.

A tensor's name is the JSON list of its sample's task, id, subject, attack and attempt, and of what the state is called.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmforget.errors import UserError
from mmforget.types import Sample, States

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STATES_FILE = "states.safetensors"

SampleKey = tuple[str, str, str, str | None, int | None]
"""Task, id, subject, attack and attempt: of subjects forgotten one at a time, each may be asked the same row."""
Kept = Mapping[SampleKey, Mapping[str, States]]
"""By sample, its states by name."""


def key_of(sample: Sample) -> SampleKey:
    return (sample.task, sample.id, sample.subject, sample.attack, sample.attempt)


def states_bytes(samples: Sequence[Sample]) -> bytes:
    """The states of all samples as one safetensors file."""
    from safetensors.numpy import save

    tensors: dict[str, NDArray[np.float32]] = {
        json.dumps([*key_of(sample), name], ensure_ascii=False): found.array()
        for sample in samples
        for name, found in sample.states.items()
    }
    data: bytes = save(tensors)
    return data


def read_states(path: Path) -> Kept:
    """Raises UserError for a file that is none of ours."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    found: dict[SampleKey, dict[str, States]] = defaultdict(dict)
    try:
        for text, values in sorted(load_file(path).items()):
            task, row, subject, attack, attempt, name = json.loads(text)
            found[task, row, subject, attack, attempt][name] = States.of(values)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error}); restore it or run again") from error
    return found
