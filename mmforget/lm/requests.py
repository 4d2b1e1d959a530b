"""What lm_eval asks, read request by request: text or image, with or without settings, whatever its neighbours are."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmforget.asking import Ask, Decoding
from mmforget.errors import UserError
from mmforget.lm.images import ImageReader, as_list

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TOKEN_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
SAMPLING_ONLY = ("top_k", "min_p", "typical_p")
"""Settings without effect on greedy generation."""
OF_A_ROW = ("id", "subject", "question", "answer", "extra")
"""Columns by which a benchmark's row is told from a foreign document."""


def read_score_request(request: Any, *, reader: ImageReader) -> Ask:
    """A `loglikelihood` request: `(context, continuation)`, with `{"visual": ...}` behind it where there are images."""
    context, continuation = request.args[:2]
    images = _images(request, reader=reader)
    if context == "":
        # acc_mutual_info asks for the bare answer but hands the document's images over all the same.
        images = ()
    keys = tuple(map(reader.key, images))
    return Ask("score", _task(request), context, continuation, images, keys, where=_where(request), row=row_of(request))


def read_generate_request(request: Any, *, reader: ImageReader, max_gen_toks: int) -> Ask:
    """A `generate_until` request: `(context, settings)`, with `{"visual": ...}` behind it where there are images."""
    context, settings = request.args[:2]
    images = _images(request, reader=reader)
    decoding = read_decoding(settings, max_gen_toks=max_gen_toks, where=_where(request))
    keys = tuple(map(reader.key, images))
    return Ask(
        "generate", _task(request), context, None, images, keys, decoding, where=_where(request), row=row_of(request)
    )


def read_decoding(settings: Mapping[str, Any], *, max_gen_toks: int, where: str) -> Decoding:
    """Generation settings under any of their usual names, typed or as text (`--gen_kwargs` gives text).

    Raises UserError on one that cannot be honoured, and where a limit is given under two names and differs.
    """
    left = {name: value if name == "until" else _typed(value) for name, value in settings.items()}
    limits = {name: left.pop(name) for name in MAX_TOKEN_NAMES if left.get(name) is not None}
    if len(set(limits.values())) > 1:
        raise UserError(f"{where}: {limits} are one setting; give it once, under the name the task has")
    until = left.pop("until", None) or ()
    given = left.pop("do_sample", None)
    if not isinstance(given, bool | None):
        raise UserError(f"{where}: do_sample is {given!r}; give true or false")
    temperature = _number("temperature", left.pop("temperature", 1.0 if given else 0.0), where=where)
    do_sample = temperature > 0 if given is None else given
    if do_sample and not temperature > 0:
        raise UserError(f"{where}: do_sample needs a temperature above 0, found {temperature}; set do_sample: false")
    top_p = _number("top_p", left.pop("top_p", 1.0), where=where)
    harmless = {"num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0, "use_cache": True}
    unknown = {
        name: value
        for name, value in left.items()
        if value is not None and harmless.get(name) != value and (do_sample or name not in SAMPLING_ONLY)
        if name not in MAX_TOKEN_NAMES
    }
    if unknown:
        raise UserError(
            f"{where}: generation settings {unknown} are not supported; "
            "use until, max_gen_toks, do_sample, temperature and top_p"
        )
    return Decoding(
        max_new_tokens=int(_number("max_gen_toks", next(iter(limits.values()), max_gen_toks), where=where)),
        until=(until,) if isinstance(until, str) else tuple(until),
        do_sample=do_sample,
        temperature=temperature if do_sample else 1.0,
        top_p=top_p if do_sample else 1.0,
    )


def _typed(value: Any) -> Any:
    """Text that says True, False, None or a number as what it says; every other value as it is."""
    if not isinstance(value, str):
        return value
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value


def _number(name: str, value: Any, *, where: str) -> float:
    value = 1.0 if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {name} is {value!r}; give a number")
    return value


def read_rolling_request(request: Any) -> Ask:
    """A `loglikelihood_rolling` request: `(text,)`. Raises UserError where it comes with an image."""
    if _visual(request):
        raise UserError(
            f"{_where(request)}: the log-likelihood of a whole document with an image is not defined; "
            "use output_type loglikelihood or multiple_choice"
        )
    return Ask("rolling", _task(request), "", request.args[0], (), (), where=_where(request), row=row_of(request))


def _images(request: Any, *, reader: ImageReader) -> tuple[Image, ...]:
    return tuple(reader.open(source, where=_where(request)) for source in _visual(request))


def _visual(request: Any) -> Sequence[Any]:
    extra = request.args[-1]
    if len(request.args) < 2 or not isinstance(extra, Mapping):
        return ()
    if extra.get("audio") is not None and as_list(extra["audio"]):
        raise UserError(f"{_where(request)}: audio is not supported; name tasks of text and images only")
    return as_list(extra.get("visual"))


def _task(request: Any) -> str:
    return request.task_name or ""


def row_of(request: Any) -> Mapping[str, Any] | None:
    """The document that a request is about where it is a benchmark's row; None for a foreign task's."""
    doc = getattr(request, "doc", None)
    return doc if isinstance(doc, Mapping) and all(column in doc for column in OF_A_ROW) else None


def _where(request: Any) -> str:
    doc = getattr(request, "doc", None)
    row = f" (row '{doc['id']}')" if isinstance(doc, Mapping) and "id" in doc else ""
    return f"task {_task(request) or '(unnamed)'}, document {request.doc_id}{row}"
