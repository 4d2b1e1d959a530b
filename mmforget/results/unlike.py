"""What two records do not have in common, as far as it can move a number: questions, method, model, code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmforget.results.codec import to_jsonable
from mmforget.results.schema import RunRecord

PARTS = ("questions", "method", "model", "training", "compared with", "code")
SEED = ("method", "seed")
ABSENT = "not there"
_MODEL_TEXTS = ("fingerprint", "adapter_fingerprint")
"""What every model has of its own, and says nothing of why."""
_HASHES = ("base_fingerprint",)
_TRAINING = ("output", "num_planned", "num_trainable", "num_processes", "diverged", "stopped", "kept_step", "tuning")
"""What of a training decides its outcome and stands nowhere else; its number of steps is among its settings."""
_SETTINGS_OF_SEED = "training.seed"


class Fact(NamedTuple):
    """Something that is not equal.

    Attributes:
        part: what it is about, one of `PARTS`.
        name: dotted where it lies deeper.
        first, second: values of either side, as JSON, each once; several where seeds of one side differ.
    """

    part: str
    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]


def unlike(first: Sequence[RunRecord], second: Sequence[RunRecord]) -> list[Fact]:
    """The facts in which two sides, each of one record or several seeds, are not equal, by part."""
    sides = [_values(records) for records in (first, second)]
    keys = sorted(dict.fromkeys((*sides[0], *sides[1])), key=lambda key: PARTS.index(key[0]))
    found = [(key, *(side.get(key, (ABSENT,)) for side in sides)) for key in keys]
    return [Fact(part, name, own, other) for (part, name), own, other in found if own != other]


def _values(records: Sequence[RunRecord]) -> dict[tuple[str, str], tuple[str, ...]]:
    """By part and name, what any of the records say."""
    told = [{(part, name): value for part, name, value in _facts(record)} for record in records]
    keys = dict.fromkeys(key for one in told for key in one)
    return {key: tuple(sorted({one.get(key, ABSENT) for one in told})) for key in keys}


def _facts(record: RunRecord) -> Iterator[tuple[str, str, str]]:
    use, method, info = record.benchmark, record.method, record.model_info
    asked = {**_plain(use), "data": record.data, "judge": record.judge}
    asked |= {f"sets.{name}": {"num_questions": one.num_questions, "rows_hash": _hash(one.rows_hash)} for name, one in
              record.sets.items()}  # fmt: skip
    yield from _flat(
        "questions", {name: value for name, value in asked.items() if name not in ("title", "blur_images")}
    )
    args = {} if method is None else {n: value for n, value in method.args.items() if n != _SETTINGS_OF_SEED}
    made = {"role": record.role, "name": record.name if method is None else method.name, "args": args}
    yield from _flat("method", made | ({} if method is None else {"recipe": method.recipe, "seed": method.seed}))
    own = {name: value for name, value in info.items() if name not in _MODEL_TEXTS}
    yield from _flat("model", {name: _hash(value) if name in _HASHES else value for name, value in own.items()})
    yield from _flat("training", {name: record.training[name] for name in _TRAINING if name in record.training})
    yield from _flat("compared with", {role: _hash(name) for role, name in record.references.items()})
    yield from _flat("code", _code(record))


def _code(record: RunRecord) -> dict[str, Any]:
    """What the answers were made with; and the numbers, where these were computed again later."""
    again = record.rescored
    found = _software(record)
    return found if again is None else {**found, "rescored": {"version": again.version, "commit": again.commit}}


def _software(record: RunRecord) -> dict[str, Any]:
    made = record.provenance
    names = ("version", "commit", "dirty", "packages", "python", "platform", "device", "num_threads")
    return {name: getattr(made, name) for name in names}


def _hash(value: Any) -> Any:
    """A hash by its first characters: enough to tell two apart."""
    return value[:12] if isinstance(value, str) else value


def _plain(value: object) -> dict[str, Any]:
    found: dict[str, Any] = to_jsonable(value, strict=False).value
    return found


def _flat(part: str, values: Mapping[str, Any], *, begin: str = "") -> Iterator[tuple[str, str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(part, value, begin=f"{begin}{name}.")
        else:
            yield part, begin + name, json.dumps(to_jsonable(value, strict=False).value, ensure_ascii=False)
