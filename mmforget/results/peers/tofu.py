"""TOFU's `eval_log_aggregated.json`: four sets, of each question losses by candidate, the text and its ROUGE.

Losses are means over an answer's tokens with the one that ends it. The file holds the first 300 rows of a set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmforget.errors import UserError
from mmforget.results.peers.log import (
    NUM_TOKENS,
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

NAME = "eval_log_aggregated.json"
SETS = {
    "eval_log_forget.json": "forget",
    "eval_log.json": "retain",
    "eval_real_author_wo_options.json": "real_authors",
    "eval_real_world_wo_options.json": "world_facts",
}
"""What the file calls a set, and what it is."""
LOSSES = {"answer": "avg_gt_loss", "rephrased": "avg_paraphrased_loss", "perturbed": "average_perturb_loss"}
TOKENS = {"answer": "num_token_gt", "rephrased": "num_token_paraphrased", "perturbed": "num_token_perturb"}
ROUGE = ("rouge1_recall", "rougeL_recall")
NEEDED = (*LOSSES.values(), "generated_text", *ROUGE)


def read(path: Path) -> PeerLog:
    """The log in a file, or in a folder that has one of the usual name.

    Raises UserError in one line for a file of another program, a set that lacks rows and a value that is none.
    """
    path = path / NAME if path.is_dir() else path
    document = read_object(path, what=f"{NAME} of TOFU", is_one=lambda found: bool(set(SETS) & set(found)))
    samples: list[Sample] = []
    stored: dict[str, dict[str, float]] = {name: {} for name in ROUGE}
    for name, set_name in SETS.items():
        if name not in document:
            continue
        for index, row in _rows(path, name=name, table=document[name]):
            samples += _samples(set_name, index=index, row=row, place=f"{path}: '{name}', item '{index}'")
            for rouge in ROUGE:
                value = number(row[rouge])
                if value is not None:
                    stored[rouge][f"{set_name}/{index}"] = value
    return PeerLog(path, "tofu", "tofu_paper", tuple(samples), stored=stored)


def _rows(path: Path, *, name: str, table: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a set by index, with all that is needed of them."""
    columns = {column: table.get(column) if isinstance(table, dict) else None for column in (*NEEDED, *TOKENS.values())}
    missing = [column for column in NEEDED if not isinstance(columns[column], dict)]
    if missing:
        raise UserError(f"{path}: '{name}' has no {', '.join(missing)}; the log is not whole, evaluate again")
    there = {column: values for column, values in columns.items() if isinstance(values, dict)}
    every = list(dict.fromkeys(index for values in there.values() for index in values))
    for column, values in there.items():
        require_rows(path, name=f"{name}.{column}", found=values, wanted=every)
    require_no_gap(path, name=name, indices=every)
    for index in every:
        yield index, {column: values[index] for column, values in there.items()}


def _samples(set_name: str, *, index: str, row: Mapping[str, Any], place: str) -> tuple[Sample, Sample]:
    told = row["generated_text"]
    if not (isinstance(told, list) and len(told) == 3 and all(isinstance(text, str) for text in told)):
        raise UserError(f"{place}: generated_text is not [question, generation, answer]; the log is damaged")
    question, response, answer = told
    text = (question.strip(), answer)
    roles = {role: losses(row[column], place=f"{place}, {column}") for role, column in LOSSES.items()}
    tokens = {role: row[column] for role, column in TOKENS.items() if column in row}
    return (
        gen_sample(set_name=set_name, index=index, text=text, response=response),
        prob_sample(set_name=set_name, index=index, text=text, roles=roles, extra={NUM_TOKENS: tokens}),
    )
