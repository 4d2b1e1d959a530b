"""The columns every benchmark's rows have, the checks they must pass, and the candidates a `prob` task scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmforget.benchmark.images import ImageValue, image_fault
from mmforget.errors import BadData, UserError
from mmforget.types import Row

if TYPE_CHECKING:
    import datasets

TEXT_COLUMNS = ("id", "subject", "question", "answer")
LIST_COLUMNS = ("choices", "question_rephrased", "answer_rephrased", "answer_perturbed", "keywords", "path")
COLUMNS = ("id", "subject", "images", "question", "answer", *LIST_COLUMNS, "extra")


class EmptySet(UserError):
    """A set that the data at hand cannot fill, e.g. `rephrase` where no question was ever rephrased."""


def row_features() -> datasets.Features:
    """Columns and types of a Row. Images are decoded on access, as RGB; `extra` is a JSON object."""
    import datasets

    text = datasets.Value("string")
    features: dict[str, Any] = dict.fromkeys(TEXT_COLUMNS, text)
    features |= {name: datasets.List(text) for name in LIST_COLUMNS}
    features |= {"images": datasets.List(datasets.Image(mode="RGB")), "extra": text}
    return datasets.Features({name: features[name] for name in COLUMNS})


def make_dataset(docs: Sequence[Mapping[str, Any]]) -> datasets.Dataset:
    """Rows as a `datasets.Dataset`. A doc is a mapping of Row fields; `images` holds ImageValues, `extra` is a mapping.

    Fields that a doc leaves out are empty. Raises UserError for a column that no Row has.
    """
    import datasets

    unknown = sorted({name for doc in docs for name in doc} - set(COLUMNS))
    if unknown:
        raise UserError(f"rows have unknown columns {', '.join(unknown)}; known: {', '.join(COLUMNS)}")
    columns: dict[str, list[Any]] = {name: [doc.get(name, "") for doc in docs] for name in TEXT_COLUMNS}
    columns |= {name: [list(doc.get(name, ())) for doc in docs] for name in (*LIST_COLUMNS, "images")}
    columns["extra"] = [json.dumps(dict(doc.get("extra", {})), sort_keys=True, ensure_ascii=False) for doc in docs]
    return datasets.Dataset.from_dict({name: columns[name] for name in COLUMNS}, features=row_features())


def row_from_doc(doc: Mapping[str, Any]) -> Row:
    """A Row out of one document of a data set with `row_features`, images decoded."""
    values: dict[str, Any] = {name: doc[name] for name in TEXT_COLUMNS}
    values |= {name: tuple(doc[name]) for name in (*LIST_COLUMNS, "images")}
    return Row(**values, extra=json.loads(doc["extra"] or "{}"))


def check_rows(docs: Sequence[Mapping[str, Any]], *, source: str) -> None:
    """Raise BadData naming every row at fault: no id or another's, an empty text, an image that cannot be read."""
    faults = [fault for position, doc in enumerate(docs) for fault in _text_faults(doc, position=position)]
    counts = Counter(doc.get("id") for doc in docs)
    faults += [f"row id '{name}' occurs {times} times" for name, times in counts.items() if name and times > 1]
    faults += _image_faults(docs)
    if faults:
        raise BadData(source, faults=faults)


def _text_faults(doc: Mapping[str, Any], *, position: int) -> list[str]:
    label = f"row {doc['id']}" if doc.get("id") else f"row number {position + 1}"
    faults = []
    for name in TEXT_COLUMNS:
        value = doc.get(name)
        if not isinstance(value, str):
            faults.append(
                f"{label}: field '{name}' is missing" if value is None else f"{label}: '{name}' is not a text"
            )
        elif not value.strip():
            faults.append(f"{label}: {name} is empty")
    return faults


def _image_faults(docs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One fault for each broken image, with the first row that shows it and how many others do."""
    users: dict[str, list[str]] = {}
    for doc in docs:
        for value in doc.get("images", ()):
            for fault in _fault_of(value):
                users.setdefault(fault, []).append(str(doc.get("id")))
    return [
        f"row {rows[0]}: {fault}"
        + (f" (and {len(rows) - 1} more row{'s' if len(rows) > 2 else ''})" if len(rows) > 1 else "")
        for fault, rows in users.items()
    ]


def _fault_of(value: ImageValue) -> list[str]:
    # Pictures in memory come from our own encoder; only files can be broken.
    fault = image_fault(value) if value["bytes"] is None else None
    return [fault] if fault else []


def candidates(doc: Mapping[str, Any]) -> list[str]:
    """The answers a `prob` task scores for one document, in the order of `candidate_roles`: `doc_to_choice`."""
    return [doc["answer"], *doc["answer_rephrased"], *doc["answer_perturbed"]]


def candidate_roles(doc: Mapping[str, Any]) -> list[str]:
    """The role of each candidate: `answer`, `rephrased/0`, ..., `perturbed/0`, ..."""
    rephrased = [f"rephrased/{index}" for index in range(len(doc["answer_rephrased"]))]
    perturbed = [f"perturbed/{index}" for index in range(len(doc["answer_perturbed"]))]
    return ["answer", *rephrased, *perturbed]
