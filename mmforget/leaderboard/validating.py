"""Is a `leaderboard.json` of a stranger what it says? Everything that is wrong with it, row by row, in words.

First its JSON Schema, then what a row says against itself, then whether places, eligibility and results are those that
the rules make of its numbers. Nothing of it is run, and every text of it stays text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.errors import UserError, listed, shortened
from mmforget.leaderboard.board import boards
from mmforget.leaderboard.reading import Export, name_of, read_export, run_of
from mmforget.leaderboard.rows import row_of
from mmforget.results.codec import to_jsonable
from mmforget.results.consistency import contradictions
from mmforget.results.store import StoredRun

SCHEMA_FILE = "leaderboard.schema.json"
MAX_FAULTS = 50
"""Of one row; more nobody reads."""
RANKED = ("rank", "tied", "rank_range")
"""What hangs on all rows of a board."""
DERIVED = ("eligible", "access", "results")
"""What the rules make of a row's own numbers, and which code each finding has."""
ABSENT = "no_reference_record"


class ReadRow(NamedTuple):
    """A row that keeps the schema and does not contradict itself.

    Attributes:
        name: what messages call it.
        row: its JSON.
        run: the record that it is of, as far as the row has it.
    """

    name: str
    row: Mapping[str, Any]
    run: StoredRun


class Validated(NamedTuple):
    """What was found. `rows` are those with nothing wrong by themselves; `num_rows` counts all."""

    num_rows: int
    faults: list[str]
    rows: list[ReadRow]


def schema_text() -> str:
    """The JSON Schema of `leaderboard.json`, of the version that this mmforget writes."""
    return resources.files("mmforget.leaderboard").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")


def validate(path: Path) -> Validated:
    """All faults of a file. Raises UserError where it cannot be read at all."""
    export = read_export(path)
    faults = schema_faults({**export.document, "rows": []})
    read: list[ReadRow] = []
    for number, row in enumerate(export.rows, 1):
        name = name_of(row, number)
        found = _own_faults(row, name=name, export=export, read=read)
        faults += [f"{name}: {fault}" for fault in found]
    is_whole = len(read) == len(export.rows)
    return Validated(len(export.rows), [*faults, *_against_others(read, is_whole=is_whole)], read)


def _own_faults(row: Any, *, name: str, export: Export, read: list[ReadRow]) -> list[str]:
    """What is wrong with a row by itself; where nothing is, it is added to `read`."""
    wrong = schema_faults(row, part="row")
    if wrong:
        return wrong
    try:
        run = run_of(row, folder=export.path.parent, source=name)
    except UserError as error:
        return [str(error).removeprefix(f"{name}: ")]
    wrong = contradictions(run.record, is_joint=bool(run.seeds))
    if not wrong:
        read.append(ReadRow(name, row, replace(run, unverified=row["unverified"] or "")))
    return wrong


def schema_faults(value: Any, *, part: str = "") -> list[str]:
    """Where a value does not keep the schema, in words: the first `MAX_FAULTS`.

    Args:
        part: the definition of the schema that it is of; the whole document unless given.
    """
    return list(dict.fromkeys(islice(map(_said, _validator(part).iter_errors(value)), MAX_FAULTS)))


@cache
def _validator(part: str) -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads(schema_text())
    return Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{part}"} if part else schema)


def _said(error: Any) -> str:
    """What an error of jsonschema comes to; its own messages hold whole values of strangers."""
    where = ".".join(str(key)[:80] for key in error.absolute_path)
    text = _problem(error.validator, error.validator_value, error.instance, error.schema)
    return f"{where}: {text}" if where else text


def _problem(rule: str, limit: Any, value: Any, schema: Mapping[str, Any]) -> str:
    size = f"{len(value):,}" if isinstance(value, str | list | dict) else ""
    texts: dict[str, Callable[[], str]] = {
        "required": lambda: f"missing {', '.join(key for key in limit if key not in value)}",
        "additionalProperties": lambda: f"unknown keys {', '.join(_unknown(value, schema))}",
        "type": lambda: f"is {shortened(value)}, expected {_kinds(limit)}",
        "enum": lambda: f"is {shortened(value)}, expected one of {', '.join(map(json.dumps, limit))}",
        "const": lambda: f"is {shortened(value)}, expected {json.dumps(limit)}",
        "minimum": lambda: f"is {_number(value)}, at least {limit:g} is allowed",
        "maximum": lambda: f"is {_number(value)}, at most {limit:g} is allowed",
        "maxLength": lambda: f"has {size} characters, at most {limit:,} are allowed",
        "minLength": lambda: "is empty",
        "maxItems": lambda: f"has {size} items, at most {limit:,} are allowed",
        "minItems": lambda: f"has {size} items, at least {limit:,} are needed",
        "maxProperties": lambda: f"has {size} keys, at most {limit:,} are allowed",
        "pattern": lambda: f"is {shortened(value)}, which does not fit {limit}",
    }
    return texts[rule]() if rule in texts else f"is {shortened(value)}, which breaks '{rule}' of the schema"


def _number(value: float) -> str:
    """An integer may be too long for a float."""
    return f"{value:g}" if isinstance(value, float) else shortened(value)


def _unknown(value: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    return [key[:80] for key in value if key not in schema.get("properties", {})][:20]


def _kinds(limit: str | Sequence[str]) -> str:
    return limit if isinstance(limit, str) else " or ".join(limit)


def _against_others(read: Sequence[ReadRow], *, is_whole: bool) -> Iterator[str]:
    """Where places, eligibility, accesses and results are not what the rules make of the rows."""
    known = {(one.run.record.role, one.run.record.model_info.get("fingerprint")) for one in read}
    given = []
    for one in read:
        lacking = [role for role, sha in one.run.record.references.items() if (role, sha) not in known]
        if lacking and one.row["eligible"]:
            told = listed(lacking)
            yield f"{one.name}: there is no row of the {told} model that it was judged against; add its record"
        is_told = any(finding["code"] == ABSENT for finding in one.row["findings"])
        given.append(replace(one.run, absent=tuple(lacking) if is_told else ()))
    again = {id(row.record): row_of(board, row, folder=Path()) for board in boards(given) for row in board.rows}
    for one in read:
        made = to_jsonable(again[id(one.run.record)]).value
        yield from _derived(one, made, keys=(*RANKED, *DERIVED) if is_whole else DERIVED)


def _derived(one: ReadRow, made: Mapping[str, Any], *, keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        if one.row[key] != made[key]:
            yield f"{one.name}: {key} is {shortened(one.row[key])}, its numbers give {shortened(made[key])}"
    codes, due = ([finding["code"] for finding in row["findings"]] for row in (one.row, made))
    if codes != due:
        yield f"{one.name}: findings have the codes {shortened(codes)}, its numbers give {shortened(due)}"
