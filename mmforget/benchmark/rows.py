"""The columns every benchmark's rows have, the checks they must pass, and the candidates a `prob` task scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmforget.benchmark.images import ImageValue, as_datasets_read, image_fault
from mmforget.errors import BadData, UserError
from mmforget.types import Row

if TYPE_CHECKING:
    import datasets

TEXT_COLUMNS = ("id", "subject", "question", "answer")
LIST_COLUMNS = ("choices", "question_rephrased", "answer_rephrased", "answer_perturbed", "keywords", "path")
AS_RELEASED = "as_released"
"""Key of `extra`: candidates, by role, that the official code words otherwise; the profile `released` scores these."""
COLUMNS = ("id", "subject", "images", "question", "answer", *LIST_COLUMNS, "extra")
ATTACK_IMAGES = "attack_images"
"""Pictures that attacks show in place of a row's own, none of which its task shows; `extra["attack_levels"]` has their
names in the same order."""
OPTIONAL = ("gold", "turns", "text", ATTACK_IMAGES)
"""Columns of the row sets alone that use them."""
ROLES = ("system", "user", "assistant")
PLACEHOLDER = "<image>"


class EmptySet(UserError):
    """A set that the data at hand cannot fill, e.g. `rephrase` where no question was ever rephrased."""


def row_features(columns: Sequence[str] = COLUMNS) -> datasets.Features:
    """Columns and types of a Row. Images are decoded on access, as RGB; `extra` is a JSON object."""
    import datasets

    text = datasets.Value("string")
    features: dict[str, Any] = dict.fromkeys(TEXT_COLUMNS, text)
    features |= {name: datasets.List(text) for name in LIST_COLUMNS}
    features |= {"images": datasets.List(datasets.Image(mode="RGB")), "extra": text}
    features |= {ATTACK_IMAGES: features["images"]}
    features |= {"gold": datasets.Value("int64"), "turns": datasets.List({"role": text, "content": text}), "text": text}
    return datasets.Features({name: features[name] for name in columns})


def make_dataset(docs: Sequence[Mapping[str, Any]]) -> datasets.Dataset:
    """Rows as a `datasets.Dataset`. A doc is a mapping of Row fields; `images` holds ImageValues, `extra` is a mapping.

    Fields that a doc leaves out are empty, but for what `completed` knows. Raises UserError for a column that no Row
    has, a text where a list of texts is wanted, parts that do not go together, and an image that cannot be shown.
    """
    unknown = sorted({name for doc in docs for name in doc} - {*COLUMNS, *OPTIONAL})
    if unknown:
        raise UserError(f"rows have unknown columns {', '.join(unknown)}; known: {', '.join((*COLUMNS, *OPTIONAL))}")
    labels = [_label(doc, position=position) for position, doc in enumerate(docs)]
    faults = [fault for doc, label in zip(docs, labels, strict=True) for fault in _list_faults(doc, label=label)]
    faults = faults or [
        fault for doc, label in zip(docs, labels, strict=True) for fault in _part_faults(doc, label=label)
    ]
    if faults:
        raise BadData("rows", faults=faults)
    docs = [completed(doc) for doc in docs]
    columns: dict[str, list[Any]] = {name: [doc.get(name, "") for doc in docs] for name in TEXT_COLUMNS}
    columns |= {name: [list(doc.get(name, ())) for doc in docs] for name in LIST_COLUMNS}
    columns |= {name: _stored_images(docs, name=name) for name in ("images", ATTACK_IMAGES)}
    columns["extra"] = [json.dumps(dict(doc.get("extra", {})), sort_keys=True, ensure_ascii=False) for doc in docs]
    columns["gold"] = [doc.get("gold") for doc in docs]
    columns["turns"] = [[dict(turn) for turn in doc.get("turns") or ()] for doc in docs]
    columns["text"] = [doc.get("text") or "" for doc in docs]
    used = (*COLUMNS, *(name for name in OPTIONAL if any(value not in (None, [], "") for value in columns[name])))
    return _stored({name: columns[name] for name in used}, features=row_features(used))


def _stored(columns: dict[str, list[Any]], *, features: datasets.Features) -> datasets.Dataset:
    """What `Dataset.from_dict` makes, which looks at each value on its own: columns of the right types need no look."""
    import datasets
    import pyarrow

    try:
        table = pyarrow.Table.from_pydict(columns, schema=features.arrow_schema)
    except (pyarrow.ArrowException, TypeError, ValueError):
        return datasets.Dataset.from_dict(columns, features=features)
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))


def completed(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    """A doc with the question and answer that its turns, its document or its right choice stand for."""
    if turns := doc.get("turns"):
        asked = next(turn["content"] for turn in reversed(turns[:-1]) if turn["role"] == "user")
        question = doc.get("question") or asked.replace(PLACEHOLDER, "").strip()
        return {**doc, "question": question, "answer": turns[-1]["content"]}
    if doc.get("text"):
        return {**doc, "question": "", "answer": doc["text"]}
    if doc.get("choices") and not doc.get("answer"):
        return {**doc, "answer": doc["choices"][doc["gold"]]}
    return doc


def conversation(doc: Mapping[str, Any]) -> str:
    """What stands before the answer of a row with turns, in plain text: a `doc_to_text`.

    Every message in a line, an answer behind its question as lm_eval puts the answers of examples.
    """
    shown = [(" " if turn["role"] == "assistant" else "\n") + turn["content"] for turn in doc["turns"][:-1]]
    return "".join(shown)[1:]


def differing_columns(rows: object) -> list[str]:
    """Columns that are missing or of another type than `row_features` has; all of them where these are no rows."""
    wanted, found = row_features((*COLUMNS, *OPTIONAL)), getattr(rows, "features", None) or {}
    missing = [name for name in COLUMNS if name not in found]
    return [*missing, *(name for name in wanted if name in found and found[name] != wanted[name])]


def _stored_images(docs: Sequence[Mapping[str, Any]], *, name: str) -> list[list[ImageValue]]:
    """The images of every doc in a column, each distinct one looked at once."""
    known: dict[str | int, ImageValue] = {}
    faults: dict[str, None] = {}
    for doc in docs:
        for value in doc.get(name, ()):
            try:
                if _same(value) not in known:
                    known[_same(value)] = as_datasets_read(value)
            except (OSError, ValueError) as error:
                known[_same(value)] = value
                faults[f"row {doc.get('id')}: image {value['path'] or '(embedded)'}: {error}"] = None
    if faults:
        raise BadData("rows", faults=list(faults))
    return [[known[_same(value)] for value in doc.get(name, ())] for doc in docs]


def _same(value: ImageValue) -> str | int:
    """What two values of one picture share: their file, or being one object, as loaders keep pictures in memory."""
    return value["path"] or id(value)


def undecoded(rows: datasets.Dataset) -> list[dict[str, Any]]:
    """All rows at once, each image as its `path` and `bytes`: a hundred times faster than reading them one by one."""
    docs: list[dict[str, Any]] = rows.with_format("arrow")[:].to_pylist()
    return docs


def row_from_doc(doc: Mapping[str, Any]) -> Row:
    """A Row out of one document of a data set with `row_features`, images decoded."""
    values: dict[str, Any] = {name: doc[name] for name in TEXT_COLUMNS}
    values |= {name: tuple(doc[name]) for name in (*LIST_COLUMNS, "images")}
    values |= {"gold": doc.get("gold"), "turns": tuple(doc.get("turns") or ()), "text": doc.get("text") or ""}
    return Row(**values, extra=json.loads(doc["extra"] or "{}"))


def check_rows(docs: Sequence[Mapping[str, Any]], *, source: str) -> None:
    """Raise BadData naming every row at fault: no id or another's, an empty text, an image that cannot be read, and
    parts that do not go together: choices and gold, turns and images, a document and a question.
    """
    lists, parts, texts = [], [], []
    for position, doc in enumerate(docs):
        label = _label(doc, position=position)
        lists_of_row = _list_faults(doc, label=label)
        parts_of_row = [] if lists_of_row else _part_faults(doc, label=label)
        texts += _text_faults(doc, label=label, is_sound=not parts_of_row)
        lists += lists_of_row
        parts += parts_of_row
    faults = [*texts, *lists, *parts]
    counts = Counter(doc.get("id") for doc in docs)
    faults += [f"row id '{name}' occurs {times} times" for name, times in counts.items() if name and times > 1]
    faults += _image_faults(docs)
    if faults:
        raise BadData(source, faults=faults)


def _list_faults(doc: Mapping[str, Any], *, label: str) -> list[str]:
    """A text in place of a list would become a list of its letters."""
    given = [name for name in (*LIST_COLUMNS, "images") if isinstance(doc.get(name), str | bytes | Mapping)]
    faults = [f"{label}: {name} is not a list: {doc[name]!r:.60}; write it as a list of one" for name in given]
    for name in LIST_COLUMNS:
        items = () if name in given else doc.get(name, ())
        if not all(isinstance(item, str) for item in items):
            faults.append(f"{label}: {name} holds what is not a text")
    return faults


def _label(doc: Mapping[str, Any], *, position: int) -> str:
    return f"row {doc['id']}" if doc.get("id") else f"row number {position + 1}"


def _text_faults(doc: Mapping[str, Any], *, label: str, is_sound: bool) -> list[str]:
    """Texts that are missing or empty: all that a row needs where its parts go together, else what names it."""
    faults = []
    if is_sound:
        doc = completed(doc)
    names = TEXT_COLUMNS if is_sound and not doc.get("text") else ("id", "subject")
    for name in names:
        value = doc.get(name)
        if not isinstance(value, str):
            faults.append(
                f"{label}: field '{name}' is missing" if value is None else f"{label}: '{name}' is not a text"
            )
        elif not value.strip():
            faults.append(f"{label}: {name} is empty")
    return faults


def _part_faults(doc: Mapping[str, Any], *, label: str) -> list[str]:
    """What is there of a row, whose lists are lists, and does not go together."""
    others = [name for name in ("question", "turns", "choices", "images") if doc.get(name)]
    faults = [*_choice_faults(doc), *_turn_faults(doc)]
    if not str(doc.get("question") or "").strip() and not doc.get("turns") and not doc.get("text"):
        faults.append("has neither question nor turns nor text")
    if doc.get("text") and others:
        faults.append(
            f"text is a whole document, and does not go with {', '.join(others)}; make them rows of their own"
        )
    if doc.get("text") and doc.get("answer") not in (None, "", doc["text"]):
        faults.append("has a text and another answer; a document is its own answer")
    return [f"{label}: {fault}" for fault in faults]


def _choice_faults(doc: Mapping[str, Any]) -> Iterator[str]:
    choices, gold = doc.get("choices") or (), doc.get("gold")
    if gold is None:
        if choices:
            yield f"has {len(choices)} choices and no gold; give the place of the right one, from 0"
    elif isinstance(gold, bool) or not isinstance(gold, int):
        yield f"gold is {gold!r:.40}; give the place of the right choice, from 0"
    elif not 0 <= gold < len(choices):
        yield f"gold is {gold}, and there are {len(choices)} choices, counted from 0"
    if not all(choice.strip() for choice in choices):
        yield "a choice is empty"


def _turn_faults(doc: Mapping[str, Any]) -> Iterator[str]:
    turns = doc.get("turns") or ()
    if not isinstance(turns, list | tuple) or not all(map(_is_turn, turns)):
        yield f"turns are {turns!r:.60}; give a list of {{role: {'|'.join(ROLES)}, content: TEXT}}"
        return
    if not turns:
        return
    said = [turn["role"] for turn in turns]
    if said[-1] != "assistant" or "user" not in said:
        yield f"turns are those of {', '.join(said)}; the last is the assistant's, the answer, behind a user's"
    places, images = sum(turn["content"].count(PLACEHOLDER) for turn in turns), len(doc.get("images") or ())
    if places != images:
        yield f"turns hold {PLACEHOLDER} {places} times for {images} images; write one for each"
    if doc.get("answer") not in (None, "", turns[-1]["content"]):
        yield "has turns and another answer than the last of them"


def _is_turn(value: object) -> bool:
    is_pair = isinstance(value, Mapping) and set(value) == {"role", "content"}
    return is_pair and value["role"] in ROLES and isinstance(value["content"], str) and bool(value["content"].strip())  # type: ignore[index]


def _image_faults(docs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One fault for each broken image, with the first row that shows it and how many others do."""
    users: dict[str, list[str]] = {}
    known: dict[str | int, str | None] = {}
    for doc in docs:
        for value in (*doc.get("images", ()), *doc.get(ATTACK_IMAGES, ())):
            if _same(value) not in known:
                known[_same(value)] = image_fault(value)
            fault = known[_same(value)]
            if fault is not None:
                users.setdefault(fault, []).append(str(doc.get("id")))
    return [
        f"row {rows[0]}: {fault}"
        + (f" (and {len(rows) - 1} more row{'s' if len(rows) > 2 else ''})" if len(rows) > 1 else "")
        for fault, rows in users.items()
    ]


def candidates(doc: Mapping[str, Any]) -> list[str]:
    """The answers a `prob` task scores for one document, in the order of `candidate_roles`: `doc_to_choice`."""
    return list(_by_role(doc).values())


def candidate_roles(doc: Mapping[str, Any]) -> list[str]:
    """The role of each candidate: `answer`, `rephrased/0`, ..., `perturbed/0`, ..., `released/perturbed/0`, ..."""
    return list(_by_role(doc))


def as_released(role: str, texts: Sequence[str], *, official: Sequence[str]) -> dict[str, dict[str, str]]:
    """What goes into `extra` for the candidates of a role that the official code words otherwise; empty for none."""
    pairs = enumerate(zip(texts, official, strict=True))
    found = {f"{role}/{index}": wording for index, (text, wording) in pairs if text != wording}
    return {AS_RELEASED: found} if found else {}


def scored_texts(doc: Mapping[str, Any], *, kind: str, choices: Sequence[str] | None = None) -> dict[str, str]:
    """By role, what a task of this kind scores of one document; nothing for kind `gen`.

    Args:
        choices: what it scores in place of the row's choices, e.g. their letters.
    """
    if kind == "mc":
        return {f"choice/{place}": text for place, text in enumerate(doc["choices"] if choices is None else choices)}
    if kind == "roll":
        return {"answer": doc["answer"]}
    return _by_role(doc) if kind == "prob" else {}


def _by_role(doc: Mapping[str, Any]) -> dict[str, str]:
    found = {"answer": doc["answer"]}
    found |= {f"rephrased/{index}": text for index, text in enumerate(doc["answer_rephrased"])}
    found |= {f"perturbed/{index}": text for index, text in enumerate(doc["answer_perturbed"])}
    official: Mapping[str, str] = json.loads(doc.get("extra") or "{}").get(AS_RELEASED, {})
    return found | {f"released/{role}": text for role, text in official.items()}
