"""Generation: the questions about shared images, against lm_eval's own `hf-multimodal` on the same requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.context import Context
from benchmarks.measuring import Seconds, Timing, Watch, alternate, clock, ratios, say
from benchmarks.world import Question, Shape, make_questions
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.loaded import LoadedModel

NEW_TOKENS = 16
STOCK_BATCH_SIZES = (1, 4, 8)
"""Among which stock gets its best, tried on as many requests as the largest takes."""
Texts = Callable[[], list[str]]


def run(context: Context) -> dict[str, Any]:
    """Ours and stock, in turn. Raises RuntimeError unless all write the same text."""
    shape = Shape(context.shape.images, context.shape.questions)
    questions = make_questions(shape, side=context.geometry.image_side)
    requests, loaded = requests_of(questions), context.model()
    stock = stock_models(context)
    size = _best_batch_size(stock, requests[: STOCK_BATCH_SIZES[-1]])
    say(f"generation: {len(requests)} prompts, {NEW_TOKENS} new tokens; hf-multimodal at batch size {size}")
    variants: dict[str, Texts] = {
        "ours": lambda: fresh_lm(loaded, packed=True).generate_until(requests, disable_tqdm=True),
        "stock": lambda: stock[size].generate_until(requests, disable_tqdm=True),
    }
    cores = {"ours": loaded.core, "stock": stock[size].model}
    watched = {name: _watched(cores[name], work) for name, work in variants.items()}
    texts = {name: one.texts for name, one in watched.items()}
    numbers = {name: one.numbers for name, one in watched.items()}
    check_same(texts)
    before = {name: one.seconds for name, one in watched.items() if name != "ours"}
    timings = alternate(variants, repeats=context.repeats, before=before)
    return _document(shape, timings=timings, numbers=numbers, batch_size=size, texts=texts["ours"])


def _document(
    shape: Shape,
    *,
    timings: dict[str, Timing],
    numbers: dict[str, dict[str, Any]],
    batch_size: int,
    texts: Sequence[str],
) -> dict[str, Any]:
    return {
        "shape": vars(shape) | {"new_tokens": NEW_TOKENS},
        **{name: timing.as_dict() | numbers[name] for name, timing in timings.items()},
        "stock_batch_size": batch_size,
        **ratios(timings["stock"], timings["ours"], name="ratio_to_stock"),
        "same_text": True,
        "distinct_texts": len(set(texts)),
    }


def requests_of(questions: Sequence[Question]) -> list[Any]:
    """What lm_eval hands to a model for a `generate_until` task with images."""
    from lm_eval.api.instance import Instance

    settings = {"until": [], "max_gen_toks": NEW_TOKENS, "do_sample": False}
    return [
        Instance(
            request_type="generate_until",
            doc={},
            arguments=(one.context, dict(settings), {"visual": [one.image]}),
            idx=0,
            metadata=("bench", at, 1),
        )
        for at, one in enumerate(questions)
    ]


def stock_models(context: Context) -> dict[int, Any]:
    """lm_eval's `hf-multimodal` at several batch sizes, around one and the same model in memory."""
    from lm_eval.models.hf_vlms import HFMultimodalLM

    sizes = STOCK_BATCH_SIZES[:2] if context.quick else STOCK_BATCH_SIZES
    model = HFMultimodalLM(pretrained=str(context.model_folder()), device="cpu", dtype="float32", batch_size=1)
    return {size: _with_batch_size(model, size) for size in sizes}


def _with_batch_size(model: Any, size: int) -> Any:
    import copy

    other = copy.copy(model)
    other.batch_size_per_gpu = size
    return other


def _best_batch_size(stock: dict[int, Any], requests: Sequence[Any]) -> int:
    found = {
        size: clock(lambda lm=lm: lm.generate_until(requests, disable_tqdm=True)).wall for size, lm in stock.items()
    }
    return min(found, key=found.__getitem__)


def fresh_lm(loaded: LoadedModel, *, packed: bool) -> MMForgetLM:
    """Our lm_eval model without anything remembered: no answers, no images."""
    return MMForgetLM(loaded, packed=packed, cache=None, progress=False)


class _Run(NamedTuple):
    """One run under watch: its time, its texts and its numbers."""

    seconds: Seconds
    texts: list[str]
    numbers: dict[str, Any]


def _watched(core: Any, work: Texts) -> _Run:
    found: list[str] = []
    with Watch(core) as watch:
        seconds = clock(lambda: found.extend(work()))
    numbers = {
        "tokens_computed": watch.num_tokens,
        "images_encoded": watch.num_images,
        "share_outside_model": 1 - watch.inside_s / seconds.wall,
    }
    return _Run(seconds, found, numbers)


def check_same(texts: dict[str, list[str]]) -> None:
    """Raises RuntimeError, naming the first prompt where two variants differ."""
    (first, wanted), *others = texts.items()
    for name, found in others:
        for at, (one, other) in enumerate(zip(wanted, found, strict=True)):
            if one != other:
                raise RuntimeError(f"prompt {at}: {first} writes {one!r}, {name} writes {other!r}")
