"""Answered questions on disk: `samples_<task>.jsonl` holds the text, `token_logprobs.parquet` every token's log-prob.

Hidden states that attacks keep lie in a file of their own, see `results.states`.

A sample line names its roles and their token counts, so that a Parquet file that does not belong to it is noticed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmforget.errors import UserError
from mmforget.reading import read_text, require_regular
from mmforget.results.codec import from_json, to_jsonable
from mmforget.results.files import parse_json, write_bytes, write_text
from mmforget.results.fingerprint import hash_file
from mmforget.results.states import STATES_FILE, Kept, SampleKey, key_of, read_states, states_bytes
from mmforget.types import GRADIENT_NORM, GRADIENT_NORM_BUT_LAST, IS_BEST, Sample

TOKENS_FILE = "token_logprobs.parquet"
NO_TEXT = (TOKENS_FILE, STATES_FILE)
"""Files of samples that are no lines of text."""
MAX_BYTES = 2**32
"""Largest sample file that is read."""
TEXTS, LATER = ("task", "id", "role"), ("attempt", "subject")
"""What is read of the Parquet file beside `logprob` and `attack`; older ones lack what came later, and call `attack`
`control`."""
VALUES = (IS_BEST, "entropy", "variance", GRADIENT_NORM, GRADIENT_NORM_BUT_LAST)
"""Columns of the Parquet file beside `logprob` where anything is known: further numbers of each token."""
NO_SUBJECT = ""
"""In older Parquet files, which have no subjects."""
ADDED: Mapping[str, Any] = {
    "extra": {},
    "labels": {},
    "unanswered": "",
    "choices": [],
    "gold": None,
    "ranks": [],
    "lacking": "",
    "token_values": {},
    "states": {},
}
"""Keys that lines of older schemas do not have, with what they meant then."""

Tokens = dict[SampleKey, dict[str, dict[str, list[float | None]]]]
"""By sample and role, the columns of its tokens: `logprob` and those of `VALUES`."""
LOGPROB = "logprob"


def samples_file(task: str) -> str:
    """File name of a task's samples, with what file systems refuse replaced as lm_eval does."""
    return "samples_" + re.sub(r'["<>:/|?*\\\[\]]+', "__", task) + ".jsonl"


def write_samples(folder: Path, samples: Sequence[Sample], *, model: str) -> dict[str, str]:
    """Write the samples of one model, one file a task, and their token log-probs.

    Returns the sha256 of every file written, by name. Raises UserError where they cannot be written, ValueError where
    two samples share task, id, subject, attack and attempt.
    """
    seen: set[SampleKey] = set()
    for sample in samples:
        if key_of(sample) in seen:
            raise ValueError(f"two samples of task {sample.task} share the id {sample.id} (attack {sample.attack})")
        seen.add(key_of(sample))
    files = [write_text(folder / name, _lines(group)) for name, group in _by_file(samples).items()]
    if any(sample.token_logprobs for sample in samples):
        files.append(write_bytes(folder / TOKENS_FILE, _parquet(samples, model=model)))
    if any(sample.states for sample in samples):
        files.append(write_bytes(folder / STATES_FILE, states_bytes(samples)))
    return {path.name: hash_file(path) for path in files}


def write_labelled(folder: Path, samples: Sequence[Sample], *, stored: Mapping[str, str], time: str) -> dict[str, str]:
    """Write stored samples again with other labels, in files of their own: until a record names these, the old one
    stands with its own samples, whatever happens in between.

    Args:
        stored: the files of the old record, of which those of token log-probs and hidden states stay.
        time: ends the names of the new files, as lm_eval's do.

    Returns the sha256 of every file of the new record, by name. Raises UserError where they cannot be written.
    """
    files = [write_text(folder / name, _lines(group)) for name, group in _by_file(samples, ending=f"_{time}").items()]
    kept = {name: stored[name] for name in NO_TEXT if name in stored}
    return {path.name: hash_file(path) for path in files} | kept


def _by_file(samples: Sequence[Sample], *, ending: str = "") -> Mapping[str, Sequence[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[samples_file(sample.task + ending)].append(sample)
    return found


def read_samples(folder: Path, *, files: Mapping[str, str]) -> list[Sample]:
    """The samples as they were written, task by task in the order of `files` (name to sha256).

    Raises UserError where a file is missing, was changed, or does not fit the others.
    """
    for name, expected in files.items():
        check_file(folder, name, expected=expected)
    tokens = _read_parquet(folder / TOKENS_FILE) if TOKENS_FILE in files else {}
    states = read_states(folder / STATES_FILE) if STATES_FILE in files else {}
    samples: list[Sample] = []
    for name in files:
        if name not in NO_TEXT:
            samples += _read_lines(folder / name, tokens=tokens, states=states)
    _require_once(samples, folder=folder)
    return samples


def check_file(folder: Path, name: str, *, expected: str) -> int:
    """The lines of a sample file: line breaks, whatever it holds.

    Raises UserError unless it is there, inside `folder`, and has the sha256 that is `expected`.
    """
    path = folder / name
    if path.name != name:
        raise UserError(f"{folder}: the record names a sample file outside its folder ('{name}'); do not trust it")
    if not path.exists():
        raise UserError(f"{path}: missing, so the record cannot be scored again; restore it or run again")
    require_regular(path, max_bytes=MAX_BYTES)
    digest, num_lines = hashlib.sha256(), 0
    with path.open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
            num_lines += block.count(b"\n")
    if digest.hexdigest() != expected:
        raise UserError(f"{path}: not the file this record was computed from (sha256 differs); run again")
    return num_lines


def _require_once(samples: Sequence[Sample], *, folder: Path) -> None:
    counts = Counter(key_of(sample) for sample in samples)
    twice = next((key for key, count in counts.items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{folder}: sample {twice[1]} of {twice[0]} is there {counts[twice]} times; run again")


def _lines(samples: Sequence[Sample]) -> str:
    return "".join(json.dumps(_line(sample), ensure_ascii=False, allow_nan=False) + "\n" for sample in samples)


def _line(sample: Sample) -> dict[str, Any]:
    line = {field.name: getattr(sample, field.name) for field in dataclasses.fields(sample)}
    line["token_logprobs"] = {role: len(values) for role, values in sample.token_logprobs.items()}
    line["token_values"] = {}  # these stand beside the log-probs
    line["states"] = {}  # and these in a file of their own
    line["extra"] = to_jsonable(sample.extra).value  # of a stranger's rows; JSON knows no NaN
    return line


def _read_lines(path: Path, *, tokens: Tokens, states: Kept) -> list[Sample]:
    samples = []
    # Not splitlines(): an answer may hold a line separator of Unicode, which JSON leaves as it is.
    lines = read_text(path, max_bytes=MAX_BYTES).removesuffix("\n").split("\n")
    for number, text in enumerate(lines, start=1):
        line = parse_json(text, place=f"{path} line {number}")
        counts = line.get("token_logprobs") if isinstance(line, dict) else None
        if not isinstance(counts, dict):
            raise UserError(f"{path}: line {number} is not a sample; run again")
        sample = from_json(Sample, {**ADDED, **_renamed(line), "token_logprobs": {}}, source=f"{path} line {number}")
        joined = _join(sample, counts, tokens=tokens, path=path)
        logprobs = {role: tuple(_number(value) for value in columns[LOGPROB]) for role, columns in joined.items()}
        values = {name: found for name in VALUES if (found := _values(name, joined))}
        kept = states.get(key_of(sample), {})
        samples.append(dataclasses.replace(sample, token_logprobs=logprobs, token_values=values, states=kept))
    return samples


def _renamed(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line without `control`, which older ones have in place of `attack` and `attempt`."""
    found = {name: value for name, value in line.items() if name != "control"}
    control = line.get("control")
    return {"attack": control, "attempt": _attempt(control), **found}


def _attempt(control: Any) -> int | None:
    """What older files mean by their one attack."""
    return None if control is None else 0


def _number(value: float | None) -> float:
    """What was written is a number or NaN; a null is what others make of a NaN."""
    return math.nan if value is None else value


def _values(name: str, joined: Mapping[str, Mapping[str, Sequence[float | None]]]) -> dict[str, tuple[float, ...]]:
    """By role, the further numbers of a name, where every token has one."""
    found = {role: columns.get(name, ()) for role, columns in joined.items()}
    known = {role: [value for value in values if value is not None] for role, values in found.items()}
    return {role: tuple(values) for role, values in known.items() if values and len(values) == len(found[role])}


def _join(
    sample: Sample, counts: Mapping[str, int], *, tokens: Tokens, path: Path
) -> dict[str, dict[str, list[float | None]]]:
    older = key_of(dataclasses.replace(sample, subject=NO_SUBJECT))
    found = tokens.get(key_of(sample)) or tokens.get(older, {})
    joined = {role: {LOGPROB: [], **found.get(role, {})} for role in counts}
    for role, count in counts.items():
        if len(joined[role][LOGPROB]) != count:
            raise UserError(
                f"{path}: sample {sample.id} has {count} log-probs of '{role}', {TOKENS_FILE} holds "
                f"{len(joined[role][LOGPROB])}; the files are of different runs, run again"
            )
    return joined


def _parquet(samples: Sequence[Sample], *, model: str) -> bytes:
    """One line a token; logprob is float64: nothing is lost."""
    import pyarrow as pa
    from pyarrow import parquet

    further = [name for name in VALUES if any(sample.token_values.get(name) for sample in samples)]
    names = ("task", "set", "id", "subject", "attack", "attempt", "role", "position", LOGPROB, *further)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for sample in samples:
        for role, values in sample.token_logprobs.items():
            told = [_aligned(sample.token_values.get(name, {}).get(role), size=len(values)) for name in further]
            for position, (value, *others) in enumerate(zip(values, *told, strict=True)):
                asked = (sample.subject, sample.attack, sample.attempt)
                row = (sample.task, sample.set, sample.id, *asked, role, position, value, *others)
                for name, item in zip(names, row, strict=True):
                    columns[name].append(item)
    kinds = {"attempt": pa.int32(), "position": pa.int32(), LOGPROB: pa.float64()}
    kinds |= dict.fromkeys(further, pa.float32())
    arrays = {name: pa.array(column, type=kinds.get(name, pa.string())) for name, column in columns.items()}
    table = pa.table({"model": pa.array([model] * len(columns["id"]), type=pa.string()), **arrays})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _aligned(values: Sequence[float] | None, *, size: int) -> Sequence[float | None]:
    """A number for each token; None for all where nothing is known."""
    return values if values is not None and len(values) == size else [None] * size


def _read_parquet(path: Path) -> Tokens:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        there = parquet.read_schema(path).names
        attack = "attack" if "attack" in there else "control"
        kinds = {**dict.fromkeys((*TEXTS, attack), pa.string()), "attempt": pa.int32(), "logprob": pa.float64()}
        kinds |= {"subject": pa.string(), **dict.fromkeys(VALUES, pa.float64())}
        names = [name for name in kinds if name in there or name not in (*LATER, *VALUES)]
        table = parquet.read_table(path, columns=names)
        table = table.cast(pa.schema([(name, kinds[name]) for name in names]))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); restore it or run again") from error
    tokens: Tokens = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    columns = {name: table.column(name).to_pylist() for name in names}
    attempts = columns.get("attempt") or [_attempt(one) for one in columns[attack]]
    subjects = columns.get("subject") or [NO_SUBJECT] * len(attempts)
    keys = zip(columns["task"], columns["id"], subjects, columns[attack], attempts, strict=True)
    told = [name for name in (LOGPROB, *VALUES) if name in columns]
    for key, role, *values in zip(keys, columns["role"], *(columns[name] for name in told), strict=True):
        for name, value in zip(told, values, strict=True):
            tokens[key][role][name].append(value)
    return tokens
