"""What lm_eval logs of every document, as its files `samples_<task>_<time>.jsonl` have it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mmforget.results.codec import to_jsonable
from mmforget.results.fingerprint import hash_doc, hash_image, hash_text


def logged_lines(samples: Iterable[Mapping[str, Any]]) -> str:
    """One line of JSON a document, with lm_eval's keys: answers as texts, pictures as hashes of their pixels or bytes.

    `doc_hash` is stable for documents with pictures, too, where lm_eval's own changes with every run.
    """
    return "".join(json.dumps(_line(sample), ensure_ascii=False, allow_nan=False) + "\n" for sample in samples)


def _line(sample: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {
        f"gen_args_{number}": {f"arg_{place}": value for place, value in enumerate(several)}
        for number, several in enumerate(sample["arguments"])
    }
    texts = {name: _as_text(sample[name]) for name in ("resps", "filtered_resps")}
    changed = {**sample, "arguments": arguments, **texts, "target": str(sample["target"])}
    line: dict[str, Any] = to_jsonable(_without_pictures(changed), strict=False).value
    # lm_eval's own way of hashing, by which the address of a picture in memory counts; here it is its pixels.
    return line | {"doc_hash": hash_text(json.dumps(line["doc"], indent=2, ensure_ascii=False))}


def _as_text(value: Any) -> Any:
    """As lm_eval does, so that the lines load as a data set: all that is no list is a text."""
    return [_as_text(item) for item in value] if isinstance(value, list | tuple) else str(value)


def _without_pictures(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"bytes", "path"}:
            return hash_doc({"image": value})
        return {key: _without_pictures(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_pictures(item) for item in value]
    if hasattr(value, "tobytes") and hasattr(value, "mode"):
        return hash_image(value)
    return value
