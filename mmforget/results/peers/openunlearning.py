"""OpenUnlearning's `TOFU_EVAL.json` and `MUSE_EVAL.json`: by metric its value and, of each row, what it rests on.

Losses are means over an answer's tokens with the one that ends it. Of a metric without rows (`forget_quality`,
`model_utility`, `privleak`) the file's own value is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmforget.errors import UserError, shortened
from mmforget.results.peers.log import (
    PeerLog,
    gen_sample,
    losses,
    number,
    prob_sample,
    read_object,
    require_no_gap,
    require_rows,
)
from mmforget.types import Sample

SETS = {"forget": "forget", "retain": "retain", "ra": "real_authors", "wf": "world_facts"}
"""What a key of TOFU's begins with, and its set."""
MUSE_SETS = ("forget_knowmem", "retain_knowmem", "forget_verbmem")
ROLES = {"answer": "Q_A_Prob", "rephrased": "Q_A_PARA_Prob", "perturbed": "Q_A_PERT_Prob"}
SAME = {"forget_truth_ratio": "forget_Truth_Ratio"}
"""A number that goes by two names: the one that references are compared by, and the other."""
ROUGE = ("rouge1_recall", "rougeL_recall", "rougeL_f1")
BY_ROW = ("agg_value", "value_by_index")
ATTACK = ("forget", "holdout")
"""The two groups of a membership attack."""


def read(path: Path) -> PeerLog:
    """The log in a file.

    Raises UserError in one line for a file of another program, a set that lacks rows and a value that is none.
    """
    document = read_object(path, what="TOFU_EVAL.json or MUSE_EVAL.json of OpenUnlearning", is_one=_is_one)
    tables = {name: table for name, table in document.items() if isinstance(table, dict)}
    for name, other in SAME.items():
        if other in tables:
            tables.setdefault(name, tables[other])
    samples: list[Sample] = []
    stored: dict[str, dict[str, float]] = {name: {} for name in ROUGE}
    for prefix, set_name in (SETS | {name: name for name in MUSE_SETS}).items():
        rows = _rows(path, tables=tables, prefix=prefix)
        for index, row in rows.items():
            samples += _samples(set_name, index=index, row=row, place=f"{path}: {set_name}, item '{index}'")
            for name in ROUGE:
                value = number(row.get("ROUGE", {}).get(name))
                if value is not None:
                    stored[name][f"{set_name}/{index}"] = value
    totals = {name: number(table.get("agg_value")) for name, table in tables.items() if "agg_value" in table}
    scores = dict(_scores(path, tables=tables))
    return PeerLog(path, "openunlearning", "openunlearning", tuple(samples), totals=totals, stored=stored | scores)


def _is_one(document: Mapping[str, Any]) -> bool:
    return any(isinstance(table, dict) and set(BY_ROW) & set(table) for table in document.values())


def _rows(path: Path, *, tables: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, dict[str, Any]]:
    """By index, what the keys of one set say of a row: losses by role and `ROUGE`. All have to have the same rows."""
    keys = {role: f"{prefix}_{ending}" for role, ending in ROLES.items()}
    keys["ROUGE"] = f"{prefix}_ROUGE" if prefix in MUSE_SETS else f"{prefix}_Q_A_ROUGE"
    found = {what: tables[key]["value_by_index"] for what, key in keys.items() if _has_rows(tables.get(key))}
    every = list(dict.fromkeys(index for rows in found.values() for index in rows))
    for what, rows in found.items():
        require_rows(path, name=keys[what], found=rows, wanted=every)
        wrong = next((index for index, row in rows.items() if not isinstance(row, dict)), None)
        if wrong is not None:
            raise UserError(f"{path}: '{keys[what]}', item '{wrong}' is {shortened(rows[wrong])}; the log is damaged")
    require_no_gap(path, name=prefix, indices=every)
    return {index: {what: rows[index] for what, rows in found.items()} for index in every}


def _has_rows(table: Any) -> bool:
    return isinstance(table, dict) and isinstance(table.get("value_by_index"), dict)


def _samples(set_name: str, *, index: str, row: Mapping[str, Mapping[str, Any]], place: str) -> Iterator[Sample]:
    told = row.get("ROUGE", {})
    text = (str(told.get("input", "")).strip(), str(told.get("ground_truth", "")))
    if isinstance(told.get("generation"), str):
        yield gen_sample(set_name=set_name, index=index, text=text, response=told["generation"])
    roles = {role: losses(row[role].get("avg_loss"), place=f"{place}, {role}") for role in ROLES if role in row}
    if set_name in ("real_authors", "world_facts") and "answer" in roles:
        roles["rephrased"] = roles["answer"]  # there the answer itself is what wrong ones are held against
    if roles:
        yield prob_sample(set_name=set_name, index=index, text=text, roles=roles, extra={})


def _scores(path: Path, *, tables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, float]]]:
    """What other metrics keep a row as `score`, by metric, of membership attacks by metric and group."""
    for name, table in tables.items():
        parts = {f"{name}/{group}": table.get(group) for group in ATTACK} | {name: table}
        for key, part in parts.items():
            if isinstance(part, dict) and _has_rows(part):
                require_no_gap(path, name=key, indices=part["value_by_index"])
                rows = {index: row for index, row in part["value_by_index"].items() if isinstance(row, dict)}
                values = {index: number(row.get("score")) for index, row in rows.items()}
                found = {index: value for index, value in values.items() if value is not None}
                if found:
                    yield key, found
