"""What a peer's result file comes to: the questions that were asked, and the numbers that stand in it.

A file that holds only the mean loss of an answer's tokens gives samples whose candidates are one token each, of that
mean: what rests on means is exact, and nothing else may be computed of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from mmforget.errors import UserError, shortened
from mmforget.results.files import read_json
from mmforget.types import Sample

MAX_BYTES = 2**31
"""Largest result file that is read."""
NOT_WHOLE = "the log is not whole: copy it again, or evaluate again"
"""What to do about a damaged log, which another program has written."""
MAX_DIGITS = 9
"""Of an index that counts rows."""
NUM_TOKENS = "num_tokens"
"""Key of a sample's `extra`: tokens by role, where the file says how many."""


@dataclass(frozen=True)
class PeerLog:
    """One model's result file.

    Attributes:
        peer: whose format it is: `tofu`, `openunlearning`, `lm_eval`.
        profile: the profile that the peer's own code computes.
        samples: by set a sample of kind `gen`, `prob` or `mc` for each question, as far as the file has them; `id` is
            the file's index.
        totals: the numbers that the file itself states, by its own names.
        stored: what the file keeps a row, by number and then by `<set>/<index>`.
    """

    path: Path
    peer: str
    profile: str
    samples: tuple[Sample, ...] = ()
    totals: Mapping[str, float | None] = field(default_factory=dict)
    stored: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of_set(self, name: str, kind: str) -> list[Sample]:
        """The samples of one set and kind, in the order of the file."""
        return [sample for sample in self.samples if (sample.set, sample.kind) == (name, kind)]

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets that were asked, in the order of the file."""
        return tuple(dict.fromkeys(sample.set for sample in self.samples))

    def num_rows(self, name: str) -> int:
        """How many rows of a set there are, of the kind of task that has most."""
        return max((len(self.of_set(name, kind)) for kind in ("gen", "prob", "mc")), default=0)

    def first(self, num_rows: int) -> PeerLog:
        """The log of at most the first `num_rows` rows of each set."""
        kept: dict[tuple[str, str], list[Sample]] = {}
        for sample in self.samples:
            kept.setdefault((sample.set, sample.kind), []).append(sample)
        return replace(self, samples=tuple(one for group in kept.values() for one in group[:num_rows]))


def read_object(path: Path, *, what: str, is_one: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """The object in a JSON file. Raises UserError where the file is none, or not `what`."""
    document = read_json(path, max_bytes=MAX_BYTES, takes_nan=True, advice=NOT_WHOLE)
    if not isinstance(document, dict) or not is_one(document):
        keys = ", ".join(map(str, list(document)[:4])) if isinstance(document, dict) else document
        raise UserError(
            f"{path}: is no {what} (it holds {shortened(keys) if document else 'nothing'}); give the whole file, and "
            "with --from the program that wrote it"
        )
    return document


def number(value: Any) -> float | None:
    """A number of the file, or None for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def losses(value: Any, *, place: str) -> tuple[float, ...]:
    """A loss, or a list of them; None gives none. Raises UserError for anything else."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    found = [number(one) for one in values]
    if any(one is None for one in found):
        raise UserError(f"{place}: {shortened(value)} is no loss; the log is damaged, evaluate again")
    return tuple(one for one in found if one is not None)


def require_no_gap(path: Path, *, name: str, indices: Collection[str]) -> None:
    """Raises UserError in one line where numbers between 0 and the last index are missing from all of a set."""
    numbers = {int(index) for index in indices if index.isdecimal() and len(index) <= MAX_DIGITS}
    num_missing = max(numbers, default=-1) + 1 - len(numbers)
    if num_missing:
        first = next(number for number in count() if number not in numbers)
        told = f"{num_missing} of {len(numbers) + num_missing} items are missing, such as '{first}'"
        raise UserError(f"{path}: '{name}': {told}; {NOT_WHOLE}")


def require_rows(path: Path, *, name: str, found: Iterable[str], wanted: Sequence[str]) -> None:
    """Raises UserError in one line where rows are missing, or there are none."""
    there = set(found)
    missing = [index for index in wanted if index not in there]
    if missing or not wanted:
        told = f"{len(missing)} of {len(wanted)} items are missing, such as '{missing[0]}'" if missing else "no items"
        raise UserError(f"{path}: '{name}': {told}; {NOT_WHOLE}")


def prob_sample(
    *, set_name: str, index: str, text: tuple[str, str], roles: Mapping[str, Sequence[float]], extra: Mapping[str, Any]
) -> Sample:
    """A question's candidates, each one token of its mean log-prob.

    Args:
        text: question and answer.
        roles: mean losses by `answer`, `rephrased` and `perturbed`.
    """
    named: dict[str, tuple[float, ...]] = {}
    for role, values in roles.items():
        places = [role] if role == "answer" else [f"{role}/{place}" for place in range(len(values))]
        named |= {place: (-loss,) for place, loss in zip(places, values, strict=False)}
    question, answer = text
    return Sample(
        task="", set=set_name, kind="prob", id=index, subject="", question=question, answer=answer,
        token_logprobs=named, extra=extra,
    )  # fmt: skip


def gen_sample(*, set_name: str, index: str, text: tuple[str, str], response: str) -> Sample:
    """A question, its answer and what was generated."""
    question, answer = text
    return Sample(
        task="", set=set_name, kind="gen", id=index, subject="", question=question, answer=answer, response=response
    )
