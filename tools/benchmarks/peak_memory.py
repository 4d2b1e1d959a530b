"""Peak memory of every variant, each in a process of its own, which does it once, as many at a time as there are cores.

They are forked from one that has imported everything, since imports take longer than what is measured. Of those whose
passes follow one another a part of the work is enough: a second pass takes no more memory than the first full one.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.context import Context
from benchmarks.measuring import memory, num_parameters_alive, reset_peak, say

PRELOADED = [
    "benchmarks.edits",
    "benchmarks.generation",
    "benchmarks.scoring",
    "benchmarks.text",
    "benchmarks.training",
    "lm_eval.evaluator",
    "peft",
]
VARIANTS = {
    "scoring": ("ours", "plain"),
    "generation": ("ours", "stock"),
    "edits": ("many", "one"),
    "text": ("ours", "stock", "wide-ours", "wide-stock"),
    "training": tuple(f"{loss}-{kind}" for loss in ("nll", "npo") for kind in ("ours", "official")),
}
Work = Callable[[], object]
NUM_WRITTEN = 3
NUM_PLAIN = 12
STOCK_BATCH = 4


def prepare() -> None:
    """Starts the process that imports everything, beside other work."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()


def run(context: Context, parts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Bytes of each variant of the parts, all in one round, so that no core waits for the last of each part."""
    asked = [(part, variant) for part in parts for variant in VARIANTS[part]]
    _save_models(context, parts)
    prepare()
    say(f"memory of {', '.join(f'{part} {variant}' for part, variant in asked)}")
    found: dict[str, dict[str, Any]] = {part: {} for part in parts}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = pool.map(lambda one: _in_child(context, ".".join(one)), asked)
        for (part, variant), one in zip(asked, measured, strict=True):
            found[part][variant] = one
    return found


def _save_models(context: Context, parts: Sequence[str]) -> None:
    """Saves the models before several processes look for them."""
    from benchmarks import text

    if "text" in parts:
        text.prepare(context)
    if set(parts) - {"text"}:
        context.model_folder()


def _in_child(context: Context, name: str) -> dict[str, Any]:
    """What `measure` returns in a process of its own. Raises RuntimeError where it ends without."""
    started = multiprocessing.get_context("forkserver")
    here, there = started.Pipe(duplex=False)
    process = started.Process(target=_tell, args=(there, context, name))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv()
    except EOFError:
        raise RuntimeError(f"the process of {name} ended without a result") from None
    finally:
        process.join()
    return found


def _tell(there: Connection, context: Context, name: str) -> None:
    from bench import prepare_libraries

    prepare_libraries(context.folder)
    torch.set_num_threads(1)
    there.send(measure(context, name))


def measure(context: Context, name: str) -> dict[str, Any]:
    """What the process of one variant measures: beyond its imports, once everything is loaded, and at the peak."""
    part, variant = name.split(".")
    import benchmarks.edits
    import benchmarks.generation
    import benchmarks.scoring
    import benchmarks.text
    import benchmarks.training  # noqa: F401 - imports are no part of what is measured

    before = memory().now
    works = {"scoring": _scoring, "generation": _generation, "training": _training, "edits": _edits, "text": _text}
    work = works[part](context, variant)
    reset_peak()
    loaded, parameters = memory().now, num_parameters_alive()
    work()
    peak = memory().peak
    return {
        "loaded_bytes": loaded - before,
        "work_bytes": peak - loaded,
        "peak_bytes": peak - before,
        "parameters": parameters,
    }


def _scoring(context: Context, variant: str) -> Work:
    from benchmarks import scoring
    from benchmarks.world import encode_answers, make_questions

    loaded = context.model()
    encoded = encode_answers(loaded, make_questions(context.shape, side=context.geometry.image_side))
    if variant == "plain":
        # In the smallest passes among which its time is the best: more would take more.
        return scoring.scorer(loaded, encoded[:NUM_PLAIN], packed=False, max_tokens=scoring.PLAIN_BUDGETS[0])
    return scoring.scorer(loaded, encoded)


def _generation(context: Context, variant: str) -> Work:
    from benchmarks import generation
    from benchmarks.world import Shape, make_questions

    shape = Shape(context.shape.images, context.shape.questions)
    requests = generation.requests_of(make_questions(shape, side=context.geometry.image_side))
    if variant == "stock":
        stock = generation.stock_models(context)[STOCK_BATCH]
        return lambda: stock.generate_until(requests[: 2 * STOCK_BATCH], disable_tqdm=True)
    lm = generation.fresh_lm(context.model(), packed=variant == "ours")
    return lambda: lm.generate_until(requests, disable_tqdm=True)


def _training(context: Context, variant: str) -> Work:
    from benchmarks import training
    from benchmarks.official import BATCH_SIZE
    from benchmarks.world import encode_answers

    loss, kind = variant.split("-")
    questions = training.questions_of(context)
    if kind == "official":
        step = training.official_step(context, questions[:BATCH_SIZE], loss=loss, lora={})
    else:
        loaded = training.adapted(context)
        step = training.our_step(loaded, encode_answers(loaded, questions), loss=loss)
    return lambda: step.update(None)


def _edits(context: Context, variant: str) -> Work:
    """One defence and what is asked under it, for all subjects side by side or for one.

    Texts are those of as many subjects as fill a batch and begin the next.
    """
    from benchmarks import edits

    ours = edits.ours_of(context, num=1 if variant == "one" else None)

    def work() -> None:
        with ours.edited("fact_erasure") as found:
            ours.look(found.loaded)
            ours.attack_weights(found)
            ours.write(found.loaded, num=NUM_WRITTEN)

    return work


def _text(context: Context, variant: str) -> Work:
    from benchmarks import text

    return text.work_of(context, variant)
