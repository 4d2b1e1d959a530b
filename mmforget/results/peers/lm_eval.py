"""lm_eval's `results_<time>.json`, and beside it `samples_<task>_<time>.jsonl`, where samples were logged.

A sample's log-likelihood is one number, so a candidate is one token of it. Of several filters the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmforget.errors import UserError, shortened
from mmforget.reading import read_text
from mmforget.results.files import parse_json
from mmforget.results.peers.log import MAX_BYTES, NOT_WHOLE, PeerLog, number, read_object
from mmforget.types import Sample

KINDS = {"multiple_choice": "mc", "generate_until": "gen", "loglikelihood": "prob", "loglikelihood_rolling": "roll"}
STORED = ("acc",)
"""Per-question numbers that are kept to be compared."""
SIDE_KEYS = ("name", "alias", "sample_len", "sample_count")


def read(path: Path) -> PeerLog:
    """The results in a file, or the newest in a folder, with the samples that lie beside them.

    Raises UserError in one line for a file of another program, and samples that are not whole.
    """
    path = _newest(path) if path.is_dir() else path
    document = read_object(path, what="results_<time>.json of lm_eval", is_one=_is_one)
    if not document["results"]:
        raise UserError(f"{path}: has the results of no task; {NOT_WHOLE}")
    tasks: dict[str, Mapping[str, Any]] = {
        name: config for name, config in (document.get("configs") or {}).items() if isinstance(config, dict)
    }
    samples: list[Sample] = []
    stored: dict[str, dict[str, float]] = {name: {} for name in STORED}
    for task, config in tasks.items():
        file = _samples_file(path, task=task)
        if file is None:
            continue
        lines = list(_lines(file))
        asked = {str(line["doc_id"]) for line in lines}
        _require_all(file, task=task, found=len(asked), counts=document.get("n-samples") or {})
        for line in lines:
            sample = _sample(task, config=config, line=line, place=str(file))
            samples.append(sample)
            for name in STORED:
                value = number(line.get(name))
                if value is not None:
                    stored[name][f"{task}/{sample.id}"] = value
    return PeerLog(path, "lm_eval", "clean", tuple(samples), totals=dict(_totals(document["results"])), stored=stored)


def _is_one(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get("results"), dict) and isinstance(document.get("configs", {}), dict)


def _newest(folder: Path) -> Path:
    found = sorted(folder.glob("results_*.json"))
    if not found:
        raise UserError(f"{folder}: holds no results_<time>.json of lm_eval; give the file or its folder")
    return found[-1]


def _samples_file(path: Path, *, task: str) -> Path | None:
    """The samples of a task that were written with these results; None where none were."""
    time = path.stem.rpartition("_")[2]
    name = re.sub(r'["<>:/|?*\\\[\]]+', "__", task)
    return next((file for file in (path.with_name(f"samples_{name}_{time}.jsonl"),) if file.exists()), None)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a samples file, those of its first filter."""
    first = None
    texts = read_text(path, max_bytes=MAX_BYTES).removesuffix("\n").split("\n")
    for place, text in enumerate(texts, start=1):
        line = parse_json(text, place=f"{path} line {place}", takes_nan=True, advice=NOT_WHOLE)
        if not isinstance(line, dict) or "doc_id" not in line or not isinstance(line.get("resps"), list):
            raise UserError(f"{path}: line {place} is no sample of lm_eval; the file is damaged, evaluate again")
        first = line.get("filter") if first is None else first
        if line.get("filter") == first:
            yield line


def _require_all(path: Path, *, task: str, found: int, counts: Mapping[str, Any]) -> None:
    expected = counts.get(task, {}).get("effective") if isinstance(counts.get(task), dict) else None
    if isinstance(expected, int) and expected != found:
        lacking = f"{expected - found} of {expected} items are missing"
        told = lacking if found < expected else f"{found} items, and {expected} were asked"
        raise UserError(f"{path}: '{task}': {told}; {NOT_WHOLE}")


def _sample(task: str, *, config: Mapping[str, Any], line: Mapping[str, Any], place: str) -> Sample:
    kind = KINDS.get(str(config.get("output_type")))
    doc = line.get("doc") if isinstance(line.get("doc"), dict) else {}
    answers = [answer[0] if isinstance(answer, list) and answer else answer for answer in line["resps"]]
    if kind is None or not answers:
        raise UserError(f"{place}: document {line['doc_id']} of {task} has no answers; evaluate again")
    texts = tuple(_arguments(line, "arg_1"))
    choices = texts[: len(answers)] if kind == "mc" else ()
    return Sample(
        task=task, set=task, kind=kind, id=str(line["doc_id"]), subject=str(line["doc_id"]),
        question=next(iter(_arguments(line, "arg_0")), str((doc or {}).get("question", ""))),
        answer=str(line.get("target", "")), choices=tuple(text.strip() for text in choices),
        gold=_gold(line.get("target"), choices=choices) if kind == "mc" else None,
        response=str(answers[0]) if kind == "gen" else None,
        token_logprobs={} if kind == "gen" else _logprobs(kind, answers, num_choices=len(choices), place=place),
    )  # fmt: skip


def _arguments(line: Mapping[str, Any], name: str) -> Iterator[str]:
    """An argument of each request: the context is `arg_0`, the continuation `arg_1`."""
    given = line.get("arguments")
    for request in given.values() if isinstance(given, dict) else ():
        if isinstance(request, dict) and isinstance(request.get(name), str):
            yield request[name]


def _gold(target: Any, *, choices: tuple[str, ...]) -> int | None:
    """The place of the right choice, as a number or a text of one; None where neither is among the choices."""
    text = str(target)
    if text.isdecimal() and int(text) < len(choices):
        return int(text)
    plain = [choice.strip() for choice in choices]
    return plain.index(text.strip()) if text.strip() in plain else None


def _logprobs(kind: str, answers: list[Any], *, num_choices: int, place: str) -> dict[str, tuple[float, ...]]:
    values = [_likelihood(answer, place=place) for answer in answers]
    if kind != "mc":
        return {"answer": (values[0],)}
    return {f"choice/{index}": (value,) for index, value in enumerate(values[: num_choices or None])}


def _likelihood(answer: Any, *, place: str) -> float:
    """A log-likelihood, alone or before whether it is greedy; lm_eval writes both as text."""
    first = answer[0] if isinstance(answer, list) and answer else answer
    try:
        return float(first)
    except (TypeError, ValueError):
        raise UserError(
            f"{place}: {shortened(first)} is no log-likelihood; the file is damaged, evaluate again"
        ) from None


def _totals(results: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """The file's own numbers, by `<task>/<metric>`, with lm_eval's filter where it is not `none`."""
    for task, values in results.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            name, _, kept = key.partition(",")
            if key in SIDE_KEYS or name.endswith("_stderr"):
                continue
            yield f"{task}/{name}" + ("" if kept in ("", "none") else f",{kept}"), number(value)
