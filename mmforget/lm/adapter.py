"""The model as lm_eval sees it: log-likelihoods conditioned on images, per-token log-probs, text and image mixed.

Registered with lm_eval as `mmforget`. Every request is read on its own, so tasks with and without images run in one
call; requests about one picture are computed together; an answer that was given before comes from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from mmforget import parallel
from mmforget.arguments import arguments_in
from mmforget.asking import Ask, Depth, Engine, Look
from mmforget.errors import UserError
from mmforget.lm.answering import Answerer, Tally
from mmforget.lm.batching import chunks
from mmforget.lm.cache import ResponseCache
from mmforget.lm.engine import ModelEngine
from mmforget.lm.images import ImageReader
from mmforget.lm.inside import TemplateLM, keep_answer
from mmforget.lm.progress import Shown, told
from mmforget.lm.requests import read_generate_request, read_rolling_request, read_score_request
from mmforget.model.chat import render_chat, template_owner
from mmforget.model.encode import Encoded, start_token
from mmforget.model.feature_cache import FeatureCache
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import boolean
from mmforget.results.provenance import model_name
from mmforget.results.schema import Cost
from mmforget.types import DocumentScore, NoScores, TokenScores

T = TypeVar("T")
DEFAULT_BATCH_SIZE = 8
AUTO_BATCH_SIZE = 64
"""Where `auto` begins; a batch that memory does not hold is computed in halves."""
DEFAULT_MAX_GEN_TOKS = 256
OWN_ARGUMENTS = ("max_gen_toks", "packed", "feature_folder")
"""Model arguments that are the adapter's, not the model's."""


class MMForgetLM(TemplateLM):  # type: ignore[misc]
    """An lm_eval model around a loaded one.

    Args:
        loaded: the model, with or without adapters, quantised or not; its guard, if any, stands before it.
        batch_size: plain requests that fit in memory at once; packed batches hold more, in the same memory.
        cache: answers of earlier runs, or None to compute everything; of several processes, the main one's counts.
        max_gen_toks: tokens to generate where the task does not say.
        packed: share the tokens that requests begin with; False computes each request on its own.
        features: image features that other models of the run share; otherwise this one keeps its own.
        progress: True shows bars on stderr, False nothing, a function is called with done, total and a label.

    Attributes:
        statistics: by task, the token statistics that are wanted of its answers besides log-probs.
    """

    MULTIMODAL = True

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        batch_size: int | str = DEFAULT_BATCH_SIZE,
        cache: ResponseCache | None = None,
        max_gen_toks: int = DEFAULT_MAX_GEN_TOKS,
        packed: bool = True,
        features: FeatureCache | None = None,
        progress: Shown = True,
    ) -> None:
        super().__init__()
        self.loaded = loaded
        self.tokenizer = loaded.tokenizer
        self.batch_size = batch_size_of(batch_size)
        self.max_gen_toks = _positive("max_gen_toks", value=max_gen_toks)
        self.cache = cache
        self.progress: Shown = progress
        self.engine = ModelEngine(loaded, batch_size=self.batch_size, packed=packed, features=features)
        self.asked: Engine = self.engine if loaded.guard is None else loaded.guard.around(self.engine)
        self._reader = ImageReader()
        self.template: str | None = None
        self.statistics: Mapping[str, tuple[str, ...]] = {}
        self.tally = Tally()

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> MMForgetLM:
        """For `lm_eval --model mmforget --model_args pretrained=...`; keys as in `ModelSpec`, plus `OWN_ARGUMENTS`."""
        return cls.create_from_arg_obj(arguments_in(arg_string, owner="--model_args"), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> MMForgetLM:
        given = {key: value for key, value in (additional_config or {}).items() if value is not None}
        own = {key: value for key, value in arg_dict.items() if key in OWN_ARGUMENTS}
        values = {key: value for key, value in arg_dict.items() if key not in OWN_ARGUMENTS}
        return cls(
            load_model(ModelSpec.from_mapping(values, device=given.get("device"))),
            batch_size=batch_size_of(given.get("batch_size", DEFAULT_BATCH_SIZE), most=given.get("max_batch_size")),
            max_gen_toks=own.get("max_gen_toks", DEFAULT_MAX_GEN_TOKS),
            packed=boolean("packed", own.get("packed", True)),
            features=FeatureCache(folder=Path(own["feature_folder"]).expanduser())
            if own.get("feature_folder")
            else None,
        )

    # -- what lm_eval asks -------------------------------------------------------------------------------------------

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[TokenScores | NoScores]:
        """The log-likelihood of each continuation, as a pair that also carries every token's log-prob."""
        return self._answer(requests, method="loglikelihood", quiet=disable_tqdm)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """The text that follows each context, without the string it stopped at."""
        return self._answer(requests, method="generate_until", quiet=disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[DocumentScore]:
        """The log-likelihood of each whole text, in windows where it is longer than the model takes, as a number that
        also carries every token's log-prob.
        """
        return self._answer(requests, method="loglikelihood_rolling", quiet=disable_tqdm)

    def attempts(
        self, requests: Sequence[Any], *, method: str, attack: Callable[[Ask], list[Ask]], label: str
    ) -> list[list[Any]]:
        """By request, the answers to each question that an attack makes of it, in order.

        Args:
            method: which of lm_eval's requests these are, e.g. `generate_until`.
            label: what the attack does, for progress.
        """
        return self.tried([attack(ask) for ask in self.asks(requests, method=method)], label=label)

    def tried(self, made: Sequence[Sequence[Ask]], *, label: str) -> list[list[Any]]:
        """The answers to questions in groups, in order, all asked together."""
        answers = iter(self._answers([ask for asks in made for ask in asks], label=f", {label}"))
        return [[next(answers) for _ in asks] for asks in made]

    def lens(self, asks: Sequence[Ask], *, depths: Sequence[Depth], look: Look[T], label: str) -> list[list[T]]:
        """What `look` makes of the logits at these depths, by question and token of its continuation.

        Args:
            label: what is done, for progress.

        Raises UserError where the model, or the guard before it, shows none; also where nothing is asked.
        """
        found = self.asked.lens([], depths=depths, look=look)
        labels = [f"{ask.task or 'requests'} ({label})" for ask in asks]
        with told(self.progress, labels=labels) as advance:
            for part in chunks(range(len(asks)), size=self.batch_size):
                found += self.asked.lens([asks[at] for at in part], depths=depths, look=look)
                advance(part)
        return found

    def cost(self) -> Cost:
        """What the answers so far took, in all processes; wall time and memory are the caller's to add."""
        engine = self.engine
        counts = parallel.gather((engine.num_tokens, engine.num_images_encoded, engine.num_image_hits))
        num_tokens, num_encoded, num_hits = (sum(column) for column in zip(*counts, strict=True))
        return Cost(
            num_tokens=num_tokens,
            num_requests=self.tally.num_requests,
            num_cached=self.tally.num_cached,
            num_images_encoded=num_encoded,
            num_image_hits=num_hits,
        )

    def get_model_info(self) -> dict[str, Any]:
        """What lm_eval writes into `config` of its results."""
        model, spec = self.loaded.model, self.loaded.spec
        return {
            "model": "mmforget",
            "model_args": _described(spec),
            "model_num_parameters": sum(weight.numel() for weight in model.parameters()),
            "model_dtype": str(model.dtype),
            "model_revision": spec.revision or "main",
            "model_sha": self.loaded.fingerprint,
            "batch_size": self.batch_size,
        }

    # -- text ------------------------------------------------------------------------------------------------------

    def apply_chat_template(self, chat_history: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
        return render_chat(
            chat_history,
            tokenizer=self.tokenizer,
            processor=self.loaded.processor,
            add_generation_prompt=add_generation_prompt,
            template=self.template,
        )

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The source of the template in use; None where none is asked for or the model has none."""
        owner, _ = template_owner(tokenizer=self.tokenizer, processor=self.loaded.processor)
        if chat_template is False or chat_template is None or owner is None:
            return None
        source = owner.chat_template
        if not isinstance(source, Mapping):
            return str(source)
        name = chat_template if isinstance(chat_template, str) else "default"
        if name not in source:
            raise UserError(f"the model has no chat template '{name}'; it has {', '.join(sorted(source))}")
        return str(source[name])

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    @property
    def eot_token_id(self) -> int | None:
        """None for a tokenizer that ends nothing."""
        return None if self.tokenizer.eos_token_id is None else int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        return start_token(self.loaded)

    @property
    def max_length(self) -> int:
        return self.loaded.max_length

    @property
    def device(self) -> Any:
        return self.loaded.device

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        settings = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer.encode(string, **settings))

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[TokenScores]:
        """Text that is encoded already, as `(anything, context ids, continuation ids)`; lm_eval's own hook."""
        if self.loaded.guard is not None:
            raise UserError("a guard reads questions as text, and these are token ids already; ask them as text")
        encoded = [Encoded((*context, *answer), len(context)) for _, context, answer in requests]
        parts = range(0, len(encoded), self.batch_size)
        return [score for part in parts for score in self.engine.score_encoded(encoded[part : part + self.batch_size])]

    def asks(self, requests: Sequence[Any], *, method: str) -> list[Ask]:
        """What lm_eval's requests ask, in order."""
        if method == "loglikelihood_rolling":
            return [self._with_statistics(read_rolling_request(request)) for request in requests]
        if method == "loglikelihood":
            return [self._with_statistics(read_score_request(request, reader=self._reader)) for request in requests]
        most = self.max_gen_toks
        return [read_generate_request(request, reader=self._reader, max_gen_toks=most) for request in requests]

    def _with_statistics(self, ask: Ask) -> Ask:
        wanted = self.statistics.get(ask.task)
        return replace(ask, statistics=wanted) if wanted else ask

    def _answer(self, requests: Sequence[Any], *, method: str, quiet: bool) -> list[Any]:
        def as_told(answer: Any) -> Any:
            return DocumentScore.of(answer) if method == "loglikelihood_rolling" else answer

        def keep(found: Mapping[int, Any]) -> None:
            for index, answer in found.items():
                keep_answer(self, requests[index], method=method, answer=as_told(answer))

        found = self._answers(self.asks(requests, method=method), keep=keep, quiet=quiet)
        return [as_told(answer) for answer in found]

    def _answers(
        self,
        asks: Sequence[Ask],
        *,
        keep: Callable[[Mapping[int, Any]], None] | None = None,
        quiet: bool = False,
        label: str = "",
    ) -> list[Any]:
        answerer = Answerer(self.asked, self.cache, self.tally)
        labels = [f"{ask.task or 'requests'} ({ask.kind}{label})" for ask in asks]
        with told(False if quiet else self.progress, labels=labels) as advance:

            def finished(found: Mapping[int, Any]) -> None:
                if keep is not None:
                    keep(found)
                advance(list(found))

            return answerer.answer(asks, keep=finished)


def _described(spec: ModelSpec) -> str:
    """The model arguments that are not at their default, as one would type them; local folders by name alone."""
    given = {
        field.name: getattr(spec, field.name) for field in fields(spec) if getattr(spec, field.name) != field.default
    }
    given |= {name: model_name(given[name]) for name in ("pretrained", "peft", "guard") if name in given}
    return ",".join(f"{name}={value}" for name, value in given.items())


def batch_size_of(value: int | str, *, most: int | None = None) -> int:
    """A batch size as lm_eval takes it: a whole number, or `auto` or `auto:N`, at most `most` where that is given."""
    if str(value).partition(":")[0] == "auto":
        return AUTO_BATCH_SIZE if most is None else _positive("max_batch_size", value=most)
    return _positive("batch_size", value=value)


def _positive(name: str, *, value: int | str) -> int:
    """A whole number of at least 1. Raises UserError otherwise."""
    text = str(value)
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"{name} is '{value}'; give a whole number of at least 1")
    return int(text)
