"""Which token comes next, and where a text ends: what a task and the checkpoint's own settings make of the logits.

Greedy: the most likely token. Sampling: temperature, then top-p, drawn from torch's global generator, or with numbers
of each prompt's own, so that no text depends on what else is in the batch. Before either the checkpoint's repetition
penalty, as `model.generate` has it. `other_settings` names what only `model.generate` does.
Shapes: B prompts, V vocabulary, T new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from mmforget.errors import UserError, shortened

HONOURED = frozenset(
    {"eos_token_id", "repetition_penalty", "do_sample", "temperature", "top_k", "top_p", "max_length", "max_new_tokens"}
)
"""Settings of a checkpoint that `Choice` follows, or that the task's own replace."""
WITHOUT_EFFECT = frozenset(
    {
        *("pad_token_id", "bos_token_id", "decoder_start_token_id", "transformers_version", "_from_model_config"),
        *("use_cache", "disable_compile", "compile_config", "renormalize_logits"),
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate"),
        *("length_penalty", "early_stopping", "num_assistant_tokens", "num_assistant_tokens_schedule"),
        *("assistant_confidence_threshold", "assistant_lookbehind", "target_lookbehind", "is_assistant"),
    }
)
"""Settings that change no token of one beam without an assistant."""
SAMPLING_ONLY = frozenset({"min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"})
TOKENS = (
    *("eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("forced_bos_token_id", "forced_eos_token_id"),
)
"""Settings that name tokens."""
NUMBERS = (
    *("repetition_penalty", "temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("num_beams", "num_beam_groups", "num_return_sequences", "no_repeat_ngram_size", "guidance_scale", "max_time"),
    *("max_length", "max_new_tokens", "min_length", "min_new_tokens", "encoder_repetition_penalty"),
)
"""Settings that are numbers of at least 0."""
NEUTRAL: dict[str, float] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "encoder_repetition_penalty": 1,
    "diversity_penalty": 0,
    "guidance_scale": 1,
    "typical_p": 1,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
}
"""Values that ask for nothing; so do None, False and an empty list, whatever the setting."""


class Sampling(NamedTuple):
    """How tokens are drawn: temperature above 0, and the share of the probability that they come from, in (0, 1]."""

    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen.

    Attributes:
        sampling: None for the most likely token.
        penalty: divides positive and multiplies negative logits of tokens that prompt or text hold; 1 for none.
        ends: tokens that end a text.
    """

    sampling: Sampling | None
    penalty: float
    ends: frozenset[int]

    @cached_property
    def _processors(self) -> LogitsProcessorList:
        found: list[Any] = []
        if self.penalty != 1:
            found.append(RepetitionPenaltyLogitsProcessor(self.penalty))
        if self.sampling is not None and self.sampling.temperature != 1:
            found.append(TemperatureLogitsWarper(self.sampling.temperature))
        if self.sampling is not None and self.sampling.top_p < 1:
            found.append(TopPLogitsWarper(self.sampling.top_p))
        return LogitsProcessorList(found)

    def next_tokens(self, logits: Tensor, *, known: Tensor, drawn: Tensor | None = None) -> Tensor:
        """One token a prompt, int64 [B], from logits [B, V] and all token ids so far, int64 [B, length].

        Args:
            drawn: [B] of [0, 1), where each prompt brings its own number: the token at that share of the probability.
                A prompt whose number is NaN is not sampled: it gets the most likely token.
        """
        scores: Tensor = self._processors(known, logits.float())
        if self.sampling is None:
            return scores.argmax(-1)
        if drawn is None:
            return torch.multinomial(scores.softmax(-1), num_samples=1)[:, 0]
        # Neither temperature nor top-p changes which token is the most likely.
        return torch.where(drawn.isnan().to(scores.device), scores.argmax(-1), _at_share(scores, drawn.nan_to_num()))


def _at_share(scores: Tensor, share: Tensor) -> Tensor:
    """int64 [B], the tokens at a share of the probability [B] in [0, 1)."""
    up_to = scores.softmax(-1).cumsum(-1)
    # A number may be rounded up to 1, where no token is.
    whole = up_to[:, -1:]
    at = torch.minimum(share.to(up_to)[:, None] * whole, whole.nextafter(torch.zeros_like(whole)))
    return torch.searchsorted(up_to, at, right=True)[:, 0]


def own_numbers(seeds: Sequence[int | None], *, num_tokens: int) -> Tensor:
    """float64 [B, T] of [0, 1): the numbers that each prompt's tokens are drawn with, from its seed alone; NaN for a
    prompt without a seed, which is not sampled.
    """
    none = np.full(num_tokens, np.nan)
    own = [none if seed is None else np.random.default_rng(seed).random(num_tokens) for seed in seeds]
    return torch.from_numpy(np.stack(own))


def choice_for(config: GenerationConfig, sampling: Sampling | None, *, ends: frozenset[int]) -> Choice:
    """The task's settings on top of the checkpoint's."""
    return Choice(sampling, penalty=float(config.repetition_penalty or 1), ends=ends)


def end_tokens(config: GenerationConfig, *, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a text: the tokenizer's, which training appends, and those of the checkpoint's settings.

    Checkpoints disagree with themselves, and text behind either is junk.
    """
    named = config.eos_token_id
    ends = [] if named is None else [named] if isinstance(named, int) else list(named)
    return frozenset(ends) | ({tokenizer.eos_token_id} - {None})


def check_settings(config: GenerationConfig, *, tokenizer: Any) -> None:
    """Raises UserError where settings of `generation_config.json` have values that cannot be."""
    end_tokens(config, tokenizer=tokenizer)
    for name in TOKENS:
        value = getattr(config, name, None)
        tokens = value if isinstance(value, list) else [] if value is None else [value]
        if any(isinstance(token, bool) or not isinstance(token, int) or abs(token) >= 2**31 for token in tokens):
            raise UserError(f"generation_config.json: {name} is {shortened(value)}; give the number of a token")
    for name in NUMBERS:
        value = getattr(config, name, None)
        if value is not None and not (isinstance(value, int | float) and 0 <= value < 2**31):
            raise UserError(f"generation_config.json: {name} is {shortened(value)}; give a number of at least 0")
    other_settings(config, do_sample=True)


def other_settings(config: GenerationConfig, *, do_sample: bool) -> dict[str, Any]:
    """Settings of a checkpoint that change its text and that `Choice` does not follow, by name."""
    ignored = HONOURED | WITHOUT_EFFECT | (frozenset() if do_sample else SAMPLING_ONLY)
    known = GenerationConfig().to_dict().keys() - ignored
    return {
        name: value
        for name, value in config.to_diff_dict().items()
        if name in known and value is not None and value is not False and value != [] and NEUTRAL.get(name) != value
    }


@dataclass(frozen=True)
class StopStrings:
    """Tells which texts have written a stop string, looking at their last tokens only, and cuts texts there.

    `lead` is what a text begins with that stands for the last blanks of its prompt; it is no part of the text.
    """

    tokenizer: Any
    stops: tuple[str, ...]

    @cached_property
    def _num_tail(self) -> int:
        lengths = [len(self.tokenizer.encode(stop, add_special_tokens=False)) for stop in self.stops]
        # A stop string may share its first and last token with other text.
        return max(lengths, default=0) + 2

    @property
    def unwritable(self) -> list[str]:
        """Those that the tokenizer cannot write, e.g. a newline that its vocabulary lacks: no text ends there."""

        def written(stop: str) -> str:
            ids = self.tokenizer.encode(f"a{stop}a", add_special_tokens=False)
            return str(self.tokenizer.decode(ids, skip_special_tokens=True))

        return [stop for stop in self.stops if stop and stop not in written(stop)]

    def ended(self, new: list[int], *, lead: str = "") -> bool:
        """Whether the last of the new token ids have completed a stop string."""
        if not self.stops:
            return False
        text = self.tokenizer.decode(new[-self._num_tail :], skip_special_tokens=True)
        if len(new) <= self._num_tail:
            text = text.removeprefix(lead)
        return any(stop in text for stop in self.stops)

    def cut(self, text: str, *, lead: str = "") -> str:
        """What stands before the first stop string."""
        text = text.removeprefix(lead)
        for stop in self.stops:
            text = text.split(stop)[0]
        return text
