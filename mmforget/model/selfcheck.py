"""Can sequences that begin alike be computed together? Known types can; any other is tried once, when it is loaded.

A few made-up sequences are scored both ways: each by itself through the model's own forward, and all in one row. Where
the log-probs agree the shared row is used from then on, else the plain path; either way it is said, once for a type.
Then their last tokens are computed as generation does it, one behind the other: layers that attend twice, or that are
gone through more than once, give right scores and wrong text. Where that fails `model.generate` writes the text. And
where padding changes what a model computes (RWKV) each sequence is alone.
Image-text models of an unknown type run their own forward, and the trial shows whether that is understood.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmforget.errors import UserError, one_line
from mmforget.model.attention import use_shared_prefixes
from mmforget.model.encode import Encoded, encode
from mmforget.model.families import Tokens, language, text, written_images
from mmforget.model.generation import stepwise_logprobs
from mmforget.model.plain import GREEDY, padded
from mmforget.model.scoring import score

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel

logger = logging.getLogger(__name__)

ROUNDING = {torch.float32: 1e-4, torch.float16: 0.01, torch.bfloat16: 0.05}
"""Difference of two log-probs, in nats, that always counts as rounding; in half precision kernels for other shapes give
more than that, so what padding changes is measured, and MARGIN times as much allowed, up to MOST times this."""
MARGIN, MOST = 4, 10
NUM_SHARED, NUM_OWN, NUM_NEW = 24, 8, 4
"""Tokens that the trial sequences begin with, tokens that each adds, and how many of those are taken as generated."""
PICTURE_SIZES = ((56, 40), (40, 72))


def settle(loaded: LoadedModel) -> LoadedModel:
    """The freshly loaded model with the family that is right for it, and whether its sequences can share prefixes.

    Raises UserError for an image-text model that cannot be used, with the types that can.
    """
    if loaded.writes_images:
        _try_images(loaded)
        kind = loaded.core.config.model_type
        _say(kind, "its own forward reads text and images, one sequence at a time, which is slower", warn=True)
        return loaded
    config = loaded.core.config.get_text_config()
    packs = loaded.family.packs(loaded.core.config)
    if packs is False:
        _say(config.model_type, f"{language.obstacle(config)}, so sequences that begin alike are computed one by one")
    if loaded.family.OWN_FORWARD:
        _require_left_to_right(loaded)
    if packs is None:
        return _padding(_tried(loaded))
    if packs:
        use_shared_prefixes(loaded.core)
    found = replace(loaded, shares_prefixes=packs, continues_prefixes=packs)
    return _padding(found) if loaded.family.OWN_FORWARD else found


def _require_left_to_right(loaded: LoadedModel) -> None:
    """Raises UserError where tokens see those behind them: an answer would be scored by itself."""
    whole, part = _probe(loaded)[1], _probe(loaded)[3]
    with _undisturbed():
        try:
            difference = _difference(_own_logprobs(loaded, whole)[None], [_own_logprobs(loaded, part)])
        except Exception as error:
            kind = loaded.core.config.model_type
            raise UserError(f"model type '{kind}' gives no logits for token ids: {_raised(error)}") from error
    if difference > _limit(loaded):
        raise UserError(
            f"{loaded.spec.pretrained}: model type '{loaded.core.config.model_type}' reads text in both directions "
            f"({_differ(difference, limit=_limit(loaded))}), so no answer can be scored; use a causal language model"
        )


def _padding(loaded: LoadedModel) -> LoadedModel:
    """The model, and whether sequences of other lengths can stand beside one in a batch."""
    with _undisturbed():
        probe = _probe(loaded)
        prompts = [replace(probe[1], ids=probe[1].ids[-NUM_OWN:]), probe[2]]
        limit = _limit(loaded)
        try:
            scored = score(loaded, probe, positions="all", packed=False).token_logprobs
            alone = torch.cat([_next_logprobs(loaded, [one]) for one in prompts])
            difference = max(
                _difference(scored, [_own_logprobs(loaded, one) for one in probe]),
                float((_next_logprobs(loaded, prompts) - alone).abs().max()),
            )
            fault = None if difference <= limit else _differ(difference, limit=limit)
        except Exception as error:
            fault = _raised(error)
    if fault is None:
        return loaded
    kind = loaded.core.config.model_type
    _say(kind, f"padding changes its numbers ({fault}); no sequence is padded, which is slower", warn=True)
    return replace(loaded, pads=False)


def _next_logprobs(loaded: LoadedModel, prompts: list[Encoded]) -> Tensor:
    """Log-probs [B, V] of what follows each prompt, as `model.generate` computes them for one batch."""
    found = loaded.core.generate(
        **padded(loaded, prompts, images={}),
        **GREEDY,
        max_new_tokens=1,
        pad_token_id=loaded.tokenizer.pad_token_id,
        output_logits=True,
        return_dict_in_generate=True,
    )
    logprobs: Tensor = found.logits[0].float().log_softmax(-1)
    return logprobs


def _tried(loaded: LoadedModel) -> LoadedModel:
    """The model with the fastest way of computing it that gives its own numbers."""
    kind, config = loaded.core.config.model_type, loaded.core.config.get_text_config()
    probe, before = _probe(loaded), config._attn_implementation
    with _undisturbed():
        try:
            wanted = [_own_logprobs(loaded, one) for one in probe]
            noise = _difference(score(loaded, probe, positions="all").token_logprobs, wanted)
        # Code of strangers can raise anything.
        except Exception as error:
            raise UserError(f"model type '{kind}' gives no logits for token ids: {_raised(error)}") from error
        limit = _limit(loaded, noise=noise)
        use_shared_prefixes(loaded.core)
        faults = []
        for found in _candidates(loaded):
            fault = _fault(found, probe, wanted=wanted, limit=limit)
            if fault is None:
                _say(kind, "it passed the check for shared prefixes: what sequences have in common is computed once")
                return _continuing(found, probe, wanted=wanted, limit=limit)
            faults.append(fault)
    config._attn_implementation = before
    _say(kind, f"it failed the check for shared prefixes ({faults[-1]}); sequences are computed one by one", warn=True)
    return loaded


def _continuing(loaded: LoadedModel, probe: list[Encoded], *, wanted: list[Tensor], limit: float) -> LoadedModel:
    """The model, which shares prefixes when it scores, and whether it does when it generates."""
    prompts = [replace(one, ids=one.ids[:-NUM_NEW]) for one in probe]
    new = torch.tensor([one.ids[-NUM_NEW:] for one in probe])
    try:
        found = stepwise_logprobs(loaded, prompts, new)
        difference = _difference(found, [row[-NUM_NEW:].cpu() for row in wanted])
        fault = None if difference <= limit else _differ(difference, limit=limit)
    except Exception as error:
        fault = _raised(error)
    if fault is None:
        return replace(loaded, continues_prefixes=True)
    kind = loaded.core.config.model_type
    _say(kind, f"it failed the check for shared prompts ({fault}); text is written by plain model.generate", warn=True)
    return loaded


def _candidates(loaded: LoadedModel) -> Iterator[LoadedModel]:
    """Ways to compute the model in shared rows, those that make fewer logits first."""
    if loaded.family.OWN_FORWARD:
        yield replace(loaded, family=text, shares_prefixes=True)
    yield replace(loaded, shares_prefixes=True)


def _fault(loaded: LoadedModel, probe: list[Encoded], *, wanted: list[Tensor], limit: float) -> str | None:
    """What is wrong with the log-probs of sequences in shared rows; None where nothing is."""
    try:
        if not _has_own_logits(loaded, probe[0]):
            return "its logits are not its hidden states times its head"
        scored = score(loaded, probe, positions="all").token_logprobs
    except Exception as error:
        return _raised(error)
    difference = _difference(scored, wanted)
    return None if difference <= limit else _differ(difference, limit=limit)


def _differ(difference: float, *, limit: float) -> str:
    return f"log-probs differ by {difference:.2g}, more than {limit:g}"


def _has_own_logits(loaded: LoadedModel, one: Encoded) -> bool:
    """Whether `hidden` and `head` give what the model's own forward gives, to the last bits in any precision."""
    ids = torch.from_numpy(one.array)[None].to(loaded.device)
    if loaded.family.OWN_FORWARD:
        return True
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    hidden = loaded.family.hidden(loaded.core, Tokens(ids, positions))
    own = loaded.core(input_ids=ids, use_cache=False).logits.float()
    return bool(torch.allclose(loaded.family.head(loaded.core, hidden).float(), own, rtol=1e-5, atol=1e-5))


def _own_logprobs(loaded: LoadedModel, one: Encoded) -> Tensor:
    """Log-probs of all tokens but the first, from the model's own forward on this sequence alone."""
    ids = torch.from_numpy(one.array)[None].to(loaded.device)
    logprobs: Tensor = loaded.core(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    return logprobs.gather(-1, ids[0, 1:, None].to(logprobs.device)).squeeze(-1)


def _probe(loaded: LoadedModel) -> list[Encoded]:
    """Five sequences of random tokens: one shared beginning, two that share more, one that is part of another."""
    special = set(loaded.tokenizer.all_special_ids)
    size = min(len(loaded.tokenizer), loaded.core.config.get_text_config().vocab_size)
    tokens = np.asarray([token for token in range(size) if token not in special])
    draw = np.random.default_rng(0).choice(tokens, size=NUM_SHARED + 5 * NUM_OWN).tolist()
    root, parts = draw[:NUM_SHARED], [draw[start : start + NUM_OWN] for start in range(NUM_SHARED, len(draw), NUM_OWN)]
    tails = [parts[0], parts[1] + parts[2], parts[1] + parts[3], parts[1], parts[4]]
    return [Encoded((*root, *tail), NUM_SHARED) for tail in tails]


def _raised(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"


def _difference(scored: Tensor, wanted: list[Tensor]) -> float:
    """The largest between padded log-probs [B, T] and those of each sequence."""
    return max(float((row[: len(one)] - one).abs().max()) for row, one in zip(scored, wanted, strict=True))


def _limit(loaded: LoadedModel, *, noise: float = math.inf) -> float:
    """The largest difference that still is rounding, where padding changes log-probs by `noise`."""
    rounding = ROUNDING.get(loaded.core.dtype, ROUNDING[torch.bfloat16])
    return min(max(rounding, MARGIN * noise), MOST * rounding)


def _try_images(loaded: LoadedModel) -> None:
    """Raises UserError unless our tokens, and the numbers our forward gives, are those of processor and model."""
    try:
        with _undisturbed():
            fault = _image_fault(loaded)
    except Exception as error:
        fault = _raised(error)
    if fault is not None:
        raise written_images.refusal(loaded.core.config, fault=fault)


def _image_fault(loaded: LoadedModel) -> str | None:
    if loaded.core.get_decoder() in (loaded.core, loaded.core.base_model):
        return "its language model cannot be told from its vision tower"
    images = [Image.new("RGB", size, (200, 40 * number, 90)) for number, size in enumerate(PICTURE_SIZES)]
    found = (_fault_with(loaded, used) for used in (images, []))
    return next((fault for fault in found if fault is not None), None)


def _fault_with(loaded: LoadedModel, images: list[Image.Image]) -> str | None:
    """What goes wrong with a text about these images."""
    processor: Any = loaded.processor
    context, answer, limit = "<image>" * len(images) + " one two", " three four", _limit(loaded)
    whole = encode(loaded, context, answer, images)
    written = (context + answer).replace("<image>", written_images.placeholder(processor))
    stock = processor(text=[written], images=images or None, return_tensors="pt")
    if stock["input_ids"][0].tolist() != list(whole.ids):
        return "its processor gives other tokens than mmforget does"
    logprobs = loaded.core(**_on_device(loaded, stock), use_cache=False).logits[0].float().log_softmax(-1)
    ids = stock["input_ids"][0].to(logprobs.device)
    wanted = logprobs[whole.num_context - 1 : -1].gather(-1, ids[whole.num_context :, None]).squeeze(-1)
    full, part = score(loaded, [whole, replace(whole, ids=whole.ids[:-1])]).token_logprobs
    if float((full - wanted).abs().max()) > limit:
        return "its own forward gives other numbers for the processor's tensors"
    if float((part - wanted)[:-1].abs().max()) > limit:
        return "it reads text in both directions, so no answer can be scored"
    return None


def _on_device(loaded: LoadedModel, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.to(loaded.device, loaded.core.dtype if tensor.is_floating_point() else None)
        for name, tensor in inputs.items()
    }


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without gradients, and leaving the random numbers that follow as they were."""
    devices: list[Any] = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        yield


@cache
def _say(kind: str, what: str, *, warn: bool = False) -> None:
    """Once for a type of model, however often it is loaded."""
    logger.log(logging.WARNING if warn else logging.INFO, "model type '%s': %s", kind, what)
